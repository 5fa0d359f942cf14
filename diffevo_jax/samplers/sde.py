"""Diffusion in a process's own coordinates: the general equations, and plain solvers.

The samplers of this library live in canonical coordinates, where only sigma is left. Here
are the equations before that change, for any process ``x_t = s(t) (x_0 + sigma(t) eps)``,
to measure what other coordinates cost or buy. With ``y = x / s``, the clean point D(y) and
the score ``(D - y) / sigma^2``, time running down,

    dx = [s'/s x - s sigma' sigma score] dt             the probability-flow ODE,
         - s beta sigma^2 score dt                      Langevin drift, and
         + s sqrt(2 beta) sigma dw                      its noise.

Every noise rate beta has the same marginals. Rate 0 is the ODE; ``beta = sigma' / sigma``
is the reverse equation of Song et al., whose noise repairs errors made earlier.

Notes:
    ``denoise(y, sigma)`` takes canonical points (N, D) and a noise level (), and returns
    their clean points (N, D). All times must have s and sigma above 0. The score is the
    gradient in y; that in x is ``1 / s`` times it, which is why the papers have s^2.

References:
    Karras et al., 2022, arXiv:2206.00364, eqs. 4 and 6, and appendix B;
    Song et al., 2021, arXiv:2011.13456, eqs. 6 and 13.
"""

import functools

import jax
import jax.numpy as jnp

from diffevo_jax.base import Denoise
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.noise import Process
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.derivatives import square_root
from diffevo_jax.samplers.integrators import integrate, walk


@checked
def ode_velocity(process: Process, denoise: Denoise, x: jax.Array, t: Number) -> jax.Array:
    """Velocity dx/dt of the probability-flow ODE, in the process's coordinates.

        dx/dt = s'/s x - s sigma' sigma score = s'/s x + s sigma'/sigma (x / s - D)

    Args:
        process: noise process; s' and sigma' come from differentiating it.
        denoise: the clean points of canonical points.
        x: (N, D) points at time t, in the process's coordinates.
        t: time, ().

    Returns:
        (N, D) velocity in increasing time.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.samplers import sde
        >>> to_zero = lambda y, sigma: jnp.zeros_like(y)
        >>> float(sde.ode_velocity(de.noise.EDM(), to_zero, jnp.ones((1, 1)), 2.0)[0, 0])
        0.5

    References:
        Karras et al., 2022, arXiv:2206.00364, eq. 4.
    """
    return reverse_terms(process, denoise, x, t, 0.0)[0]


@checked
def reverse_terms(
    process: Process, denoise: Denoise, x: jax.Array, t: Number, beta: Number
) -> tuple[jax.Array, jax.Array]:
    """Drift and diffusion of the reverse SDE with a noise rate, in its coordinates.

        drift = s'/s x + s (sigma'/sigma + beta) (x / s - D)
        diffusion = s sigma sqrt(2 beta)

    Args:
        process: noise process.
        denoise: the clean points of canonical points.
        x: (N, D) points at time t, in the process's coordinates.
        t: time, ().
        beta: rate at which noise is replaced, (), >= 0, per unit of time; 0 is the ODE and
            ``sigma' / sigma`` Song's reverse SDE.

    Returns:
        (N, D) drift in increasing time, and () diffusion: a step from t down to t' is
        ``x + (t' - t) drift + sqrt(t - t') diffusion eps``.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.samplers import sde
        >>> to_zero, x = lambda y, sigma: jnp.zeros_like(y), jnp.ones((1, 1))
        >>> drift, diffusion = sde.reverse_terms(de.noise.EDM(), to_zero, x, 2.0, beta=0.5)
        >>> float(drift[0, 0]), float(diffusion)
        (1.0, 2.0)

    References:
        Karras et al., 2022, arXiv:2206.00364, eq. 6 and appendix B.
    """
    scale, scale_rate, sigma, sigma_rate = _path(process, t)
    y = x / scale
    outward = y - clean_points(denoise(y, sigma), y)
    drift = scale_rate * y + scale * (sigma_rate / sigma + beta) * outward
    return drift, scale * sigma * square_root(2.0 * beta)


@checked
def reverse_step(
    process: Process,
    denoise: Denoise,
    x: jax.Array,
    t: Number,
    t_next: Number,
    rate: Number,
    eps: jax.Array,
) -> jax.Array:
    """One step of the reverse SDE, by the method of Euler and Maruyama.

        x' = x - (t - t') drift + sqrt(t - t') diffusion eps

    In canonical coordinates with sigma as the time, as of
    :class:`diffevo_jax.noise.EDM`, it is :func:`diffevo_jax.samplers.euler_maruyama_step`.

    Args:
        process: noise process.
        denoise: the clean points of canonical points.
        x: (N, D) points at time t, in the process's coordinates.
        t: time, ().
        t_next: time to reach, (), at most t.
        rate: noise rate in units of ``sigma' / sigma``, >= 0.
        eps: (N, D) standard normal noise.

    Returns:
        (N, D) points at ``t_next``, in the process's coordinates.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.samplers import sde
        >>> to_zero, eps = lambda y, sigma: jnp.zeros_like(y), jnp.zeros((1, 1))
        >>> given = de.noise.EDM(), to_zero, jnp.full((1, 1), 4.0), 4.0, 3.0
        >>> [float(sde.reverse_step(*given, rate, eps)[0, 0]) for rate in (0.0, 1.0)]
        [3.0, 2.0]
    """
    _, _, sigma, sigma_rate = _path(process, t)
    drift, diffusion = reverse_terms(process, denoise, x, t, rate * sigma_rate / sigma)
    step = jnp.maximum(jnp.asarray(t - t_next), 0.0)
    return (x - step * drift + square_root(step) * diffusion * eps).astype(x.dtype)


@checked
def euler_maruyama(
    key: jax.Array,
    process: Process,
    denoise: Denoise,
    x: jax.Array,
    times: jax.Array,
    rate: Number = 1.0,
    return_path: bool = False,
) -> jax.Array:
    """Walk down in time with noise: the reverse SDE, by the method of Euler and Maruyama.

    Of order 1 in distribution. It needs small steps, unlike the samplers of the library,
    which are exact for a constant denoiser.

    Args:
        key: a typed key.
        process: noise process.
        denoise: the clean points of canonical points.
        x: (N, D) points at ``times[0]``, in the process's coordinates.
        times: (T,) decreasing times.
        rate: noise rate in units of ``sigma' / sigma``, () or (T - 1,), >= 0. 0 is the
            probability-flow ODE, 1 Song's reverse SDE; more noise repairs more error, and
            needs smaller steps.
        return_path: whether to return all that it passes through.

    Returns:
        (N, D) points at ``times[-1]``, or (T, N, D) the start and all after it.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.samplers import sde
        >>> process, key = de.noise.VP(), jax.random.key(0)
        >>> to_zero = lambda y, sigma: jnp.zeros_like(y)
        >>> x = jax.random.normal(key, (5, 2))
        >>> sde.euler_maruyama(key, process, to_zero, x, process.times(100)).shape
        (5, 2)

    References:
        Karras et al., 2022, arXiv:2206.00364, eq. 6; Song et al., 2021, arXiv:2011.13456,
        eq. 6.
    """
    num_steps = len(times) - 1
    rates = jnp.broadcast_to(jnp.asarray(rate, dtype=float), (num_steps,))

    def move(x: jax.Array, t: jax.Array, t_next: jax.Array, noise: tuple) -> jax.Array:
        key, rate = noise
        eps = jax.random.normal(key, x.shape, x.dtype)
        return reverse_step(process, denoise, x, t, t_next, rate, eps)

    keys = jax.random.split(key, num_steps)
    return walk(move, x, times, (keys, rates), return_path)


@checked
def heun(
    process: Process,
    denoise: Denoise,
    x: jax.Array,
    times: jax.Array,
    return_path: bool = False,
) -> jax.Array:
    """Walk down the probability-flow ODE by Heun's method, of order 2.

    Two answers of the denoiser a step.

    Args:
        process: noise process.
        denoise: the clean points of canonical points.
        x: (N, D) points at ``times[0]``, in the process's coordinates.
        times: (T,) decreasing times.
        return_path: whether to return all that it passes through.

    Returns:
        (N, D) points at ``times[-1]``, or (T, N, D) the start and all after it.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax.samplers import sde
        >>> to_zero = lambda y, sigma: jnp.zeros_like(y)  # so dx/dt = x / t
        >>> x, times = jnp.full((1, 1), 8.0), jnp.array([4.0, 2.0, 1.0])
        >>> sde.heun(de.noise.EDM(), to_zero, x, times, return_path=True).ravel().tolist()
        [8.0, 4.0, 2.0]

    References:
        Karras et al., 2022, arXiv:2206.00364, section 3 and algorithm 1.
    """
    slope = functools.partial(ode_velocity, process, denoise)
    return integrate(slope, x, times, "heun", return_path)


def _path(process: Process, t: Number) -> tuple[jax.Array, ...]:
    """Scale, its derivative, sigma, its derivative, at time t."""
    t = jnp.asarray(t, dtype=float)
    one = jnp.ones_like(t)
    return *jax.jvp(process.scale, (t,), (one,)), *jax.jvp(process.sigma, (t,), (one,))

"""Particles that flow to a known density, and how far from it they are."""

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention.cells import as_keys, as_queries, find_centres, log_kernel
from diffevo_jax.base import PyTree
from diffevo_jax.denoisers.oracles import GaussianMixture
from diffevo_jax.flows.divergences import Divergence, ReverseKL
from diffevo_jax.flows.exact_ratio import ExactRatio
from diffevo_jax.flows.particle_ratios import FlowRatio
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked


@pytree.dataclass
class FlowResult:
    """Where particles went.

    Attributes:
        particles: (N, D) at the end.
        path: (T, N, D) before each step.
        ratio_state: what the ratio kept.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> ratio = de.flows.GaussianRatio(de.oracles.gaussian_mixture([[3.0]], 0.25))
        >>> flow = lambda key: de.flows.particle_flow(
        ...     key, ratio, jnp.zeros((8, 1)), num_steps=100, step_size=0.02)
        >>> jax.eval_shape(flow, jax.random.key(0)).path.shape
        (100, 8, 1)
    """

    particles: jax.Array
    path: jax.Array
    ratio_state: PyTree


@checked
def particle_flow(
    key: jax.Array,
    ratio: FlowRatio,
    particles: jax.Array,
    *,
    num_steps: int,
    step_size: Number,
    divergence: Divergence | None = None,
) -> FlowResult:
    """Let particles flow to a density, by Euler's method.

    Args:
        key: a typed key, for ratios that draw.
        ratio: of the target to the particles.
        particles: (N, D).
        num_steps: >= 1, static.
        step_size: of time, > 0.
        divergence: h; None is ``ReverseKL()``: down KL(q | p).

    Raises:
        TypeError, ValueError: an argument is not what it should be.

    Example:
        >>> import jax, diffevo_jax as de
        >>> target = de.oracles.gaussian_mixture([[3.0]], 0.25)
        >>> start = jax.random.normal(jax.random.key(0), (256, 1))
        >>> ratio = de.flows.GaussianRatio(target)
        >>> end = de.flows.particle_flow(
        ...     jax.random.key(1), ratio, start, num_steps=100, step_size=0.02).particles
        >>> round(float(end.mean()), 2), round(float(end.std()), 2)
        (3.0, 0.5)

    References:
        Jordan, Kinderlehrer, Otto, 1998, doi:10.1137/S0036141096303359; Yi, Zhu, Liu,
        2023, arXiv:2302.01075.
    """
    if pytree.is_component(ratio):
        validation.validate(ratio)
    climbed = ReverseKL() if divergence is None else divergence
    if isinstance(ratio, ExactRatio) and not isinstance(climbed, ReverseKL):
        raise ValueError(
            f"divergence: got {type(climbed).__name__}, want ReverseKL with an ExactRatio"
        )

    def step(carry: tuple, index: jax.Array) -> tuple[tuple, jax.Array]:
        particles, state = carry
        log_ratio, gradient, state = ratio.estimate(
            jax.random.fold_in(key, index), state, particles, step_size
        )
        velocity = climbed.slope(log_ratio)[:, None] * gradient
        return (particles + step_size * velocity, state), particles

    start = (particles, ratio.init(key, particles))
    (particles, state), path = jax.lax.scan(step, start, jnp.arange(num_steps))
    return FlowResult(particles, path, state)


@checked
def smoothed_kl(
    key: jax.Array,
    particles: jax.Array,
    target: GaussianMixture,
    width: Number,
    num_samples: int = 1024,
) -> jax.Array:
    """KL(q | p) of particles and a target, both seen through a Gaussian kernel, in nats.

    Particles plus noise are a mixture of as many Gaussians, the target plus noise is
    another: the divergence is exact but for the mean over ``num_samples``. It is at most
    the divergence without the kernel, which is infinite for particles.

    Args:
        key: a typed key; the same one to compare populations with little noise.
        particles: (N, D).
        target: p.
        width: deviation of the noise, > 0.
        num_samples: points drawn from the particles plus noise.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> target, key = de.oracles.gaussian_mixture([[0.0]], 1e-4), jax.random.key(0)
        >>> kl = jax.jit(lambda x: de.flows.smoothed_kl(key, x, target, width=1.0))
        >>> [f"{abs(kl(jnp.array([[x]]))):.1f}" for x in (0.0, 2.0)]  # 2^2 / 2
        ['0.0', '2.0']
    """
    key_which, key_noise = jax.random.split(key)
    size, dim = particles.shape
    which = jax.random.randint(key_which, (num_samples,), 0, size)
    shape = (num_samples, dim)
    y = particles[which] + width * jax.random.normal(key_noise, shape, particles.dtype)
    centre = jnp.mean(particles, axis=0)[None]
    near, y_near = (particles - centre) / width, (y - centre) / width
    centres = find_centres(near)
    asked = as_queries(y_near, centres)
    log_near = log_kernel(asked, as_keys(near, centres)) - asked.half_square[:, None]
    volume = 0.5 * dim * jnp.log(2 * jnp.pi * width**2) + jnp.log(float(size))
    own = jax.nn.logsumexp(log_near, axis=1) - volume
    return jnp.mean(own - target.log_density(y, width))

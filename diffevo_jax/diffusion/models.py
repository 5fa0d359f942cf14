"""Models of others: a network that was trained elsewhere, as a denoiser.

A model is a function of points in its own coordinates and of its own time. Three things say
what it knows: what it predicts, along which process it was trained, and how its samples are
shaped. With them it answers what samplers ask, like any other denoiser.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import noise, pytree
from diffevo_jax.base import PyTree
from diffevo_jax.compilation import explain_untraced
from diffevo_jax.denoisers.fixed import as_pytree
from diffevo_jax.diffusion.training.losses import append_axes
from diffevo_jax.diffusion.training.parameterisations import Parameterisation
from diffevo_jax.noise import TimedProcess
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked

#: How a model that JAX cannot trace is called.
_ELSEWHERE = (
    "one of another framework is called by lambda x, t: jax.pure_callback(model, "
    "jax.ShapeDtypeStruct(x.shape, x.dtype), x, t, vmap_method='sequential')"
)


@pytree.dataclass
class ModelDenoiser:
    """A model of others as a denoiser; made by :func:`from_model`.

        D(y, sigma) = c_skip y + c_out F(s(t) y, t),  t the time at which sigma(t) = sigma.

    Attributes:
        model: F, a pytree that can be called; of a ``jax.tree_util.Partial`` the bound
            arrays are leaves.
        predicts: what it predicts, so c_skip and c_out.
        schedule: the process that it was trained along, so t and s.
        shape: of one sample, or None if it takes them flat.
        integer: whether its times are the numbers of steps.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> straight = de.noise.Flow()
        >>> velocity = lambda x, t: (x - 2.0) / t[:, None]  # exact where all data are 2
        >>> denoiser = diffusion.from_model(velocity, diffusion.Flow(), straight)
        >>> [f"{x:.2f}" for x in denoiser.denoise(jnp.array([[10.0]]), 3.0)[0]]
        ['2.00']
    """

    model: PyTree
    predicts: Parameterisation
    schedule: TimedProcess
    shape: tuple[int, ...] | None = pytree.static(default=None)
    integer: bool = pytree.static(default=False)

    def denoise(self, y: jax.Array, sigma: Number) -> jax.Array:
        """Mean of the clean points given noisy ones, ``E[x_0 | y]``, as the model has it.

        Args:
            y: (N, ...) noisy samples, canonical, in their own shape; or flat, (N, D).
            sigma: () noise level, > 0, or (N,) one for each. Beyond the ends of the
                schedule the model is asked at the time of the end.

        Returns:
            Like y.

        Raises:
            ValueError: y or sigma, or what the model returns, is not of that shape.
            TypeError: the model does not return floats.
        """
        shape = jnp.shape(y)[1:] if self.shape is None else self.shape
        if jnp.ndim(y) < 2 or jnp.shape(y)[1:] not in (shape, (math.prod(shape),)):
            want = "(N, D)" if self.shape is None else f"(N, *{shape})"
            raise ValueError(f"y: got shape {jnp.shape(y)}, want {want}")
        if jnp.shape(sigma) not in ((), (len(y),)):
            raise ValueError(f"sigma: got shape {jnp.shape(sigma)}, want () or ({len(y)},)")
        samples = jnp.reshape(y, (len(y), *shape))
        sigma = jnp.broadcast_to(jnp.asarray(sigma, dtype=samples.dtype), (len(y),))
        time = self.schedule.time(sigma)
        scale = append_axes(self.schedule.scale(time), samples)
        told = jnp.round(time).astype(jnp.int32) if self.integer else time
        output = jnp.asarray(self._predicted(scale * samples, told))
        if output.shape != samples.shape:
            raise ValueError(
                f"model: got an answer of shape {output.shape}, want {samples.shape}"
            )
        if not jnp.issubdtype(output.dtype, jnp.floating):
            raise TypeError(f"model: got an answer of {output.dtype}, want floats")
        skip, out = self.predicts.coefficients(sigma)[:2]
        clean = append_axes(skip, samples) * samples + append_axes(out, samples) * output
        return clean.astype(samples.dtype).reshape(jnp.shape(y))

    def _predicted(self, x: jax.Array, time: jax.Array) -> PyTree:
        try:
            return self.model(x, time)
        except Exception as error:
            explain_untraced("model", error, _ELSEWHERE)
            wants_whole = isinstance(error, TypeError) and "integer" in str(error).lower()
            if wants_whole and not self.integer:
                raise TypeError(
                    f"model: got times of {time.dtype} ({error}), want integer=True for a "
                    "model of whole times"
                ) from error
            raise


@checked
def from_model(
    model: Callable[..., jax.Array],
    predicts: Parameterisation,
    schedule: TimedProcess | jax.typing.ArrayLike,
    *,
    shape: tuple[int, ...] | None = None,
    integer: bool = False,
) -> ModelDenoiser:
    """A network from elsewhere as a denoiser, by what it predicts and its schedule.

    Its ``denoise`` goes where that of a trained network of the library goes: into
    :func:`diffevo_jax.sample`, into guidance, and as
    ``de.denoisers.Fixed(from_model(...).denoise)`` into a strategy.

    Args:
        model: ``model(x_t, t)`` with x_t (N, ...) in the model's own coordinates and t (N,)
            its own times returns what it predicts, like x_t. Modules become such functions
            in a line: of flax ``lambda x, t: module.apply(weights, x, t)``, of equinox
            ``lambda x, t: jax.vmap(module)(x, t)``. Arrays that a function holds are
            constants of the program; of ``jax.tree_util.Partial(function, weights)``, which
            calls ``function(weights, x, t)``, they are leaves, which can be evolved.
        predicts: ``Noise()`` for epsilon; ``Velocity()`` for v; ``Clean()`` for x_0;
            ``Flow()`` for ``eps - x_0``, the velocity of straight lines; ``Score()`` for
            minus epsilon, which is the score of x_t times the deviation of its noise. Only
            how it becomes the clean point counts, so ``c_in`` and ``c_noise`` do not.
        schedule: (T,) alpha_bar of a discrete chain, in (0, 1), falling, whose times are 0
            to T - 1; or a process such as ``de.noise.VP()``, whose times are its own. Of
            betas, ``de.noise.Chain(de.noise.from_betas(betas))`` keeps more digits.
        shape: of one sample, for a model of images; None gives it points (N, D).
        integer: whether it takes only whole times, of the nearest step of a chain. Answers
            are then exact on the levels of the chain alone.

    Raises:
        TypeError: the model cannot be called or hashed; the schedule is neither.
        ValueError: alpha_bar does not fall, or is not within (0, 1); ``integer`` of a
            process that is no chain.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
        >>> def epsilon(x, t):  # exact for points that are N(0, 1)
        ...     return jnp.sqrt(1 - jnp.asarray(alpha_bar)[t])[:, None] * x
        >>> denoiser = diffusion.from_model(
        ...     epsilon, diffusion.Noise(), alpha_bar, integer=True)
        >>> samples = de.sample(jax.random.key(0), denoiser.denoise, denoiser.schedule,
        ...     de.samplers.Heun(), (1000, 1), num_levels=20)
        >>> bool(abs(samples.std() - 1.0) < 0.1)
        True

    References:
        Karras et al., 2022, arXiv:2206.00364, section 5 and appendix C.3 (other models in
        these coordinates).

    Notes:
        Where a model runs from noise at time 0 to data at time 1, and predicts
        ``x_0 - eps``, as in Lipman et al., 2022, arXiv:2210.02747: turn it round,
        ``lambda x, t: -model(x, 1 - t)``, with ``Flow()`` and ``de.noise.Flow()``.
    """
    if not isinstance(schedule, TimedProcess):
        schedule = _chain(schedule)
    if integer and not isinstance(schedule, noise.Chain):
        raise ValueError(
            f"integer: got True with {type(schedule).__name__}, whose times are no whole "
            "numbers, want a chain: alpha_bar, or de.noise.Chain"
        )
    try:
        hash(model) if not pytree.is_component(model) else None
    except TypeError:
        raise TypeError(
            f"model: got {type(model).__name__}, which cannot be hashed, want a function "
            "of (x_t, t), such as lambda x, t: jax.vmap(module)(x, t)"
        ) from None
    denoiser = ModelDenoiser(as_pytree(model), predicts, schedule, shape, integer)
    validation.validate(denoiser)
    return denoiser


def _chain(alpha_bar: jax.typing.ArrayLike) -> noise.Chain:
    """A schedule of cumulative signal rates as a process."""
    known = pytree.concrete(alpha_bar)
    if np.ndim(alpha_bar) != 1:
        got = f"shape {np.shape(alpha_bar)}"
        raise ValueError(f"schedule: got {got}, want a process, or alpha_bar (T,)")
    if known is not None and np.size(known) == 0:
        raise ValueError("schedule: got no steps, want a process, or alpha_bar (T,)")
    if known is not None and not (
        ((known > 0) & (known < 1)).all() and (np.diff(known) < 0).all()
    ):
        ends = f"{len(known)} numbers from {known[0]:.4g} to {known[-1]:.4g}"
        raise ValueError(
            f"schedule: got {ends}, want alpha_bar in (0, 1) that falls; of betas "
            "de.noise.Chain(de.noise.from_betas(betas))"
        )
    return noise.Chain(noise.from_alpha_bars(alpha_bar))

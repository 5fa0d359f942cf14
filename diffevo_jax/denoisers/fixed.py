"""A denoiser that was made elsewhere and learns nothing: a trained network, an oracle."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Denoise, Denoiser, Estimate, Evaluated
from diffevo_jax.pytree.annotations import checked


@pytree.dataclass
class Fixed:
    """A function of noisy points answers, whatever was evaluated.

    With it a :class:`diffevo_jax.DiffusionEvolution` draws samples of a model, and keeps
    the best that it draws; in :func:`diffevo_jax.sample` it is the model itself. Unit scale
    is the unit of the model's data. It answers whatever failed: if all evaluations of a
    generation fail, individuals move on.

    Args:
        model: ``model(y, sigma)`` with y (N, D) canonical and sigma () returns the clean
            points (N, D), or an :class:`diffevo_jax.Estimate`: a trained network, a bound
            method such as that of an oracle, or a function; a network from elsewhere by
            :func:`diffevo_jax.diffusion.from_model`. Arrays of a component are leaves, so
            that a model may be traced.

    Example:
        >>> import diffevo_jax as de
        >>> target = de.oracles.gaussian_mixture([[-2.0], [2.0]], 0.01)
        >>> strategy = de.DiffusionEvolution(10, de.denoisers.Fixed(target.denoise))
    """

    model: Any

    def __init__(self, model: Callable[..., Any]) -> None:
        object.__setattr__(self, "model", as_pytree(model))

    def check(self) -> None:
        """Raise TypeError if the model cannot be called."""
        if not callable(self.model):
            raise TypeError(
                f"Fixed.model: got {self.model!r}, want a function of (y, sigma), such as "
                "the denoise of a model"
            )

    def init(self, key: jax.Array, population: jax.Array) -> tuple[()]:
        """Nothing."""
        return ()

    def learn(self, key: jax.Array, state: tuple[()], evaluated: Evaluated) -> tuple[()]:
        """Nothing is learnt."""
        return state

    def denoise(self, state: tuple[()], y: jax.Array, sigma: jax.Array) -> Estimate:
        """What the model says; no individual answers, so the numbers of weights are 0."""
        answer = self.model(y, sigma)
        if isinstance(answer, Estimate):
            return answer
        zeros = jnp.zeros(len(y), y.dtype)
        return Estimate(clean_points(answer, y), zeros, zeros)


def as_pytree(model: Any) -> Any:
    """A component as it is; a function, or a method of a component, as a pytree."""
    if pytree.is_component(model) or not callable(model):
        return model
    if isinstance(model, jax.tree_util.Partial):
        return model
    owner = getattr(model, "__self__", None)  # a bound method has its object's leaves
    if pytree.is_component(owner):
        return jax.tree_util.Partial(model.__func__, owner)
    return jax.tree_util.Partial(model)


@checked
def bind(denoiser: Denoiser, state: Any) -> Denoise:
    """What :func:`diffevo_jax.sample` takes, of a denoiser that has learnt.

    Args:
        denoiser: for example :class:`diffevo_jax.denoisers.Population`.
        state: what it has learnt, for example ``result.state.denoiser``.

    Returns:
        ``denoise(y, sigma) -> Estimate``.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(9)
        >>> key = jax.random.key(0)
        >>> result = de.evolve(key, strategy, problem, population_size=64)
        >>> denoise = de.denoisers.bind(strategy.denoiser, result.state.denoiser)
        >>> more = de.sample(
        ...     key, denoise, strategy.grid, strategy.sampler, (1000, 2), num_levels=20)
        >>> more.shape
        (1000, 2)
    """
    return lambda y, sigma: denoiser.denoise(state, y, sigma)


def clean_points(answer: Any, y: jax.Array) -> jax.Array:
    """The clean points of an answer, in the precision of y; raise if not one for each.

    Args:
        answer: an array or an :class:`diffevo_jax.Estimate`.
        y: (N, D) what was asked.
    """
    clean = jnp.asarray(answer.clean if isinstance(answer, Estimate) else answer)
    if not jnp.issubdtype(clean.dtype, jnp.floating):
        raise TypeError(f"denoise: got an answer of {clean.dtype}, want floats")
    if clean.shape != y.shape:
        raise ValueError(f"denoise: got an answer of shape {clean.shape}, want {y.shape}")
    return clean.astype(y.dtype)

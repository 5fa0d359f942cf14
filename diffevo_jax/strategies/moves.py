"""How a population moves along the gradient of a density ratio."""

from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import flows, pytree
from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number


def moved(
    strategy: Any,
    key: jax.Array,
    state: Any,
    candidates: jax.Array,
    ratio: flows.Ratio,
    ratio_state: PyTree,
) -> Any:
    """State of a :class:`diffevo_jax.MonoFlow` after a step.

    Args:
        strategy: its rate, divergence, noise and the rest.
        key: a typed key.
        state: before the step.
        candidates: (N, D) as evaluated.
        ratio: at the candidates.
        ratio_state: what its estimate keeps.
    """
    key_noise, key_latent = jax.random.split(key)
    slope = strategy.divergence.slope(ratio.log_ratio)[:, None]
    step = strategy.rate * ratio.width**2 * slope * ratio.gradient
    memory, made, latent = state.optimizer_state, state.generator_state, state.latent
    if strategy.optimizer is not None:
        step, memory = strategy.optimizer.update(-step, memory, candidates)
    step = bounded(step, strategy.longest_step * ratio.width)
    fresh = jax.random.normal(key_noise, candidates.shape, candidates.dtype)
    fresh *= strategy.noise * ratio.width / jnp.sqrt(candidates.shape[1])
    population = candidates + step + fresh
    if strategy.generator is not None:
        made = strategy.generator.regress(made, latent, population)
        latent = jax.random.normal(key_latent, population.shape, population.dtype)
        population = strategy.generator.generate(made, latent)
    return pytree.replace(
        state,
        population=population,
        ratio_state=ratio_state,
        optimizer_state=memory,
        generator_state=made,
        latent=latent,
    )


def bounded(step: jax.Array, longest: Number) -> jax.Array:
    """Steps ``(N, D)`` of at most that length, in the same directions."""
    length = jnp.linalg.norm(step, axis=1, keepdims=True)
    return step * jnp.minimum(1.0, longest / jnp.where(length > 0, length, 1.0))

"""Restart a Diffusion Evolution from a level of its own choice."""

import jax
import jax.numpy as jnp

from diffevo_jax import noise, pytree
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.annotations import Index, checked
from diffevo_jax.pytree.arrays import check_index
from diffevo_jax.strategies.diffusion_evolution import (
    DiffusionEvolution,
    DiffusionEvolutionState,
)


@checked
def renoise(
    strategy: DiffusionEvolution,
    key: jax.Array,
    state: DiffusionEvolutionState,
    generation: Index | jax.Array,
) -> DiffusionEvolutionState:
    """Noise the clean estimates up to the level of a generation, and go on from there.

    Prefer it to a new run where fitness has changed, or to look around what was found: the
    higher the level, the further. What the kernel drew, the archive and the best so far
    are kept.

    Args:
        strategy: the strategy that made ``state``.
        key: a typed key.
        state: of any generation, also of the last.
        generation: () int, in [0, num_generations - 1], to go on from; if it is traced, the
            nearest of these. With a sampler of several rounds a step, the first round of
            one.

    Returns:
        The state from which ``ask`` goes on.

    Raises:
        TypeError: ``generation`` is no int.
        ValueError: it is concrete, and no generation of the strategy.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(10)
        >>> key = jax.random.key(0)
        >>> result = de.evolve(key, strategy, problem, population_size=32)
        >>> state = de.strategies.renoise(strategy, key, result.state, 5)
        >>> int(state.generation), bool(state.done)
        (5, False)
    """
    strategy, _ = validation.clipped(strategy)
    generation = check_index("generation", generation)
    known, last = pytree.concrete(generation), strategy.num_generations - 1
    if known is not None and known > last:
        raise ValueError(f"generation: got {generation}, want one in [0, {last}]")
    start = jnp.clip(jnp.asarray(generation), 0, strategy.num_generations - 1)
    state = pytree.replace(state, generation=start.astype(state.generation.dtype))
    memory = strategy.sampler.init(jnp.zeros_like(state.population))
    _, sigma, _ = strategy.sampler.query(
        key, state.population, memory, strategy.sigmas(), strategy.first_answer(state)
    )
    return pytree.replace(
        state,
        population=noise.diffuse(key, state.clean_estimate, sigma),
        sigma=sigma,
        memory=memory,
        done=jnp.zeros_like(state.done),
    )

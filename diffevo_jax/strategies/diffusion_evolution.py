"""Diffusion Evolution: evolve a population by reversing a diffusion process.

The fitness, shaped to a density g, plays the part of the data. A generation is one step of
a diffusion sampler whose denoiser is the population itself: evaluate the individuals, ask
by Bayes' rule where the clean point of each is, step towards it, add fresh noise. Early on
the kernel is wide, and all estimates are near the best of the whole population; later its
bandwidth falls, and individuals around different optima are no longer neighbours.

This file only wires: the equation of the answer is in
:mod:`diffevo_jax.denoisers.population`, that of the step in :mod:`diffevo_jax.samplers`.

Reference: Zhang, Hartl, Hazan, Levin, "Diffusion Models are Evolutionary Algorithms",
ICLR 2025, arXiv:2410.02543.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import noise, pytree
from diffevo_jax.attention.division import parts_divided
from diffevo_jax.base import (
    Denoiser,
    Estimate,
    Evaluated,
    Grid,
    PyTree,
    Sampler,
)
from diffevo_jax.denoisers import Population
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.kernels import Perplexity
from diffevo_jax.noise.grids import levels_of
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.samplers import DDIM, check_grid, num_levels
from diffevo_jax.shaping import Standardized
from diffevo_jax.strategies import shell


@pytree.dataclass
class DiffusionEvolutionState:
    """State of Diffusion Evolution for N individuals of D numbers.

    Attributes:
        population: (N, D) the individuals, unit scale.
        clean_estimate: (N, D) where the denoiser last saw the clean point of each, unit
            scale; before the first ``tell`` the population itself.
        sigma: () noise level of the population, in unit deviations.
        memory: the sampler's memory.
        denoiser: what the denoiser has learnt.
        generation: () int32, rounds evaluated so far.
        best_solution: (D,) best feasible of all evaluated, or the least infeasible, unit
            scale.
        best_fitness: () its fitness; -inf before any feasible evaluation succeeded.
        best_violation: () its violation: 0 if feasible; +inf before any evaluation.
        done: () bool; after it the state is frozen.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> strategy = de.DiffusionEvolution(25)
        >>> state = de.init(strategy, jax.random.key(0), jnp.ones((8, 2)))
        >>> state.population.shape, bool(state.sigma == strategy.sigmas()[0])
        ((8, 2), True)
    """

    population: jax.Array
    clean_estimate: jax.Array
    sigma: jax.Array
    memory: PyTree
    denoiser: PyTree
    generation: jax.Array
    best_solution: jax.Array
    best_fitness: jax.Array
    best_violation: jax.Array
    done: jax.Array


@pytree.dataclass
class DiffusionEvolution:
    """Diffusion Evolution: a denoiser that learns, a sampler and a grid.

        state = denoiser.learn(state, evaluated)
        clean = denoiser.denoise(state, y, sigma_k)
        y     = sampler.update(y, clean, sigma_k -> sigma_(k+1))

    The default looks for the best solution, and ends at one;
    :meth:`DiffusionEvolution.for_several` keeps several. One evaluation for each
    individual and generation.

    Args:
        num_generations: rounds of evaluation, static, >= 1. Ten are enough for small
            policies, 25 for two-dimensional landscapes.
        denoiser: who answers: :class:`diffevo_jax.denoisers.Population` with a kernel, a
            shaping, guidance and more; ``GaussianFit``, or one of your own.
        sampler: how to step from level to level.
        grid: the noise levels to walk down. Guidance gains where they begin at 1 to 8, and
            loses from 30 on.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Function(lambda x: -((x - 1.0) ** 2).sum(), dim=2)
        >>> strategy = de.DiffusionEvolution(num_generations=25)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=128)
        >>> result.best_solution.round(1).tolist()
        [1.0, 1.0]

    References:
        Zhang et al., 2024, arXiv:2410.02543, algorithm 1 and eqs. 8 to 12.

    Notes:
        The published algorithm is ``grid=noise.Cosine()``, ``sampler=samplers.DDIM(eta)``
        and a population with the exact or the latent kernel; :mod:`diffevo_jax.published`
        has its settings. The defaults here differ, because they are better at equal
        evaluations (``docs/guidance.md``). The published code normalises with floors of
        1e-9 instead of in log space.
    """

    num_generations: int = pytree.static()
    denoiser: Denoiser = dataclasses.field(
        default_factory=Population,
        metadata={"like": "denoisers.Population(), or denoisers.Fixed(...) of a model"},
    )
    sampler: Sampler = dataclasses.field(default_factory=DDIM)
    grid: Grid = dataclasses.field(default_factory=lambda: noise.VE(0.01, 4.0))

    init = shell.init
    ask = shell.ask
    tell = shell.tell
    divided = parts_divided

    @classmethod
    @checked
    def for_several(
        cls, num_generations: int, population_size: int = 256
    ) -> "DiffusionEvolution":
        """The setting that keeps several good solutions, where the default ends at one.

        Every individual has 30 effective neighbours, along the two axes in which the
        better ones differ most; a mild selection, and much guidance. Tried with 256
        individuals in 2 to 32 dimensions (``docs/guidance.md``); other numbers by
        :func:`diffevo_jax.replace`. Of few individuals 30 are most, and the run ends at
        one solution: say how many there are (``docs/different_solutions.md``).

        Args:
            num_generations: rounds of evaluation, >= 1; 25 or more are of use.
            population_size: individuals; fewer than 256 have fewer neighbours in
                proportion, more have 30. With fewer than 48 do not expect it to work.

        Example:
            >>> import jax, jax.numpy as jnp, diffevo_jax as de
            >>> two = lambda x: -jnp.minimum(((x - 1) ** 2).sum(), ((x + 1) ** 2).sum())
            >>> problem = de.problems.Function(two, dim=8)
            >>> key, strategy = jax.random.key(0), de.DiffusionEvolution.for_several(50)
            >>> result = de.evolve(key, strategy, problem, population_size=256)
            >>> share = (result.population.mean(axis=1) > 0).mean()
            >>> bool(0.2 < share < 0.8)
            True
        """
        validation.check_count("population_size", population_size)
        neighbours = max(1.0, 30.0 * min(1.0, population_size / 256))
        population = Population(
            kernel=Perplexity(neighbours, components=2),
            shaping=Standardized(temperature=0.7),
            guidance=4.0,
        )
        return cls(num_generations, population, grid=noise.VE(0.02, 8.0))

    def check(self) -> None:
        """Raise ValueError or TypeError if parts do not go together."""
        name = "DiffusionEvolution.num_generations"
        validation.check_count(name, self.num_generations)
        levels = num_levels(self.sampler, self.num_generations)
        check_grid(self.sampler, self.grid, levels)

    def start(self, key: jax.Array, population: jax.Array) -> DiffusionEvolutionState:
        """The state before any evaluation of a population ``(N, D)``."""
        sigma = self.sigmas()[0]
        return DiffusionEvolutionState(
            population=population,
            clean_estimate=population,
            sigma=sigma,
            memory=self.sampler.init(population * noise.canonical_scale(sigma)),
            denoiser=self.denoiser.init(key, population),
            **shell.before_all(population),
        )

    def query(
        self, key: jax.Array, state: DiffusionEvolutionState
    ) -> tuple[jax.Array, DiffusionEvolutionState]:
        """Candidates ``(N, D)`` where the sampler wants an answer."""
        y = state.population * noise.canonical_scale(state.sigma)
        y_query, sigma, memory = self.sampler.query(
            key, y, state.memory, self.sigmas(), self.first_answer(state)
        )
        in_place = (y_query == y) & (sigma == state.sigma)
        moved = y_query / noise.canonical_scale(sigma)
        candidates = jnp.where(in_place, state.population, moved)  # same bits if in place
        return candidates, pytree.replace(state, sigma=sigma, memory=memory)

    def move(
        self, key: jax.Array, state: DiffusionEvolutionState, evaluated: Evaluated
    ) -> tuple[DiffusionEvolutionState, Estimate]:
        """Learn, and take the sampler's step with the answers to it."""
        key_learn = jax.random.fold_in(key, shell.LEARNING)
        learnt = self.denoiser.learn(key_learn, state.denoiser, evaluated)
        y, sigma = state.population * noise.canonical_scale(state.sigma), state.sigma
        memory, sigmas, estimates = state.memory, self.sigmas(), []
        clean = state.clean_estimate
        for number in range(self.sampler.answers_per_evaluation):
            k = self.first_answer(state) + number
            if number > 0:  # the same evaluations answer for points not evaluated
                key = jax.random.fold_in(key, number)
                key_ask = jax.random.fold_in(key, shell.ASKING)
                y, sigma, memory = self.sampler.query(key_ask, y, memory, sigmas, k)
            answer = estimate_of(self.denoiser.denoise(learnt, y, sigma), y)
            if jax.tree.leaves(memory):  # the shell undoes moves, not what is remembered
                answer = _unbroken(answer, clean)
            estimates.append(answer)
            clean = answer.clean
            y, sigma, memory = self.sampler.update(key, y, memory, clean, sigmas, k)
        moved = pytree.replace(
            state,
            population=y / noise.canonical_scale(sigma),
            clean_estimate=clean,
            sigma=sigma,
            memory=memory,
            denoiser=learnt,
        )
        return moved, _together(estimates)

    def stay(
        self, state: DiffusionEvolutionState, moved: DiffusionEvolutionState
    ) -> DiffusionEvolutionState:
        """No individual moves, and the level falls."""
        return pytree.replace(
            moved, population=state.population, clean_estimate=state.clean_estimate
        )

    def rest(
        self, state: DiffusionEvolutionState, moved: DiffusionEvolutionState
    ) -> DiffusionEvolutionState:
        """The last generation stays at its level."""
        return pytree.replace(moved, population=state.population, sigma=state.sigma)

    def sigmas(self) -> jax.Array:
        """The noise levels that the sampler walks down, ``(T,)``."""
        return levels_of(self.grid, num_levels(self.sampler, self.num_generations))

    def first_answer(self, state: DiffusionEvolutionState) -> jax.Array:
        """Number of the first answer of a generation."""
        generation = jnp.minimum(state.generation, self.num_generations - 1)
        return generation * self.sampler.answers_per_evaluation


def estimate_of(answer: Any, y: jax.Array) -> Estimate:
    """A denoiser's answer for y (N, D), in the precision of y.

    Raises:
        TypeError: it is no estimate.
        ValueError: it has not one clean point for each of y.
    """
    if not isinstance(answer, Estimate):
        raise TypeError(
            f"denoiser: got {type(answer).__name__} for an answer, want an Estimate"
        )
    return pytree.replace(answer, clean=clean_points(answer, y))


def _unbroken(answer: Estimate, before: jax.Array) -> Estimate:
    """An answer that is not finite may not be used, nor may a sampler remember it."""
    finite, sound = jnp.all(jnp.isfinite(answer.clean)), jnp.asarray(answer.sound)
    return pytree.replace(
        answer,
        clean=jnp.where(finite, answer.clean, before),
        num_diverged=answer.num_diverged + jnp.asarray(sound & ~finite, jnp.int32),
        sound=sound & finite,
    )


def _together(estimates: list[Estimate]) -> Estimate:
    """The first of several answers; it may be used if all may be."""
    first, *others = estimates
    for other in others:
        first = pytree.replace(
            first,
            sound=jnp.asarray(first.sound) & other.sound,
            num_diverged=jnp.maximum(first.num_diverged, other.num_diverged),
        )
    return first

"""Diffusion Evolution: evolve a population by reversing a diffusion process.

The fitness, shaped to a density g, plays the part of the data. A generation is one step of
a diffusion sampler whose denoiser is the population itself: evaluate the individuals, ask
by Bayes' rule where the clean point of each is, step towards it, add fresh noise. Early on
the kernel is wide and everybody listens to the best of all; later it narrows, and groups
that have found different optima stop hearing each other.

Reference: Zhang, Hartl, Hazan, Levin, "Diffusion Models are Evolutionary Algorithms",
ICLR 2025, arXiv:2410.02543.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from diffevo_jax import denoisers, noise, pytree, validation
from diffevo_jax import shaping as shapings
from diffevo_jax.attention import attend
from diffevo_jax.base import Grid, Info, Kernel, PyTree, Sampler, Shaping
from diffevo_jax.kernels import Tempered
from diffevo_jax.samplers import DDIM
from diffevo_jax.strategies.bookkeeping import describe, update_best

SUPPORTS = ("best", "sample")


@pytree.dataclass
class DiffusionEvolutionState:
    """State of Diffusion Evolution for N individuals of D numbers.

    Attributes:
        population: (N, D) the individuals, unit scale.
        clean_estimate: (N, D) where the denoiser last saw the clean point of each, unit
            scale; before the first ``tell`` the population itself.
        sigma: () noise level of the population, in unit deviations.
        memory: the sampler's memory.
        kernel_state: what the kernel drew.
        generation: () int32, rounds evaluated so far.
        best_solution: (D,) best of all evaluated, unit scale.
        best_fitness: () its fitness; -inf before any evaluation succeeded.
        done: () bool; after it the state is frozen.
    """

    population: jax.Array
    clean_estimate: jax.Array
    sigma: jax.Array
    memory: PyTree
    kernel_state: PyTree
    generation: jax.Array
    best_solution: jax.Array
    best_fitness: jax.Array
    done: jax.Array


@pytree.dataclass
class DiffusionEvolution:
    """Diffusion Evolution, plain or latent: that is a choice of kernel.

    Prefer it when many good and different solutions are wanted in very few generations.
    One evaluation for each individual and generation; cost O(N^2 (D + d)) beside it.

    Args:
        num_generations: rounds of evaluation, static, >= 1. Ten are enough for small
            policies, 25 for two-dimensional landscapes.
        grid: the noise levels to walk down.
        kernel: who is a neighbour; ``kernels.Gaussian()`` is the paper's plain form,
            ``kernels.RandomProjection(2)`` its latent form.
        shaping: from fitness to log-weight.
        sampler: how to step from level to level.
        floor: added to the weights g and to the kernel: 1e-9 for parity with the published
            code, None for the exact posterior; static.
        num_support: attend to so many individuals, at most N, so that a generation costs
            O(N num_support (D + d)); None for all; static.
        support: which: the ``"best"``, or a ``"sample"`` of them by weight; static.
        attention: what computes the posterior mean, for example
            ``functools.partial(de.attention.attend, block_size=2048)`` or a kernel for an
            accelerator that does the same; static.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Function(lambda x: -((x - 1.0) ** 2).sum(), dim=2)
        >>> strategy = de.DiffusionEvolution(
        ...     num_generations=25, shaping=de.shaping.Boltzmann(temperature=0.1))
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=128)
        >>> result.best_solution.round(1).tolist()
        [1.0, 1.0]

    References:
        Zhang et al., 2024, arXiv:2410.02543, algorithm 1 and eqs. 8 to 12.

    Notes:
        The published code normalises with floors of 1e-9 instead of in log space, and
        its default kernel is the exact one.
    """

    num_generations: int = pytree.static()
    grid: Grid = dataclasses.field(default_factory=noise.Cosine)
    kernel: Kernel = dataclasses.field(default_factory=Tempered)
    shaping: Shaping = dataclasses.field(default_factory=shapings.Boltzmann)
    sampler: Sampler = dataclasses.field(default_factory=DDIM)
    floor: float | None = pytree.static(default=None)
    num_support: int | None = pytree.static(default=None)
    support: str = pytree.static(default="best")
    attention: denoisers.Attention = pytree.static(default=attend)

    def check(self) -> None:
        """Raise if the structure is not legal."""
        validation.check_count("DiffusionEvolution.num_generations", self.num_generations)
        if self.floor is not None and not 0 < self.floor < math.inf:
            raise ValueError(
                f"DiffusionEvolution.floor: got {self.floor}, want None or > 0, finite"
            )
        if self.num_support is not None:
            validation.check_count("DiffusionEvolution.num_support", self.num_support)
        if self.support not in SUPPORTS:
            raise ValueError(
                f"DiffusionEvolution.support: got {self.support!r}, want one of {SUPPORTS}"
            )
        num_levels(self.sampler, self.num_generations)

    def init(self, key: jax.Array, population: jax.Array) -> DiffusionEvolutionState:
        """Start from a population ``(N, D)``, unit scale; see :func:`diffevo_jax.init`."""
        if self.num_support is not None and self.num_support > len(population):
            raise ValueError(
                f"DiffusionEvolution.num_support: got {self.num_support}, want at most the "
                f"{len(population)} individuals"
            )
        sigma = self._sigmas()[0]
        return DiffusionEvolutionState(
            population=population,
            clean_estimate=population,
            sigma=sigma,
            memory=self.sampler.init(population * noise.canonical_scale(sigma)),
            kernel_state=self.kernel.init(key, population.shape[1]),
            generation=jnp.zeros((), jnp.int32),
            best_solution=population[0],
            best_fitness=jnp.full((), -jnp.inf, population.dtype),
            done=jnp.zeros((), bool),
        )

    def ask(
        self, key: jax.Array, state: DiffusionEvolutionState
    ) -> tuple[jax.Array, DiffusionEvolutionState]:
        """Return candidates ``(N, D)``; see :func:`diffevo_jax.ask`."""
        y = state.population * noise.canonical_scale(state.sigma)
        y_query, sigma, memory = self.sampler.query(
            key, y, state.memory, self._sigmas(), self._round(state)
        )
        in_place = (y_query == y) & (sigma == state.sigma)
        moved = y_query / noise.canonical_scale(sigma)
        candidates = jnp.where(in_place, state.population, moved)  # same bits if in place
        asked = pytree.replace(state, sigma=sigma, memory=memory)
        return candidates, pytree.select(state.done, state, asked)

    def tell(
        self,
        key: jax.Array,
        state: DiffusionEvolutionState,
        candidates: jax.Array,
        fitness: jax.Array,
        measures: PyTree = (),
    ) -> tuple[DiffusionEvolutionState, Info]:
        """Learn the fitness ``(N,)`` of candidates; see :func:`diffevo_jax.tell`."""
        sound = jnp.isfinite(candidates)
        fitness = jnp.where(jnp.all(sound, axis=1), fitness, jnp.nan)
        candidates = jnp.where(sound, candidates, 0.0)  # a broken individual has failed
        log_weight = shapings.log_weight(self.shaping, fitness, floor=self.floor)
        y = candidates * noise.canonical_scale(state.sigma)
        key, support = self._support(key, log_weight)
        estimate = self._denoise(state, y, candidates, log_weight, support)
        y_next, sigma_next, memory = self.sampler.update(
            key, y, state.memory, estimate.clean, self._sigmas(), self._round(state)
        )
        last = state.generation + 1 >= self.num_generations
        hopeless = jnp.all(log_weight == -jnp.inf)
        moved = y_next / noise.canonical_scale(sigma_next)
        best_solution, best_fitness = update_best(state, candidates, fitness)
        told = DiffusionEvolutionState(
            population=jnp.where(last | hopeless, candidates, moved),
            clean_estimate=jnp.where(hopeless, state.clean_estimate, estimate.clean),
            sigma=jnp.where(last, state.sigma, sigma_next),
            memory=memory,
            kernel_state=state.kernel_state,
            generation=state.generation + 1,
            best_solution=best_solution,
            best_fitness=best_fitness,
            done=last,
        )
        told = pytree.select(state.done, state, told)
        return told, describe(fitness, log_weight, estimate, state.sigma, told.done)

    def _denoise(
        self,
        state: DiffusionEvolutionState,
        y: jax.Array,
        candidates: jax.Array,
        log_weight: jax.Array,
        support: denoisers.Support | None,
    ) -> denoisers.Estimate:
        kernel_state, dim = state.kernel_state, y.shape[1]
        factor = self.kernel.factor(kernel_state, dim)
        return denoisers.posterior_mean(
            queries=self.kernel.features(kernel_state, y, log_weight),
            keys=self.kernel.features(kernel_state, candidates, log_weight),
            values=candidates,
            log_weight=log_weight,
            precision=factor / state.sigma**2,
            floor=self.floor,
            support=support,
            attention=self.attention,
        )

    def _support(
        self, key: jax.Array, log_weight: jax.Array
    ) -> tuple[jax.Array, denoisers.Support | None]:
        """A key for the rest of the generation, and whom to attend to."""
        if self.num_support is None:
            return key, None
        if self.support == "best":
            return key, denoisers.best_support(log_weight, self.num_support)
        key, key_support = jax.random.split(key)
        return key, denoisers.sampled_support(key_support, log_weight, self.num_support)

    def _sigmas(self) -> jax.Array:
        return self.grid.sigmas(num_levels(self.sampler, self.num_generations))

    def _round(self, state: DiffusionEvolutionState) -> jax.Array:
        return jnp.minimum(state.generation, self.num_generations - 1)


def num_levels(sampler: Sampler, num_generations: int) -> int:
    """Levels of the grid that a sampler walks down in so many rounds of evaluation.

    Raises:
        ValueError: the sampler cannot end after exactly that many rounds.
    """
    levels = 1
    while sampler.num_rounds(levels + 1) <= num_generations:
        levels += 1
    if sampler.num_rounds(levels) != num_generations:
        raise ValueError(
            f"num_generations: got {num_generations}, want {sampler.num_rounds(levels)} "
            f"or {sampler.num_rounds(levels + 1)} with {type(sampler).__name__}"
        )
    return levels

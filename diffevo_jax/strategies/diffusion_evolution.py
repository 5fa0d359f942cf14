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

import jax
import jax.numpy as jnp

from diffevo_jax import denoisers, noise, pytree
from diffevo_jax import shaping as shapings
from diffevo_jax.attention import attend
from diffevo_jax.base import Grid, Info, Kernel, PyTree, Sampler, Shaping
from diffevo_jax.kernels import Tempered
from diffevo_jax.pytree import Number, validation
from diffevo_jax.samplers import DDIM, num_levels
from diffevo_jax.shaping.conditions import Condition
from diffevo_jax.strategies import posterior
from diffevo_jax.strategies.bookkeeping import describe, update_best
from diffevo_jax.strategies.legal import check as check_strategy


@pytree.dataclass
class DiffusionEvolutionState:
    """State of Diffusion Evolution for N individuals of D numbers.

    Attributes:
        population: (N, D) the individuals, unit scale.
        clean_estimate: (N, D) where the denoiser last saw the clean point of each, unit
            scale; before the first ``tell`` the population itself.
        sigma: () noise level of the population, in unit deviations.
        memory: the sampler's memory.
        kernel_state: what the kernel drew, or learnt from the generation before.
        archive: what was evaluated in earlier generations, the latest first; () for none.
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
    archive: PyTree
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
        conditions: what else is wanted, as components of :mod:`diffevo_jax.conditions`:
            constraints, targets, novelty; their log-weights are added.
        self_conditioned: measure neighbourhoods between the clean estimates of the
            generation before, which are far less noisy than the points; static. With
            ``kernels.Perplexity`` it selects and keeps several modes above ten dimensions.
        archive: generations whose evaluated points also answer, static; 0 for none.
        archive_correction: share, in [0, 1], of the mixture importance weights of the
            archive: 0 counts its points by fitness alone.
        denoiser: ``"kernel"``; or the fit of a ``"gaussian"``, or of a ``"diagonal"`` one,
            to the weighted population, of linear cost, with one mode; static.
        attention: what computes the posterior mean, for example
            ``functools.partial(de.attention.attend, block_size=2048)`` or a kernel for an
            accelerator that does the same; static.

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
        and the exact or the latent kernel; :mod:`diffevo_jax.published` has its settings.
        The defaults here differ, because they are better at equal evaluations
        (``docs/design_space.md``). The published code normalises with floors of 1e-9
        instead of in log space.
    """

    num_generations: int = pytree.static()
    grid: Grid = dataclasses.field(default_factory=lambda: noise.Cosine(margin=1e-4))
    kernel: Kernel = dataclasses.field(default_factory=lambda: Tempered(dimension=1.0))
    shaping: Shaping = dataclasses.field(default_factory=shapings.Standardized)
    sampler: Sampler = dataclasses.field(default_factory=DDIM)
    floor: float | None = pytree.static(default=None)
    num_support: int | None = pytree.static(default=None)
    support: str = pytree.static(default="best")
    conditions: tuple[Condition, ...] = ()
    self_conditioned: bool = pytree.static(default=False)
    archive: int = pytree.static(default=0)
    archive_correction: Number = pytree.number(default=1.0, low=0.0, high=1.0)
    denoiser: str = pytree.static(default="kernel")
    attention: denoisers.Attention = pytree.static(default=attend)

    check = check_strategy

    def init(self, key: jax.Array, population: jax.Array) -> DiffusionEvolutionState:
        """Start from a population ``(N, D)``, unit scale; see :func:`diffevo_jax.init`."""
        if self.num_support is not None and self.num_support > len(population):
            raise ValueError(
                f"DiffusionEvolution.num_support: got {self.num_support}, want at most the "
                f"{len(population)} individuals"
            )
        self, _ = validation.clipped(self)
        sigma = self.sigmas()[0]
        return DiffusionEvolutionState(
            population=population,
            clean_estimate=population,
            sigma=sigma,
            memory=self.sampler.init(population * noise.canonical_scale(sigma)),
            kernel_state=self.kernel.init(key, population.shape[1]),
            archive=posterior.no_evidence(self, population),
            generation=jnp.zeros((), jnp.int32),
            best_solution=population[0],
            best_fitness=jnp.full((), -jnp.inf, population.dtype),
            done=jnp.zeros((), bool),
        )

    def ask(
        self, key: jax.Array, state: DiffusionEvolutionState
    ) -> tuple[jax.Array, DiffusionEvolutionState]:
        """Return candidates ``(N, D)``; see :func:`diffevo_jax.ask`."""
        self, _ = validation.clipped(self)
        y = state.population * noise.canonical_scale(state.sigma)
        y_query, sigma, memory = self.sampler.query(
            key, y, state.memory, self.sigmas(), self.first_answer(state)
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
        self, num_clipped = validation.clipped(self)
        before = state
        sound = jnp.isfinite(candidates)
        fitness = jnp.where(jnp.all(sound, axis=1), fitness, jnp.nan)
        candidates = jnp.where(sound, candidates, 0.0)  # a broken individual has failed
        evidence = posterior.gather(self, state, candidates, fitness, measures)
        log_weight = posterior.log_weights(self, evidence)
        kernel_state = self.kernel.adapt(state.kernel_state, evidence.points, log_weight)
        state = pytree.replace(state, population=candidates, kernel_state=kernel_state)
        stepped, estimate, clean = self._step(key, state, evidence, log_weight)
        last = state.generation + 1 >= self.num_generations
        hopeless = jnp.all(log_weight == -jnp.inf)
        best_solution, best_fitness = update_best(state, candidates, fitness)
        told = DiffusionEvolutionState(
            population=jnp.where(last | hopeless, candidates, stepped.population),
            clean_estimate=jnp.where(hopeless, state.clean_estimate, clean),
            sigma=jnp.where(last, state.sigma, stepped.sigma),
            memory=stepped.memory,
            kernel_state=kernel_state,
            archive=posterior.latest(self, evidence, len(candidates)),
            generation=state.generation + 1,
            best_solution=best_solution,
            best_fitness=best_fitness,
            done=last,
        )
        told = pytree.select(state.done, before, told)
        log_weight = log_weight[: len(fitness)]
        info = describe(fitness, log_weight, estimate, state.sigma, told.done, num_clipped)
        return told, info

    def _step(
        self,
        key: jax.Array,
        state: DiffusionEvolutionState,
        evidence: posterior.Evidence,
        log_weight: jax.Array,
    ) -> tuple[DiffusionEvolutionState, denoisers.Estimate, jax.Array]:
        """State after the sampler's step, the first answer, and the last clean points."""
        key, support = self._support(key, log_weight)
        y, sigma = state.population * noise.canonical_scale(state.sigma), state.sigma
        memory, place, first = state.memory, state.clean_estimate, None
        for number in range(self.sampler.answers_per_evaluation):
            k, sigmas = self.first_answer(state) + number, self.sigmas()
            if number > 0:  # the same evaluations answer for points not evaluated
                key = jax.random.fold_in(key, number)
                y, sigma, memory = self.sampler.query(key, y, memory, sigmas, k)
            estimate = posterior.denoise(
                self, state.kernel_state, y, sigma, place, evidence, log_weight, support
            )
            place, first = estimate.clean, first or estimate
            y, sigma, memory = self.sampler.update(key, y, memory, place, sigmas, k)
        moved = y / noise.canonical_scale(sigma)
        stepped = pytree.replace(state, population=moved, sigma=sigma, memory=memory)
        return stepped, first or estimate, place

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

    def sigmas(self) -> jax.Array:
        """The noise levels that the sampler walks down, ``(T,)``."""
        return self.grid.sigmas(num_levels(self.sampler, self.num_generations))

    def first_answer(self, state: DiffusionEvolutionState) -> jax.Array:
        """Number of the first answer of a generation."""
        generation = jnp.minimum(state.generation, self.num_generations - 1)
        return generation * self.sampler.answers_per_evaluation

"""MonoFlow: evolve a population along the gradient of its log density ratio.

A GAN is a diffusion in the time of its training: its discriminator estimates the log-ratio
of the data's density p to that of the generated points q, and points that follow the
gradient of an increasing function h of it become data. Here the evaluated population is
both: as it is, it is a sample of q; weighted by fitness, it is one of p.

    w_j = g(f_j) / q(x_j)^kappa,    dx/dt = h'(log r) grad log r,    r = p / q

Without a power of the density (kappa = 0) that is selection: everyone climbs log g, and
gathers at its peaks. With all of it (kappa = 1) the weights are importance weights, p is
g itself, and the flow goes down KL(q | g): at its end the population is a sample of g.

Reference: Yi, Zhu, Liu, "MonoFlow: Rethinking Divergence GANs via the Perspective of
Wasserstein Gradient Flows", ICML 2023, arXiv:2302.01075.
"""

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from diffevo_jax import flows, noise, pytree
from diffevo_jax import shaping as shapings
from diffevo_jax.base import Grid, Info, PyTree, Shaping
from diffevo_jax.denoisers import Estimate
from diffevo_jax.flows.divergences import Divergence, ReverseKL
from diffevo_jax.flows.generator import Generator
from diffevo_jax.pytree import Number, validation
from diffevo_jax.strategies import moves
from diffevo_jax.strategies.bookkeeping import describe, update_best

if TYPE_CHECKING:  # it takes a seventh of a second to import
    import optax


@pytree.dataclass
class MonoFlowState:
    """State of MonoFlow for N individuals of D numbers.

    Attributes:
        population: (N, D) the individuals, unit scale.
        sigma: () width of what p and q are seen through, in unit deviations.
        ratio_state: what the estimate of the ratio keeps: what a kernel drew, the weights
            of a discriminator.
        optimizer_state: of the transformation of the velocities; () for none.
        generator_state: of the generator; () for none.
        latent: (N, D) what the population was generated from; () without a generator.
        generation: () int32, rounds evaluated so far.
        best_solution: (D,) best of all evaluated, unit scale.
        best_fitness: () its fitness; -inf before any evaluation succeeded.
        done: () bool; after it the state is frozen.
    """

    population: jax.Array
    sigma: jax.Array
    ratio_state: PyTree
    optimizer_state: PyTree
    generator_state: PyTree
    latent: PyTree
    generation: jax.Array
    best_solution: jax.Array
    best_fitness: jax.Array
    done: jax.Array


@pytree.dataclass
class MonoFlow:
    """MonoFlow: a population flows to where the density that it should have is too low.

        x_i <- x_i + rate width^2 h'(log r_i) grad log r_i + noise width w / sqrt(D),

    the middle part at most ``longest_step`` widths long. With the kernel's ratio, a
    ``rate`` of 1 and h' of 1 it is Diffusion Evolution's pull without its contraction: the
    weighted mean of the neighbourhood minus its plain mean. Prefer it to Diffusion
    Evolution on functions of 8 to 64 dimensions, where it is better at equal evaluations
    (``docs/flows.md``; it is not on CartPole); and with ``density_power=1`` and Boltzmann's
    weights where a sample of g is wanted and not its peaks. One evaluation for each
    individual and generation; cost O(N^2 D) beside it.

    Args:
        num_generations: rounds of evaluation, static, >= 1.
        grid: widths of what p and q are seen through, in unit deviations, one a generation.
            Unlike in Diffusion Evolution they are not noise: begin at about half the
            population's deviation, and end at the precision that is wanted.
        shaping: from fitness to log-weight, log g.
        ratio: what estimates the density ratio and its gradient, in closed form.
        divergence: h, of :mod:`diffevo_jax.flows`.
        density_power: kappa, in [0, 1]: 0 selects, 1 samples.
        rate: step, in units of the width squared, >= 0.
        noise: length of the fresh noise in widths, root mean square, >= 0. With
            ``density_power=0``, ``ReverseKL`` and ``sqrt(2 D rate)`` it is Langevin
            dynamics, which has the density of ``density_power=1`` without noise.
        longest_step: bound on the length of a step, in widths, >= 0.
        generator: :class:`diffevo_jax.flows.Generator`: learns, every generation, to
            generate the individuals where they have moved to, and generates the next from
            fresh normal points; its samples are unlimited, also after the evolution:
            ``generator.sample(key, state.generator_state, n)``. None for none.
        optimizer: transformation of optax, which gets minus the steps as gradients (so
            ``optax.sgd(1.0, momentum=0.5)`` is momentum, and ``optax.sgd(1.0)`` changes
            nothing), before they are bounded; None for none; static.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Function(lambda x: -((x - 1.0) ** 2).sum(), dim=2)
        >>> strategy = de.MonoFlow(num_generations=25)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=128)
        >>> result.best_solution.round(1).tolist()
        [1.0, 1.0]

    References:
        Yi, Zhu, Liu, 2023, arXiv:2302.01075.

    Notes:
        The paper has samples of p. Here p is only known by a fitness at samples of q, and
        so p is made of the weighted population; that is why the power of the density
        matters. All fields but ``num_generations`` are as tried on the tasks of
        ``benchmarks/design_tasks.py``, with seeds of their own.
    """

    num_generations: int = pytree.static()
    grid: Grid = dataclasses.field(default_factory=lambda: noise.VE(0.02, 0.5))
    shaping: Shaping = dataclasses.field(
        default_factory=lambda: shapings.Standardized(temperature=0.25)
    )
    ratio: flows.RatioEstimator = dataclasses.field(default_factory=flows.KernelRatio)
    divergence: Divergence = dataclasses.field(default_factory=ReverseKL)
    density_power: Number = pytree.number(default=0.25, low=0.0, high=1.0)
    rate: Number = pytree.number(default=2.0, low=0.0)
    noise: Number = pytree.number(default=0.1, low=0.0)
    longest_step: Number = pytree.number(default=2.0, low=0.0)
    generator: Generator | None = None
    optimizer: "optax.GradientTransformation | None" = pytree.static(default=None)

    def check(self) -> None:
        """Raise ValueError or TypeError if the parts do not go together."""
        validation.check_count("MonoFlow.num_generations", self.num_generations)
        if hasattr(self.shaping, "row_log_weight"):
            raise ValueError(
                f"MonoFlow.shaping: got {type(self.shaping).__name__}, want one that "
                "compares with everyone"
            )
        if self.optimizer is not None and not hasattr(self.optimizer, "update"):
            raise TypeError(
                f"MonoFlow.optimizer: got {self.optimizer!r}, want a transformation of "
                "optax, or None"
            )

    def init(self, key: jax.Array, population: jax.Array) -> MonoFlowState:
        """Start from a population ``(N, D)``, unit scale; see :func:`diffevo_jax.init`."""
        self, _ = validation.clipped(self)
        key_ratio, key_generator = jax.random.split(key)
        own = self.optimizer
        made: PyTree = ()
        latent: PyTree = ()
        if self.generator is not None:
            made = self.generator.init(key_generator, population)
            latent = self.generator.latent(made, population)
        return MonoFlowState(
            population=population,
            sigma=self.sigmas()[0],
            ratio_state=self.ratio.init(key_ratio, population),
            optimizer_state=() if own is None else own.init(population),
            generator_state=made,
            latent=latent,
            generation=jnp.zeros((), jnp.int32),
            best_solution=population[0],
            best_fitness=jnp.full((), -jnp.inf, population.dtype),
            done=jnp.zeros((), bool),
        )

    def ask(self, key: jax.Array, state: MonoFlowState) -> tuple[jax.Array, MonoFlowState]:
        """Return candidates ``(N, D)``; see :func:`diffevo_jax.ask`."""
        return state.population, state

    def tell(
        self,
        key: jax.Array,
        state: MonoFlowState,
        candidates: jax.Array,
        fitness: jax.Array,
        measures: PyTree = (),
    ) -> tuple[MonoFlowState, Info]:
        """Learn the fitness ``(N,)`` of candidates; see :func:`diffevo_jax.tell`."""
        self, num_clipped = validation.clipped(self)
        finite = jnp.isfinite(candidates)
        present = jnp.all(finite, axis=1)
        fitness = jnp.where(present, fitness, jnp.nan)
        candidates = jnp.where(finite, candidates, 0.0)  # a broken individual has failed
        log_weight = shapings.log_weight(self.shaping, fitness)
        key_ratio, key_move = jax.random.split(key)
        ratio, ratio_state = self.ratio.estimate(
            key_ratio,
            state.ratio_state,
            candidates,
            log_weight,
            present,
            state.sigma,
            self.density_power,
        )
        moved = moves.moved(self, key_move, state, candidates, ratio, ratio_state)
        able = jnp.any(log_weight > -jnp.inf)
        sound = ratio.sound & jnp.all(jnp.isfinite(moved.population))
        stays = pytree.replace(state, population=candidates)
        told = pytree.select(able & sound, moved, stays)
        told = self._after(told, state, candidates, fitness)
        answer = Estimate(candidates, ratio.effective_sample_size, ratio.self_weight)
        info = describe(
            fitness,
            log_weight,
            answer,
            state.sigma,
            told.done,
            num_clipped,
            able & ~sound,
        )
        return told, info

    def _after(
        self,
        told: MonoFlowState,
        before: MonoFlowState,
        candidates: jax.Array,
        fitness: jax.Array,
    ) -> MonoFlowState:
        """The state with the generation counted; after the last one nobody moves."""
        count = before.generation + 1
        last = count >= self.num_generations
        rests = pytree.replace(told, population=candidates, latent=before.latent)
        told = pytree.select(last, rests, told)
        best_solution, best_fitness = update_best(before, candidates, fitness)
        told = pytree.replace(
            told,
            sigma=self.sigmas()[jnp.minimum(count, self.num_generations - 1)],
            generation=count,
            best_solution=best_solution,
            best_fitness=best_fitness,
            done=last,
        )
        return pytree.select(before.done, before, told)

    def sigmas(self) -> jax.Array:
        """Widths of all generations, ``(num_generations,)``."""
        return self.grid.sigmas(self.num_generations)

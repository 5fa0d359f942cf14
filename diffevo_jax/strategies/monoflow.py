"""MonoFlow: evolve a population along the gradient of its log density ratio.

A GAN is a diffusion in the time of its training: its discriminator estimates the log-ratio
of the data's density p to that of the generated points q, and points that follow the
gradient of an increasing function h of it become data. Here the evaluated population is
both: as it is, it is a sample of q; weighted by fitness, it is one of p.

    w_j = g(f_j) / q(x_j)^kappa,    dx/dt = h'(log r) grad log r,    r = p / q

Without a power of the density (kappa = 0) that is selection: all particles climb log g,
and gather at its peaks. With all of it (kappa = 1) the weights are importance weights, p is
g itself, and the flow goes down KL(q | g): at its end the population is a sample of g.

Reference: Yi, Zhu, Liu, "MonoFlow: Rethinking Divergence GANs via the Perspective of
Wasserstein Gradient Flows", ICML 2023, arXiv:2302.01075.
"""

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from diffevo_jax import noise, pytree
from diffevo_jax import shaping as shapings
from diffevo_jax.attention.division import parts_divided
from diffevo_jax.base import (
    Competition,
    Estimate,
    Evaluated,
    Grid,
    PyTree,
    RowShaping,
    Shaping,
)
from diffevo_jax.flows.divergences import Divergence, ReverseKL
from diffevo_jax.flows.generator import Generator
from diffevo_jax.flows.kernel_ratios import KernelRatio
from diffevo_jax.flows.ratio import Ratio, RatioEstimator
from diffevo_jax.noise.grids import levels_of
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.derivatives import square_root
from diffevo_jax.samplers.optax import Transformation, transformed
from diffevo_jax.shaping.conditions import Condition, check_conditions, total
from diffevo_jax.strategies import shell

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
        best_solution: (D,) best feasible of all evaluated, or the least infeasible, unit
            scale.
        best_fitness: () its fitness; -inf before any feasible evaluation succeeded.
        best_violation: () its violation: 0 if feasible; +inf before any evaluation.
        done: () bool; after it the state is frozen.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> state = de.init(de.MonoFlow(25), jax.random.key(0), jnp.ones((8, 2)))
        >>> state.population.shape, state.latent, int(state.generation)
        ((8, 2), (), 0)
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
    best_violation: jax.Array
    done: jax.Array

    @property
    def clean_estimate(self) -> jax.Array:
        """(N, D) where each individual is: it has no noise."""
        return self.population


@pytree.dataclass
class MonoFlow:
    """MonoFlow: a population flows to where the density that it should have is too low.

        x_i <- x_i + rate width^2 h'(log r_i) grad log r_i + noise width w / sqrt(D),

    the middle part at most ``longest_step`` widths long. With the kernel's ratio, a
    ``rate`` of 1 and h' of 1 it is Diffusion Evolution's pull without its contraction: the
    weighted mean of the neighbourhood minus its plain mean, which is what guidance adds
    there. Prefer it with ``density_power=1`` and Boltzmann's weights where a sample of g is
    wanted and not its peaks; on functions of 8 to 64 dimensions it is about as good as the
    default of :class:`diffevo_jax.DiffusionEvolution`, and not as good as that with much
    guidance (``docs/flows.md``). One evaluation for each
    individual and generation; cost O(N^2 D) beside it.

    Args:
        num_generations: rounds of evaluation, static, >= 1.
        grid: widths of what p and q are seen through, in unit deviations, one a generation.
            Unlike in Diffusion Evolution they are not noise: begin at about half the
            population's deviation, and end at the precision that is wanted.
        shaping: from fitness to log-weight, log g.
        conditions: what else is wanted, as of :class:`diffevo_jax.denoisers.Population`.
        ratio: what estimates the density ratio and its gradient:
            :class:`diffevo_jax.flows.KernelRatio` in closed form, or a trained
            :class:`diffevo_jax.flows.Discriminator`.
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
    conditions: tuple[Condition, ...] = ()
    ratio: RatioEstimator = dataclasses.field(default_factory=KernelRatio)
    divergence: Divergence = dataclasses.field(default_factory=ReverseKL)
    density_power: Number = pytree.number(default=0.25, low=0.0, high=1.0)
    rate: Number = pytree.number(default=2.0, low=0.0)
    noise: Number = pytree.number(default=0.1, low=0.0)
    longest_step: Number = pytree.number(default=2.0, low=0.0)
    generator: Generator | None = None
    optimizer: "optax.GradientTransformation | None" = pytree.static(default=None)

    init = shell.init
    ask = shell.ask
    tell = shell.tell
    divided = parts_divided

    def check(self) -> None:
        """Raise ValueError or TypeError if the parts do not go together."""
        validation.check_count("MonoFlow.num_generations", self.num_generations)
        check_conditions("MonoFlow.conditions", self.conditions)
        rows = pytree.offers(self.shaping, RowShaping)
        if rows or pytree.offers(self.shaping, Competition):
            raise ValueError(
                f"MonoFlow.shaping: got {type(self.shaping).__name__}, want one that "
                "compares the fitness of the whole population, such as Standardized or "
                "Rank; this one is for denoisers.Population of DiffusionEvolution"
            )
        if self.optimizer is not None and not pytree.offers(self.optimizer, Transformation):
            raise TypeError(
                f"MonoFlow.optimizer: got {self.optimizer!r}, want a transformation of "
                "optax, or None"
            )

    def start(self, key: jax.Array, population: jax.Array) -> MonoFlowState:
        """The state before any evaluation of a population ``(N, D)``."""
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
            **shell.before_all(population),
        )

    def query(
        self, key: jax.Array, state: MonoFlowState
    ) -> tuple[jax.Array, MonoFlowState]:
        """The individuals, ``(N, D)``."""
        return state.population, state

    def move(
        self, key: jax.Array, state: MonoFlowState, evaluated: Evaluated
    ) -> tuple[MonoFlowState, Estimate]:
        """Estimate the ratio, and step along its gradient."""
        points, fitness, measures = evaluated.points, evaluated.fitness, evaluated.measures
        log_weight = shapings.log_weight(self.shaping, fitness)
        if self.conditions:
            log_weight += total(self.conditions, points, fitness, measures)
        present = evaluated.present
        key_ratio, key_move = jax.random.split(key)
        ratio, ratio_state = self.ratio.estimate(
            key_ratio,
            state.ratio_state,
            points,
            log_weight,
            jnp.ones(len(points), bool) if present is None else present,
            state.sigma,
            self.density_power,
        )
        able = jnp.any(log_weight > -jnp.inf)
        estimate = Estimate(
            clean=points,
            effective_sample_size=ratio.effective_sample_size,
            self_weight=ratio.self_weight,
            num_weightless=jnp.sum(log_weight == -jnp.inf, dtype=jnp.int32),
            num_diverged=jnp.asarray(able & ~ratio.sound, jnp.int32),
            sound=able & ratio.sound,
        )
        following = jnp.minimum(state.generation + 1, self.num_generations - 1)
        state = pytree.replace(
            state, ratio_state=ratio_state, sigma=self.sigmas()[following]
        )
        return self.step(key_move, state, ratio), estimate

    def step(self, key: jax.Array, state: MonoFlowState, ratio: Ratio) -> MonoFlowState:
        """The individuals after a step, or generated where it has led to."""
        key_noise, key_latent = jax.random.split(key)
        slope = self.divergence.slope(ratio.log_ratio)[:, None]
        step = self.rate * ratio.width**2 * slope * ratio.gradient
        memory, made, latent = state.optimizer_state, state.generator_state, state.latent
        points = state.population
        if self.optimizer is not None:
            step, memory = transformed(self.optimizer, -step, memory, points)
        step = bounded(step, self.longest_step * ratio.width)
        fresh = jax.random.normal(key_noise, points.shape, points.dtype)
        fresh *= self.noise * ratio.width / jnp.sqrt(points.shape[1])
        population = points + step + fresh
        if self.generator is not None:
            made = self.generator.regress(made, latent, population)
            latent = jax.random.normal(key_latent, population.shape, population.dtype)
            population = self.generator.generate(made, latent)
        return pytree.replace(
            state,
            population=population,
            optimizer_state=memory,
            generator_state=made,
            latent=latent,
        )

    def stay(self, state: MonoFlowState, moved: MonoFlowState) -> MonoFlowState:
        """No individual moves, nothing was learnt, and the width falls."""
        return pytree.replace(state, sigma=moved.sigma)

    def rest(self, state: MonoFlowState, moved: MonoFlowState) -> MonoFlowState:
        """The last generation stays where it is, as it was generated."""
        return pytree.replace(moved, population=state.population, latent=state.latent)

    def sigmas(self) -> jax.Array:
        """Widths of all generations, ``(num_generations,)``."""
        return levels_of(self.grid, self.num_generations)


def bounded(step: jax.Array, longest: Number) -> jax.Array:
    """Steps ``(N, D)`` of at most that length, in the same directions."""
    square = jnp.sum(step**2, axis=1, keepdims=True)
    length = square_root(square)
    return step * jnp.minimum(1.0, longest / jnp.where(length > 0, length, 1.0))

"""Consensus: every individual moves towards where the others think that the best is.

    x_i <- x_i + rate (m_i - x_i) + sqrt(noise^2 |x_i - m_i|^2 + fresh^2 sigma'^2) w

with the consensus ``m_i`` the answer of a denoiser to the individuals as they are: of a
flat kernel the weighted mean of all, of one of a width that of the neighbours. This is one
equation for several algorithms that were found apart:

* consensus-based optimisation: noise in proportion to the distance, which ends by itself;
* its polarised form: a kernel, and so as many consensuses as there are peaks;
* model-based diffusion: the whole way in one step, and fresh noise of a level that falls;
* Diffusion Evolution where individuals live in canonical coordinates: the kernel's width is
  that level, and a step goes as far as the level falls.

``docs/siblings.md`` derives them.

References: Pinnau, Totzeck, Tse, Martin, "A consensus-based model for global optimization
and its mean-field limit", 2017, arXiv:1604.05648; Bungert, Roith, Wacker, "Polarized
consensus-based dynamics for optimization and sampling", 2022, arXiv:2211.05238; Pan, Yi,
Shi, Qu, "Model-Based Diffusion for Trajectory Optimization", 2024, arXiv:2407.01573.
"""

import dataclasses

import jax
import jax.numpy as jnp

from diffevo_jax import noise, pytree
from diffevo_jax.attention.division import parts_divided
from diffevo_jax.base import Denoiser, Estimate, Evaluated, Grid, PyTree
from diffevo_jax.denoisers import Population
from diffevo_jax.kernels import Gaussian
from diffevo_jax.noise.grids import levels_of
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.derivatives import square_root
from diffevo_jax.shaping import Standardized
from diffevo_jax.strategies import shell
from diffevo_jax.strategies.diffusion_evolution import estimate_of


def weighted_mean() -> Population:
    """The weighted mean of all, who are all neighbours; without guidance."""
    return Population(Gaussian(kappa=0.0), Standardized(temperature=0.5), guidance=None)


@pytree.dataclass
class ConsensusState:
    """State of N individuals of D numbers.

    Attributes:
        population: (N, D) the individuals, unit scale.
        clean_estimate: (N, D) the consensus of each, unit scale; before the first ``tell``
            the population itself.
        sigma: () width of the kernel and of fresh noise, in unit deviations.
        denoiser: what the denoiser has learnt.
        generation: () int32, rounds evaluated so far.
        best_solution: (D,) best feasible of all evaluated, or the least infeasible, unit
            scale.
        best_fitness: () its fitness; -inf before any feasible evaluation succeeded.
        best_violation: () its violation: 0 if feasible; +inf before any evaluation.
        done: () bool; after it the state is frozen.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> state = de.init(de.Consensus(25), jax.random.key(0), jnp.ones((8, 2)))
        >>> bool((state.clean_estimate == state.population).all()), int(state.generation)
        (True, 0)
    """

    population: jax.Array
    clean_estimate: jax.Array
    sigma: jax.Array
    denoiser: PyTree
    generation: jax.Array
    best_solution: jax.Array
    best_fitness: jax.Array
    best_violation: jax.Array
    done: jax.Array


@pytree.dataclass
class Consensus:
    """Consensus-based optimisation, its polarised form, and model-based diffusion.

        x_i <- x_i + rate (m_i - x_i) + sqrt(noise^2 |x_i - m_i|^2 + fresh^2 sigma'^2) w

    As it is the population is drawn anew in every generation, around its mean weighted by
    fitness, with noise that falls: prefer it for the best solution in many dimensions
    (``docs/siblings.md``). :meth:`Consensus.plain` is consensus-based optimisation,
    :meth:`Consensus.polarised` keeps several solutions, :meth:`Consensus.model_based` is
    model-based diffusion as published. One evaluation for each individual and generation.

    Args:
        num_generations: rounds of evaluation, static, >= 1.
        denoiser: who answers where the consensus is: a population, with the weights
            ``exp(beta f)`` of the papers by ``shaping.Boltzmann(1 / beta)``. Its kernel is
            as wide as the grid says.
        grid: widths of the kernel, and of the fresh noise, in unit deviations, one a
            generation. They are nothing to a flat kernel without fresh noise.
        rate: share of the way to the consensus that is gone, in [0, 1]: of the drift
            ``lambda`` in a step of time ``dt`` it is ``lambda dt`` by Euler's method, and
            ``1 - exp(-lambda dt)`` exactly.
        noise: ``sigma sqrt(dt)`` of the papers: deviation of what is added, in distances to
            the consensus, >= 0. Of a distance that is whole (``isotropic``) it is stable
            while ``noise^2 D < 1 - (1 - rate)^2``.
        fresh: deviation of what is added in any case, in widths of the next generation,
            >= 0.
        growth: of the weight of fitness, by a factor a generation, > 0: it multiplies the
            fitness, which matters to shapings with a unit, as ``Boltzmann``.
        isotropic: whether the distance to the consensus is one number, as first published,
            or one for each coordinate, which does not feel the dimension; static.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Function(lambda x: -((x - 1.0) ** 2).sum(), dim=2)
        >>> strategy = de.Consensus(num_generations=25)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=128)
        >>> result.best_solution.round(1).tolist()
        [1.0, 1.0]

    References:
        Pinnau et al., 2017, arXiv:1604.05648, eq. 1.1; Carrillo, Jin, Li, Zhu, 2019,
        arXiv:1909.09249, eq. 1.4 (a distance for each coordinate); Bungert, Roith, Wacker,
        2022, arXiv:2211.05238, eqs. 1.3 and 1.4; Pan et al., 2024, arXiv:2407.01573,
        algorithm 1.

    Notes:
        Fitness is maximised, so that ``V = -f``. The papers' Heaviside factor, which lets
        only those move that are worse than the consensus, would need its evaluation, and is
        left out, as in most of their experiments. The sampling form, with the noise of a
        weighted covariance, is not here: :class:`diffevo_jax.MonoFlow` samples. The papers
        of consensus take a hundredth of the way in a step; numbers here are for 10 to 50
        generations, as tried on the tasks of ``benchmarks/design_tasks.py``, with seeds of
        their own.
    """

    num_generations: int = pytree.static()
    denoiser: Denoiser = dataclasses.field(default_factory=weighted_mean)
    grid: Grid = dataclasses.field(default_factory=lambda: noise.VE(0.01, 1.0))
    rate: Number = pytree.number(default=1.0, low=0.0, high=1.0)
    noise: Number = pytree.number(default=0.0, low=0.0)
    fresh: Number = pytree.number(default=1.0, low=0.0)
    growth: Number = pytree.number(default=1.0, above=0.0)
    isotropic: bool = pytree.static(default=False)

    init = shell.init
    ask = shell.ask
    tell = shell.tell
    divided = parts_divided

    @classmethod
    @checked
    def plain(cls, num_generations: int) -> "Consensus":
        """Consensus-based optimisation: noise in proportion to the distance, and no other.

        Noise ends by itself where all agree, and not by a plan, so that nothing need be
        known of how far it should fall.

        Args:
            num_generations: rounds of evaluation, >= 1.

        Example:
            >>> import diffevo_jax as de
            >>> strategy = de.Consensus.plain(25)
            >>> strategy.rate, strategy.noise, strategy.fresh
            (1.0, 0.7, 0.0)

        References:
            Pinnau et al., 2017, arXiv:1604.05648, eq. 1.1; Carrillo et al., 2019,
            arXiv:1909.09249, eq. 1.4.
        """
        population = Population(Gaussian(kappa=0.0), Standardized(), guidance=None)
        grid = noise.Constant(1.0)  # the width of nothing
        return cls(num_generations, population, grid, noise=0.7, fresh=0.0)

    @classmethod
    @checked
    def polarised(cls, num_generations: int, width: Number) -> "Consensus":
        """The same where individuals hear their neighbours alone: several peaks are kept.

        Args:
            num_generations: rounds of evaluation, >= 1.
            width: of the kernel, in unit deviations, > 0; narrower than peaks are apart.

        Example:
            >>> import jax, jax.numpy as jnp, diffevo_jax as de
            >>> two = lambda x: -jnp.minimum(((x - 1) ** 2).sum(), ((x + 1) ** 2).sum())
            >>> problem = de.problems.Function(two, dim=2)
            >>> key, strategy = jax.random.key(0), de.Consensus.polarised(50, width=0.3)
            >>> result = de.evolve(key, strategy, problem, population_size=256)
            >>> share = (result.population.mean(axis=1) > 0).mean()
            >>> bool(0.2 < share < 0.8)
            True

        References:
            Bungert, Roith, Wacker, 2022, arXiv:2211.05238, eqs. 1.3 and 1.4.
        """
        population = Population(Gaussian(), Standardized(), guidance=None)
        grid = noise.Constant(width)
        return cls(num_generations, population, grid, noise=0.7, fresh=0.0)

    @classmethod
    @checked
    def model_based(cls, num_generations: int, temperature: Number = 0.1) -> "Consensus":
        """Model-based diffusion: one plan, which is drawn around, weighed, and replaced.

            Y_j ~ N(Y, (sigma_k / sigma_0)^2 I),
            Y  <-  sum_j softmax_j( z(J_j) / temperature ) Y_j

        with z the standard scores. The plan is every row of ``state.clean_estimate``;
        several chains are several runs, by ``jax.vmap`` or ``num_seeds``, or one of a
        kernel with a width.

        Args:
            num_generations: rounds of evaluation, >= 1; 100 in the paper.
            temperature: of the standard scores, > 0; 0.1 to 1 in the paper.

        Example:
            >>> import jax, diffevo_jax as de
            >>> problem = de.problems.Function(lambda x: -((x - 0.5) ** 2).sum(), dim=16)
            >>> strategy = de.Consensus.model_based(100)
            >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=64)
            >>> bool(abs(result.state.clean_estimate[0] - 0.5).max() < 0.1)
            True

        References:
            Pan et al., 2024, arXiv:2407.01573, algorithm 1: its score ascent
            ``(Y + (1 - alpha_bar) score) / sqrt(alpha)`` is, in ``Y / sqrt(alpha_bar)``,
            the weighted mean.

        Notes:
            The paper begins at N(0, sigma_0^2 I), here at the given population, N(0, I).
            The levels are those of its code over the first one: ``sqrt(1 - alpha_bar)``,
            of 1 - alpha from 1e-4 to 1e-2. Its box is then 1.58 unit deviations wide on
            each side, of 100 levels: ``Space(bound_scale=1.58, boundary="clip")``.
        """
        validation.check_count("num_generations", num_generations)
        betas = jnp.linspace(1e-4, 1e-2, num_generations)
        falling = jnp.sqrt(-jnp.expm1(jnp.cumsum(jnp.log1p(-betas))))[::-1]
        shaping = Standardized(temperature)
        population = Population(Gaussian(kappa=0.0), shaping, guidance=None)
        grid = noise.Levels(falling / falling[0])
        return cls(num_generations, population, grid)

    def check(self) -> None:
        """Raise ValueError or TypeError if parts do not go together."""
        validation.check_count("Consensus.num_generations", self.num_generations)

    def start(self, key: jax.Array, population: jax.Array) -> ConsensusState:
        """The state before any evaluation of a population ``(N, D)``."""
        return ConsensusState(
            population=population,
            clean_estimate=population,
            sigma=self.sigmas()[0],
            denoiser=self.denoiser.init(key, population),
            **shell.before_all(population),
        )

    def query(
        self, key: jax.Array, state: ConsensusState
    ) -> tuple[jax.Array, ConsensusState]:
        """The individuals, ``(N, D)``."""
        return state.population, state

    def move(
        self, key: jax.Array, state: ConsensusState, evaluated: Evaluated
    ) -> tuple[ConsensusState, Estimate]:
        """Learn, find the consensus of each, and step towards it."""
        key_learn = jax.random.fold_in(key, shell.LEARNING)
        seen = grown(evaluated.fitness, self.growth, state.generation)
        evaluated = pytree.replace(evaluated, fitness=seen)
        learnt = self.denoiser.learn(key_learn, state.denoiser, evaluated)
        x, following = state.population, state.generation + 1
        estimate = estimate_of(self.denoiser.denoise(learnt, x, state.sigma), x)
        sigma = self.sigmas()[jnp.minimum(following, self.num_generations - 1)]
        moved = consensus_step(
            x,
            estimate.clean,
            rate=self.rate,
            noise=self.noise,
            fresh=self.fresh * sigma,
            eps=jax.random.normal(key, x.shape, x.dtype),
            isotropic=self.isotropic,
        )
        state = pytree.replace(
            state,
            population=moved,
            clean_estimate=estimate.clean,
            sigma=sigma,
            denoiser=learnt,
        )
        return state, estimate

    def stay(self, state: ConsensusState, moved: ConsensusState) -> ConsensusState:
        """No individual moves, and the width falls."""
        return pytree.replace(
            moved, population=state.population, clean_estimate=state.clean_estimate
        )

    def rest(self, state: ConsensusState, moved: ConsensusState) -> ConsensusState:
        """The last generation stays where it is."""
        return pytree.replace(moved, population=state.population, sigma=state.sigma)

    def sigmas(self) -> jax.Array:
        """Widths of all generations, ``(num_generations,)``."""
        return levels_of(self.grid, self.num_generations)


@checked
def consensus_step(
    x: jax.Array,
    consensus: jax.Array,
    *,
    rate: Number,
    noise: Number,
    fresh: Number,
    eps: jax.Array,
    isotropic: bool = False,
) -> jax.Array:
    """A step towards the consensus, with noise of its distance and of its own.

        x' = x + rate (m - x) + sqrt(noise^2 |x - m|^2 + fresh^2) eps

    Args:
        x: (N, D) points.
        consensus: (N, D) m, of each.
        rate: share of the way, in [0, 1].
        noise: deviation in distances, >= 0.
        fresh: deviation in any case, in the units of x, >= 0.
        eps: (N, D) standard normal noise.
        isotropic: whether ``|x - m|`` is the length of the difference, or that of each
            coordinate; static.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import strategies
        >>> x, m, eps = jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2)), jnp.ones((1, 2))
        >>> numbers = {"rate": 0.5, "noise": 0.5, "fresh": 0.0, "eps": eps}
        >>> strategies.consensus_step(x, m, **numbers).tolist()
        [[3.0, 4.0]]
        >>> strategies.consensus_step(x, m, **numbers, isotropic=True).tolist()
        [[4.0, 4.5]]

    References:
        Pinnau et al., 2017, arXiv:1604.05648, eq. 1.1, by Euler's method; Carrillo et al.,
        2019, arXiv:1909.09249, eq. 1.4.
    """
    square = (x - consensus) ** 2
    if isotropic:
        square = jnp.sum(square, axis=1, keepdims=True)
    deviation = square_root(noise**2 * square + fresh**2)
    return x + rate * (consensus - x) + deviation * eps


def grown(fitness: jax.Array, growth: Number, generation: jax.Array) -> jax.Array:
    """Fitness ``(N,)`` times ``growth^generation``; finite where it was."""
    largest = jnp.finfo(fitness.dtype).max
    valid = jnp.isfinite(fitness)
    power = jnp.asarray(growth, fitness.dtype) ** generation.astype(fitness.dtype)
    factor = jnp.minimum(power, largest)
    more = jnp.clip(jnp.where(valid, fitness, 0.0) * factor, -largest, largest)
    return jnp.where(valid, more, fitness)

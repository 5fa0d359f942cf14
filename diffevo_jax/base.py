"""The contracts: what every part of an evolution, or of a diffusion, promises.

A *denoiser* answers where clean points are, a *sampler* moves by its answers, a *grid* says
at which noise levels. A *strategy* is what evolves; on a *problem*. A population answers by
a *kernel* and a *shaping*. To write one of these, fill in its Protocol;
:mod:`diffevo_jax.testing` holds it to its promises.

Conventions, said once:

* **Fitness is maximised**, everywhere. To minimise ``f``, let the problem return ``-f``.
* **Failed fitness**: NaN, ``+inf`` and ``-inf`` all mean that an evaluation failed. The
  individual gets weight zero and is never the best; the others have the same bits for
  any of the three. If all fail and no earlier ones are remembered
  (:class:`diffevo_jax.denoisers.Archive`), the population keeps its bits and the
  generation advances. A model that learns nothing answers all the same.
* **Unit scale**: ``population`` and ``candidates`` are ``(N, D)`` arrays in units of the
  prior's standard deviation. A problem's ``space`` translates them into solutions.
* **Canonical**: denoisers and samplers see noisy points as ``y = clean point + sigma eps``.
  An individual x at noise level sigma is ``y = sqrt(1 + sigma^2) x``; clean points, and
  evaluated ones as evidence, are in unit scale as they are.
* **Randomness**: typed keys (``jax.random.key``) are arguments, never state. Generation
  ``g`` of a run uses ``generation_keys(key, g)``, the set-up ``setup_keys(key)``.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.pytree import Number

StateT = TypeVar("StateT")
PyTree = Any


@pytree.dataclass
class Estimate:
    """A denoiser's answer for N noisy points.

    Attributes:
        clean: (N, D) where the clean points are, finite, in unit scale.
        effective_sample_size: (N,) individuals behind each answer, at least 1; 0 where none
            answers, but a model.
        self_weight: (N,) weight of individual i in its own answer, in [0, 1]; 0 where the
            points are no individuals.
        num_weightless: () int32, evaluated individuals of this generation that count
            nothing.
        num_diverged: () int32, how often learning or answering diverged, and the denoiser
            has undone it.
        sound: () bool, whether the answer may be used, False where all evaluations have
            failed; if not, the population stays.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> mean, y = jnp.array([1.0, -1.0]), jnp.zeros((5, 2))
        >>> none = jnp.zeros(len(y))  # of a model, behind whose answers are no individuals
        >>> estimate = de.Estimate(jnp.broadcast_to(mean, y.shape), none, none)
        >>> estimate.clean[0].tolist(), estimate.sound
        ([1.0, -1.0], True)
    """

    clean: jax.Array
    effective_sample_size: jax.Array
    self_weight: jax.Array
    num_weightless: jax.typing.ArrayLike = 0
    num_diverged: jax.typing.ArrayLike = 0
    sound: jax.Array | bool = True


@pytree.dataclass
class Evaluated:
    """A generation that was evaluated: what a denoiser learns from.

    Attributes:
        points: (N, D) unit scale, finite; a broken candidate stands at 0, and has failed.
        fitness: (N,) to be maximised; NaN or infinite where the evaluation failed, and of
            whoever is not to teach. Where there are constraints infeasible ones are below
            the feasible, see :mod:`diffevo_jax.shaping.feasibility`.
        clean: (N, D) where each individual's clean point was last seen, unit scale; in the
            first generation the points.
        sigma: () noise level at which they were evaluated.
        measures: pytree with leading axis N, as the problem gave them.
        violation: (N,) at most 0 where a solution is feasible; None if all are. It is in
            the fitness already.
        present: (N,) bool, False where a candidate was broken; None if none was.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> points = jnp.array([[0.0], [4.0], [9.0]])
        >>> fitness = jnp.array([3.0, 1.0, jnp.nan])
        >>> evaluated = de.Evaluated(points, fitness, clean=points, sigma=0.5)
        >>> failed = ~jnp.isfinite(evaluated.fitness)  # what to learn: a mean by fitness
        >>> weight = jnp.where(failed, 0.0, evaluated.fitness)
        >>> float(weight @ evaluated.points[:, 0] / weight.sum())
        1.0
    """

    points: jax.Array
    fitness: jax.Array
    clean: jax.Array
    sigma: Number
    measures: PyTree = ()
    violation: jax.Array | None = None
    present: jax.Array | None = None


#: What a sampler asks: ``denoise(y, sigma)``, with canonical points (N, D) and a noise
#: level (), returns the clean points (N, D), or an :class:`Estimate` of them.
Denoise = Callable[[jax.Array, jax.Array], Any]


@runtime_checkable
class Denoiser(Protocol[StateT]):
    """Who answers where the clean points are: a component that learns.

    In a generative model the learning happened before; in evolution it happens in every
    generation. Row i of the points that are asked about is individual i of the generation
    learnt last if and only if there are N of them: only then have own weights a meaning.
    """

    def init(self, key: jax.Array, population: jax.Array) -> StateT:
        """What is known before any evaluation of a population ``(N, D)``."""
        ...

    def learn(self, key: jax.Array, state: StateT, evaluated: Evaluated) -> StateT:
        """Take in a generation; shapes and dtypes of the state stay."""
        ...

    def denoise(self, state: StateT, y: jax.Array, sigma: jax.Array) -> Estimate:
        """Where the clean points of canonical points ``(N, D)`` at noise sigma () are."""
        ...


@pytree.dataclass
class Info:
    """What one generation is like: scalars only, so that a history stays small.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(10)
        >>> history = de.evolve(
        ...     jax.random.key(0), strategy, problem, population_size=32).history
        >>> history.best_fitness.shape, int(history.done.argmax())
        ((10,), 9)
        >>> bool((history.mean_fitness <= history.best_fitness).all())
        True
    """

    #: () highest feasible fitness of the generation; -inf if there was none.
    best_fitness: jax.Array
    #: () mean over the evaluations that did not fail; -inf if every one failed.
    mean_fitness: jax.Array
    #: () noise level sigma at which the generation was evaluated, in unit deviations.
    sigma: jax.Array
    #: () effective sample size of an estimate, its mean over the population, in [1, N].
    #: Near 1 one individual has all weight: itself if ``self_weight`` is near 1, else the
    #: best, which is greedy selection.
    effective_sample_size: jax.Array
    #: () weight that an individual has in its own estimate, its mean over the population,
    #: in [0, 1]. Near 1 there is no selection.
    self_weight: jax.Array
    #: () int32, individuals whose fitness is NaN or infinite.
    num_failed: jax.Array
    #: () int32, individuals with weight zero: the failed, and those outside the domain of
    #: the shaping (fitness <= 0 under ``Identity`` and ``Power``).
    num_weightless: jax.Array
    #: () int32, steps of the strategy that were undone because what it learns or computes
    #: for them diverged: then the population stays. 0 or 1 a generation.
    num_diverged: jax.Array
    #: () int32, numbers of the strategy, and in ``evolve`` and ``run`` of the problem, that
    #: were out of their range, and were clipped; where they are not traced, they raise.
    num_clipped: jax.Array
    #: () bool, whether this was the last generation.
    done: jax.Array


@pytree.dataclass
class Evaluation:
    """What a problem says about a population.

    Attributes:
        fitness: (N,) to be maximised; NaN or infinite where the evaluation failed.
        measures: pytree with leading axis N: episode lengths, behaviour descriptors,
            constraint values. It reaches ``tell``.
        violation: (N,) at most 0 where a solution is feasible, NaN or infinite where that
            is not known; None if all are. An infeasible solution is never the best, and
            a strategy sees it below the feasible ones, or not at all
            (:mod:`diffevo_jax.shaping.feasibility`).
        penalty: (N,) at least 0, by how many standard deviations of the generation's
            fitness a strategy sees a solution lower; None for none. It changes neither
            who is feasible nor who is the best.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> x = jnp.array([0.5, 2.0])  # the larger the better, and at most 1
        >>> evaluation = de.Evaluation(fitness=x, violation=x - 1.0)
        >>> evaluation.violation.tolist()
        [-0.5, 1.0]
    """

    fitness: jax.Array
    measures: PyTree = ()
    violation: jax.Array | None = None
    penalty: jax.Array | None = None


class StrategyState(Protocol):
    """What the state of every strategy has, beside its own."""

    @property
    def generation(self) -> jax.Array:
        """() int32, rounds evaluated so far."""
        ...

    @property
    def best_solution(self) -> jax.Array:
        """(D,) the best feasible of all evaluated, or the least infeasible, unit scale."""
        ...

    @property
    def best_fitness(self) -> jax.Array:
        """() its fitness; -inf before any feasible evaluation succeeded."""
        ...

    @property
    def best_violation(self) -> jax.Array:
        """() its violation: 0 if feasible; +inf before any evaluation succeeded."""
        ...

    @property
    def done(self) -> jax.Array:
        """() bool; after it the state is frozen."""
        ...


@runtime_checkable
class Strategy(Protocol[StateT]):
    """An evolution strategy, which is also its own configuration.

    A strategy is a frozen dataclass. Its numbers are leaves, its structure is static. Its
    state has what :class:`StrategyState` has. After ``num_generations`` rounds ``done`` is
    true and the state is frozen: further calls return it unchanged.
    """

    @property
    def num_generations(self) -> int:
        """Rounds of evaluation; at least 1."""
        ...

    def init(self, key: jax.Array, population: jax.Array) -> StateT:
        """Start from a population ``(N, D)`` in unit scale; needs no fitness."""
        ...

    def ask(self, key: jax.Array, state: StateT) -> tuple[jax.Array, StateT]:
        """Return candidates ``(N, D)``; at first the initial population, bit for bit."""
        ...

    def tell(
        self,
        key: jax.Array,
        state: StateT,
        candidates: jax.Array,
        fitness: jax.Array,
        measures: PyTree = (),
        violation: jax.Array | None = None,
        penalty: jax.Array | None = None,
    ) -> tuple[StateT, Info]:
        """Learn the fitness ``(N,)`` of candidates, which may have been repaired."""
        ...


@runtime_checkable
class Problem(Protocol):
    """Something to evaluate solutions on. Write your own class with these three members.

    An object is of one of three kinds, and all of them run everywhere:

    * a :func:`diffevo_jax.pytree.dataclass`: its numbers can be swept and changed without
      compiling anew, and they are checked. The one to take for what is to last;
    * any other pytree, registered with JAX: the same, unchecked;
    * an object of any other class. It is a constant of the compiled program, known by its
      hash: objects that are equal share a program, a plain class compiles for each object,
      and what is changed in an object after its first run is not seen. So it must be
      hashable: a ``dataclasses.dataclass`` is if it is frozen and holds no arrays.

    ``init`` and ``evaluate`` are traced, under ``vmap`` too: they compute by ``jax.numpy``,
    and do not look at numbers. One that must, because it calls SciPy, a simulator or other
    processes, also offers :class:`EvaluatesOnHost`, as
    :class:`diffevo_jax.problems.External` does.

    What else a problem may offer: :class:`EvaluatesOnHost`, :class:`HasEnvironment`,
    :class:`Noisy`.
    """

    @property
    def space(self) -> Any:
        """The :class:`diffevo_jax.problems.Space` of its solutions."""
        ...

    def init(self, key: jax.Array) -> PyTree:
        """Return the problem's own state; ``()`` if it has none."""
        ...

    def evaluate(
        self, key: jax.Array, problem_state: PyTree, solutions: PyTree
    ) -> tuple[Evaluation, PyTree]:
        """Evaluate N decoded solutions: a pytree whose leaves have leading axis N."""
        ...


@runtime_checkable
class Kernel(Protocol):
    """Who is a neighbour: a map to features, and a factor on their squared distances.

    What else a kernel may offer: :class:`RowKernel`, :class:`Placing`, :class:`Floored`.
    """

    def init(self, key: jax.Array, dim: int) -> PyTree:
        """Draw what stays fixed during a run, for example a projection."""
        ...

    def adapt(
        self, kernel_state: PyTree, points: jax.Array, log_weight: jax.Array
    ) -> PyTree:
        """Learn from a generation: points ``(M, D)``, log-weights ``(M,)``."""
        ...

    def features(self, kernel_state: PyTree, points: jax.Array) -> jax.Array:
        """Map points ``(N, D)`` to features ``(N, d)``; distances are taken there."""
        ...

    def factor(self, kernel_state: PyTree, dim: int) -> Number:
        """Kappa, on the squared distance: 1 is exact; at 0 all are neighbours."""
        ...


@runtime_checkable
class Shaping(Protocol):
    """A map from fitness to log-weight: how hard the better are preferred.

    What else a shaping may offer: :class:`RowShaping`, :class:`Competition`.
    """

    def log_weight(self, fitness: jax.Array, valid: jax.Array) -> jax.Array:
        """Map fitness ``(N,)`` to log-weights ``(N,)``, finite or ``-inf``.

        All values are finite; where ``valid`` ``(N,)`` is false they stand for failed
        evaluations, have the lowest value of the others, and get weight zero.
        """
        ...


@runtime_checkable
class Grid(Protocol):
    """A sequence of noise levels."""

    def sigmas(self, num_levels: int) -> jax.Array:
        """Return ``(num_levels,)`` decreasing noise levels, within [1e-6, 1e6]."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """A diffusion sampler that consumes one denoiser answer at a time.

    All points are canonical. Answers are numbered by ``k`` from 0; after the last one, at
    the last level, nothing moves. Noise is added in ``update`` alone, so that the point
    that is asked about is the one that is evaluated. What else a sampler may offer:
    :class:`ChecksGrid`.
    """

    @property
    def answers_per_evaluation(self) -> int:
        """Answers taken from every evaluation of a population; 1 unless frozen."""
        ...

    def num_rounds(self, num_levels: int) -> int:
        """Evaluations needed to walk down a grid of that many levels; 1 for one level."""
        ...

    def init(self, y: jax.Array) -> PyTree:
        """Memory kept between rounds; ``()`` if none."""
        ...

    def query(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: PyTree,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, PyTree]:
        """Where answer ``k`` is wanted: point ``(N, D)``, sigma, memory."""
        ...

    def update(
        self,
        key: jax.Array,
        y: jax.Array,
        memory: PyTree,
        clean: jax.Array,
        sigmas: jax.Array,
        k: jax.Array,
    ) -> tuple[jax.Array, jax.Array, PyTree]:
        """Move on, given answer ``k``: new point, its sigma, memory."""
        ...


class Policy(Protocol):
    """A controller: what maps an observation to an output, given its weights."""

    def init(self, key: jax.Array, observation: PyTree) -> PyTree:
        """Return weights for observations like this one; only their shapes are used."""
        ...

    @property
    def initial_carry(self) -> Callable[[], PyTree]:
        """Returns the carry at the start of an episode; ``tuple`` if there is none."""
        ...

    def apply(
        self, policy_params: PyTree, observation: PyTree, carry: PyTree
    ) -> tuple[jax.Array, PyTree]:
        """Return ``(output, carry)``; a feed-forward policy's carry is ``()``."""
        ...


# What a part may offer beside its contract; asked for by ``pytree.offers(part, Protocol)``.


@runtime_checkable
class Sizing(Protocol):
    """A policy that takes from its environment what it leaves open.

    See :class:`diffevo_jax.problems.MLP`, which takes its width, and
    :class:`diffevo_jax.problems.LowRankPolicy`, which then draws what is frozen.
    """

    def sized(self, observation: PyTree, num_outputs: int) -> Policy:
        """The policy for such observations and so many outputs.

        Args:
            observation: one, as the policy sees it, or its shapes.
            num_outputs: numbers of an output; a policy may have a width of its own.
        """
        ...


@runtime_checkable
class RowKernel(Protocol):
    """A kernel with a bandwidth for every individual, which needs whole rows of distances.

    See :class:`diffevo_jax.kernels.Perplexity`.
    """

    def row_precision(self, half_squares: jax.Array, mask: jax.Array) -> jax.Array:
        """Inverse variances ``(B,)``, in place of ``factor / sigma^2``.

        From half the squared distances ``(B, M)``, up to a constant a row, and which
        points count ``(M,)``.
        """
        ...


@runtime_checkable
class Placing(Protocol):
    """A kernel that measures neighbourhoods elsewhere than between noisy and clean points.

    The places are fixed within a generation; see
    :class:`diffevo_jax.kernels.SelfConditioned`.
    """

    @property
    def kernel(self) -> Kernel:
        """How distances between the places count; what it offers counts."""
        ...

    def places(self, evaluated: Evaluated) -> jax.Array:
        """Where each individual of a generation is, ``(N, D)``."""
        ...


@runtime_checkable
class Floored(Protocol):
    """A kernel with a floor, as published; see :class:`diffevo_jax.kernels.Gaussian`."""

    @property
    def floor(self) -> float | None:
        """Added to the kernel; None adds nothing."""
        ...


@runtime_checkable
class RowShaping(Protocol):
    """A shaping that compares every individual with its own neighbourhood.

    See :class:`diffevo_jax.shaping.Local`.
    """

    def row_log_weight(self, fitness: jax.Array, log_kernel: jax.Array) -> jax.Array:
        """Log-weights ``(B, M)``, from fitness ``(M,)`` and the log-kernel ``(B, M)``."""
        ...


@runtime_checkable
class Competition(Protocol):
    """A shaping by which individuals compete in a space of descriptors.

    What competes with what is remembered of earlier generations, the denoiser's log-weights
    are those of its competition fitness. See
    :class:`diffevo_jax.shaping.DominatedNovelty`.
    """

    @property
    def dim(self) -> int:
        """d, numbers of a descriptor, static."""
        ...

    def describe(self, candidates: jax.Array, measures: PyTree) -> jax.Array:
        """Descriptors ``(N, d)`` of a generation: candidates ``(N, D)``, measures."""
        ...

    def compete(self, fitness: jax.Array, descriptors: jax.Array) -> jax.Array:
        """Competition fitness ``(M,)``; ``-inf`` where fitness ``(M,)`` has failed."""
        ...


@runtime_checkable
class ChecksGrid(Protocol):
    """A sampler that cannot walk down every grid well."""

    def check_grid(self, sigmas: np.ndarray) -> None:
        """Warn of noise levels ``(T,)``, concrete, that are too far apart."""
        ...


@runtime_checkable
class EvaluatesOnHost(Protocol):
    """A problem that is evaluated between compiled programs, and not inside of one.

    :func:`diffevo_jax.run` and :func:`diffevo_jax.iterate` ask, evaluate by this method,
    and tell; ``evaluate`` is not called. See :class:`diffevo_jax.problems.External`.
    """

    @property
    def on_host(self) -> bool:
        """Whether it is one; False of what wraps a problem that is none."""
        ...

    def evaluate_on_host(
        self, key: jax.Array, problem_state: PyTree, solutions: PyTree
    ) -> tuple[Evaluation, PyTree]:
        """Evaluate the solutions of R runs at once.

        Args:
            key: (R,) typed keys.
            problem_state: of R runs: leaves with leading axis R.
            solutions: decoded; NumPy arrays with leading axes (R, N).

        Returns:
            The evaluation, its leaves with leading axes (R, N), and the next state.
        """
        ...


@runtime_checkable
class HasEnvironment(Protocol):
    """A problem whose environment has parameters of its own.

    See :class:`diffevo_jax.problems.Control`.
    """

    def with_env_params(self) -> Problem:
        """The same problem, with these parameters among its fields."""
        ...


@runtime_checkable
class Noisy(Protocol):
    """A problem that says whether its fitness depends on the key; others have no noise.

    Under noise the best of all evaluations is the luckiest, and
    :func:`diffevo_jax.evolve` chooses and judges anew at its end.
    """

    @property
    def noisy(self) -> bool:
        """Whether two evaluations of a solution may differ; known before tracing."""
        ...


@runtime_checkable
class HasCleanEstimate(Protocol):
    """A strategy's state that knows where the clean points of its individuals are."""

    @property
    def clean_estimate(self) -> jax.Array:
        """(N, D) unit scale."""
        ...


@runtime_checkable
class Divisible(Protocol):
    """A part whose attention can be divided over devices."""

    def divided(self, divide: Callable[[Any], Any]) -> Any:
        """The same part, with ``divide(attention)`` in place of its attention."""
        ...

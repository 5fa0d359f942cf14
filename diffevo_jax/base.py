"""The contracts: what a strategy, a problem, a kernel, a shaping and a sampler promise.

Conventions, said once:

* **Fitness is maximised**, everywhere. To minimise ``f``, let the problem return ``-f``.
* **Failed fitness**: NaN, ``+inf`` and ``-inf`` all mean that an evaluation failed. The
  individual gets weight zero and is never the best; the others do not feel which of the
  three it was. If all fail, the population keeps its bits and the generation advances.
* **Unit scale**: ``population`` and ``candidates`` are ``(N, D)`` arrays in units of the
  prior's standard deviation. A problem's ``space`` translates them into solutions.
* **Randomness**: typed keys (``jax.random.key``) are arguments, never state. Generation
  ``g`` of a run uses ``generation_keys(key, g)``, the set-up ``setup_keys(key)``.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import jax

from diffevo_jax import pytree
from diffevo_jax.pytree import Number

StateT = TypeVar("StateT")
PyTree = Any


@pytree.dataclass
class Info:
    """What one generation is like: scalars only, so that a history stays small."""

    #: () highest fitness of the generation; -inf if every evaluation failed.
    best_fitness: jax.Array
    #: () mean over the evaluations that did not fail; -inf if every one failed.
    mean_fitness: jax.Array
    #: () noise level sigma at which the generation was evaluated, in unit deviations.
    sigma: jax.Array
    #: () effective number of individuals that answer for one, its mean over the population,
    #: in [1, N]. Near 1 a single one does: oneself if ``self_weight`` is near 1, else the
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
    #: for them diverged: then nobody moves. 0 or 1 a generation.
    num_diverged: jax.Array
    #: () int32, numbers of the strategy that were out of their range, and were clipped;
    #: where they are not traced, they raise instead.
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
    """

    fitness: jax.Array
    measures: PyTree = ()


class Strategy(Protocol[StateT]):
    """An evolution strategy, which is also its own configuration.

    A strategy is a frozen dataclass. Its numbers are leaves, its structure is static. Its
    state holds at least ``generation`` (int32), ``best_solution`` ``(D,)`` in unit scale,
    ``best_fitness`` and ``done``. After ``num_generations`` rounds ``done`` is true and
    the state is frozen: further calls return it unchanged.
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
    ) -> tuple[StateT, Info]:
        """Learn the fitness ``(N,)`` of candidates, which may have been repaired."""
        ...


class Problem(Protocol):
    """Something to evaluate solutions on. Write your own class with these three members."""

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


class Kernel(Protocol):
    """Who is a neighbour: a map to features, and how far their distances reach.

    A kernel that gives every point a reach of its own also has a method
    ``row_precision(half_squares, mask) -> (B,)``, in place of ``factor / sigma^2``, of half
    the squared distances (B, M) up to a constant a row; see
    :class:`diffevo_jax.kernels.Perplexity`.
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
        """Kappa, on the squared distance: 1 is exact, 0 makes everyone a neighbour."""
        ...


class Shaping(Protocol):
    """A map from fitness to log-weight: how hard the better are preferred.

    A shaping that looks at every individual's own neighbourhood also has
    ``row_log_weight(fitness, log_kernel) -> (B, M)``; see
    :class:`diffevo_jax.shaping.Local`.
    """

    def log_weight(self, fitness: jax.Array, valid: jax.Array) -> jax.Array:
        """Map fitness ``(N,)`` to log-weights ``(N,)``, finite or ``-inf``.

        All values are finite; where ``valid`` ``(N,)`` is false they stand for failed
        evaluations, have the lowest value of the others, and get weight zero.
        """
        ...


class Grid(Protocol):
    """A sequence of noise levels."""

    def sigmas(self, num_levels: int) -> jax.Array:
        """Return ``(num_levels,)`` decreasing noise levels, within [1e-6, 1e6]."""
        ...


class Sampler(Protocol):
    """A diffusion sampler that consumes one denoiser answer at a time.

    All points are in canonical coordinates: ``y = clean point + sigma * noise``. Answers
    are numbered by ``k`` from 0. A sampler may also have ``check_grid(sigmas)``, which
    warns of a grid (NumPy, concrete) that it cannot walk down well.
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

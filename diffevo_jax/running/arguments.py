"""The arguments of a whole run, before it: its strategy, problem, population and names."""

from collections.abc import Collection

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import EvaluatesOnHost, Evaluation, Problem, PyTree, Strategy
from diffevo_jax.problems.external.results import in_words
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.arrays import as_given, check_fitness, check_key, check_population

#: Individuals are numbered by integers of 32 bits.
_MOST = 2**31 - 1
#: What ``record=`` can keep of every generation, besides fields of the strategy's state.
RECORDABLE = ("population", "fitness", "measures", "violation")


@pytree.dataclass
class OneObject:
    """A problem of a class that JAX does not know: a constant of the program.

    Attributes:
        problem: what it stands for; static.
    """

    problem: Problem = pytree.static()

    @property
    def space(self) -> PyTree:
        """The problem's own."""
        return self.problem.space

    def init(self, key: jax.Array) -> PyTree:
        """The problem's own."""
        return self.problem.init(key)

    def evaluate(
        self, key: jax.Array, problem_state: PyTree, solutions: PyTree
    ) -> tuple[Evaluation, PyTree]:
        """The problem's own."""
        return self.problem.evaluate(key, problem_state, solutions)


def as_pytree(problem: Problem) -> Problem:
    """The problem, as JAX takes it for an argument; see :class:`diffevo_jax.Problem`.

    Raises:
        TypeError: it can be no constant of a program, since it cannot be hashed.
    """
    known = isinstance(problem, type) or not jax.tree_util.all_leaves([problem])
    if known or not isinstance(problem, Problem):
        return problem
    try:
        hash(problem)
    except TypeError as error:
        raise TypeError(
            f"problem: got {type(problem).__name__}, which cannot be hashed ({error}), "
            "want a class made with diffevo_jax.pytree.dataclass, a frozen dataclass "
            "without arrays, or a plain class"
        ) from error
    return OneObject(problem)


def known_evaluation(
    population: jax.Array | None, fitness: jax.Array | Evaluation | None
) -> Evaluation | None:
    """What is known of the population that a run starts from; None for nothing."""
    if fitness is None:
        return None
    if population is None:
        raise ValueError("fitness: got it without population, want the population it is of")
    known = fitness if isinstance(fitness, Evaluation) else Evaluation(fitness)
    count = len(population)
    checked = lambda name: check_fitness(getattr(known, name), count, name)
    return Evaluation(
        checked("fitness"),
        jax.tree.map(lambda leaf: jnp.asarray(as_given("measures", leaf)), known.measures),
        None if known.violation is None else checked("violation"),
    )


def check_known(known: Evaluation, own: Evaluation) -> None:
    """Raise ValueError unless an evaluation that is given is like the problem's own."""
    for name in ("measures", "violation"):
        got, want = (in_words(getattr(one, name)) for one in (known, own))
        if got != want:
            raise ValueError(
                f"fitness: got {name}: {got}, want {want} for this problem, in an "
                "Evaluation(fitness, measures, violation)"
            )


def evaluates_on_host(problem: Problem) -> bool:
    """Whether a problem is evaluated between compiled programs."""
    return pytree.offers(problem, EvaluatesOnHost) and problem.on_host


def check_run(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    population_size: int | None,
    population: jax.Array | None,
    record: tuple[str, ...],
) -> None:
    """Check the arguments of :func:`diffevo_jax.evolve`; raise ValueError or TypeError."""
    check_key("key", key)
    like = "de.DiffusionEvolution(10)"
    validation.check_part("strategy", strategy, Strategy, like)
    like = 'de.problems.Landscape("beale")'
    validation.check_part("problem", problem, Problem, like)
    if (population_size is None) == (population is None):
        got = "neither" if population is None else "both"
        raise ValueError(f"population_size, population: got {got}, want one of them")
    if population_size is not None:
        validation.check_count("population_size", population_size)
        if population_size > _MOST:
            got = f"{population_size:,}"
            raise ValueError(f"population_size: got {got}, want at most {_MOST:,}")
        size = population_size
    else:
        size, dim = check_population("population", population).shape
        if dim != problem.space.dim:
            raise ValueError(
                f"population: got {dim} numbers an individual, "
                f"want {problem.space.dim} for this problem"
            )
    _check_record(strategy, (size, problem.space.dim), record)


def size_of(population_size: int | None, population: jax.Array | None) -> int:
    """N of a run whose arguments are checked."""
    if population is not None:
        return len(population)
    assert population_size is not None
    return population_size


def check_start(strategy: Strategy, shape: tuple[int, int]) -> PyTree:
    """Shapes of the first state for a population (N, D); raise what only N and D show.

    An evolution raises it when it is traced. It is for a caller that must know it before
    other things have been done; tracing takes milliseconds.
    """
    population = jax.ShapeDtypeStruct(shape, jnp.zeros(()).dtype)
    return jax.eval_shape(strategy.init, jax.random.key(0), population)


def _check_record(
    strategy: Strategy, shape: tuple[int, int], record: tuple[str, ...]
) -> None:
    if isinstance(record, str) or not isinstance(record, Collection):
        raise TypeError(f"record: got {record!r}, want a tuple of names")
    if not record:
        return
    state = check_start(strategy, shape)
    names = (*RECORDABLE, *(name for name in vars(state) if name not in RECORDABLE))
    for name in record:
        if name not in names:
            raise ValueError(f"record: got {name!r}, want names among {names}")

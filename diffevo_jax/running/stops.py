"""Stops: what ends a run before its last generation, and how the result says so.

Give one, or a tuple of them, to ``run(..., stop=)`` or ``iterate(..., stop=)``. The host
asks them after every chunk, in their order, and the first that holds ends the run; of many
runs each ends by itself, and the others go on. ``result.reason`` is the word for it. A
function of the result so far is a stop, too; so is an object of your own with what
:class:`Stop` asks for.

A generation costs the same whether or not it is the last one that was needed: a stop saves
what is left of the schedule, and gives away what is left of the annealing. Where the
number of evaluations is known beforehand, a schedule of that length ends better than a
longer one that is cut (``num_generations``).
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Problem, PyTree, Strategy
from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import Index, checked
from diffevo_jax.running.evolution import REASONS, Result
from diffevo_jax.running.final import is_noisy
from diffevo_jax.running.plateaus import is_stagnant, judged_since, standard_error, surely

#: What a function of a user's own is called.
OWN = "own function"


class About(NamedTuple):
    """What a stop knows of a run, beside its result so far.

    Attributes:
        num_generations: of the whole run.
        length: generations between two looks of the host.
        noisy: whether the problem's fitness depends on the key.
        known: whether the first generation came with its fitness.
        lowest: the lowest noise level that is planned; infinite of a strategy that does not
            anneal.
        seconds: since the run began; since it went on, if it was resumed.
        skipped: generations that the run has not, since it goes on from another one.

    Example:
        >>> from types import SimpleNamespace
        >>> from diffevo_jax.running import stops
        >>> class LastTenth:  # a stop of one's own
        ...     reason = "own function"
        ...     def holds(self, result, about):
        ...         return result.num_generations > 0.9 * about.num_generations
        >>> about = stops.About(100, length=10, noisy=False, known=False, lowest=0.01)
        >>> [LastTenth().holds(SimpleNamespace(num_generations=t), about) for t in (90, 91)]
        [False, True]
    """

    num_generations: int
    length: int
    noisy: bool
    known: bool
    lowest: float
    seconds: float = 0.0
    skipped: int = 0


@runtime_checkable
class Stop(Protocol):
    """What ends a run early; those below are the library's own."""

    @property
    def reason(self) -> str:
        """What it is called in the result, one of ``REASONS``; else "own function"."""
        ...

    def holds(self, result: Result, about: About) -> np.ndarray:
        """Whether it ends the run: () or, of R runs, (R,) truth values."""
        ...


@runtime_checkable
class Annealed(Protocol):
    """A strategy that plans its noise levels."""

    def sigmas(self) -> jax.Array:
        """Levels ``(T,)``, in the order in which they are walked down."""
        ...


#: One stop: an object, or a function of the result so far.
One = Stop | Callable[[Result], PyTree]
#: What ``stop=`` takes.
Stops = One | tuple[One, ...] | None


@pytree.dataclass
class Target:
    """Until fitness is good enough.

    Without noise that is the best of all feasible evaluations. Under noise that one is the
    luckiest, and says nothing of what can be had again: there the last generation must be
    good enough as a whole. It holds if at least half of its evaluations succeeded and are
    feasible, and their mean, less two of its standard errors, is at least the target. Luck
    has little room in the mean of a generation; the final evaluation then chooses in it.

    Args:
        fitness: to be reached, finite.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(100)
        >>> result = de.run(jax.random.key(0), strategy, problem, population_size=64,
        ...                 stop=de.stops.Target(0.9))
        >>> result.reason, bool(result.best_fitness >= 0.9)
        ('target', True)
        >>> int(result.num_generations) < 100
        True
    """

    fitness: Number = pytree.number()

    reason = "target"

    def holds(self, result: Result, about: About) -> np.ndarray:
        """Whether the best, or under noise the last generation, is good enough."""
        best = np.asarray(result.best_fitness)
        if about.noisy:
            best = surely(np.asarray(result.fitness), _given(result.violation))
        return np.asarray(best >= np.asarray(self.fitness, best.dtype))


@pytree.dataclass
class Evaluations:
    """Until a budget is spent: a run is ended where its next chunk would exceed it.

    What counts is the individuals that were asked about, also those that an evaluator
    rejected or knew. Not counted are a first generation that came with its fitness, and the
    final evaluation, whose number is ``final=``.

    Args:
        count: evaluations of a run, at least those of its first chunk; of R runs each has
            so many. Static.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(100)
        >>> result = de.run(jax.random.key(0), strategy, problem, population_size=64,
        ...                 stop=de.stops.Evaluations(1000))
        >>> result.reason, 64 * int(result.num_generations)
        ('evaluations', 960)
    """

    count: int = pytree.static()

    reason = "evaluations"

    def check(self) -> None:
        """Raise ValueError if it is no count."""
        validation.check_count("Evaluations.count", self.count)

    def holds(self, result: Result, about: About) -> np.ndarray:
        """Whether the next chunk would exceed the budget."""
        size = result.population.shape[-2]
        after = np.asarray(result.num_generations) + about.length
        after = np.minimum(after, about.num_generations) - about.known - about.skipped
        return np.asarray(size * after > self.count)


@pytree.dataclass
class Seconds:
    """Until time is up: a run is ended at the first look after it.

    It is the time of the wall since the call began, with compiling, without the final
    evaluation. A run that is resumed has the whole of it again.

    Args:
        seconds: > 0.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(100)
        >>> result = de.run(jax.random.key(0), strategy, problem, population_size=64,
        ...                 stop=de.stops.Seconds(1e-3))
        >>> result.reason, int(result.num_generations)
        ('time', 1)
    """

    seconds: Number = pytree.number(above=0.0)

    reason = "time"

    def holds(self, result: Result, about: About) -> np.ndarray:
        """Whether time is up."""
        up = about.seconds >= float(self.seconds)
        return np.full(np.shape(result.best_fitness), up)


@pytree.dataclass
class Failures:
    """Until evaluations fail: of the last generations more than a share did.

    A simulator that is down fails on everything. A first generation may fail often for
    another reason, since it is spread over all of the space: so several are looked at.

    Args:
        share: of the evaluations that may fail, in [0, 1); infeasible is not failed.
        generations: looked at together, the last ones, >= 1; a shorter run is not judged.
            Static.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> down = de.problems.Function(lambda x: jnp.nan * x.sum(), dim=2)
        >>> result = de.run(jax.random.key(0), de.DiffusionEvolution(100), down,
        ...                 population_size=64, stop=de.stops.Failures(0.9))
        >>> result.reason, int(result.num_generations)
        ('failures', 3)
    """

    share: Number = pytree.number(low=0.0, high=1.0)
    generations: int = pytree.static(default=3)

    reason = "failures"

    def check(self) -> None:
        """Raise ValueError if it is no share, or no count."""
        validation.check_count("Failures.generations", self.generations)
        if pytree.concrete(self.share) == 1:
            raise ValueError(f"Failures.share: got {self.share}, want a number < 1")

    def holds(self, result: Result, about: About) -> np.ndarray:
        """Whether too many have failed of late."""
        failed = np.asarray(result.history.num_failed)[..., -self.generations :]
        asked = result.population.shape[-2] * self.generations
        enough = result.history.num_failed.shape[-1] >= self.generations
        return np.asarray(enough & (failed.sum(axis=-1) > float(self.share) * asked))


@pytree.dataclass
class Stagnation:
    """Until nothing rises any more, once the annealing can show.

    An annealed run is flat at first. At the level sigma the clean part of an individual has
    the share ``1 / (1 + sigma^2)`` of its variance and the rest is noise: while sigma is
    high the mean fitness of a generation is that of noise, however much is known already,
    and most of what a run gains it shows at its end. Patience with the mean alone counts
    those generations, and ends a run before it can show anything. So nothing is judged
    before ``sigma``, by default 0.5, where that share is four fifths. From there on a run
    is stagnant if its last generations, a share ``patience`` of all that are planned, have
    brought none with a higher mean than the best one before them. That is a share and no
    number, since with more generations sigma falls less in each.

    A rise counts if it exceeds the standard error of the last generation's mean, and
    ``tolerance``. Without noise a rise of the generation's best counts, too. If there are
    constraints the mean may fall for a good reason: there only the best feasible fitness of
    each generation counts, and nothing is judged while none is feasible. A strategy that
    plans no noise levels is judged from its first generation on; one whose levels end above
    ``sigma``, at the last.

    A short run can hardly be ended, since there is little left when it can be judged: of
    ten generations of :class:`diffevo_jax.noise.Cosine` only three are below 0.5.

    Args:
        patience: share of the run's generations, > 0, <= 1; 1 has patience with all. At
            least two generations are waited for.
        sigma: noise level from which on a run is judged, > 0. Lower is more careful: a peak
            of width w shows where sigma is about w.
        tolerance: in units of fitness, >= 0: a rise by at most that is none.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> flat = de.problems.Function(lambda x: jnp.zeros(()), dim=2)
        >>> result = de.run(jax.random.key(0), de.DiffusionEvolution(50), flat,
        ...                 population_size=64, stop=de.stops.Stagnation())
        >>> result.reason
        'stagnation'
    """

    patience: Number = pytree.number(default=0.2, above=0.0, high=1.0)
    sigma: Number = pytree.number(default=0.5, above=0.0)
    tolerance: Number = pytree.number(default=0.0, low=0.0)

    reason = "stagnation"

    def holds(self, result: Result, about: About) -> np.ndarray:
        """Whether nothing has risen for as long as patience lasts."""
        history, violation = result.history, result.violation
        planned = about.num_generations - about.skipped
        patience = max(2, math.ceil(float(self.patience) * planned))
        level = max(float(self.sigma), about.lowest)
        since = judged_since(np.asarray(history.sigma, np.float64), level)
        rise = np.maximum(float(self.tolerance), standard_error(np.asarray(result.fitness)))
        scores = [] if violation is not None else [history.mean_fitness]
        if violation is not None or not about.noisy:
            scores.append(history.best_fitness)
        stagnant = [
            is_stagnant(np.asarray(score, np.float64), since, patience, rise)
            for score in scores
        ]
        some = np.asarray(result.best_fitness) > -np.inf
        return np.logical_and.reduce(stagnant) & (some | (violation is None))


def _given(array: jax.Array | None) -> np.ndarray | None:
    return None if array is None else np.asarray(array)


@checked
def watcher(
    stop: Stops,
    strategy: Strategy,
    problem: Problem,
    population_size: int,
    length: int,
    known: bool = False,
    skipped: Index = 0,
) -> Callable[[Result], np.ndarray] | None:
    """A function of a run's result so far: codes of what ends it; None if nothing can.

    Its clock begins now. Codes are places in ``REASONS``, int32, () or (R,); 0 where the
    run goes on.

    Args:
        stop: what ends it.
        strategy: of the run.
        problem: of the run.
        population_size: of the run.
        length: generations between two calls.
        known: whether the first generation comes with its fitness.
        skipped: generations that the run has not, since it goes on from another one.

    Raises:
        TypeError: a stop is neither an object with what :class:`Stop` asks for nor a
            function.
        ValueError: a number of one is out of range, or too small for this run.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax.running import evolution, stops
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(100)
        >>> results = de.iterate(jax.random.key(0), strategy, problem, population_size=64)
        >>> codes = stops.watcher(stops.Target(0.0), strategy, problem, 64, length=1)
        >>> evolution.REASONS[codes(next(results))]  # fitness is above 0 everywhere
        'target'
    """
    each = stop if isinstance(stop, tuple) else () if stop is None else (stop,)
    for one in each:
        if isinstance(one, type):
            raise TypeError(f"stop: got the class {one.__name__}, want one of it")
        if pytree.is_component(one):
            pytree.validate(one)
        first = population_size * (length - known)
        if isinstance(one, Evaluations) and first > one.count:
            raise ValueError(
                f"stop: got {one} where the first chunk, of {length} generations, takes "
                f"{first:,}, want at least so many, a smaller population"
                f"{' or a smaller chunk_size' if length > 1 else ''}"
            )
    if not each:
        return None
    levels = np.asarray(strategy.sigmas()) if pytree.offers(strategy, Annealed) else np.inf
    about = About(
        strategy.num_generations,
        length,
        is_noisy(problem),
        known,
        float(np.min(levels)),
        skipped=skipped,
    )
    begin = time.monotonic()

    def codes(result: Result) -> np.ndarray:
        return _codes(each, result, about._replace(seconds=time.monotonic() - begin))

    return codes


def _codes(each: tuple[One, ...], result: Result, about: About) -> np.ndarray:
    """Code of the first stop that holds, of each run."""
    shape = np.shape(result.best_fitness)
    found = np.zeros(shape, np.int32)
    for one in each:
        reason, said = OWN, None
        if isinstance(one, Stop):
            reason, said = one.reason, one.holds(result, about)
        else:
            said = one(result)
        if said is None:
            raise TypeError(f"stop: got None of {one}, want a truth value")
        holds = np.asarray(said).astype(bool)
        if holds.shape not in ((), shape):
            raise ValueError(f"stop: got shape {holds.shape} of {one}, want () or {shape}")
        code = REASONS.index(reason if reason in REASONS[1:] else OWN)
        found = np.where((found == 0) & holds, np.int32(code), found)
    return found


@checked
def interrupted(result: Result) -> Result:
    """A result that says of the runs that neither finished nor stopped: interrupted.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax.running import stops
        >>> problem, strategy = de.problems.Landscape("beale"), de.DiffusionEvolution(100)
        >>> results = de.iterate(jax.random.key(0), strategy, problem, population_size=64)
        >>> result = next(results)
        >>> result.reason, stops.interrupted(result).reason
        ('going on', 'interrupted')
    """
    stopped = np.asarray(result.stopped)
    going = (stopped == 0) & ~np.asarray(result.state.done)
    codes = np.where(going, np.int32(REASONS.index("interrupted")), stopped)
    return pytree.replace(result, stopped=jax.device_put(codes))


@jax.jit
def frozen(stopped: jax.Array, before: PyTree, after: PyTree) -> PyTree:
    """Leaf by leaf with leading axis R: those before of runs that are ``stopped`` (R,)."""
    return jax.vmap(pytree.select)(stopped, before, after)


@checked
def repeated(stopped: np.ndarray, before: PyTree, rows: PyTree) -> PyTree:
    """Rows ``(R, n, ...)``; of runs that are ``stopped`` (R,) the last row before them.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running import stops
        >>> stopped, before = np.array([True, False]), np.array([[1, 2], [10, 20]])
        >>> stops.repeated(stopped, before, np.array([[3, 4], [30, 40]])).tolist()
        [[2, 2], [30, 40]]
    """

    def of_leaf(before: np.ndarray, rows: np.ndarray) -> np.ndarray:
        rows = rows.copy()
        rows[stopped] = before[stopped, -1:]
        return rows

    return jax.tree.map(of_leaf, before, rows)

"""A problem outside of JAX: one call of the host for all solutions of a generation."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, PyTree
from diffevo_jax.problems.external import results
from diffevo_jax.problems.external.memory import Memory, names_of
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree.annotations import takes

#: What became of a solution.
_EVALUATED, _REJECTED, _CACHED = range(3)


@pytree.dataclass
class Counts:
    """What became of the solutions so far: the problem's state.

    Those of the final evaluation of :func:`diffevo_jax.run` are among them; those of
    ``evolve``, which a callback evaluates inside of its program, are not.

    Attributes:
        num_evaluated: () int32, solutions that the function was called with.
        num_rejected: () int32, those that ``reject`` kept from it; they have failed.
        num_cached: () int32, those that were known, or stood twice in a generation.
        memory: what is known; None if nothing is remembered.

    Example:
        >>> import jax, numpy as np, diffevo_jax as de
        >>> problem = de.problems.External(
        ...     lambda x: -(x**2).sum(axis=1), de.problems.Space(np.zeros(2)))
        >>> key = jax.random.key(0)
        >>> evaluation, counts = problem.evaluate(key, problem.init(key), np.zeros((8, 2)))
        >>> int(counts.num_evaluated), int(counts.num_rejected)
        (8, 0)
    """

    num_evaluated: jax.typing.ArrayLike
    num_rejected: jax.typing.ArrayLike
    num_cached: jax.typing.ArrayLike
    memory: Memory | None = pytree.static(default=None)


@pytree.dataclass
class External:
    """Maximise any function of a batch: of NumPy or SciPy, a simulator, a cluster.

    The function is called on the host, once a generation, with all solutions as NumPy
    arrays; for functions of one solution, processes and clusters there is
    :func:`diffevo_jax.problems.external.each`. Take :func:`diffevo_jax.run`,
    :func:`diffevo_jax.iterate` or the command: they compile what is asked and told, and
    call the function in between, with R keys once for all R runs.

    What the function raises is taken for a mistake in it, and is raised. A solution whose
    evaluation fails has NaN or infinite fitness, and the others count.

    Args:
        fn: ``fn(solutions)``, leaves with leading axis N, which it may change; categories
            are indices, and ``space.named(solutions)`` has their choices. It returns
            fitness (N,); or a tuple ``(fitness, measures)``; or an
            :class:`diffevo_jax.Evaluation`. Static.
        space: where solutions live.
        noisy: whether equal solutions may have different fitness. Then the call is
            ``fn(solutions, seeds)``, with (N,) uint32 that follow from the key, so that the
            noise is the same in whatever order and wherever it is drawn; static.
        reject: ``reject(solutions)`` returns (N,) truth values: those solutions are not
            evaluated, and have failed; static.
        remember: True evaluates equal solutions of a run once; a
            :class:`diffevo_jax.problems.external.Memory` also those of other runs that have
            it; static.
        measures: what the measures of one solution are like, if the function returns any:
            a pytree of numbers and arrays, whose shapes and dtypes count. Of what failed
            they are NaN, or 0 for integers.
        constrained: whether the function returns an ``Evaluation`` with a violation;
            static.
        callback: whether compiled programs may call the function from inside
            (``jax.pure_callback``), so that ``evolve``, ``sweep`` and ``vmap`` take this
            problem too: slower, on the devices that can, and not with ``remember``; static.

    Raises:
        TypeError: inside of a compiled program, without ``callback``; or a function does
            not take what it is called with.
        ValueError: what the function returns has the wrong shape, or measures out of the
            range of those that are declared; or ``remember`` is the memory of another
            function, or of other solutions.

    Example:
        >>> import jax, numpy as np, diffevo_jax as de
        >>> def negated_sphere(solutions):
        ...     return -np.sum(solutions**2, axis=1)
        >>> problem = de.problems.External(negated_sphere, de.problems.Space(np.zeros(3)))
        >>> result = de.run(jax.random.key(0), de.DiffusionEvolution(5), problem,
        ...                 population_size=32)
        >>> result.best_solution.shape, int(result.problem_state.num_evaluated)
        ((3,), 160)
    """

    fn: Callable[..., Any] = pytree.static()
    space: Space
    noisy: bool = pytree.static(default=False)
    reject: Callable[[PyTree], Any] | None = pytree.static(default=None)
    remember: bool | Memory = pytree.static(default=False)
    measures: PyTree = ()
    constrained: bool = pytree.static(default=False)
    callback: bool = pytree.static(default=False)

    def check(self) -> None:
        """Raise where one option makes another meaningless, or no call fits a function."""
        if self.remember is not False and (self.noisy or self.callback):
            other = "noisy" if self.noisy else "callback"
            raise ValueError(
                f"External.remember: got it with {other}=True, want one of them"
            )
        call = ("solutions", "seeds") if self.noisy else ("solutions",)
        takes("External.fn", self.fn, call)
        if self.reject is not None:
            takes("External.reject", self.reject, ("solutions",))

    @property
    def on_host(self) -> bool:
        """True: it is evaluated between compiled programs."""
        return True

    def init(self, key: jax.Array) -> Counts:
        """Nothing has been evaluated."""
        zero = jnp.zeros((), jnp.int32)
        memory = Memory() if self.remember is True else self.remember
        return Counts(zero, zero, zero, memory if isinstance(memory, Memory) else None)

    def evaluate(
        self, key: jax.Array, problem_state: Counts, solutions: PyTree
    ) -> tuple[Evaluation, Counts]:
        """Evaluate N solutions here and now; inside of a program only as a callback."""
        leaves = jax.tree.leaves((key, problem_state, solutions))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return self._inside(key, problem_state, solutions)
        one = jax.tree.map(lambda leaf: leaf[None], (key, problem_state, solutions))
        found = self.evaluate_on_host(*one)
        first: tuple[Evaluation, Counts] = jax.tree.map(lambda leaf: leaf[0], found)
        return first

    def evaluate_on_host(
        self, key: jax.Array, problem_state: Counts, solutions: PyTree
    ) -> tuple[Evaluation, Counts]:
        """Evaluate the solutions (R, N) of R runs in one call of the function."""
        runs, size = jax.tree.leaves(solutions)[0].shape[:2]
        seeds = jax.vmap(lambda key: _seeds(key, size))(key) if self.noisy else None
        evaluation, new = self._call()((runs, size), problem_state.memory, solutions, seeds)
        return evaluation, _added(problem_state, new)

    def _inside(
        self, key: jax.Array, problem_state: Counts, solutions: PyTree
    ) -> tuple[Evaluation, Counts]:
        """Evaluate as a callback; under ``vmap`` one call has the solutions of all."""
        if not self.callback:
            raise TypeError(
                "problem: got an External inside of a compiled program (evolve, sweep, "
                "jit, vmap), want diffevo_jax.run or iterate, which evaluate it between "
                "programs; or External(..., callback=True)"
            )
        size, call = len(jax.tree.leaves(solutions)[0]), self._call()
        blank = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, call.blank(size)))
        count = jax.ShapeDtypeStruct((), np.int32)
        seeds = _seeds(key, size)
        evaluation, new = jax.pure_callback(
            lambda solutions, seeds: call(seeds.shape, None, solutions, seeds),
            (blank, (count, count, count)),
            solutions,
            seeds,
            vmap_method="broadcast_all",
        )
        return evaluation, _added(problem_state, new)

    def _call(self) -> "_Call":
        """What the host needs to know; no number of it is traced."""
        example, fitness = jax.tree.map(_struct, (self.measures, 0.0))
        like = Evaluation(fitness, example, fitness if self.constrained else None)
        return _Call(self.fn, self.reject, self.noisy, like)


class _Call(NamedTuple):
    """One call of the host."""

    fn: Callable[..., Any]
    reject: Callable[[PyTree], Any] | None
    noisy: bool
    like: Evaluation

    def blank(self, count: int) -> Evaluation:
        """What has failed comes to."""
        return results.blank(count, self.like)

    def __call__(
        self,
        shape: tuple[int, ...],
        memory: Memory | None,
        solutions: PyTree,
        seeds: jax.Array | None,
    ) -> tuple[Evaluation, tuple[np.ndarray, ...]]:
        """Evaluate solutions with the leading axes ``shape``; counts are over its last."""
        count = math.prod(shape)
        flat = lambda leaf: np.array(leaf).reshape(count, *leaf.shape[len(shape) :])
        given = jax.tree.map(flat, (solutions, seeds) if self.noisy else (solutions,))
        became = np.full(count, _EVALUATED)
        if self.reject is not None:
            became[_truths(self.reject(jax.tree.map(np.copy, given[0])), count)] = _REJECTED
        whole = self.blank(count)
        if memory is None:
            self._fill(whole, given, became)
        else:
            self._remembering(memory, whole, given, became)
        whole = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), whole)
        kinds = became.reshape(shape)
        counts = [np.sum(kinds == kind, axis=-1) for kind in range(3)]
        return whole, tuple(np.asarray(one, np.int32) for one in counts)

    def _fill(
        self, whole: Evaluation, given: tuple[PyTree, ...], became: np.ndarray
    ) -> None:
        """Evaluate those that shall be, and write what they come to."""
        chosen = np.flatnonzero(became == _EVALUATED)
        if not len(chosen):
            return
        returned = self.fn(*jax.tree.map(lambda leaf: leaf[chosen], given))
        part = self._promised(results.evaluation_of(returned, len(chosen)))
        leaves, values = jax.tree.leaves(whole), jax.tree.leaves(part)
        for leaf, value in zip(leaves, values, strict=True):
            _check_range(value, leaf.dtype)
            if not np.can_cast(value.dtype, leaf.dtype, "same_kind"):
                raise TypeError(
                    f"fn: got measures of {value.dtype}, want {leaf.dtype} as in "
                    "External(..., measures=)"
                )
            leaf[chosen] = value

    def _remembering(
        self,
        memory: Memory,
        whole: Evaluation,
        given: tuple[PyTree, ...],
        became: np.ndarray,
    ) -> None:
        """The same, of equal solutions only the first that is not known."""
        memory.use_with(self.fn, given[0])
        names, first = names_of(given[0]), dict[bytes, int]()
        for place in np.flatnonzero(became == _EVALUATED).tolist():
            name = names[place]
            if name in memory.known or first.setdefault(name, place) != place:
                became[place] = _CACHED
        self._fill(whole, given, became)
        leaves = jax.tree.leaves(whole)
        for name, place in first.items():
            if np.isfinite(whole.fitness[place]):
                memory.known[name] = [leaf[place].copy() for leaf in leaves]
        for place in np.flatnonzero(became == _CACHED).tolist():
            if names[place] in memory.known:  # not if its like has failed just now
                for leaf, value in zip(leaves, memory.known[names[place]], strict=True):
                    leaf[place] = value

    def _promised(self, evaluation: Evaluation) -> Evaluation:
        """An evaluation like the one that is declared.

        Raises:
            ValueError: it has other measures, or another kind of violation.
        """
        like = self.blank(len(evaluation.fitness))
        nothing = not np.isfinite(evaluation.fitness).any()
        for name, option in (("measures", "measures"), ("violation", "constrained")):
            got, want = getattr(evaluation, name), getattr(like, name)
            bare = got is None or (isinstance(got, tuple) and not got)
            if bare and nothing:
                evaluation = pytree.replace(evaluation, **{name: want})
            elif results.in_words(got, 1) != results.in_words(want, 1):
                raise ValueError(
                    f"fn: got {name}: {results.in_words(got, 1)}, want "
                    f"{results.in_words(want, 1)}; what they are like is said by "
                    f"External(..., {option}=)"
                )
        return evaluation


def _struct(leaf: PyTree) -> jax.ShapeDtypeStruct:
    dtype = jax.dtypes.canonicalize_dtype(jnp.result_type(leaf))
    return jax.ShapeDtypeStruct(jnp.shape(leaf), dtype)


def _check_range(values: np.ndarray, dtype: np.dtype[Any]) -> None:
    """Raise if some do not fit into integers; those too long for JAX are floats by now."""
    if not jnp.issubdtype(dtype, np.integer) or np.can_cast(values.dtype, dtype):
        return
    limits = np.iinfo(dtype)
    for extreme in (np.fmin, np.fmax):  # of what is not NaN
        worst = extreme.reduce(values, axis=None, initial=0).item()
        if not limits.min <= worst <= limits.max:
            raise ValueError(
                f"fn: got {worst:g} in its measures, out of the range of {dtype}, want "
                f"{limits.min} to {limits.max}; or floats, by External(..., measures=)"
            )


def _truths(values: object, count: int) -> np.ndarray:
    """What ``reject`` returns, checked."""
    truths = np.asarray(values)
    if truths.dtype != bool:
        raise TypeError(f"reject: got {truths.dtype}, want truth values")
    if truths.shape != (count,):
        raise ValueError(f"reject: got shape {truths.shape}, want ({count},)")
    return truths


def _seeds(key: jax.Array, size: int) -> jax.Array:
    """A seed for the noise of each solution."""
    return jax.random.bits(key, (size,), "uint32")


def _added(before: Counts, new: Sequence[jax.typing.ArrayLike]) -> Counts:
    evaluated, rejected, cached = new
    return Counts(
        before.num_evaluated + evaluated,
        before.num_rejected + rejected,
        before.num_cached + cached,
        before.memory,
    )

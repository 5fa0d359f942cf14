"""The numbers of a strategy as a problem: search over settings, by any strategy."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, Problem, PyTree, Strategy
from diffevo_jax.problems.space import Space
from diffevo_jax.problems.variables import Range
from diffevo_jax.pytree import paths, validation
from diffevo_jax.running.evolution import evolve
from diffevo_jax.sweeps.fields import Whole, full_path, with_environment

#: What a run is worth: the mean of its last population, or the best of all evaluated.
SCORES = ("mean", "best")


@pytree.dataclass
class Tuning:
    """Maximise what a strategy reaches on a problem, over some of their numbers.

    A solution is a number for every field. It is worth the mean score of ``num_seeds``
    inner runs. Prefer it to :func:`diffevo_jax.sweep` where there are too many settings
    for a grid. Any strategy searches, in one compiled program: ``N * num_seeds`` inner runs
    a generation.

    The individuals of a generation see the same seeds, since their differences are what
    selection looks at; every generation sees fresh ones, so that a search cannot learn its
    seeds. The fitness of the best of all would be that of one that was lucky: a search that
    is long enough ends with a final evaluation, see :func:`diffevo_jax.evolve`, and
    :meth:`scores` with another key tells more.

    Args:
        strategy: the inner strategy; its other numbers stay as they are.
        problem: the inner problem.
        fields: what to search, by names as of the ``axes`` of a sweep: a number of the
            strategy, as in ``"sampler.eta"``, or of the problem; with ``(low, high)``,
            ``(low, high, "log")``, or a :class:`Range`. Structure, such as counts and kinds
            of kernels, is for the ``axes`` of a sweep.
        num_seeds: inner runs of a setting, static, >= 1.
        population_size: N of an inner run, static.
        score: of a run: ``"mean"``, the mean fitness of the last population, or ``"best"``,
            the best fitness of all evaluations; under noise the luckiest; static.
        batch_size: inner runs at a time, static; None runs all at once, which is fastest
            as long as it fits the memory.

    Raises:
        ValueError: a range is none.

    Example:
        >>> import jax, diffevo_jax as de
        >>> tuning = de.sweeps.Tuning(
        ...     de.DiffusionEvolution(5),
        ...     de.problems.Landscape("beale"),
        ...     {"shaping.temperature": (0.01, 10.0, "log"), "sampler.eta": (0.0, 1.0)},
        ...     num_seeds=4,
        ...     population_size=16)
        >>> search = de.DiffusionEvolution(4)
        >>> found = de.evolve(jax.random.key(0), search, tuning, population_size=8)
        >>> strategy = tuning.strategy_of(found.best_solution)
        >>> bool(strategy.sampler.eta == found.best_solution["sampler.eta"])
        True
    """

    strategy: Strategy
    problem: Problem
    fields: dict[str, Range]
    num_seeds: int = pytree.static()
    population_size: int = pytree.static()
    score: str = pytree.static()
    batch_size: int | None = pytree.static()

    def __init__(
        self,
        strategy: Strategy,
        problem: Problem,
        fields: Mapping[str, Any],
        num_seeds: int,
        population_size: int,
        score: str = "mean",
        batch_size: int | None = None,
    ) -> None:
        if isinstance(fields, Mapping):
            fields = {name: _range(name, value) for name, value in fields.items()}
        values = {
            "strategy": strategy,
            "problem": problem,
            "fields": fields,
            "num_seeds": num_seeds,
            "population_size": population_size,
            "score": score,
            "batch_size": batch_size,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def space(self) -> Space:
        """The space of settings: a number for every field."""
        return Space(self.fields)

    @property
    def noisy(self) -> bool:
        """True: every generation has seeds of its own."""
        return True

    def check(self) -> None:
        """Raise if a field cannot be searched, or its range is none."""
        validation.check_count("Tuning.num_seeds", self.num_seeds)
        validation.check_count("Tuning.population_size", self.population_size)
        if self.batch_size is not None:
            validation.check_count("Tuning.batch_size", self.batch_size)
        if self.score not in SCORES:
            raise ValueError(f"Tuning.score: got {self.score!r}, want one of {SCORES}")
        if not isinstance(self.fields, dict) or not self.fields:
            raise ValueError(f"Tuning.fields: got {self.fields!r}, want names and ranges")
        seen: dict[str, str] = {}
        for name, ends in self.fields.items():
            full = self._path(name)
            if full in seen:
                raise ValueError(f"Tuning.fields: {seen[full]!r} and {name!r} are the same")
            seen[full] = name
            self._check_field(name, ends)

    def init(self, key: jax.Array) -> tuple[()]:
        """No state."""
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: tuple[()], solutions: PyTree
    ) -> tuple[Evaluation, tuple[()]]:
        """Evaluate N settings; measures are the scores of their seeds, (N, num_seeds)."""
        scores = self.scores(key, solutions)
        # One run that failed makes a mean that is not finite: the setting has failed.
        return Evaluation(fitness=jnp.mean(scores, axis=1), measures=scores), problem_state

    def scores(self, key: jax.Array, solutions: Mapping[str, jax.Array]) -> jax.Array:
        """Scores of N settings on the same seeds, ``(N, num_seeds)``.

        With a key that no search has seen, and ``de.replace(tuning, num_seeds=256)``, it
        says what a setting is worth. :func:`diffevo_jax.sweeps.interval` of a row is its
        mean with a confidence interval.

        Args:
            key: a typed key, of the seeds.
            solutions: numbers by name, (N,) each.

        Returns:
            Not finite where a run has failed.
        """
        keys = jax.random.split(key, self.num_seeds)
        count = len(next(iter(solutions.values())))
        setting, seed = jnp.divmod(jnp.arange(count * self.num_seeds), self.num_seeds)
        runs = {name: jnp.asarray(v)[setting] for name, v in solutions.items()}, keys[seed]
        if self.batch_size is None or self.batch_size >= len(seed):
            scores = jax.vmap(self._score)(*runs)
        else:
            one = lambda run: self._score(*run)
            scores = jax.lax.map(one, runs, batch_size=self.batch_size)
        return scores.reshape(count, self.num_seeds)

    def strategy_of(self, solution: Mapping[str, Any]) -> Strategy:
        """The inner strategy with the numbers of a solution in place.

        With many solutions, (N,) each, its fields are swept: ``de.sweep`` takes it.
        """
        return self._with(solution).strategy

    def problem_of(self, solution: Mapping[str, Any]) -> Problem:
        """The inner problem with the numbers of a solution in place."""
        return self._with(solution).problem

    def _score(self, solution: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
        """What one inner run comes to."""
        tuned = self._with(solution)
        size = self.population_size
        result = evolve(key, tuned.strategy, tuned.problem, population_size=size, final=0)
        if self.score == "best":
            return result.best_fitness
        return result.history.mean_fitness[-1]

    def _with(self, solution: Mapping[str, Any]) -> "Tuning":
        """With the numbers of a solution in place."""
        whole = self._whole()
        tuned = pytree.replace(self, problem=whole.problem)
        for name in self.fields:
            tuned = paths.put(tuned, full_path(whole, name), solution[name])
        return tuned

    def _whole(self) -> Whole:
        """Where the names of fields start; with an environment's parameters if needed."""
        return with_environment(Whole(self.strategy, self.problem, None), self.fields)

    def _path(self, name: str) -> str:
        try:
            return full_path(self._whole(), name)
        except ValueError as error:
            raise ValueError(f"Tuning.fields: {error}") from None

    def _check_field(self, name: str, ends: object) -> None:
        if not isinstance(ends, Range):
            raise TypeError(f"Tuning.fields: {name!r}: got {ends!r}, want a range")
        whole, path = self._whole(), self._path(name)
        value = paths.get(whole, path)
        limits = paths.limits(whole, path)
        pair = {"strategy": whole.strategy, "problem": whole.problem}
        if path not in _leaf_names(pair) or not (limits or _is_float(value)):
            raise ValueError(
                f"Tuning.fields: {name!r}: got {value!r}, which is structure, want a "
                "number; sweep it with axes of de.sweep"
            )
        if jnp.shape(value) != ():
            raise ValueError(
                f"Tuning.fields: {name!r}: got shape {jnp.shape(value)}, want one number"
            )
        _check_ends(f"Tuning.fields: {name!r}", ends, limits)


def _range(name: str, value: object) -> object:
    if not isinstance(value, tuple | list):
        return value
    if len(value) not in (2, 3):
        raise ValueError(
            f"fields: {name!r}: got {value!r}, want (low, high) or (low, high, scale)"
        )
    return Range(*value)


def _leaf_names(tree: PyTree) -> set[str]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(p, simple=True, separator=".") for p, _ in leaves}


def _is_float(value: PyTree) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(value), jnp.floating))


def _check_ends(name: str, ends: Range, limits: dict[str, Any] | None) -> None:
    ends.check_as(name)
    low, high = pytree.concrete(ends.low), pytree.concrete(ends.high)
    if low is None or high is None:
        return
    if limits is not None:
        for end, value in (("low", low), ("high", high)):
            validation.check_number(f"{name}: {end}", float(value), **limits)

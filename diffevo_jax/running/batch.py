"""Results that come late and in any order, by the number of each candidate."""

from collections.abc import Sequence

import jax
import numpy as np

from diffevo_jax.base import Evaluation, PyTree
from diffevo_jax.problems.external import results
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree.annotations import Index, checked
from diffevo_jax.pytree.arrays import check_population


class Batch:
    """The candidates of a generation, and what has come in of their results.

    For a loop of your own around evaluators that answer when they like: results are put in
    by number, in any order, and whatever is missing when you tell counts as failed. What is
    told depends on the results and not on their order, so that late ones give the bits of
    an orderly run. It lives on the host and is changed by :meth:`put` alone.

    Args:
        candidates: (N, D) unit scale, as they are told; of a box those of
            ``space.repair(candidates)``.
        space: to decode them; None where solutions are the candidates.

    Attributes:
        candidates: (N, D), as they were given.
        solutions: decoded, NumPy arrays with leading axis N.

    Raises:
        ValueError: the candidates are not (N, D).

    Example:
        >>> import numpy as np, diffevo_jax as de
        >>> batch = de.Batch(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]))
        >>> for number in (2, 0):  # as they come
        ...     batch.put(number, -np.sum(batch.solution(number) ** 2))
        >>> batch.missing.tolist(), batch.fitness.tolist()
        ([1], [-1.0, nan, -9.0])

        and then ``de.tell(strategy, key, state, batch.candidates, batch.fitness)``.
    """

    @checked
    def __init__(self, candidates: jax.Array, space: Space | None = None) -> None:
        """See the class."""
        self.candidates = check_population("candidates", candidates)
        decoded = self.candidates if space is None else space.decode(self.candidates)
        self.solutions: PyTree = jax.tree.map(np.asarray, decoded)
        self._rows: list[Evaluation | None] = [None] * len(self.candidates)

    def __len__(self) -> int:
        """How many candidates there are."""
        return len(self._rows)

    def solution(self, index: int) -> PyTree:
        """One decoded solution."""
        return jax.tree.map(lambda leaf: leaf[index], self.solutions)

    @checked
    def put(
        self,
        index: Index | Sequence[int],
        fitness: jax.Array | float,
        measures: PyTree = (),
        violation: jax.Array | float | None = None,
    ) -> None:
        """Put in the result of one candidate, or of several.

        Args:
            index: its number, or those of M candidates.
            fitness: () or (M,), to be maximised; NaN or infinite if it failed.
            measures: pytree, with leading axis M for several; the same for all candidates.
            violation: () or (M,), at most 0 where it is feasible; for all candidates or
                none.

        Raises:
            ValueError: there is no such number, its result is there already, or the shapes
                do not fit.
        """
        several = not isinstance(index, int | np.integer)
        numbers = [int(one) for one in np.ravel(np.asarray(index, int))]
        given = Evaluation(fitness, measures, violation)  # type: ignore[arg-type]
        if several:
            whole = results.evaluation_of(given, len(numbers))
            rows = [
                jax.tree.map(lambda leaf, n=n: leaf[n], whole) for n in range(len(numbers))
            ]
        else:
            rows = [results.row_of(given)]
        self._check(numbers, rows)
        for number, row in zip(numbers, rows, strict=True):
            self._rows[number] = row

    def _check(self, numbers: list[int], rows: list[Evaluation]) -> None:
        for place, number in enumerate(numbers):
            if not 0 <= number < len(self):
                raise ValueError(f"index: got {number}, want one in [0, {len(self) - 1}]")
            if self._rows[number] is not None or number in numbers[:place]:
                raise ValueError(f"index: got {number} twice, want each result once")
        results.gathered([*filter(None, self._rows), *rows])  # are they alike?

    @property
    def missing(self) -> np.ndarray:
        """Numbers of the candidates without a result, in their order."""
        return np.array([n for n, row in enumerate(self._rows) if row is None], int)

    @property
    def evaluation(self) -> Evaluation:
        """What has come in; of what is missing NaN, and 0 in measures that are integers."""
        return results.gathered(self._rows)

    @property
    def fitness(self) -> np.ndarray:
        """(N,), NaN where it is missing."""
        return np.asarray(self.evaluation.fitness)

    @property
    def measures(self) -> PyTree:
        """Measures with leading axis N; ``()`` if there are none."""
        return self.evaluation.measures

    @property
    def violation(self) -> np.ndarray | None:
        """(N,), NaN where it is missing; None if there is none."""
        violation = self.evaluation.violation
        return None if violation is None else np.asarray(violation)

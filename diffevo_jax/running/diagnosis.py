"""What is wrong with a run, in sentences, by the numbers of its history.

The thresholds are between what was measured, with 128 individuals and 25 generations:

* an exact kernel in 8 and 64 dimensions has a self weight of 1 in 14 and 25 of the
  generations, up to the last, and ends far below the default; of runs that went well, on
  landscapes, spheres and CartPole, none had a self weight above 0.7 in any;
* temperatures of 0.01 and 0.001 on the sphere in 64 dimensions have an effective sample
  size near 1 in 23 and 25 of the generations. Up to 15 of 25 are usual where peaks are
  narrow and all goes well: of the first points one is much the best;
* a temperature of 30 there has an effective sample size of 98 % of the population in the
  first quarter, and ends at an eighth of what the default reaches; those that go well have
  10 % there.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from diffevo_jax.base import Info
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running.evolution import Result

#: A self weight from here on is near 1; if that lasts for such a share of a run up to its
#: end, nobody hears anybody.
ALONE, LASTING = 0.9, 1 / 3
#: An effective sample size up to here is near 1; in such a share of the generations all
#: follow one, if the self weight is below the third number.
ONE, MOSTLY, OTHERS = 1.2, 0.75, 0.5
#: Of a population: an effective sample size from here on prefers nobody, if it is so in the
#: first quarter of the generations.
ALIKE = 0.75

#: What is said where nothing is wrong.
WELL = "all well"


@checked
def diagnose(history: Info | Result) -> tuple[str, ...]:
    """Say what is wrong with a run, and what to do about it.

    It finds evaluations that failed, weights and steps that were lost, a kernel that is too
    narrow, a temperature that is too low or, if it gets a result, too high, and a fitness
    that has not risen. It does not find a run that has found the wrong peak.

    Args:
        history: a result, or its history; leaves (generations,) or (runs, generations), of
            which medians over runs count, and all failures.

    Returns:
        Sentences, the gravest first; ``("all well",)`` if these numbers show nothing wrong.

    Raises:
        ValueError: the history has another shape.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Landscape("himmelblau")
        >>> strategy = de.DiffusionEvolution(10)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=64)
        >>> de.diagnose(result)
        ('all well',)
        >>> cold = de.replace(strategy, temperature=0.001)
        >>> result = de.evolve(jax.random.key(0), cold, problem, population_size=64)
        >>> de.diagnose(result)[0][:60]
        'effective sample size is near 1 while self weight is small: '
    """
    size = history.fitness.shape[-1] if isinstance(history, Result) else None
    record = history.history if isinstance(history, Result) else history
    rows = {name: np.atleast_2d(np.asarray(leaf)) for name, leaf in vars(record).items()}
    shape = rows["mean_fitness"].shape
    if len(shape) != 2 or not min(shape):
        raise ValueError(f"history: got shape {shape}, want (generations,) or with runs")
    evaluations = None
    if isinstance(history, Result):
        counts = np.atleast_1d(np.asarray(history.num_generations))
        # of a run that went on from another the rows begin late
        lengths = shape[1] - (counts.max() - counts)
        rows = carried_on(rows, lengths)
        evaluations = history.fitness.shape[-1] * int(lengths.sum())
    median = {
        name: np.median(leaf, axis=0)
        for name, leaf in rows.items()
        if name in ("effective_sample_size", "self_weight")
    }
    selfs, effective = median["self_weight"], median["effective_sample_size"]
    found = (
        *failures(rows["num_failed"], rows["mean_fitness"], evaluations),
        *(infeasible(history.best_violation) if isinstance(history, Result) else ()),
        *weightless(rows["num_weightless"] - rows["num_failed"]),
        *lost(rows["num_diverged"], "steps diverged and were undone"),
        *lost(rows["num_clipped"], "numbers were out of their range and were clipped"),
        *deaf(selfs),
        *greedy(selfs, effective),
        *(() if size is None else indifferent(effective, size)),
        *stagnant(rows["mean_fitness"]),
    )
    return found or (WELL,)


def carried_on(rows: dict[str, np.ndarray], lengths: np.ndarray) -> dict[str, np.ndarray]:
    """A history in which runs that have ended before others keep their last values.

    Args:
        rows: (R, T) each, by name.
        lengths: (R,) rows that each run really has, 1 to T.

    Returns:
        Likewise; what counts, such as ``num_failed``, is 0 after the end of a run.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.running.diagnosis import carried_on
        >>> rows = {"sigma": np.array([[3.0, 2.0, np.nan], [3.0, 2.0, 1.0]])}
        >>> carried_on(rows, np.array([2, 3]))["sigma"].tolist()
        [[3.0, 2.0, 2.0], [3.0, 2.0, 1.0]]
    """
    place, ends = np.arange(next(iter(rows.values())).shape[1]), lengths[:, None]
    kept = np.minimum(place, ends - 1)
    return {
        name: np.where(place < ends, values, 0)
        if name.startswith("num_")
        else np.take_along_axis(values, kept, axis=1)
        for name, values in rows.items()
    }


def failures(
    failed: np.ndarray, mean: np.ndarray, evaluations: int | None
) -> Iterator[str]:
    """Of evaluations (runs, generations), and whether whole generations failed."""
    whole = int(np.sum(np.max(np.isneginf(mean), axis=0)))
    if whole:
        yield f"every evaluation failed in {_generations(whole)}: NaN or infinite fitness"
    elif failed.any():
        share = f", {failed.sum() / evaluations:.2g} of all" if evaluations else ""
        yield f"{failed.sum():,.0f} evaluations failed{share}: NaN or infinite fitness"


def infeasible(violation: npt.ArrayLike) -> Iterator[str]:
    """Whether no run has found what is feasible, by the smallest violations (runs,)."""
    least = float(np.min(violation))
    if 0 < least < np.inf:
        yield f"nothing feasible was found: the smallest violation is {least:,.4g}"


def weightless(counts: np.ndarray) -> Iterator[str]:
    """Of the last quarter (runs, generations): far from a peak, zero is usual before."""
    counts = counts[:, -max(1, counts.shape[1] // 4) :]
    if counts.any():
        yield (
            f"{counts.sum():,.0f} individuals have no weight in the last quarter: they are "
            "infeasible, or outside the domain of the shaping, which of Identity and Power "
            "is above 0"
        )


def lost(counts: np.ndarray, what: str) -> Iterator[str]:
    """A sentence if anything was counted, (runs, generations)."""
    if counts.any():
        yield f"{counts.sum():,.0f} {what}, first in generation {_first(counts):,}"


def deaf(self_weight: np.ndarray) -> Iterator[str]:
    """Whether nobody hears anybody, by the self weight (generations,).

    Example:
        >>> from diffevo_jax.running import diagnosis
        >>> next(diagnosis.deaf([0.1, 0.5, 0.95, 1.0]))[:39]
        'self weight is near 1 from generation 3'
        >>> list(diagnosis.deaf([0.1, 0.1, 0.1, 1.0]))
        []
    """
    alone = np.asarray(self_weight) >= ALONE
    lasting = len(alone) if alone.all() else int(np.argmin(alone[::-1]))
    if lasting >= LASTING * len(alone):
        yield (
            f"self weight is near 1 from generation {len(alone) - lasting + 1:,} on: "
            "neighbours are not heard and nothing is selected; take a wider kernel, "
            "as Tempered"
        )


def greedy(self_weight: np.ndarray, effective: np.ndarray) -> Iterator[str]:
    """Whether all follow one, by self weight and effective sample size (generations,).

    Example:
        >>> from diffevo_jax.running import diagnosis
        >>> len(list(diagnosis.greedy([0.1, 0.1], [1.0, 1.1])))
        1
        >>> len(list(diagnosis.greedy([1.0, 1.0], [1.0, 1.1])))
        0
    """
    one = (np.asarray(effective) <= ONE) & (np.asarray(self_weight) <= OTHERS)
    if one.mean() > MOSTLY:
        yield (
            "effective sample size is near 1 while self weight is small: all follow the "
            "best individual; the temperature is too low"
        )


def indifferent(effective: np.ndarray, size: int) -> Iterator[str]:
    """Whether all count alike, by the effective sample size (generations,) of ``size``."""
    first = np.asarray(effective)[: max(1, len(effective) // 4)]
    if first.min() >= ALIKE * size:
        yield (
            f"effective sample size begins at {first.mean():,.0f} of {size:,}: the better "
            "are hardly preferred; the temperature is too high, or fitness is flat"
        )


def stagnant(mean: np.ndarray) -> Iterator[str]:
    """Whether the mean fitness (runs, generations) has not risen, in the median run."""
    finite = np.isfinite(mean[:, 0]) & np.isfinite(mean[:, -1])
    if mean.shape[1] > 1 and finite.any():
        first, last = np.median(mean[finite, 0]), np.median(mean[finite, -1])
        if np.median(mean[finite, -1] - mean[finite, 0]) <= 0:
            yield f"mean fitness has not risen: from {first:,.4g} to {last:,.4g}"


def _first(counts: np.ndarray) -> int:
    """The first generation, from 1, in which something was counted in any run."""
    return int(np.argmax(counts.sum(axis=0) > 0)) + 1


def _generations(count: int) -> str:
    return f"{count:,} generation{'s' * (count > 1)}"

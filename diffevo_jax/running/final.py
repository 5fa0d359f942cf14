"""The final evaluation: choose and judge anew, so that the best is not the luckiest.

Under noise the best of all evaluations is a lucky one: its fitness is its value plus the
largest of thousands of errors. Here a few candidates are evaluated on keys that no
generation has seen. They are chosen on one half of the evaluations, and the chosen one is
reported on the other half, which knows nothing of the choice.

With n evaluations of mean ``m`` and standard deviation ``s``, ``m`` is reported with its
standard error ``s / sqrt(n)``. The ends of the 95 % interval are those of Student's t, each
of the evaluations and one more: the lowest fitness seen for the low end, the highest for
the high end. A rare failure among n evaluations is often not seen; the one that is added
stands for it. If all n are equal, the low end is ``3 / n`` of the way down to the lowest,
which is the rule of three.
"""

import functools

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import HasCleanEstimate, Noisy, Problem, PyTree, StrategyState
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.arrays import check_fitness, check_key, check_population
from diffevo_jax.running.arguments import evaluates_on_host

#: By itself: so much of the evaluations of the evolution, at most so many populations,
#: since half of it is evaluated at once, and at most so many ...
SHARE, POPULATIONS, MOST = 5, 8, 512
#: ... but none if they would be fewer than this.
FEWEST = 32
#: A candidate is chosen by so many evaluations, if at least so many candidates remain.
EACH, CANDIDATES = 16, 8
#: The fewest evaluations that can be asked for: one for each of those candidates.
LEAST = 2 * CANDIDATES


@pytree.dataclass
class FinalEvaluation:
    """What is chosen at the end, and what it is worth.

    Attributes:
        solution: (D,) the chosen candidate, unit scale; decoded it is
            ``result.best_solution``.
        fitness: () mean of the reporting half; -inf if all of it failed.
        standard_error: () of that mean; infinite if fewer than two evaluations succeeded.
        low: () lower end of the 95 % interval of the value.
        high: () upper end.
        num_evaluations: () int32, evaluations of the reporting half that succeeded.
        num_failed: () int32, those that failed.
        violation: () mean violation in the reporting half; None if all are feasible.
        chosen: () int32, number of the chosen candidate.
        feasible: () bool, whether it is: its mean violation in the choosing half is at most
            0, and some evaluation there succeeded.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> problem = de.problems.Function(lambda x: -(x**2).sum(), dim=1)
        >>> candidates = jnp.array([[2.0], [0.5]])
        >>> final = de.final_evaluation(jax.random.key(0), problem, (), candidates, 16)
        >>> int(final.chosen), float(final.fitness), int(final.num_evaluations)
        (1, -0.25, 8)
    """

    solution: jax.Array
    fitness: jax.Array
    standard_error: jax.Array
    low: jax.Array
    high: jax.Array
    num_evaluations: jax.Array
    num_failed: jax.Array
    violation: jax.Array | None
    chosen: jax.Array
    feasible: jax.Array


def is_noisy(problem: Problem) -> bool:
    """Whether a problem says that its fitness depends on the key."""
    return pytree.offers(problem, Noisy) and problem.noisy


def count_of(
    final: int | None, problem: Problem, num_generations: int, population_size: int
) -> int:
    """How many evaluations the end of a run takes; see :func:`diffevo_jax.evolve`.

    Args:
        final: what was asked for; None is by itself.
        problem: may be :class:`diffevo_jax.base.Noisy`.
        num_generations: T of the run.
        population_size: N of the run.

    Raises:
        ValueError: it is neither 0 nor an even number of at least 16.
    """
    if final is None:
        if not is_noisy(problem):
            return 0
        share = num_generations * population_size // SHARE
        most = min(share, POPULATIONS * population_size, MOST)
        return most // 2 * 2 if most >= FEWEST else 0
    if final and (final < LEAST or final % 2):
        raise ValueError(f"final: got {final}, want None, 0 or an even int >= {LEAST}")
    return final


def num_candidates(num_evaluations: int) -> int:
    """How many candidates so many evaluations can tell apart.

    Example:
        >>> from diffevo_jax.running import final
        >>> [final.num_candidates(count) for count in (16, 256, 512, 1024)]
        [8, 8, 16, 32]
    """
    return max(CANDIDATES, num_evaluations // 2 // EACH)


def candidates_of(
    state: StrategyState,
    population: jax.Array,
    fitness: jax.Array,
    count: int,
    violation: jax.Array | None = None,
) -> jax.Array:
    """Candidates ``(K, D)``, unit scale, K at most ``count``.

    First the record holder, the mean of the last generation, and the mean of the clean
    estimates if the state has them; then the last generation's best, by its own fitness,
    the feasible ones before the others.

    Args:
        state: of the strategy, after the last generation.
        population: (N, D) the last generation.
        fitness: (N,) its fitness.
        count: at least 3.
        violation: (N,), at most 0 where feasible; None if all are, or nobody knows.
    """
    few = [state.best_solution, jnp.mean(population, axis=0)]
    if pytree.offers(state, HasCleanEstimate):
        few.append(jnp.mean(state.clean_estimate, axis=0))
    loss = jnp.where(jnp.isfinite(fitness), -fitness, jnp.inf)
    infeasible = jnp.zeros(len(fitness), bool) if violation is None else ~(violation <= 0)
    ranked = jnp.lexsort((loss, infeasible))  # the last key counts most
    return jnp.concatenate([jnp.stack(few), population[ranked[: count - len(few)]]])


@checked
def final_evaluation(
    key: jax.Array,
    problem: Problem,
    problem_state: PyTree,
    candidates: jax.Array,
    num_evaluations: int,
    seen: jax.Array | None = None,
) -> FinalEvaluation:
    """Choose among candidates on one half of the evaluations, report on the other half.

    :func:`diffevo_jax.evolve` and :func:`diffevo_jax.run` do this at their end with
    candidates of the run. Chosen is who has the highest mean fitness of those that are
    feasible, that is with a mean violation of at most 0; of those of whom most evaluations
    succeeded, if there are any. What the problem's state learns here is forgotten.

    Args:
        key: a typed key that no generation has used.
        problem: what to evaluate on, ``num_evaluations / 2`` solutions at once.
        problem_state: of the problem, as ``result.problem_state``.
        candidates: (K, D) in unit scale, K at most ``num_evaluations / 2``.
        num_evaluations: even, at least 16; half of them to choose, about as many for each
            candidate, half of them to report the chosen one.
        seen: fitness (M,) of other evaluations: how low and how high one can be. What
            failed does not count.

    Returns:
        The chosen one, its fitness and the interval of its value.

    Raises:
        ValueError: a count is wrong.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Control("CartPole-v1")
        >>> policies = problem.space.sample(jax.random.key(0), 8)
        >>> final = de.final_evaluation(jax.random.key(1), problem, (), policies, 32)
        >>> bool(final.low < final.fitness) and bool(final.fitness < final.high)
        True

    References:
        Student, "The probable error of a mean", 1908; Hanley and Lippman-Hand, "If nothing
        goes wrong, is everything all right?", 1983, for the rule of three.
    """
    check_key("key", key)
    candidates = check_population("candidates", candidates)
    half, count = num_evaluations // 2, len(candidates)
    if num_evaluations < LEAST or num_evaluations % 2:
        got = f"num_evaluations: got {num_evaluations}"
        raise ValueError(f"{got}, want an even int >= {LEAST}")
    if count > half:
        raise ValueError(
            f"candidates: got {count}, want at most {half}, one evaluation each"
        )
    candidates = problem.space.repair(candidates)

    def evaluate(who: jax.Array, key: jax.Array) -> tuple[jax.Array, PyTree]:
        """Evaluate candidates ``who`` (half,), and say who is to be evaluated next."""
        solutions = problem.space.decode(candidates[who])
        evaluation, _ = problem.evaluate(key, problem_state, solutions)
        fitness = check_fitness(evaluation.fitness, half)
        violation = evaluation.violation
        if violation is not None:
            violation = check_fitness(violation, half, "violation")
        chosen, feasible = choice(who, count, fitness, violation)
        return jnp.full(half, chosen), (fitness, violation, chosen, feasible)

    each, keys = jnp.arange(half, dtype=jnp.int32) % count, jax.random.split(key)
    if evaluates_on_host(problem):
        each, first = evaluate(each, keys[0])
        _, second = evaluate(each, keys[1])
        both = jax.tree.map(lambda *parts: jnp.stack(parts), first, second)
    else:  # one evaluation in a loop, and not two, is half as much to compile
        _, both = jax.lax.scan(evaluate, each, keys)
    fitness, violation, chosen, feasible = both
    return concluded(candidates, (fitness, violation, chosen[0], feasible[0]), seen)


def concluded(
    candidates: jax.Array,
    halves: tuple[jax.Array, jax.Array | None, jax.Array, jax.Array],
    seen: jax.Array | None = None,
) -> FinalEvaluation:
    """What both halves of the evaluations say.

    Args:
        candidates: (K, D).
        halves: fitness (2, M) and violation (2, M) of both, whom the first one chose, and
            whether that one is feasible.
        seen: see :func:`final_evaluation`.
    """
    fitness, violation, chosen, feasible = halves
    others = fitness[0] if seen is None else jnp.concatenate([fitness[0], seen])
    mean, error, low, high = value_of(fitness[1], others)
    valid = jnp.isfinite(fitness[1])
    num_evaluations_valid = jnp.sum(valid, dtype=jnp.int32)
    return FinalEvaluation(
        solution=candidates[chosen],
        fitness=mean,
        standard_error=error,
        low=low,
        high=high,
        num_evaluations=num_evaluations_valid,
        num_failed=fitness.shape[1] - num_evaluations_valid,
        violation=None if violation is None else jnp.mean(violation[1], where=valid),
        chosen=chosen,
        feasible=feasible,
    )


def choice(
    who: jax.Array, count: int, fitness: jax.Array, violation: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Number of the best candidate, and whether it is feasible.

    Args:
        who: (M,) number of the candidate of each evaluation.
        count: of candidates.
        fitness: (M,), not finite where an evaluation failed.
        violation: (M,), at most 0 where feasible; None if all are.
    """
    total = functools.partial(jax.ops.segment_sum, segment_ids=who, num_segments=count)
    valid = jnp.isfinite(fitness)
    number, asked = total(valid.astype(fitness.dtype)), total(jnp.ones_like(fitness))
    safe = jnp.maximum(number, 1.0)
    value = jnp.where(number > 0, total(jnp.where(valid, fitness / safe[who], 0)), -jnp.inf)
    feasible, excess = number > 0, jnp.zeros(count, fitness.dtype)
    if violation is not None:
        excess = total(jnp.where(valid, violation / safe[who], 0))
        feasible &= excess <= 0  # where it is NaN, it is not known to be feasible
        excess = jnp.where(feasible, 0, jnp.where(jnp.isnan(excess), jnp.inf, excess))
    steady = 2 * number >= asked
    # The last key counts most: feasible, then violated least, then steady, then the best.
    order = jnp.lexsort((-value, ~steady, excess, ~feasible))
    return order[0].astype(jnp.int32), feasible[order[0]]


def value_of(
    fitness: jax.Array, seen: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Mean, its standard error, and the ends of the 95 % interval of the value.

    Args:
        fitness: (n,) of one solution; what is not finite failed, and does not count.
        seen: (M,) of any solutions; one may be as low and as high as any of these.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.running import final
        >>> mean, error, low, high = final.value_of(jnp.full(300, 500.0), jnp.zeros(1))
        >>> float(mean), float(error), round(float(low)), float(high)
        (500.0, 0.0, 495, 500.0)
    """
    both = jnp.concatenate([fitness, seen])
    known = jnp.isfinite(both)
    lowest = jnp.min(jnp.where(known, both, jnp.inf))
    highest = jnp.max(jnp.where(known, both, -jnp.inf))
    mean, error, _ = student(fitness)
    low = _beyond(fitness, lowest, -1.0)
    high = _beyond(fitness, highest, 1.0)
    return mean, error, jnp.minimum(low, mean), jnp.maximum(high, mean)


def _beyond(fitness: jax.Array, extreme: jax.Array, sign: float) -> jax.Array:
    """End of an interval of evaluations and an extreme one more."""
    mean, error, number = student(jnp.append(fitness, extreme))
    end = mean + sign * quantile(number - 1) * error
    return jnp.where(number > 2, end, sign * jnp.inf)


def student(fitness: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean ``()``, its standard error, and the number of those that did not fail."""
    valid = jnp.isfinite(fitness)
    number = jnp.sum(valid).astype(fitness.dtype)
    safe = jnp.maximum(number, 2.0)
    shift = jnp.where(valid[0], fitness[0], 0.0)  # so that equal ones have no spread
    mean = jnp.sum(jnp.where(valid, (fitness - shift) / jnp.maximum(number, 1.0), 0.0))
    apart = jnp.where(valid, fitness - shift - mean, 0.0)
    largest = jnp.maximum(jnp.max(jnp.abs(apart)), jnp.finfo(fitness.dtype).tiny)
    squares = jnp.sum((apart / largest) ** 2) / (safe - 1) / safe
    error = jnp.where(number > 1, largest * jnp.sqrt(squares), jnp.inf)
    return jnp.where(number > 0, shift + mean, -jnp.inf), error, number


def quantile(degrees: jax.Array) -> jax.Array:
    """The 97.5 % quantile of Student's t, to 1 % with 2 degrees of freedom, 1e-4 with 6.

    References:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5.
    """
    v, z = jnp.maximum(degrees, 1.0), 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    above = [term / v**power for power, term in enumerate(terms, 1)]
    return z + jnp.sum(jnp.stack(above), axis=0)

"""Constraints: what a strategy should see of who violates them, on classic problems.

The default strategy, with the fitness changed in several ways where constraints are
violated: weight zero, below the worst feasible one by several scales, and the old way, a
condition with a softness. The error is that of the best feasible solution of a run,
relative to the optimum; choose on other seeds than those that are reported:

    python benchmarks/constraints.py --seed 7 --quick      # all ways; not stored
    python benchmarks/constraints.py                       # stored, seed 42

Problems: G06, G08 and G09 of Michalewicz and Schoenauer, 1996; Gomez and Levy, 1982; a
sphere in ten dimensions cut by a plane; a line on a circle, an equality to 0.005.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np

import diffevo_jax as de
from diffevo_jax.shaping import feasibility

N, GENERATIONS = 256, 50


class Task(NamedTuple):
    """A constrained problem.

    Attributes:
        fn: from a solution to its fitness, and to constraints (m,), satisfied from 0 down.
        lower: bounds of a box.
        upper: as lower.
        optimum: the highest feasible fitness.
    """

    fn: Callable[[jax.Array], tuple[jax.Array, jax.Array]]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    optimum: float


def g06(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A sliver between two circles, 7e-5 of the box."""
    outer = 100 - (x[0] - 5) ** 2 - (x[1] - 5) ** 2
    inner = (x[0] - 6) ** 2 + (x[1] - 5) ** 2 - 82.81
    return -((x[0] - 10) ** 3) - (x[1] - 20) ** 3, jnp.array([outer, inner])


def g08(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Waves, the highest of them infeasible."""
    height = jnp.sin(2 * jnp.pi * x[0]) ** 3 * jnp.sin(2 * jnp.pi * x[1])
    limits = jnp.array([x[0] ** 2 - x[1] + 1, 1 - x[0] + (x[1] - 4) ** 2])
    return height / (x[0] ** 3 * (x[0] + x[1]) + 1e-12), limits


def g09(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Seven dimensions, two of four limits active."""
    a, b, c, d, e, f, g = x
    cost = (a - 10) ** 2 + 5 * (b - 12) ** 2 + c**4 + 3 * (d - 11) ** 2 + 10 * e**6
    cost += 7 * f**2 + g**4 - 4 * f * g - 10 * f - 8 * g
    limits = [
        2 * a**2 + 3 * b**4 + c + 4 * d**2 + 5 * e - 127,
        7 * a + 3 * b + 10 * c**2 + d - e - 282,
        23 * a + b**2 + 6 * f**2 - 8 * g - 196,
        4 * a**2 + b**2 - 3 * a * b + 2 * c**2 + 5 * f - 11 * g,
    ]
    return -cost, jnp.array(limits)


def gomez_levy(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The camel's humps, with holes."""
    a, b = x
    cost = 4 * a**2 - 2.1 * a**4 + a**6 / 3 + a * b - 4 * b**2 + 4 * b**4
    limit = -jnp.sin(4 * jnp.pi * a) + 2 * jnp.sin(2 * jnp.pi * b) ** 2 - 1.5
    return -cost, limit[None]


def plane(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A sphere in ten dimensions, its centre behind a plane."""
    return -jnp.sum((x - 2) ** 2), jnp.sum(x)[None] - 10


def circle(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """On a circle, lowest in one corner."""
    return -x[0] - x[1], jnp.abs(jnp.sum(x**2) - 2)[None] - 0.01


TASKS = {
    "G06": Task(g06, (13.0, 0.0), (100.0, 100.0), 6961.81388),
    "G08": Task(g08, (0.0, 0.0), (10.0, 10.0), 0.095825),
    "G09": Task(g09, (-10.0,) * 7, (10.0,) * 7, -680.6300573),
    "Gomez-Levy": Task(gomez_levy, (-1.0, -1.0), (0.75, 1.0), 1.031628453),
    "plane, D = 10": Task(plane, (-5.0,) * 10, (5.0,) * 10, -10.0),
    "circle, equality": Task(circle, (-3.0, -3.0), (3.0, 3.0), float(np.sqrt(4.02))),
}


def rejected(fitness: jax.Array, violation: jax.Array) -> jax.Array:
    """Weight zero."""
    return jnp.where(violation <= 0, fitness, jnp.nan)


def in_its_unit(fitness: jax.Array, violation: jax.Array) -> jax.Array:
    """Deb's: below the worst feasible by the violation as it is."""
    feasible = violation <= 0
    worst = jnp.min(jnp.where(feasible, fitness, jnp.inf))
    return jnp.where(feasible, fitness, jnp.where(feasible.any(), worst, 0.0) - violation)


def below(scale: str, kept: float, fitness: jax.Array, violation: jax.Array) -> jax.Array:
    """Below the worst feasible by a share of the deviation of the feasible fitness.

    Args:
        scale: which share: of the largest violation, of the mean one, or the rank.
        kept: share of the population that is seen at least; the others have weight zero.
        fitness: (N,).
        violation: (N,).
    """
    feasible, ordered = violation <= 0, jnp.sort(violation)
    near = violation <= ordered[max(int(kept * len(fitness)), 1) - 1]
    counted = jnp.where(feasible.any(), feasible, near)
    worst = jnp.min(jnp.where(counted, fitness, jnp.inf))
    kept_violation = jnp.where(near, violation, 0.0)
    some = jnp.maximum(jnp.sum(near & ~feasible), 1)
    unit = {
        "largest": jnp.max(kept_violation),
        "mean": jnp.sum(kept_violation) / some,
        "rank": some,
    }[scale]
    rank = jnp.searchsorted(ordered, violation) - jnp.sum(feasible) + 1.0
    share = (rank if scale == "rank" else violation) / jnp.where(unit > 0, unit, 1.0)
    lower = worst - share * feasibility.deviation(fitness, counted)
    return jnp.where(feasible, fitness, jnp.where(near, lower, jnp.nan))


WAYS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "the library's": feasibility.seen,
    "weight zero": rejected,
    "all, in their unit (Deb)": in_its_unit,
    **{
        f"the nearest {kept:.0%}, of the {scale}": functools.partial(below, scale, kept)
        for scale, kept in (
            ("largest", 0.1),
            ("largest", 0.5),
            ("largest", 1.0),
            ("mean", 1.0),
            ("rank", 1.0),
        )
    },
}
SOFTNESS, GUIDANCE = (0.01, 0.1, 1.0, 10.0), (0.0, 0.75)


@de.pytree.dataclass
class Seen:
    """A task whose fitness is what is seen in one of several ways, by number."""

    name: str = de.pytree.static()
    way: jax.Array

    @property
    def space(self) -> de.problems.Space:
        """The task's box."""
        lower, upper = (jnp.asarray(b) for b in TASKS[self.name][1:3])
        return de.problems.Space(jnp.zeros(len(lower)), lower=lower, upper=upper)

    def init(self, key: jax.Array) -> tuple[()]:
        """No state."""
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: tuple[()], solutions: jax.Array
    ) -> Any:
        """Fitness as it is seen; as it is it is in the measures, with the violation."""
        fitness, limits = jax.vmap(TASKS[self.name].fn)(solutions)
        violation = jnp.sum(jnp.maximum(limits, 0.0), axis=1)
        ways = [lambda f, v: f, *WAYS.values()]
        seen = jax.lax.switch(self.way, ways, fitness, violation)
        return de.Evaluation(seen, measures=(fitness, violation)), problem_state


@de.pytree.dataclass
class Softly:
    """The old condition: a log-weight in units of a softness."""

    softness: de.pytree.Number = de.pytree.number(default=1.0)

    def log_weight(self, candidates: jax.Array, fitness: jax.Array, measures: Any) -> Any:
        """Minus the violation in units of the softness."""
        return -measures[1] / self.softness


def best(key: jax.Array, strategy: de.Strategy, problem: Seen) -> tuple[jax.Array, ...]:
    """The best feasible fitness of a run, and the feasible share of its last generation."""
    result = de.evolve(key, strategy, problem, population_size=N, record=("measures",))
    fitness, violation = result.recorded["measures"]
    feasible = (violation <= 0) & jnp.isfinite(fitness)
    return jnp.max(jnp.where(feasible, fitness, -jnp.inf)), jnp.mean(feasible[-1])


def rows_of(name: str, keys: jax.Array) -> list[dict[str, Any]]:
    """A row for each way."""
    strategy, ways = de.DiffusionEvolution(GENERATIONS), jnp.arange(1, len(WAYS) + 1)
    over_ways = jax.vmap(lambda way: over(keys, strategy, Seen(name, way)))
    found = [np.asarray(part) for part in jax.jit(over_ways)(ways)]
    rows = [row(name, way, *(part[n] for part in found)) for n, way in enumerate(WAYS)]

    def softly(softness: jax.Array, guidance: jax.Array) -> Any:
        conditions = (Softly(softness),)
        population = de.denoisers.Population(conditions=conditions, guidance=guidance)
        strategy = de.DiffusionEvolution(GENERATIONS, population)
        return over(keys, strategy, Seen(name, jnp.zeros((), int)))

    settings = [(s, g) for s in SOFTNESS for g in GUIDANCE]
    found = [np.asarray(p) for p in jax.jit(jax.vmap(softly))(*jnp.array(settings).T)]
    for n, (softness, guidance) in enumerate(settings):
        way = f"condition, softness {softness:g}, guidance {guidance:g}"
        rows.append(row(name, way, *(part[n] for part in found)))
    return rows


def over(keys: jax.Array, strategy: de.Strategy, problem: Seen) -> Any:
    """Many runs."""
    return jax.vmap(lambda key: best(key, strategy, problem))(keys)


def row(name: str, way: str, fitness: np.ndarray, share: np.ndarray) -> dict[str, Any]:
    """What the runs of one way came to; the error is infinite where none was feasible."""
    optimum = TASKS[name].optimum
    error = np.maximum((optimum - np.float64(fitness)) / max(1.0, abs(optimum)), 0.0)
    median, tenth = np.sort(error)[[len(error) // 2, int(0.9 * len(error))]]
    return {
        "task": name,
        "way": way,
        "median": float(min(median, 1e9)),
        "worst_tenth": float(min(tenth, 1e9)),
        "found": float(np.mean(np.isfinite(fitness))),
        "feasible": float(np.mean(share)),
    }


def report(rows: list[dict[str, Any]]) -> str:
    """A line a way, a column a task: the median error, and how many runs found one."""
    ways = list(dict.fromkeys(row["way"] for row in rows))
    known = {(row["way"], row["task"]): row for row in rows}
    lines = []
    for way in ways:
        cells = [known[way, task] for task in TASKS]
        lines.append([way, *(cell(one) for one in cells)])
    return common.table(["what is seen", *TASKS], lines)


def cell(one: dict[str, Any]) -> str:
    """The median error, and the share of the runs that found a feasible solution."""
    error = "none" if one["median"] >= 1e9 else f"{one['median']:.2g}"
    return error + ("" if one["found"] == 1 else f" ({one['found']:.0%} of runs)")


def main() -> None:
    """Run all ways on all tasks."""
    options = common.arguments(__doc__ or "", seeds=64)
    keys = jax.random.split(jax.random.key(options.seed), options.seeds)
    rows = [one for name in TASKS for one in rows_of(name, keys)]
    print(report(rows))
    common.save("constraints", options, rows)


if __name__ == "__main__":
    main()

"""The design space at equal evaluations: what each choice buys, and what a default is.

    python benchmarks/design_space.py [--minutes 60]

Two ways to look. One factor at a time: the published setting of each domain with one
choice replaced, on all tasks. Then 100 random combinations of all choices, on the tasks of
``CHOOSING``. What was chosen from them as a first default, and the best of the random ones,
were run on seeds of their own; the default of today was chosen among the combinations of
what did well there, and is run on fresh seeds of all tasks, and on functions and an
environment set apart.

Everything is stored as it is measured, one number a run, and what is stored is not measured
again: stop it, and go on later.
"""

import argparse
import json
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import RESULTS, provenance
from design_settings import (
    FIRST_DEFAULT,
    Setting,
    build,
    default,
    legal,
    name_of,
    neighbours,
    one_factor,
    plain_neighbours,
    published,
    random_settings,
)
from design_tasks import CHOOSING, FRESH, TASKS, Task

import diffevo_jax as de

#: Seeds for choosing, for the first default, for choosing once more, and for the default.
SEEDS = {"choosing": 1, "first": 2, "neighbours": 3, "fresh": 4}
#: Runs of a setting on a task, or on tasks of its name; else those of the task, or 64.
COUNTS = {
    "choosing": {},
    "neighbours": {"CartPole": 48, "CartPole 7": 192, "Acrobot": 24, "Acrobot 5": 96},
    "first": {"CartPole": 512, "Acrobot": 128, "": 64},
    "fresh": {"CartPole": 512, "Acrobot": 128, "Acrobot 5": 1024, "": 64},
}
#: Neighbours that lose more on Acrobot with five generations are not looked at further.
PRUNED = 0.01
FINALISTS = 3
#: A default may nowhere be worse than published by more than this share of the range.
TOLERATED = 0.05


def measure(strategies: list[Any], task: Task, seed: int, seeds: int) -> np.ndarray:
    """Score of every run, (strategies, problems x seeds), in one program."""
    problem = task.problems()
    keys = jax.random.split(jax.random.key(seed), seeds)

    def one(strategy: Any, problem: de.Problem, key: jax.Array) -> jax.Array:
        result = de.evolve(
            key, strategy, problem, population_size=task.population_size, final=0
        )
        return task.score(result.fitness)

    runs = jax.vmap(one, (None, None, 0))
    if task.count:
        runs = jax.vmap(runs, (None, de.replace(problem, number=0), None))
    runs = jax.vmap(runs, (0, None, None))
    options = de.compiler_options(quick=True)  # most programs run once
    strong = [de.pytree.strong(strategy) for strategy in strategies]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *strong)
    scores = jax.jit(runs, compiler_options=options)(stacked, problem, keys)
    return np.asarray(scores).reshape(len(strategies), -1)


class Store:
    """Measurements on disk, by stage, task and setting."""

    def __init__(self, deadline: float = 0.0) -> None:
        self.path = RESULTS / "design_space.json"
        self.deadline = deadline
        exists = self.path.exists()
        self.rows = json.loads(self.path.read_text())["rows"] if exists else {}

    def get(self, settings: list[Setting], task: str, stage: str) -> None:
        """Measure what is not stored, while there is time."""
        what = (TASKS | FRESH)[task]
        counts = COUNTS[stage]
        names = [name for name in (task, task.split()[0], "") if name in counts]
        count = counts[names[0]] if names else what.seeds
        groups: dict[Any, dict[str, Any]] = {}
        for setting in settings:
            key = self.key(setting, task, stage)
            if len(self.rows.get(key, ())) < count * max(what.count, 1):
                strategy = build(setting, what.num_generations)
                groups.setdefault(jax.tree.structure(strategy), {})[key] = strategy
        for group in groups.values():
            if time.monotonic() > self.deadline:
                raise TimeoutError
            scores = measure(list(group.values()), what, SEEDS[stage], count)
            for key, row in zip(group, scores, strict=True):
                self.rows[key] = [round(float(score), 5) for score in row]
                print(f"{row.mean():8.4f}  {key}", flush=True)
            self.write()

    def write(self) -> None:
        """Store all rows, one a line."""
        pairs = [f"{json.dumps(k)}: {json.dumps(row)}" for k, row in self.rows.items()]
        rows = "{\n" + ",\n".join(pairs) + "\n}"
        head = json.dumps(provenance())
        self.path.write_text(f'{{"provenance": {head},\n"rows": {rows}}}\n')

    def key(self, setting: Setting, task: str, stage: str) -> str:
        """Name of a measurement."""
        return f"{stage} || {task} || {name_of(setting)}"

    def scores(self, setting: Setting, task: str, stage: str) -> np.ndarray:
        """(problems x seeds,)."""
        return np.array(self.rows[self.key(setting, task, stage)])

    def has(self, setting: Setting, task: str, stage: str) -> bool:
        """Whether it is measured."""
        return self.key(setting, task, stage) in self.rows


def gains(store: Store, setting: Setting, tasks: Any, stage: str) -> np.ndarray:
    """Mean paired gain over the published setting, one number a task."""
    pairs = [
        store.scores(setting, task, stage) - store.scores(published(task), task, stage)
        for task in tasks
    ]
    return np.array([pair.mean() for pair in pairs])


def finalists(store: Store) -> list[Setting]:
    """Random settings that lose nowhere more than tolerated, by mean gain."""
    ranked = []
    for setting in random_settings():
        if all(store.has(setting, task, "choosing") for task in CHOOSING):
            gain = gains(store, setting, CHOOSING, "choosing")
            if gain.min() >= -TOLERATED:
                ranked.append((gain.mean(), setting))
    ranked.sort(key=lambda pair: -pair[0])
    return [setting for _, setting in ranked[:FINALISTS]]


def run(store: Store) -> None:
    """All that is wanted, in the order of its use."""
    for task in CHOOSING:
        some = [FIRST_DEFAULT, *random_settings()]
        store.get([published(task), *some], task, "choosing")
    for task in TASKS | FRESH:
        some = [published(task), FIRST_DEFAULT, *finalists(store)]
        store.get([one for one in some if legal(one, task)], task, "first")
    hard = published("Acrobot 5")
    store.get([hard, *neighbours()], "Acrobot 5", "neighbours")
    base = store.scores(hard, "Acrobot 5", "neighbours").mean()
    kept = [
        one
        for one in neighbours()
        if store.scores(one, "Acrobot 5", "neighbours").mean() >= base - PRUNED
    ]
    store.get([published("CartPole 10"), *kept], "CartPole 10", "neighbours")
    for task in TASKS:
        store.get([published(task), *plain_neighbours()], task, "neighbours")
    for task in TASKS | FRESH:
        store.get([published(task), default()], task, "fresh")
    for task in TASKS:
        some = [setting for setting, _, _, name in one_factor() if name == task]
        store.get([one for one in some if one is not None], task, "choosing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0, help="of this slice")
    options = parser.parse_args()
    store = Store(time.monotonic() + 60 * options.minutes)
    try:
        run(store)
    except TimeoutError:
        print("the time of this slice is over; run again to go on")


if __name__ == "__main__":
    main()

"""How a planned sweep runs: batch by batch, to the host or to a folder."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from diffevo_jax.running import memory
from diffevo_jax.running.bars import show_runs
from diffevo_jax.sweeps import tables
from diffevo_jax.sweeps.batches import Program, program
from diffevo_jax.sweeps.folder import Folder
from diffevo_jax.sweeps.plan import Batch, Plan
from diffevo_jax.sweeps.settings import grouped

if TYPE_CHECKING:
    import xarray

#: Seeds of a sweep are counted from 0, and those that confirm the best from here.
_FRESH = 2**31
#: Results of runs on the host, by name, with a leading axis of runs.
Arrays = dict[str, np.ndarray]


def execute(
    plan: Plan,
    store: Folder | None,
    *,
    shard: tuple[int, int] = (0, 1),
    confirm: int = 0,
    progress: bool = False,
) -> "xarray.Dataset":
    """Run a sweep, or its shard; see :func:`diffevo_jax.sweep`.

    Args:
        plan: of the sweep.
        store: where batches are kept; those that are there do not run again.
        shard: ``(i, n)``: every n-th batch from the i-th on.
        confirm: fresh seeds for the best setting, if all runs are there.
        progress: show a bar.

    Returns:
        An ``xarray.Dataset``.
    """
    rows = _rows(plan)
    with memory.explained("sweep", _changes(plan)):
        _run_shard(plan, rows, store, shard, progress)
    if store is not None:
        for number, batch in enumerate(plan.batches()):
            if store.has(number):
                numbers = np.arange(batch.begin, batch.end)
                _put(plan, rows, batch.group, numbers, store.read(number))
    dataset = rows.dataset([setting.values for setting in plan.settings])
    if confirm and rows.known.all() and len(tables.ranking(dataset)):
        with memory.explained("sweep", ["confirm", *_changes(plan)]):
            dataset.attrs |= _confirm(plan, dataset, confirm)
    return dataset


def _changes(plan: Plan) -> list[str]:
    """What a sweep takes memory for."""
    groups = plan.groups
    largest = max(groups, key=lambda group: group.population_size)
    problem = plan.settings[largest.numbers[0]].problem
    size, kept = largest.population_size, plan.batching.keep
    said = memory.changes_of(size, problem.space.dim, largest.num_generations)
    given = plan.batching.batch_size
    runs = "as many as fit" if given is None else f"{given:,}"
    said.insert(0, f"batch_size (got {runs}), the runs at a time")
    return [*said, f"keep (got {kept})"] if kept else said


def _rows(plan: Plan) -> tables.Rows:
    rows = tables.Rows(len(plan.settings), plan.num_seeds, plan.run_shapes)
    for group in plan.groups:
        rows.evaluations[group.numbers] = group.num_generations * group.population_size
    return rows


def _run_shard(
    plan: Plan,
    rows: tables.Rows,
    store: Folder | None,
    shard: tuple[int, int],
    progress: bool,
) -> None:
    """Run all batches of a shard that are not stored; to the store, or else to the rows."""
    batches = plan.batches()
    ours = range(shard[0], len(batches), shard[1])
    missing = [number for number in ours if store is None or not store.has(number)]
    total, left = (sum(batches[n].size for n in numbers) for numbers in (ours, missing))
    programs: dict[int, Program] = {}
    with show_runs(total, total - left, progress) as advance:
        for number in missing:
            batch = batches[number]
            if store is not None and store.has(number):  # by another job, meanwhile
                advance(batch.size)
                continue
            parts = _parts(plan, programs, batch, advance)
            if store is None:
                for runs, arrays in parts:
                    _put(plan, rows, batch.group, runs, arrays)
            else:
                store.write(number, _joined([arrays for _, arrays in parts]))


def _parts(
    plan: Plan, programs: dict[int, Program], batch: Batch, advance: Callable[[int], None]
) -> Iterator[tuple[np.ndarray, Arrays]]:
    """Runs of a batch, as many at a time as the device takes, and their results."""
    if batch.group not in programs:
        programs.clear()  # one at a time stays in memory
        group = plan.groups[batch.group]
        count = len(group.numbers) * plan.num_seeds
        programs[batch.group] = program(plan.key, group, count, plan.batching)
    compiled = programs[batch.group]
    for first in range(batch.begin, batch.end, compiled.batch_size):
        runs = np.arange(first, min(first + compiled.batch_size, batch.end))
        setting, seed = np.divmod(runs, plan.num_seeds)
        arrays = tables.flat(compiled.call(setting, seed, len(runs)))
        yield runs, {name: values[: len(runs)] for name, values in arrays.items()}
        advance(len(runs))


def _joined(parts: list[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _put(
    plan: Plan, rows: tables.Rows, group: int, runs: np.ndarray, arrays: Arrays
) -> None:
    place, seed = np.divmod(runs, plan.num_seeds)
    rows.put(np.array(plan.groups[group].numbers)[place], seed, arrays)


def _confirm(plan: Plan, dataset: "xarray.Dataset", num_seeds: int) -> dict[str, float]:
    """The best setting on fresh seeds, as attributes."""
    best = tables.best_setting(dataset)
    (group,), batching = grouped([plan.settings[best]]), plan.batching._replace(keep=())
    compiled = program(plan.key, group, num_seeds, batching)
    finals = []
    for first in range(0, num_seeds, compiled.batch_size):
        seed = np.arange(first, min(first + compiled.batch_size, num_seeds))
        kept = compiled.call(np.zeros_like(seed), _FRESH + seed, len(seed))
        finals.append(np.asarray(kept.history.mean_fitness)[: len(seed), -1])
    mean, low, high = tables.interval(np.concatenate(finals))
    names = ("mean", "low", "high", "seeds")
    values = dict(zip(names, (mean, low, high, num_seeds), strict=True))
    return {"best_setting": best} | {f"confirmed_{n}": v for n, v in values.items()}

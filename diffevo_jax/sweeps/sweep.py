"""Many settings times many seeds as one program, and one labelled result."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from diffevo_jax import validation
from diffevo_jax.base import Problem, Strategy
from diffevo_jax.sweeps import tables
from diffevo_jax.sweeps.batches import KEEPABLE, MODES, Program, program
from diffevo_jax.sweeps.folder import Folder
from diffevo_jax.sweeps.progress import show_batches
from diffevo_jax.sweeps.settings import (
    Axes,
    Group,
    Setting,
    check_settings,
    grouped,
    settings_of,
)

#: Seeds of a sweep are counted from 0, and those that confirm the best from here.
_FRESH = 2**31


class Plan(NamedTuple):
    """A sweep that has been checked.

    Attributes:
        key: runs with seed s use ``fold_in(key, s)``.
        settings: all of them.
        groups: those that one program can run.
        num_seeds: runs of each setting.
        mode: ``"vmap"`` or ``"map"``.
        batch_size: runs of a batch; None finds it.
        devices: to spread a batch over; None for the default one.
        keep: what to keep beside scalars.
    """

    key: jax.Array
    settings: list[Setting]
    groups: list[Group]
    num_seeds: int
    mode: str
    batch_size: int | None
    devices: Sequence[jax.Device] | None
    keep: tuple[str, ...]


def sweep(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    *,
    axes: Axes | None = None,
    num_seeds: int = 1,
    population_size: int | None = None,
    mode: str = "vmap",
    batch_size: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    keep: tuple[str, ...] = (),
    confirm: int = 0,
    folder: str | Path | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: bool = False,
) -> Any:
    """Run many settings with many seeds, in one compiled program for each structure.

    A number field with one axis more than it declares is swept; several such fields go
    together. ``axes`` multiplies: every entry is one more axis, by the name of a field, of
    any field of ``strategy``, of ``"problem.…"``, or ``"population_size"``. Axes over
    structure (counts, classes, environments) compile once for each structure.

    Every setting sees the same seeds; a run is a function of ``key``, its setting and its
    seed number. Numbers beyond their range raise; runs that fail are flagged, not fatal.

    Args:
        key: a typed key; the run with seed s has ``jax.random.fold_in(key, s)``.
        strategy: its number fields may have a leading axis of settings.
        problem: what to maximise; the same.
        axes: values by field name; a mapping instead of a sequence gives them labels; a
            tuple of names takes tuples of values, for fields that go together.
        num_seeds: runs of each setting, >= 1.
        population_size: N, if it is no axis.
        mode: ``"vmap"`` is fastest; with ``"map"`` a run has the same bits whatever else
            is in the sweep.
        batch_size: runs at a time, >= 1; None takes what fits into half of the memory.
        devices: spread a batch over these; None stays on the default one.
        keep: also ``"best_solution"``, ``"population"`` or ``"fitness"`` of every run, in
            unit scale.
        confirm: run the best setting on so many fresh seeds, and give the mean of
            ``final_mean`` with its 95 % interval in the attributes ``confirmed_mean``,
            ``confirmed_low`` and ``confirmed_high``; 0 for not, else >= 2.
        folder: store every batch there; a sweep that was stopped goes on from it.
        shard: ``(i, n)``: run only every n-th batch from the i-th on, for jobs that share
            a folder; runs that other jobs have stored are in the result.
        progress: show a bar, with the time left.

    Returns:
        An ``xarray.Dataset`` with the dimensions ``setting``, ``seed`` and ``generation``:
        the fields of :class:`diffevo_jax.Info`, ``final_mean`` and ``final_best``,
        ``failed`` and ``missing``, ``evaluations``; swept fields are coordinates. Shorter
        runs end in NaN. :func:`diffevo_jax.sweeps.save` stores it.

    Raises:
        ValueError: an axis names no field, lengths do not match, a number is out of range.
        ImportError: xarray is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> sampler = de.samplers.DDIM(jnp.array([0.0, 1.0]))
        >>> strategy = de.DiffusionEvolution(5, sampler=sampler)
        >>> problem = de.problems.Landscape("beale")
        >>> result = de.sweep(jax.random.key(0), strategy, problem, num_seeds=3,
        ...                   axes={"population_size": [16, 32]})
        >>> dict(result.final_mean.sizes)
        {'setting': 4, 'seed': 3}
        >>> result["sampler.eta"].values.tolist(), result.population_size.values.tolist()
        ([0.0, 0.0, 1.0, 1.0], [16, 32, 16, 32])
    """
    tables.xarray()
    _check_options(num_seeds, mode, batch_size, keep, confirm, shard)
    settings = settings_of(strategy, problem, population_size, axes)
    check_settings(key, settings)
    if folder is not None and batch_size is None:
        batch_size = 64  # the same for all jobs, whatever memory they have
    plan = Plan(
        key, settings, grouped(settings), num_seeds, mode, batch_size, devices, keep
    )
    store = None if folder is None else Folder(folder, plan)
    rows = _rows(plan)
    done = _run(plan, rows, store, shard, progress)
    dataset = rows.dataset([setting.values for setting in settings])
    if confirm and done:
        dataset.attrs |= _confirm(plan, dataset, confirm)
    return dataset


def _check_options(
    num_seeds: int,
    mode: str,
    batch_size: int | None,
    keep: tuple[str, ...],
    confirm: int,
    shard: tuple[int, int],
) -> None:
    validation.check_count("num_seeds", num_seeds)
    if batch_size is not None:
        validation.check_count("batch_size", batch_size)
    if mode not in MODES:
        raise ValueError(f"mode: got {mode!r}, want one of {MODES}")
    if isinstance(keep, str) or not set(keep) <= set(KEEPABLE):
        raise ValueError(f"keep: got {keep!r}, want names among {tuple(KEEPABLE)}")
    if confirm != 0:
        validation.check_count("confirm", confirm, 2)
    if len(shard) != 2 or not 0 <= shard[0] < shard[1]:
        raise ValueError(f"shard: got {shard}, want (i, n) with 0 <= i < n")


def _rows(plan: Plan) -> tables.Rows:
    longest = max(group.num_generations for group in plan.groups)
    rows = tables.Rows(len(plan.settings), plan.num_seeds, longest)
    for group in plan.groups:
        rows.evaluations[group.numbers] = group.num_generations * group.population_size
    return rows


def _run(
    plan: Plan,
    rows: tables.Rows,
    store: Folder | None,
    shard: tuple[int, int],
    progress: bool,
) -> bool:
    """Run all batches of a shard that are not stored; whether all of the sweep is there."""
    batches = list(_batches(plan))
    ours = range(shard[0], len(batches), shard[1])
    programs: dict[int, Program] = {}
    for number in show_batches(ours, progress):
        if store is None or not store.has(number):
            outcome = _one_batch(plan, programs, *batches[number])
            if store is None:
                _put(plan, rows, batches[number], outcome)
            else:
                store.write(number, outcome)
    if store is not None:
        for number, batch in enumerate(batches):
            if store.has(number):
                _put(plan, rows, batch, store.read(number))
    return bool(rows.known.all())


def _batches(plan: Plan) -> Iterator[tuple[int, int, int]]:
    """Group, first run and last run of every batch; without a size a group is one."""
    for number, group in enumerate(plan.groups):
        runs = len(group.numbers) * plan.num_seeds
        size = plan.batch_size or runs
        for begin in range(0, runs, size):
            yield number, begin, min(begin + size, runs)


def _one_batch(
    plan: Plan, programs: dict[int, Program], number: int, begin: int, end: int
) -> dict[str, np.ndarray]:
    """Results of the runs of a batch; compiles the program of its group at first."""
    group = plan.groups[number]
    if number not in programs:
        programs.clear()  # one at a time stays in memory
        programs[number] = program(
            plan.key,
            group,
            len(group.numbers) * plan.num_seeds,
            mode=plan.mode,
            batch_size=plan.batch_size,
            devices=plan.devices,
            keep=plan.keep,
        )
    compiled, parts = programs[number], []
    for first in range(begin, end, compiled.batch_size):
        runs = np.arange(first, min(first + compiled.batch_size, end))
        setting, seed = np.divmod(runs, plan.num_seeds)
        outcome = tables.flat(compiled.call(setting, seed, len(runs)))
        parts.append({name: values[: len(runs)] for name, values in outcome.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _put(
    plan: Plan,
    rows: tables.Rows,
    batch: tuple[int, int, int],
    outcome: dict[str, np.ndarray],
) -> None:
    number, begin, end = batch
    place, seed = np.divmod(np.arange(begin, end), plan.num_seeds)
    rows.put(np.array(plan.groups[number].numbers)[place], seed, outcome)


def _confirm(plan: Plan, dataset: Any, num_seeds: int) -> dict[str, Any]:
    """The best setting on fresh seeds, as attributes."""
    best = tables.best_setting(dataset)
    group = grouped([plan.settings[best]])[0]
    compiled = program(
        plan.key,
        group,
        num_seeds,
        mode=plan.mode,
        batch_size=plan.batch_size,
        devices=plan.devices,
        keep=(),
    )
    finals = []
    for first in range(0, num_seeds, compiled.batch_size):
        seed = np.arange(first, min(first + compiled.batch_size, num_seeds))
        outcome = compiled.call(np.zeros_like(seed), _FRESH + seed, len(seed))
        finals.append(np.asarray(outcome.history.mean_fitness)[: len(seed), -1])
    mean, low, high = tables.interval(np.concatenate(finals))
    names = ("mean", "low", "high", "seeds")
    values = dict(zip(names, (mean, low, high, num_seeds), strict=True))
    return {"best_setting": best} | {f"confirmed_{n}": v for n, v in values.items()}

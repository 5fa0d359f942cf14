"""A sweep before it runs: what is wrong is found here, before anything is compiled."""

from typing import NamedTuple

import jax

from diffevo_jax.base import Problem, Strategy
from diffevo_jax.pytree import validation
from diffevo_jax.running.arguments import as_pytree
from diffevo_jax.sweeps import tables
from diffevo_jax.sweeps.batches import Batching, first_size, run_shapes, trace
from diffevo_jax.sweeps.settings import (
    Axes,
    Group,
    Setting,
    check_settings,
    grouped,
    named_in_errors,
    settings_of,
)

#: Runs of a stored batch: the same for all jobs, whatever memory they have.
STORED_BATCH = 64


class Batch(NamedTuple):
    """Consecutive runs of a group, seeds first.

    Attributes:
        group: number of the group.
        begin: its first run.
        end: the run after its last.
    """

    group: int
    begin: int
    end: int

    @property
    def size(self) -> int:
        """How many runs."""
        return self.end - self.begin


class Plan(NamedTuple):
    """A sweep that has been checked.

    Attributes:
        key: runs with seed s use ``fold_in(key, s)``.
        settings: all of them.
        groups: those that one program can run.
        num_seeds: runs of each setting.
        batching: how they run; without a batch size all of a group are one batch.
        run_shapes: what a run of each group leaves, by name.
    """

    key: jax.Array
    settings: list[Setting]
    groups: list[Group]
    num_seeds: int
    batching: Batching
    run_shapes: list[dict[str, jax.ShapeDtypeStruct]]

    @property
    def num_runs(self) -> int:
        """Settings times seeds."""
        return len(self.settings) * self.num_seeds

    def batches(self) -> list[Batch]:
        """All batches, in the order of their numbers."""
        found = []
        for number, group in enumerate(self.groups):
            runs = len(group.numbers) * self.num_seeds
            size = self.batching.batch_size or runs
            starts = range(0, runs, size)
            found += [Batch(number, at, min(at + size, runs)) for at in starts]
        return found


def make_plan(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    *,
    axes: Axes | None,
    num_seeds: int,
    population_size: int | None,
    batching: Batching,
    stored: bool,
) -> Plan:
    """Check the arguments of :func:`diffevo_jax.sweep`, and plan it.

    A run of every group is traced: what only N, D and the structure show to be wrong is
    known before any group has run, and so is what it leaves.

    Raises:
        ValueError: an axis names no field, lengths do not match, a number is out of range,
            or what ``keep=`` asks for has other shapes in other settings.
        TypeError: a value has the wrong type.
        ImportError: xarray is not installed.
    """
    tables.check_xarray()
    validation.check_count("num_seeds", num_seeds)
    batching.check()
    batching = batching._replace(keep=tuple(batching.keep))
    if stored and batching.batch_size is None:
        batching = batching._replace(batch_size=STORED_BATCH)
    settings = settings_of(strategy, as_pytree(problem), population_size, axes)
    check_settings(key, settings)
    groups, shapes = grouped(settings), []
    for group in groups:
        with named_in_errors(settings, group.numbers[0]):
            traced = trace_group(key, group, num_seeds, batching)
        shapes.append(run_shapes(traced))
    _check_kept(batching.keep, shapes)
    return Plan(key, settings, groups, num_seeds, batching, shapes)


def trace_group(
    key: jax.Array, group: Group, num_seeds: int, batching: Batching
) -> jax.stages.Traced:
    """The program of a group as one device runs it, not compiled."""
    alone = batching._replace(devices=None)
    return trace(key, group, first_size(len(group.numbers) * num_seeds, alone), alone)


def _check_kept(
    keep: tuple[str, ...], shapes: list[dict[str, jax.ShapeDtypeStruct]]
) -> None:
    for name in keep:
        found = dict.fromkeys(group[f"kept/{name}"].shape for group in shapes)
        if len(found) > 1:
            listed = " and ".join(map(str, found))
            raise ValueError(
                f"keep: {name!r} has shapes {listed}, want one shape for all settings"
            )


def check_shard(shard: tuple[int, int]) -> None:
    """Raise ValueError unless a shard is ``(i, n)``, with i counted from 0."""
    if len(shard) != 2 or not 0 <= shard[0] < shard[1]:
        raise ValueError(f"shard: got {shard}, want (i, n) with 0 <= i < n")


def check_confirm(confirm: int) -> None:
    """Raise unless there are enough fresh seeds for an interval, or none."""
    if confirm != 0:
        validation.check_count("confirm", confirm, 2)

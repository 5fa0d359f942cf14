"""A sweep before it runs: what is wrong is found here, before anything is compiled."""

from typing import NamedTuple

import jax

from diffevo_jax.base import Problem, Strategy
from diffevo_jax.pytree import validation
from diffevo_jax.sweeps import tables
from diffevo_jax.sweeps.batches import Batching
from diffevo_jax.sweeps.settings import (
    Axes,
    Group,
    Setting,
    check_settings,
    grouped,
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
    """

    key: jax.Array
    settings: list[Setting]
    groups: list[Group]
    num_seeds: int
    batching: Batching

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

    Raises:
        ValueError: an axis names no field, lengths do not match, a number is out of range.
        TypeError: a value has the wrong type.
        ImportError: xarray is not installed.
    """
    tables.check_xarray()
    validation.check_count("num_seeds", num_seeds)
    batching.check()
    if stored and batching.batch_size is None:
        batching = batching._replace(batch_size=STORED_BATCH)
    settings = settings_of(strategy, problem, population_size, axes)
    check_settings(key, settings)
    return Plan(key, settings, grouped(settings), num_seeds, batching)


def check_shard(shard: tuple[int, int]) -> None:
    """Raise ValueError unless a shard is ``(i, n)``, with i counted from 0."""
    if len(shard) != 2 or not 0 <= shard[0] < shard[1]:
        raise ValueError(f"shard: got {shard}, want (i, n) with 0 <= i < n")


def check_confirm(confirm: int) -> None:
    """Raise unless there are enough fresh seeds for an interval, or none."""
    if confirm != 0:
        validation.check_count("confirm", confirm, 2)

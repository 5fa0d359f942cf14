"""A run in a folder: what it is, where it stands, and how it goes on after any end.

The folder has ``run.json``, which says what the run is, and the last two checkpoints. A
run that is begun again with the same arguments goes on from the last one, and ends with the
bits of a run that nothing has interrupted.
"""

from typing import Any, NamedTuple

import jax

from diffevo_jax.base import Problem, PyTree, Strategy
from diffevo_jax.pytree import kept
from diffevo_jax.running.evolution import RunState


class Stand(NamedTuple):
    """Where a run stands.

    Attributes:
        done: generations.
        run_state: what the last one left.
        rows: what all of them left, ``(info, recorded)``, with the axis of generations.
    """

    done: int
    run_state: RunState
    rows: PyTree


def manifest(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    start: PyTree,
    traced: jax.stages.Traced,
    *,
    on_host: bool,
) -> dict[str, Any]:
    """What decides the bits of a run, by name, as JSON has it.

    How many generations a chunk has, and on which devices it runs, is not among it.

    Args:
        key: of the run, or of many.
        strategy: the strategy.
        problem: the problem.
        start: what else was given: the size, the population, what is known of it, names of
            what is recorded.
        traced: a program of a generation, with all that it calls.
        on_host: whether the problem is evaluated on the host; then its code is known by
            the names of its functions alone.
    """
    return kept.manifest(
        key,
        traced,
        (strategy, problem, start),
        strategy=strategy,
        problem=problem,
        start=start,
        functions=problem if on_host else None,
    )

"""A run in a folder: what it is, where it stands, and how it goes on after any end.

The folder has ``run.json``, which says what the run is, and the last two checkpoints. A
run that is begun again with the same arguments goes on from the last one, and ends with the
bits of a run that nothing has interrupted.
"""

import functools
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Problem, PyTree, Strategy
from diffevo_jax.problems.external.memory import Memory
from diffevo_jax.problems.external.problem import Counts
from diffevo_jax.pytree import kept
from diffevo_jax.pytree.checkpoints import Checkpoints
from diffevo_jax.pytree.digests import digest
from diffevo_jax.pytree.folders import FolderError, read_manifest
from diffevo_jax.running.evolution import RunState

_MANIFEST = "run.json"


class Stand(NamedTuple):
    """Where a run stands.

    Attributes:
        done: the number of the next generation.
        run_state: what the last one left.
        rows: what all of this run left, ``(info, recorded)``, with the axis of generations;
            None before the first.
        stopped: () or (R,) int32, why each run has ended; 0 if it has not.
        told: the number of the next generation that logs are told of.
    """

    done: int
    run_state: RunState
    rows: PyTree
    stopped: np.ndarray
    told: int


class Keeper:
    """Saves where a run stands, often enough, with what its evaluators remember.

    Args:
        keeper: of the run's folder.
        first: number of the run's first generation.
    """

    def __init__(self, keeper: kept.Keeper, first: int) -> None:
        """See the class."""
        self._keeper, self._first = keeper, first
        self._began = time.monotonic()
        #: Wall time before this process took it up.
        self.seconds = 0.0

    def load(self, run_state: PyTree, rows: PyTree, axis: int) -> Stand | None:
        """Where the run stood; None if it has not begun.

        Args:
            run_state: shapes of what a generation leaves, and where it is.
            rows: shapes of what generations leave, with the axis of generations.
            axis: which that is.
        """

        def like(number: int, notes: Mapping[str, Any]) -> PyTree:
            def so_many(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
                length = number - self._first
                shape = (*leaf.shape[:axis], length, *leaf.shape[axis + 1 :])
                return jax.ShapeDtypeStruct(shape, leaf.dtype)

            shapes = {"run": run_state, "rows": jax.tree.map(so_many, rows)}
            return shapes | {"memory": _shapes_of(notes["memory"])}

        found = self._keeper.load(like)
        if found is None:
            return None
        self.seconds += found.notes["seconds"]
        for memory, arrays in zip(_memories(run_state), found.tree["memory"], strict=True):
            memory.take_arrays(arrays)
        placed = kept.placed(found.tree["run"], run_state)
        # What ended where the whole stands may go on, with time anew or other stops.
        here = np.asarray(placed.state.generation) == found.number
        stopped = np.where(here, np.int32(0), np.asarray(found.notes["stopped"], np.int32))
        rows, told = found.tree["rows"], found.notes["told"]
        return Stand(found.number, placed, rows, stopped, told)

    def keep(self, stand: Stand) -> bool:
        """Save it, if it is time to; else it is saved at the end. Whether it was."""
        known = [len(memory) for memory in _memories(stand.run_state)]
        return self._keeper.keep(stand.done, functools.partial(self._content, stand, known))

    def next_end(self, done: int, end: int) -> int:
        """Where generations that would end at ``end`` end: in time to save."""
        return self._keeper.next_end(done, end)

    def oldest(self) -> int:
        """The number of the oldest checkpoint that is kept."""
        return self._keeper.oldest()

    def save(self) -> None:
        """Save the last that was kept, unless it has been."""
        self._keeper.save()

    def _content(
        self, stand: Stand, counts: list[int]
    ) -> tuple[dict[str, PyTree], dict[str, object]]:
        """What is saved of where a run stands: arrays, and notes."""
        memories = zip(_memories(stand.run_state), counts, strict=True)
        known = [memory.as_arrays(count) for memory, count in memories]
        notes = {
            "memory": [[(one.dtype.name, one.shape) for one in each] for each in known],
            "seconds": self.seconds + time.monotonic() - self._began,
            "stopped": stand.stopped.tolist(),
            "told": stand.told,
        }
        return {"run": stand.run_state, "rows": stand.rows, "memory": known}, notes


def begun(path: Path) -> bool:
    """Whether there is a folder, which can be read, with a checkpoint of whatever it is."""
    try:
        return Checkpoints(path, "").oldest() is not None
    except OSError:
        return False


def _memories(tree: PyTree) -> list[Memory]:
    """What evaluators remember, of a run state with the problem's state in it."""
    parts = jax.tree.leaves(tree, is_leaf=lambda part: isinstance(part, Counts))
    counts = [part for part in parts if isinstance(part, Counts)]
    return [one.memory for one in counts if one.memory is not None]


def _shapes_of(described: list[list[tuple[str, list[int]]]]) -> PyTree:
    struct = lambda dtype, shape: jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype))
    return [[struct(*one) for one in each] for each in described]


def last_state(
    path: Path, said: dict[str, Any], like: PyTree
) -> tuple[RunState, dict[str, Any]]:
    """What the last checkpoint of another run left, and what identifies it.

    The best so far is that of the other run if the problem is the same one, and else none:
    it was judged by another measure.

    Args:
        path: of its folder.
        said: the manifest of the run that goes on from it.
        like: shapes of a run state, and where it is to be.

    Raises:
        FolderError: there is none, or it is of another kind of strategy or problem, or of
            another size.
        ValueError: the key is that of the other run, whose noise would be drawn again.
    """
    file = path / _MANIFEST
    if not file.exists():
        raise FolderError(f"parent: got {path}, which is no folder of a run")
    told = read_manifest(file, kept.MOST_BYTES)
    if "key" not in told:
        raise FolderError(f"parent: got {path}, whose {_MANIFEST} is not of a run")
    said = json.loads(json.dumps(said))
    if told["key"] == said["key"]:
        raise ValueError(
            "key: got that of the parent, whose noise would be drawn again, want another"
        )
    sizes = [each["start"]["population_size"] for each in (told, said)]
    if sizes[0] != sizes[1]:
        raise FolderError(
            f"parent: got {path}, whose population_size is {sizes[0]}, want {sizes[1]} as "
            "here"
        )
    owner = digest(kept.decisive(told)).hex()
    found = Checkpoints(path, owner).load(lambda *_: {"run": like}, partly=True)
    if found is None:
        raise FolderError(f"parent: got {path}, whose run has no checkpoint yet")
    run_state = kept.placed(found.tree["run"], like)
    if not _judges_alike(told, said):
        blank = {"best_fitness": -jnp.inf, "best_violation": jnp.inf}
        none = {
            name: jnp.full_like(getattr(run_state.state, name), value)
            for name, value in blank.items()
        }
        state = pytree.replace(run_state.state, **none)
        run_state = pytree.replace(run_state, state=state)
    return run_state, {"run": owner, "generations": found.number}


def _judges_alike(told: dict[str, Any], said: dict[str, Any]) -> bool:
    """Whether two runs have one problem, as far as their manifests can tell.

    A program has the code of the strategy in it, too: where that is another one, only what
    is said of the problem can be compared.
    """
    alike = [told[name] == said[name] for name in ("problem", "functions", "program")]
    return alike[0] and alike[1] and (alike[2] or told["strategy"] != said["strategy"])


def manifest(
    key: jax.Array,
    strategy: Strategy,
    problem: Problem,
    start: dict[str, Any],
    traced: jax.stages.Traced,
    *,
    parent: str | Path | None,
    on_host: bool,
) -> dict[str, Any]:
    """What decides the bits of a run, by name, as JSON has it.

    How many generations a chunk has, and on which devices it runs, is not among it.

    Args:
        key: of the run, or of many.
        strategy: the strategy.
        problem: the problem.
        start: what else was given, by name.
        traced: a program of a generation, with all that it calls.
        parent: folder of the run that it goes on from, for people.
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
        parent=None if parent is None else str(Path(parent).absolute()),
        functions=problem if on_host else None,
    )

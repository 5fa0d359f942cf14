"""A run in a folder: what it is, where it stands, and how it goes on after any end.

The folder has ``run.json``, which says what the run is, and the last two checkpoints. A
run that is begun again with the same arguments goes on from the last one, and ends with the
bits of a run that nothing has interrupted.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.base import Problem, PyTree, Strategy
from diffevo_jax.problems.external.memory import Memory
from diffevo_jax.problems.external.problem import Counts
from diffevo_jax.pytree.checkpoints import Checkpoints
from diffevo_jax.pytree.digests import add_array, digest, program_digest, surroundings
from diffevo_jax.pytree.files import check_writable
from diffevo_jax.pytree.folders import (
    FolderError,
    check_path,
    held,
    read_manifest,
    write_new,
)
from diffevo_jax.pytree.objects import described
from diffevo_jax.pytree.records import plain
from diffevo_jax.running.evolution import RunState

_MANIFEST = "run.json"
#: Of the time that a run takes, at most this share is spent on checkpoints by itself.
_SHARE = 0.05
#: Numbers of an array that ``run.json`` has at most; of more it has a digest.
_FEW = 8
#: What of a manifest is for people.
_WORDS = frozenset({"strategy", "problem", "start", "parent"})
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Stand(NamedTuple):
    """Where a run stands.

    Attributes:
        done: the number of the next generation.
        run_state: what the last one left.
        rows: what all of this run left, ``(info, recorded)``, with the axis of generations;
            None before the first.
        stopped: () or (R,) int32, why each run has ended; 0 if it has not.
    """

    done: int
    run_state: RunState
    rows: PyTree
    stopped: np.ndarray


class RunFolder:
    """The folder of one run.

    Args:
        path: is made if it is missing.
        manifest: of :func:`manifest`.
        every: generations between checkpoints; None is as often as takes little time.

    Raises:
        FolderError: the folder is that of another run.
        ValueError: it cannot be written.
    """

    def __init__(
        self, path: str | Path, manifest: Mapping[str, Any], every: int | None
    ) -> None:
        """See the class."""
        self.path = check_path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"folder: got {self.path}, which cannot be made: {error.strerror}"
            ) from error
        check_writable("folder", self.path / _MANIFEST)
        wanted = json.loads(json.dumps(manifest))
        check_manifest(self.path / _MANIFEST, wanted, "run")
        self._checkpoints = Checkpoints(self.path, digest(decisive(wanted)).hex())
        self._every = every

    @contextlib.contextmanager
    def at_work(self, first: int) -> Iterator["Keeper"]:
        """Be the only one at work in it.

        Args:
            first: number of the run's first generation.
        """
        with held(self.path):
            yield Keeper(self._checkpoints, self._every, first)


class Keeper:
    """Saves where a run stands, often enough."""

    def __init__(self, checkpoints: Checkpoints, every: int | None, first: int) -> None:
        """See :class:`RunFolder`."""
        self._checkpoints, self._every, self._first = checkpoints, every, first
        self._stand: Stand | None = None
        self._known: list[int] = []
        self._saved, self._cost, self._at = first, 0.0, time.monotonic()
        self._began = self._at
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

        found = self._checkpoints.load(like)
        if found is None:
            return None
        self._saved = found.number
        self.seconds += found.notes["seconds"]
        for memory, arrays in zip(_memories(run_state), found.tree["memory"], strict=True):
            memory.take_arrays(arrays)
        placed = _placed(found.tree["run"], run_state)
        # What ended where the whole stands may go on, with time anew or other stops.
        here = np.asarray(placed.state.generation) == found.number
        stopped = np.where(here, np.int32(0), np.asarray(found.notes["stopped"], np.int32))
        return Stand(found.number, placed, found.tree["rows"], stopped)

    def keep(self, stand: Stand) -> bool:
        """Save it, if it is time to; else it is saved at the end. Whether it was."""
        self._stand = stand
        self._known = [len(memory) for memory in _memories(stand.run_state)]
        if self._every is not None:
            due = stand.done // self._every > self._saved // self._every
        else:
            due = time.monotonic() - self._at >= self._cost / _SHARE
        if due:
            self.save()
        return due

    def oldest(self) -> int:
        """The number of the oldest checkpoint that is kept."""
        found = self._checkpoints.oldest()
        return self._first if found is None else found

    def save(self) -> None:
        """Save the last that was kept, unless it has been.

        A full disk ends no run: it is a warning, and what was saved before stays.
        """
        stand, begin = self._stand, time.monotonic()
        if stand is None or stand.done <= self._saved:
            return
        memories = zip(_memories(stand.run_state), self._known, strict=True)
        known = [memory.as_arrays(count) for memory, count in memories]
        content = {"run": stand.run_state, "rows": stand.rows, "memory": known}
        notes = {
            "memory": [[(one.dtype.name, one.shape) for one in each] for each in known],
            "seconds": self.seconds + begin - self._began,
            "stopped": stand.stopped.tolist(),
        }
        try:
            self._checkpoints.save(stand.done, content, notes)
            self._saved = stand.done
        except OSError as error:
            warnings.warn(
                f"folder: the checkpoint after generation {stand.done} was not written "
                f"({error.strerror}); the last one is of generation {self._saved}",
                stacklevel=2,
            )
        self._at = time.monotonic()
        self._cost = self._at - begin


def _memories(tree: PyTree) -> list[Memory]:
    """What evaluators remember, of a run state with the problem's state in it."""
    parts = jax.tree.leaves(tree, is_leaf=lambda part: isinstance(part, Counts))
    counts = [part for part in parts if isinstance(part, Counts)]
    return [one.memory for one in counts if one.memory is not None]


def _shapes_of(described: list[list[tuple[str, list[int]]]]) -> PyTree:
    struct = lambda dtype, shape: jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype))
    return [[struct(*one) for one in each] for each in described]


def last_state(path: Path, key: jax.Array, like: PyTree) -> tuple[RunState, dict[str, Any]]:
    """What the last checkpoint of another run left, and what identifies it.

    Args:
        path: of its folder.
        key: of the run that goes on from it.
        like: shapes of a run state, and where it is to be.

    Raises:
        FolderError: there is none, or it is of another kind of strategy or problem.
        ValueError: the key is that of the other run, whose noise would be drawn again.
    """
    file = path / _MANIFEST
    if not file.exists():
        raise FolderError(f"parent: got {path}, which is no folder of a run")
    told = read_manifest(file)
    if told["key"] == plain(jax.random.key_data(key)):
        raise ValueError(
            "key: got that of the parent, whose noise would be drawn again, want another"
        )
    owner = digest(decisive(told)).hex()
    found = Checkpoints(path, owner).load(lambda *_: {"run": like}, partly=True)
    if found is None:
        raise FolderError(f"parent: got {path}, whose run has no checkpoint yet")
    return _placed(found.tree["run"], like), {"run": owner, "generations": found.number}


def _placed(tree: PyTree, like: PyTree) -> PyTree:
    place = lambda leaf, shape: jax.device_put(leaf, getattr(shape, "sharding", None))
    return jax.tree.map(place, tree, like)


def check_manifest(path: Path, wanted: dict[str, Any], kind: str) -> None:
    """Write what a folder is of, or compare it with what it is.

    Args:
        path: of the manifest.
        wanted: it, as JSON has it.
        kind: of what: a run, a training.

    Raises:
        FolderError: the folder is of another one; the differences are named.
    """
    if not path.exists():
        write_new(path, json.dumps(wanted, indent=1).encode())
    found = read_manifest(path)
    if decisive(found) != decisive(wanted):
        told = list(_differences(found, wanted))
        more = f", and {len(told) - 5} more" if len(told) > 5 else ""
        longer = any(line.startswith("strategy.num_generations") for line in told)
        advice = "; to go on from its end see parent=" if longer else ""
        raise FolderError(
            f"folder: {path.parent} holds another {kind}: {'; '.join(told[:5])}{more}"
            f"{advice}"
        )


def decisive(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What decides; the rest says it in words, which need not be the same each time."""
    return {name: manifest[name] for name in manifest.keys() - _WORDS}


def _differences(found: object, wanted: object, name: str = "") -> Iterator[str]:
    """What differs, by name; digests only where nothing else does."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        told = []
        for key in sorted(found.keys() | wanted.keys() - {"functions"}):
            inner = _differences(found.get(key), wanted.get(key), f"{name}.{key}")
            told += [(key in ("numbers", "program"), line) for line in inner]
        plainer = [line for is_digest, line in told if not is_digest]
        yield from plainer or [line for _, line in told]
    elif found != wanted:
        name = name.removeprefix(".")
        if name == "program":
            yield "the code of a function that it calls, or how it is traced, has changed"
        else:
            yield f"{name} is {found} there and {wanted} here"


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
    numbers = hashlib.sha256()
    for leaf in jax.tree.leaves((strategy, problem, start)):
        numbers.update(leaf.encode()) if isinstance(leaf, str) else add_array(numbers, leaf)
    return surroundings() | {
        "schema": 1,
        "key": plain(jax.random.key_data(key)),
        "prng": str(jax.random.key_impl(key)),
        "strategy": _words(strategy),
        "problem": _words(problem),
        "start": _words(start),
        "parent": None if parent is None else str(Path(parent).absolute()),
        "numbers": numbers.hexdigest(),
        "program": program_digest(traced).hex(),
        "functions": _words(problem) if on_host else None,
    }


def _words(value: object) -> Any:
    """A component in JSON, for people to read and to compare; no addresses."""
    if dataclasses.is_dataclass(value):
        inner = {name: _words(part) for name, part in vars(value).items()}
        return {"class": type(value).__name__} | inner
    if isinstance(value, dict):
        return {str(key): _words(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_words(part) for part in value]
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        if value.size <= _FEW and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return plain(value)
        found = hashlib.sha256()
        add_array(found, value)
        return f"{value.dtype}{list(value.shape)} {found.hexdigest()[:12]}"
    if isinstance(value, int | float | str | None):
        return plain(value) if not isinstance(value, float) else repr(value)
    return _bare(described(value))


def _bare(value: object) -> str:
    return _ADDRESS.sub("", str(value))

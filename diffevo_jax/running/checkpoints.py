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
_WORDS = frozenset({"strategy", "problem", "start"})
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


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
    def at_work(self) -> Iterator["Keeper"]:
        """Be the only one at work in it; at the end, whatever it is, the rest is saved."""
        with held(self.path):
            keeper = Keeper(self._checkpoints, self._every)
            try:
                yield keeper
            finally:
                keeper.save()


class Keeper:
    """Saves where a run stands, often enough."""

    def __init__(self, checkpoints: Checkpoints, every: int | None) -> None:
        """See :class:`RunFolder`."""
        self._checkpoints, self._every = checkpoints, every
        self._stand: Stand | None = None
        self._saved, self._cost, self._at = 0, 0.0, time.monotonic()
        self._is_full = False

    def load(self, run_state: PyTree, rows: PyTree, axis: int) -> Stand | None:
        """Where the run stood; None if it has not begun.

        Args:
            run_state: shapes of what a generation leaves, and where it is.
            rows: shapes of what generations leave, with the axis of generations.
            axis: which that is.
        """

        def like(number: int, notes: Mapping[str, object]) -> PyTree:
            def so_many(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
                shape = (*leaf.shape[:axis], number, *leaf.shape[axis + 1 :])
                return jax.ShapeDtypeStruct(shape, leaf.dtype)

            return {"run": run_state, "rows": jax.tree.map(so_many, rows)}

        found = self._checkpoints.load(like)
        if found is None:
            return None
        self._saved = found.number
        place = lambda leaf, shape: jax.device_put(leaf, getattr(shape, "sharding", None))
        placed = jax.tree.map(place, found.tree["run"], run_state)
        return Stand(found.number, placed, found.tree["rows"])

    def next_end(self, done: int, end: int) -> int:
        """Where those that begin after ``done`` generations end: soon enough to save."""
        every = self._every
        return end if every is None else min(end, (done // every + 1) * every)

    def keep(self, stand: Stand) -> None:
        """Save it, if it is time to; else it is saved at the end."""
        self._stand = stand
        if self._every is not None:
            due = stand.done // self._every > self._saved // self._every
        else:
            due = time.monotonic() - self._at >= self._cost / _SHARE
        if due:
            self.save()

    def save(self) -> None:
        """Save the last that was kept, unless it has been.

        A full disk ends no run: it is a warning, once, and what was saved before stays.
        """
        stand, begin = self._stand, time.monotonic()
        if stand is None or stand.done <= self._saved:
            return
        try:
            self._checkpoints.save(stand.done, {"run": stand.run_state, "rows": stand.rows})
            self._saved, self._is_full = stand.done, False
        except OSError as error:
            if not self._is_full:
                warnings.warn(
                    f"folder: the checkpoint after generation {stand.done} was not written "
                    f"({error.strerror}); the last one is of generation {self._saved}",
                    stacklevel=2,
                )
            self._is_full = True
        self._at = time.monotonic()
        self._cost = self._at - begin


def begun(path: Path) -> bool:
    """Whether there is a folder, which can be read, with a checkpoint of whatever it is."""
    try:
        return Checkpoints(path, "").oldest() is not None
    except OSError:
        return False


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
        raise FolderError(
            f"folder: {path.parent} holds another {kind}: {'; '.join(told[:5])}{more}"
        )


def decisive(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What decides; the rest says it in words, which need not be the same each time."""
    return {name: manifest[name] for name in manifest.keys() - _WORDS}


def _differences(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
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
    numbers = hashlib.sha256()
    for leaf in jax.tree.leaves((strategy, problem, start)):
        add_array(numbers, leaf)
    return surroundings() | {
        "schema": 1,
        "key": plain(jax.random.key_data(key)),
        "prng": str(jax.random.key_impl(key)),
        "strategy": _words(strategy),
        "problem": _words(problem),
        "start": _words(start),
        "numbers": numbers.hexdigest(),
        "program": program_digest(traced).hex(),
        "functions": _words(problem) if on_host else None,
    }


def _words(value: Any) -> Any:
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

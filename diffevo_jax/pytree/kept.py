"""A computation in a folder: what it is, where it stands, and how it goes on.

The folder has a manifest, which says what decides the bits of the computation, and its last
two checkpoints. What is begun again with the same arguments goes on from the last one.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.pytree.checkpoints import Checkpoint, Checkpoints
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

#: Of the time that something takes, at most this share is spent on checkpoints by itself.
_SHARE = 0.05
#: Bytes of a manifest at most, which says all settings.
MOST_BYTES = 2**22
#: Numbers of an array that a manifest has at most; of more it has a digest.
_FEW = 8
#: What of a manifest is for people.
_WORDS = frozenset({"strategy", "problem", "start", "parent", "network", "recipe"})
#: A tree, and what else is said of it.
Content = Callable[[], tuple[object, Mapping[str, object]]]
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def check_arguments(folder: str | Path | None, every: int | None, state: object) -> None:
    """Raise unless the arguments of a computation that may have a folder fit together.

    Args:
        folder: where it is kept, or None.
        every: steps between checkpoints, or None.
        state: where to go on, or None.
    """
    if every is not None and folder is None:
        raise ValueError("every: got it without folder, want a folder too")
    if state is not None and folder is not None:
        raise ValueError(
            "state: got one and a folder, which knows where it stands; want one of them"
        )


class Folder:
    """The folder of one computation.

    Args:
        path: is made if it is missing.
        manifest: what decides the bits of the computation, as JSON has it.
        every: steps between checkpoints; None is as often as takes little time.
        kind: what it is, such as ``"run"``, which is also the name of its manifest.
        unit: what its steps are called, in warnings.

    Raises:
        FolderError: the folder is that of another computation.
        ValueError: it cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        manifest: Mapping[str, Any],
        every: int | None,
        kind: str,
        unit: str = "step",
    ) -> None:
        """See the class."""
        self.path = check_path(path).absolute()  # also if somebody changes the directory
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"folder: got {path}, which cannot be made: {error.strerror}"
            ) from error
        there = self.path / f"{kind}.json"
        check_writable("folder", there)
        wanted = json.loads(json.dumps(manifest))
        self._checkpoints = Checkpoints(self.path, digest(decisive(wanted)).hex())
        if not there.exists() and self._checkpoints.oldest() is not None:
            raise FolderError(
                f"folder: {self.path} has checkpoints and no {there.name}: they are of "
                f"something else, want another folder for this {kind}"
            )
        check_manifest(there, wanted, kind)
        self._every, self._unit = every, unit

    @contextlib.contextmanager
    def at_work(self, first: int = 0) -> Iterator["Keeper"]:
        """Be the only one at work in it; at the end, whatever it is, the rest is saved.

        Args:
            first: the number that it begins at.
        """
        with held(self.path):
            keeper = Keeper(self._checkpoints, self._every, self._unit, first)
            try:
                yield keeper
            finally:
                keeper.save()


class Keeper:
    """Saves where a computation stands, often enough."""

    def __init__(
        self, checkpoints: Checkpoints, every: int | None, unit: str, first: int
    ) -> None:
        """See :class:`Folder`."""
        self._checkpoints, self._every, self._unit = checkpoints, every, unit
        self._content: Content | None = None
        self._first = self._number = self._saved = first
        self._cost, self._at, self._is_full = 0.0, time.monotonic(), False

    def next_end(self, done: int, end: int) -> int:
        """Where steps that begin after ``done`` and end at ``end`` end: in time to save."""
        return end_of_chunk(done, end, self._every)

    def load(self, like: Callable[[int, dict[str, Any]], object]) -> Checkpoint | None:
        """Where the computation stood; None if it has not begun.

        Args:
            like: of the number and the notes, the shapes of the tree that is expected.
        """
        found = self._checkpoints.load(like)
        if found is not None:
            self._number = self._saved = found.number
        return found

    def keep(self, number: int, content: Content) -> bool:
        """Save it, if it is time to; else it is saved at the end. Whether it was.

        Args:
            number: how many steps are done.
            content: the tree to save and its notes, asked for when they are saved.
        """
        self._number, self._content = number, content
        if self._every is not None:
            due = number // self._every > self._saved // self._every
        else:
            due = time.monotonic() - self._at >= self._cost / _SHARE
        return due and self.save()

    def oldest(self) -> int:
        """The number of the oldest checkpoint that is kept."""
        found = self._checkpoints.oldest()
        return self._first if found is None else found

    def save(self) -> bool:
        """Save the last that was kept, unless it has been. Whether it was now.

        A full disk ends nothing: it is a warning, once, and what was saved before stays.
        """
        number, begin = self._number, time.monotonic()
        if self._content is None or number <= self._saved:
            return False
        tree, notes = self._content()
        try:
            self._checkpoints.save(number, tree, notes)
            self._saved, self._is_full = number, False
        except OSError as error:
            is_known, self._is_full = self._is_full, True  # first: a warning may be raised
            last = f"the last one is of {self._unit} {self._saved}"
            if not is_known:
                warnings.warn(
                    f"folder: the checkpoint after {self._unit} {number} was not written "
                    f"({error.strerror}); "
                    f"{last if self._saved > self._first else 'there is none yet'}",
                    stacklevel=2,
                )
        self._at = time.monotonic()
        self._cost = self._at - begin
        return self._saved == number


def placed(tree: object, like: object) -> Any:
    """What was read, on the devices where it is to be.

    Args:
        tree: arrays.
        like: their shapes, with a sharding where it is known.
    """
    place = lambda leaf, shape: jax.device_put(leaf, getattr(shape, "sharding", None))
    return jax.tree.map(place, tree, like)


def end_of_chunk(done: int, end: int, every: int | None) -> int:
    """Where a chunk ends that would end at a step, if checkpoints are after ``every``."""
    return end if every is None else min(end, done + every - done % every)


def manifest(
    key: jax.Array, traced: jax.stages.Traced, numbers: object, **parts: object
) -> dict[str, Any]:
    """What decides the bits of a computation, by name, as JSON has it.

    Args:
        key: of it, or those of many.
        traced: a program of a step, with all that it calls.
        numbers: a pytree of all that the program is given, and names.
        **parts: what it was made of, for people to read and to compare.
    """
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(numbers):
        found.update(leaf.encode()) if isinstance(leaf, str) else add_array(found, leaf)
    identity = {
        "schema": 1,
        "key": words(jax.random.key_data(key)),
        "prng": str(jax.random.key_impl(key)),
        "numbers": found.hexdigest(),
        "program": program_digest(traced).hex(),
    }
    return surroundings() | identity | {name: words(part) for name, part in parts.items()}


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
    found = read_manifest(path, MOST_BYTES)
    if decisive(found) != decisive(wanted):
        told = list(_differences(found, wanted))
        more = f", and {len(told) - 5} more" if len(told) > 5 else ""
        longer = any(line.startswith("strategy.num_generations") for line in told)
        advice = "; want the same call, or another folder"
        if longer:
            advice += f" and parent={str(path.parent)!r} to go on from this run's end"
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


def words(value: object) -> Any:
    """A component in JSON, for people to read and to compare; no addresses."""
    if dataclasses.is_dataclass(value):
        inner = {name: words(part) for name, part in vars(value).items()}
        return {"class": type(value).__name__} | inner
    if isinstance(value, dict):
        return {str(key): words(part) for key, part in value.items()}
    own = type(value).__repr__ is not list.__repr__
    if isinstance(value, tuple) or (isinstance(value, list) and not own):
        return [words(part) for part in value]
    if isinstance(value, set | frozenset):  # in another order in each process
        return sorted(str(words(part)) for part in value)
    if isinstance(value, functools.partial):
        given = {"args": words(value.args), "keywords": words(value.keywords)}
        return {"partial": words(value.func)} | given
    wrapped = getattr(value, "__wrapped__", None)
    if isinstance(wrapped, functools.partial):
        return {"class": type(value).__name__, "of": words(wrapped)}
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

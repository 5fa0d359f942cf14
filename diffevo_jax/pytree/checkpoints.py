"""Checkpoints of a pytree: numbered, sealed, the last two kept."""

import re
import shutil
import warnings
import zipfile
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.pytree import archives
from diffevo_jax.pytree.files import UNFINISHED, written_whole
from diffevo_jax.pytree.folders import FolderError

#: Of what a checkpoint holds beside its arrays.
SCHEMA = 1
#: So many are kept: the last one, and the one to fall back on.
_KEPT = 2


class Checkpoint(NamedTuple):
    """What was saved.

    Attributes:
        number: of the generation, or the step, that it was saved after.
        tree: with NumPy arrays and typed keys as leaves.
        notes: what else was said of it.
    """

    number: int
    tree: Any
    notes: dict[str, Any]


class Checkpoints:
    """The checkpoints of one computation in its folder.

    Args:
        folder: which is there, and which nobody else is at work in; see
            :func:`diffevo_jax.pytree.folders.held`.
        owner: what identifies the computation, such as a digest; checkpoints of another one
            are refused.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax.pytree.checkpoints import Checkpoints
        >>> checkpoints = Checkpoints(Path(tempfile.mkdtemp()), "an example")
        >>> checkpoints.save(3, {"key": jax.random.key(0), "x": jnp.ones(2)})
        >>> like = jax.eval_shape(lambda: {"key": jax.random.key(1), "x": jnp.zeros(2)})
        >>> found = checkpoints.load(lambda number, notes: like)
        >>> found.number, found.tree["x"]
        (3, array([1., 1.], dtype=float32))
    """

    def __init__(self, folder: Path, owner: str) -> None:
        """See the class."""
        self._folder, self._owner = folder, owner

    def save(
        self, number: int, tree: Any, notes: Mapping[str, object] | None = None
    ) -> None:
        """Write a checkpoint, and remove all but the one before it.

        Args:
            number: >= 0, larger than those before.
            tree: arrays and typed keys.
            notes: what JSON can hold.

        Raises:
            OSError: it cannot be written; those before are as they were.
        """
        named = _named(tree)
        text = {
            "schema": SCHEMA,
            "owner": self._owner,
            "number": number,
            "keys": {n: str(_impl(leaf)) for n, leaf in named.items() if _is_key(leaf)},
            "notes": dict(notes or {}),
        }
        content = {name: _array_of(leaf) for name, leaf in named.items()}
        with written_whole(self._file(number), durable=True) as unfinished:
            archives.write_sealed(unfinished, content, text)
        there = self._numbers()
        kept = [one for one in there if one <= number][-_KEPT:]
        for one in set(there) - set(kept):  # a later one was damaged, or it were the last
            self._file(one).unlink(missing_ok=True)

    def load(self, like: Callable[[int, dict[str, Any]], Any]) -> Checkpoint | None:
        """The last checkpoint that is whole; None if there are none.

        A damaged one is said in a warning, and the one before it is taken. What a process
        that was killed has left half written is removed.

        Args:
            like: of the number and the notes, the shapes of the tree that is expected.

        Raises:
            FolderError: all are damaged; or one is of another computation, of another
                version of this format, or of other arrays.
            OSError: one cannot be read.
        """
        for left in self._folder.glob(f"{UNFINISHED}*/checkpoint-*.npz"):
            shutil.rmtree(left.parent, ignore_errors=True)  # by a process that was killed
        numbers, damage = self._numbers()[::-1], ""
        for number in numbers:
            path = self._file(number)
            try:
                sealed = archives.read_sealed(path)
            except (archives.DamagedError, zipfile.BadZipFile) as error:
                damage = f"{path} is damaged: {error}"
                warnings.warn(f"folder: {damage}; the one before it is taken", stacklevel=2)
                continue
            return self._checked(path, number, sealed, like)
        if damage:
            raise FolderError(
                f"folder: {damage}, and so are all of its kind; remove them to begin anew"
            )
        return None

    def oldest(self) -> int | None:
        """The number of the oldest one that is kept; None if there are none."""
        return min(self._numbers(), default=None)

    def _checked(
        self,
        path: Path,
        number: int,
        sealed: archives.Sealed,
        like: Callable[[int, dict[str, Any]], Any],
    ) -> Checkpoint:
        """What a whole file holds, unless it is not what is expected."""
        text, archive = sealed
        for what, want in (("schema", SCHEMA), ("owner", self._owner), ("number", number)):
            if text.get(what) != want:
                raise FolderError(
                    f"folder: {path} has {what} {text.get(what)!r}, want {want!r}"
                )
        wanted = like(number, text["notes"])
        named = _named(wanted)
        held = {name.removesuffix(".npy") for name in archive.namelist()} - {"meta"}
        if odd := sorted(held ^ named.keys()):
            raise FolderError(
                f"folder: {path} has other arrays than expected: {', '.join(odd[:5])}"
            )
        known = {n: str(_impl(leaf)) for n, leaf in named.items() if _is_key(leaf)}
        if text["keys"] != known:
            raise FolderError(f"folder: {path} has the keys {text['keys']}, want {known}")
        try:
            arrays = [_read(archive, name, leaf) for name, leaf in named.items()]
        except ValueError as error:
            raise FolderError(f"folder: {path}: {error}") from error
        tree = jax.tree.unflatten(jax.tree.structure(wanted), arrays)
        return Checkpoint(number, tree, text["notes"])

    def _numbers(self) -> list[int]:
        found = map(re.compile(r"checkpoint-(\d{9})\.npz").fullmatch, self._names())
        return sorted(int(match[1]) for match in found if match)

    def _names(self) -> list[str]:
        return [path.name for path in self._folder.iterdir()]

    def _file(self, number: int) -> Path:
        return self._folder / f"checkpoint-{number:09d}.npz"


def _named(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree, by where they are."""
    found: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = ".".join(re.sub(r"[^\w-]", "_", _word(part)) for part in path) or "value"
        while name in found or name == "meta":
            name += "_"
        found[name] = leaf
    return found


def _word(part: Any) -> str:
    """The name, the key or the place that a part of a path is."""
    return str(getattr(part, "name", getattr(part, "key", getattr(part, "idx", part))))


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _impl(leaf: Any) -> Hashable:
    """The implementation of keys, or of keys of such a shape."""
    found = []
    jax.eval_shape(lambda keys: found.append(jax.random.key_impl(keys)), leaf)
    return found[0]


def _array_of(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _read(archive: zipfile.ZipFile, name: str, like: Any) -> Any:
    """A leaf of an archive."""
    if not _is_key(like):
        return archives.read_array(archive, f"{name}.npy", like)
    data = jax.eval_shape(jax.random.key_data, like)
    array = archives.read_array(archive, f"{name}.npy", data)
    return jax.random.wrap_key_data(jnp.asarray(array), impl=_impl(like))

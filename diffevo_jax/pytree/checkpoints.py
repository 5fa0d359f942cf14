"""Checkpoints of a pytree: numbered, sealed, the last two kept."""

import re
import shutil
import warnings
import zipfile
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.pytree import archives
from diffevo_jax.pytree.files import UNFINISHED, written_whole
from diffevo_jax.pytree.folders import FolderError, check_file

T = TypeVar("T")

#: Of what a checkpoint holds beside its arrays.
SCHEMA = 1
#: So many are kept: the last one, and the one to fall back on.
_KEPT = 2


#: Arrays and typed keys, or their shapes.
Leaf = jax.Array | jax.ShapeDtypeStruct


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
        self, number: int, tree: object, notes: Mapping[str, object] | None = None
    ) -> None:
        """Write a checkpoint, and remove all but the one before it.

        Args:
            number: >= 0, larger than those before.
            tree: arrays and typed keys.
            notes: what JSON can hold.

        Raises:
            OSError: it cannot be written; those before are as they were.
        """
        text = {"schema": SCHEMA, "owner": self._owner, "number": number}
        write_tree(self._file(number), tree, text | {"notes": dict(notes or {})})
        there = self._numbers()
        kept = [one for one in there if one <= number][-_KEPT:]
        for one in set(there) - set(kept):  # a later one was damaged, or it were the last
            self._file(one).unlink(missing_ok=True)

    def load(
        self, like: Callable[[int, dict[str, Any]], Any], *, partly: bool = False
    ) -> Checkpoint | None:
        """The last checkpoint that is whole; None if there are none.

        A damaged one is said in a warning, and the one before it is taken. What a process
        that was killed has left half written is removed.

        Args:
            like: of the number and the notes, the shapes of the tree that is expected.
            partly: whether there may be more in it.

        Raises:
            FolderError: all are damaged; or one is of another computation, of another
                version of this format, or of other arrays; or it is a folder.
            OSError: one cannot be read.
        """
        for left in self._folder.glob(f"{UNFINISHED}*/checkpoint-*.npz"):
            shutil.rmtree(left.parent, ignore_errors=True)  # by a process that was killed
        numbers, damages = self._numbers()[::-1], list[str]()
        for number in numbers:
            check_file(self._file(number))
        for number in numbers:
            path = self._file(number)
            try:
                sealed = archives.read_sealed(path)
            except (archives.DamagedError, zipfile.BadZipFile) as error:
                damages.append(f"{path} is damaged: {error}")
                continue
            for damage in damages:
                warnings.warn(f"folder: {damage}; {path.name} is taken", stacklevel=2)
            return self._checked(path, number, sealed, like, partly)
        if damages:
            raise FolderError(
                f"folder: {damages[0]}, and so are all of its kind; remove them to begin "
                "anew"
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
        partly: bool,
    ) -> Checkpoint:
        """What a whole file holds, unless it is not what is expected."""
        text = sealed.text
        for what, want in (("schema", SCHEMA), ("owner", self._owner), ("number", number)):
            if text.get(what) != want:
                raise FolderError(
                    f"folder: {path} has {what} {text.get(what)!r}, want {want!r}"
                )
        wanted = like(number, text["notes"])
        try:
            tree = read_tree(sealed, wanted, partly=partly)
        except ValueError as error:
            raise FolderError(f"folder: {path}: {error}") from error
        return Checkpoint(number, tree, text["notes"])

    def _numbers(self) -> list[int]:
        found = map(re.compile(r"checkpoint-(\d{9})\.npz").fullmatch, self._names())
        return sorted(int(match[1]) for match in found if match)

    def _names(self) -> list[str]:
        return [path.name for path in self._folder.iterdir()]

    def _file(self, number: int) -> Path:
        return self._folder / f"checkpoint-{number:09d}.npz"


def write_tree(path: Path, tree: object, text: Mapping[str, object]) -> None:
    """Write a pytree into a sealed file, in whole or not at all.

    Args:
        path: of the file.
        tree: arrays and typed keys.
        text: what JSON can hold; ``keys`` is taken.

    Raises:
        OSError: it cannot be written; a file that was there is as it was.
    """
    named = _named(tree)
    keys = {n: str(_impl(leaf)) for n, leaf in named.items() if _is_key(leaf)}
    content = {name: _array_of(leaf) for name, leaf in named.items()}
    with written_whole(path, durable=True) as unfinished:
        archives.write_sealed(unfinished, content, {**text, "keys": keys})


def read_tree(sealed: archives.Sealed, like: T, *, partly: bool = False) -> T:
    """The pytree of a sealed file.

    Args:
        sealed: the file.
        like: shapes of what is expected.
        partly: whether there may be more in it.

    Raises:
        ValueError: it has other arrays, or keys of another kind.
    """
    text, archive = sealed
    named = _named(like)
    held = {name.removesuffix(".npy") for name in archive.namelist()} - {"meta"}
    if odd := sorted(named.keys() - held if partly else held ^ named.keys()):
        raise ValueError(f"it has other arrays than expected: {', '.join(odd[:5])}")
    known = {n: str(_impl(leaf)) for n, leaf in named.items() if _is_key(leaf)}
    there = {name: impl for name, impl in text["keys"].items() if name in named}
    if there != known:
        raise ValueError(f"it has the keys {there}, want {known}")
    arrays = [_read(archive, name, leaf) for name, leaf in named.items()]
    return jax.tree.unflatten(jax.tree.structure(like), arrays)


def _named(tree: object) -> dict[str, Any]:
    """The leaves of a pytree, by where they are."""
    found: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = ".".join(re.sub(r"[^\w-]", "_", _word(part)) for part in path) or "value"
        while name in found or name == "meta":
            name += "_"
        found[name] = leaf
    return found


def _word(part: object) -> str:
    """The name, the key or the place that a part of a path is."""
    return str(getattr(part, "name", getattr(part, "key", getattr(part, "idx", part))))


def _is_key(leaf: Leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _impl(leaf: Leaf) -> Hashable:
    """The implementation of keys, or of keys of such a shape."""
    found = []
    jax.eval_shape(lambda keys: found.append(jax.random.key_impl(keys)), leaf)
    return found[0]


def _array_of(leaf: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _read(
    archive: zipfile.ZipFile, name: str, like: jax.ShapeDtypeStruct
) -> jax.Array | np.ndarray:
    """A leaf of an archive."""
    if not _is_key(like):
        return archives.read_array(archive, f"{name}.npy", like)
    data = jax.eval_shape(jax.random.key_data, like)
    array = archives.read_array(archive, f"{name}.npy", data)
    return jax.random.wrap_key_data(jnp.asarray(array), impl=_impl(like))

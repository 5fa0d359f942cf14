"""A sweep on disk: one file a batch, written whole or not at all."""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from diffevo_jax.pytree.files import UNFINISHED, written_whole
from diffevo_jax.sweeps import identity
from diffevo_jax.sweeps.plan import Plan

_MANIFEST = "sweep.json"
#: Bytes of a manifest at most, of which a few hundred are used.
_LARGEST_MANIFEST = 2**16
#: Bytes of a batch's file at most beside its numbers, for each array.
_HEADERS = 2**10
#: What a file of a batch has beside its arrays: of which sweep it is, and which batch; and
#: a digest of both and of all arrays.
_SEAL = {
    "sweep": jax.ShapeDtypeStruct((32,), np.uint8),
    "batch": jax.ShapeDtypeStruct((), np.int64),
    "digest": jax.ShapeDtypeStruct((32,), np.uint8),
}
#: What a batch holds, by name.
Shapes = Mapping[str, jax.ShapeDtypeStruct]


class FolderError(ValueError):
    """The folder holds another sweep, or a file that is damaged."""


class Folder:
    """Batches of one sweep, which several jobs may fill at the same time.

    Args:
        path: is made if it is missing.
        plan: of the sweep.

    Raises:
        FolderError: the folder holds another sweep.
        ValueError: the sweep cannot be identified: it calls code outside of its programs.
    """

    def __init__(self, path: str | Path, plan: Plan) -> None:
        self.path = check_path(path)
        self._plan, self._batches = plan, plan.batches()
        wanted = identity.manifest(plan)
        self._sweep = identity.digest(wanted)
        self.path.mkdir(parents=True, exist_ok=True)
        manifest = self.path / _MANIFEST
        if not manifest.exists():
            write_new(manifest, json.dumps(wanted, indent=1).encode())
        found = read_manifest(manifest)
        different = [n for n in wanted if n not in found or found[n] != wanted[n]]
        different += ["names"] if found.keys() - wanted.keys() else []
        if different:
            raise FolderError(
                f"folder: {self.path} holds another sweep: other {', '.join(different)}"
            )

    def has(self, number: int) -> bool:
        """Whether a batch is stored."""
        return self._file(number).exists()

    def missing(self, count: int) -> list[int]:
        """Which of the first ``count`` batches are not stored."""
        return [number for number in range(count) if not self.has(number)]

    def write(self, number: int, arrays: dict[str, np.ndarray]) -> None:
        """Store a batch."""
        seal = identity.digest_of(self._sweep, number, arrays)
        content: dict[str, Any]  # savez has an argument that is no array
        content = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        content |= {
            "sweep": np.frombuffer(self._sweep, np.uint8),
            "batch": np.array(number, np.int64),
            "digest": np.frombuffer(seal, np.uint8),
        }
        with written_whole(self._file(number)) as unfinished:
            np.savez(unfinished, **content)

    def read(self, number: int) -> dict[str, np.ndarray]:
        """A stored batch.

        Raises:
            FolderError: the file is damaged, or it is another batch.
        """
        batch = self._batches[number]
        shapes = {
            name: jax.ShapeDtypeStruct((batch.size, *run.shape), run.dtype)
            for name, run in self._plan.run_shapes[batch.group].items()
        }
        return read_batch(self._file(number), self._sweep, number, shapes)

    def _file(self, number: int) -> Path:
        return self.path / f"batch-{number:06d}.npz"


def check_path(path: str | Path) -> Path:
    """The path of a folder, with the home of ``~``.

    Raises:
        TypeError: it is no path.
        ValueError: it is empty, or no file system has such a name.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"folder: got {path!r}, want a path")
    if not str(path) or "\0" in str(path):
        raise ValueError(f"folder: got {str(path)!r}, want a path")
    return Path(path).expanduser()


def write_new(path: Path, content: bytes) -> None:
    """Write a file whole, unless there is one: of several writers one is the first.

    Where a file system has no links several may be, one after the other.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=UNFINISHED) as folder:
        written = Path(folder) / path.name
        written.write_bytes(content)
        try:
            os.link(written, path)
        except FileExistsError:
            return
        except OSError:
            os.replace(written, path)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a folder.

    Raises:
        FolderError: it is none.
        OSError: it cannot be read.
    """
    content = _content(path, _LARGEST_MANIFEST + 1)
    try:
        if len(content) > _LARGEST_MANIFEST:
            raise ValueError(f"got more than {_LARGEST_MANIFEST} bytes")
        found = json.loads(content)
        if not isinstance(found, dict):
            raise TypeError(f"got a {type(found).__name__}, want names and values")
        return found
    except (TypeError, ValueError, RecursionError) as error:
        raise FolderError(f"folder: {path} is damaged: {error}") from error


def read_batch(
    path: Path, sweep: bytes, number: int, shapes: Shapes
) -> dict[str, np.ndarray]:
    """The arrays of a batch.

    No more is read than what they take, and no array is made before its header is known to
    be the right one.

    Args:
        path: of the file.
        sweep: digest of the sweep's manifest.
        number: of the batch.
        shapes: of its arrays.

    Raises:
        FolderError: it is another batch, or damaged.
        OSError: it cannot be read.
    """
    wanted = dict(shapes) | _SEAL
    sizes = [np.dtype(w.dtype).itemsize * w.size + _HEADERS for w in wanted.values()]
    content = _content(path, sum(sizes) + 1)
    try:
        if len(content) > sum(sizes):
            raise ValueError(f"got more than {sum(sizes):,} bytes")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {
                info.filename.removesuffix(".npy"): info for info in archive.infolist()
            }
            if members.keys() != wanted.keys() or len(archive.infolist()) != len(members):
                raise ValueError("got other arrays")
            arrays = {
                name: _array(archive, members[name], like) for name, like in wanted.items()
            }
        seal = {name: arrays.pop(name) for name in _SEAL}
        if seal["sweep"].tobytes() != sweep:
            raise ValueError("it is of another sweep")
        if int(seal["batch"]) != number:
            raise ValueError(f"it is batch {int(seal['batch'])}")
        if seal["digest"].tobytes() != identity.digest_of(sweep, number, arrays):
            raise ValueError("its digest is another one")
        return arrays
    except MemoryError:
        raise
    except Exception as error:  # of the bytes that were read, which may be anything
        raise FolderError(
            f"folder: {path} is damaged: {error}; remove it and go on"
        ) from error


def _content(path: Path, limit: int) -> bytes:
    """The first bytes of a file. That it cannot be read now does not make it damaged."""
    if path.is_dir():
        raise FolderError(f"folder: {path} is damaged: it is a folder; remove it and go on")
    with path.open("rb") as file:
        return file.read(limit)


def _array(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, like: jax.ShapeDtypeStruct
) -> np.ndarray:
    """An array of an archive, which must be like the one that is expected."""
    name = member.filename
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(member) as file:  # which compares a checksum at the end
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{name} has a header of version {version}")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        wanted = np.dtype(like.dtype)
        stored = np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(wanted))
        if is_fortran or (shape, dtype) != (like.shape, stored):
            raise ValueError(
                f"{name} has {shape} of {dtype}, want {like.shape} of {wanted}"
            )
        content = file.read()
    return np.frombuffer(content, wanted).reshape(shape)

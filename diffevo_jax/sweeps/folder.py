"""A sweep on disk: one file a batch, written whole or not at all."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from diffevo_jax.pytree.archives import Shapes, read_array
from diffevo_jax.pytree.digests import digest
from diffevo_jax.pytree.files import written_whole
from diffevo_jax.pytree.folders import (
    FolderError,
    check_path,
    content_of,
    read_manifest,
    write_new,
)
from diffevo_jax.sweeps import identity
from diffevo_jax.sweeps.plan import Plan

_MANIFEST = "sweep.json"
#: Bytes of a batch's file at most beside its numbers, for each array.
_HEADERS = 2**10
#: What a file of a batch has beside its arrays: of which sweep it is, and which batch; and
#: a digest of both and of all arrays.
_SEAL = {
    "sweep": jax.ShapeDtypeStruct((32,), np.uint8),
    "batch": jax.ShapeDtypeStruct((), np.int64),
    "digest": jax.ShapeDtypeStruct((32,), np.uint8),
}


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
        self._sweep = digest(wanted)
        self.path.mkdir(parents=True, exist_ok=True)
        manifest = self.path / _MANIFEST
        if not manifest.exists():
            write_new(manifest, json.dumps(wanted, indent=1).encode())
        found = read_manifest(manifest)
        different = [n for n in wanted if n not in found or found[n] != wanted[n]]
        different += ["names"] if found.keys() - wanted.keys() else []
        if "programs" not in found:
            raise FolderError(
                f"folder: {self.path} is of an earlier version of this library, whose "
                "names and bits are others, want a new folder"
            )
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
    content = content_of(path, sum(sizes) + 1)
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
                name: read_array(archive, members[name].filename, like)
                for name, like in wanted.items()
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

"""A sweep on disk: one file a batch, written whole or not at all."""

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from diffevo_jax.pytree.records import plain, version_of
from diffevo_jax.sweeps.plan import Plan

_MANIFEST = "sweep.json"
#: What a process that is killed while it writes leaves behind; nobody reads it.
_UNFINISHED = ".unfinished-"


class FolderError(ValueError):
    """The folder holds another sweep, or a batch that is damaged."""


class Folder:
    """Batches of one sweep, which several jobs may fill at the same time.

    Args:
        path: is made if it is missing.
        plan: of the sweep.

    Raises:
        FolderError: the folder holds another sweep.
    """

    def __init__(self, path: str | Path, plan: Plan) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        wanted = _manifest(plan)
        manifest = self.path / _MANIFEST
        if not manifest.exists():
            self._write_whole(manifest, json.dumps(wanted, indent=1).encode())
        found = json.loads(manifest.read_text())
        different = [name for name in wanted if found.get(name) != wanted[name]]
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
        with tempfile.TemporaryDirectory(dir=self.path, prefix=_UNFINISHED) as folder:
            written = Path(folder) / "batch.npz"
            np.savez(written, allow_pickle=False, **arrays)
            os.replace(written, self._file(number))

    def read(self, number: int) -> dict[str, np.ndarray]:
        """A stored batch.

        Raises:
            FolderError: the file is damaged.
        """
        try:
            with np.load(self._file(number)) as arrays:
                return dict(arrays)  # the archive has a checksum for every array
        except Exception as error:
            raise FolderError(
                f"folder: {self._file(number)} is damaged: {error}; remove it and go on"
            ) from error

    def _file(self, number: int) -> Path:
        return self.path / f"batch-{number:06d}.npz"

    def _write_whole(self, path: Path, content: bytes) -> None:
        with tempfile.TemporaryDirectory(dir=self.path, prefix=_UNFINISHED) as folder:
            written = Path(folder) / path.name
            written.write_bytes(content)
            os.replace(written, path)


def _manifest(plan: Plan) -> dict[str, Any]:
    """What decides the results of a sweep, by name."""
    settings = hashlib.sha256()
    for group in plan.groups:
        # Without addresses of functions, which differ from process to process.
        structure = re.sub(r" at 0x[0-9a-f]+", "", repr(group.structure))
        settings.update(repr((group.numbers, structure)).encode())
        settings.update(repr(group.population_size).encode())
        for leaf in (*group.varying, *group.fixed):
            settings.update(b"-" if leaf is None else np.asarray(leaf, float).tobytes())
    return {
        "settings": settings.hexdigest(),
        "num_settings": len(plan.settings),
        "num_seeds": plan.num_seeds,
        "key": plain(jax.random.key_data(plan.key)),
        "mode": plan.batching.mode,
        "batch_size": plan.batching.batch_size,
        "keep": list(plan.batching.keep),
        "versions": {name: version_of(name) for name in ("diffevo-jax", "jax")},
        "backend": jax.default_backend(),
    }

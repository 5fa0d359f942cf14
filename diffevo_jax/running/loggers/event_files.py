"""Curves for TensorBoard, in its event files."""

import contextlib
import struct
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffevo_jax.base import Info
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.loggers.following import (
    Logger,
    Start,
    make_folder,
    numbers_of,
    wants,
)


@checked
def tensorboard(folder: str | Path) -> Logger:
    """Curves for TensorBoard: ``tensorboard --logdir FOLDER``.

    The step is the number of evaluations, so that runs of different population sizes can be
    compared; the axes *relative* and *wall* are TensorBoard's own. ``generation`` and
    ``seconds`` are curves too. What is not finite is left out.

    Many runs at once are folders of it, ``run-000``, ``run-001`` and so on, all of them:
    TensorBoard draws each as a curve of its own, to where it ended. Each takes some tenths
    of a millisecond a generation.

    A run from the start hides what the folder had before. One that goes on hides the steps
    from where it goes on (the ``purge_step`` of TensorBoard), so that none is there twice.

    Args:
        folder: where event files are added; it is made if it is not there.

    Raises:
        ImportError: tensorboardX, which has the format, is not installed.

    Example:
        >>> import jax, tempfile, diffevo_jax as de
        >>> from pathlib import Path
        >>> folder = tempfile.mkdtemp()
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> result = de.run(
        ...     keys, de.DiffusionEvolution(3), de.problems.Landscape("beale"),
        ...     population_size=8, loggers=(de.loggers.tensorboard(folder),))
        >>> sorted(path.name for path in Path(folder).iterdir())
        ['run-000', 'run-001']
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise ImportError(wants("tensorboard", "tensorboardX")) from error
    return _TensorBoard(Path(folder).expanduser().absolute())


class _TensorBoard:
    """See :func:`tensorboard`.

    The writer of tensorboardX hands events to a thread, which a full disk ends; then the
    run would wait for it forever, and a kill would lose what it has not written yet. So the
    records, which are its, are written here.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._start = folder, Start()
        self._files: list[Path] = []

    def begin(self, start: Start) -> None:
        self._start, self._files = start, []
        make_folder(self._folder)

    def __call__(self, generation: int, info: Info, result: Result) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        rows = numbers_of(self._start, generation, info, result)
        step, runs = rows.pop("evaluations"), np.shape(info.done)
        if not self._files:
            self._files = self._made(step, runs[0] if runs else None)
        del rows["done"]
        for run, path in enumerate(self._files):
            values = {
                name: value[run] if np.ndim(value) else value
                for name, value in rows.items()
            }
            summary = Summary(
                value=[
                    Summary.Value(tag=name, simple_value=float(value))
                    for name, value in values.items()
                    if value is not np.ma.masked and np.isfinite(value)
                ]
            )
            event = Event(wall_time=time.time(), step=step, summary=summary)
            _append(path, [event.SerializeToString()])

    def end(self) -> None:
        """Nothing is left to do."""

    def _made(self, step: int, runs: int | None) -> list[Path]:
        """New event files, which hide what older ones have from a step on."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        now = time.time()
        name = f"events.out.tfevents.{now:.6f}.diffevo"
        width = len("000") if runs is None else max(3, len(str(runs - 1)))
        subfolders = [""] if runs is None else [f"run-{i:0{width}}" for i in range(runs)]
        paths = [self._folder / subfolder / name for subfolder in subfolders]
        hides = SessionLog(status=SessionLog.START)
        first = (
            Event(wall_time=now, file_version="brain.Event:2"),
            Event(wall_time=now, step=step, session_log=hides),
        )
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            _append(path, [event.SerializeToString() for event in first])
        return paths

    def __repr__(self) -> str:
        return f"tensorboard({str(self._folder)!r})"


def _append(path: Path, records: Sequence[bytes]) -> None:
    """Add records of TensorFlow: length, its check sum, the data, its check sum."""
    from tensorboardX.record_writer import masked_crc32c

    written = b""
    for data in records:
        length = struct.pack("<Q", len(data))
        written += length + struct.pack("<I", masked_crc32c(length))
        written += data + struct.pack("<I", masked_crc32c(data))
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        try:
            if file.write(written) < len(written):
                raise OSError(f"{path}: no room for a record")
        except OSError:  # TensorBoard reads no further than half a record
            with contextlib.suppress(OSError):
                file.truncate(end)
            raise

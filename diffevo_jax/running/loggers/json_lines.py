"""A log as lines of JSON."""

import contextlib
import json
import os
from pathlib import Path

import numpy as np

from diffevo_jax.base import Info
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.records import plain
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.loggers.following import Logger, Start, numbers_of

#: How every line begins.
_HEAD = b'{"generation": '


@checked
def jsonl(path: str | Path) -> Logger:
    """A line of strict JSON for each generation, flushed before the run goes on.

    ``{"generation": 1, "evaluations": 64, "seconds": 1.2, "mean_fitness": ...}``. What is
    not finite is null. Of many runs at once each number of ``Info`` is a list by run, also
    of one run if its keys are an array, as in the command; null for a run that has ended
    while others go on.

    A run from the start begins the file anew; one that goes on drops the lines from where
    it goes on, and a last line that a kill, or a machine that stopped, has cut.
    ``pandas.read_json(path, lines=True)`` reads it, also while it is written.

    Args:
        path: of a file, which may be there if it is a log. Its folder exists.

    Returns:
        The logger. It raises ValueError when a run begins if the file is no log or cannot
        be written.

    Example:
        >>> import json, jax, tempfile, diffevo_jax as de
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "log.jsonl"
        >>> result = de.run(
        ...     jax.random.key(0), de.DiffusionEvolution(3), de.problems.Landscape("beale"),
        ...     population_size=8, loggers=(de.loggers.jsonl(path),))
        >>> rows = [json.loads(line) for line in path.read_text().splitlines()]
        >>> [(row["generation"], row["evaluations"]) for row in rows]
        [(1, 8), (2, 16), (3, 24)]
    """
    return _Jsonl(Path(path).expanduser().absolute())


class _Jsonl:
    """See :func:`jsonl`. The file is opened for each line, and no handle outlives one."""

    def __init__(self, path: Path) -> None:
        self._path, self._start = path, Start()
        self._last: int | None = None
        self._size = 0

    def begin(self, start: Start) -> None:
        self._start, self._last = start, start.generation - 1
        try:
            with self._path.open("ab"):
                pass
            self._cut(start.generation)
        except OSError as error:
            text = f"path: got {self._path}, which cannot be written: {error.strerror}"
            raise ValueError(text) from error

    def __call__(self, generation: int, info: Info, result: Result) -> None:
        if self._last is None or generation <= self._last:
            self._cut(generation)
        numbers = numbers_of(self._start, generation, info, result)
        row = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in numbers.items()
        }
        line = json.dumps(plain(row), allow_nan=False).encode() + b"\n"
        with self._path.open("ab", buffering=0) as file:
            end = file.tell() if file.seekable() else 0
            if end > self._size:
                raise OSError(f"{self._path}: another log or process writes there too")
            try:
                if file.write(line) < len(line):
                    raise OSError(f"{self._path}: no room for a line")
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(end)
                raise
        self._last, self._size = generation, end + len(line)

    def end(self) -> None:
        """Nothing is left to do."""

    def _cut(self, generation: int) -> None:
        """Drop the lines from a generation on, and half of one at the end.

        Raises:
            ValueError: the file is no log.
        """
        self._size = kept = 0
        if not self._path.is_file():  # none yet, or a pipe
            return
        with self._path.open("rb") as file:
            lines = file.readlines()
        for number, line in enumerate(lines, 1):
            try:
                known = int(json.loads(line)["generation"])
            except (KeyError, TypeError, ValueError):
                # A machine that stops at once may leave zeros.
                begin = line.rstrip(b"\0")
                cut = begin.startswith(_HEAD) or _HEAD.startswith(begin) or number > 1
                if number == len(lines) and cut:
                    break
                raise ValueError(
                    f"path: got {self._path}, whose line {number} is none of a log, want a "
                    "log or a new file"
                ) from None
            if known >= generation or not line.endswith(b"\n"):
                break
            kept += len(line)
        self._size = kept
        if kept < sum(map(len, lines)):
            os.truncate(self._path, kept)

    def __repr__(self) -> str:
        return f"jsonl({str(self._path)!r})"

"""A file that only grows: records with a checksum each, written as they come.

A process that is killed, a disk that is full and a machine that stops leave a part of the
last record at most. It is dropped; whatever is damaged otherwise is stepped over.
"""

import contextlib
import os
import struct
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: With what each record begins, so that the next one is found behind a damaged one.
MARK = b"\x9eDEJ"
#: Bytes of a key.
KEY = 20
#: A record: the mark, a key, the length of what follows, and the CRC-32 of the last three.
_HEAD = struct.Struct(f"<4s{KEY}sQI")
#: The first record, with the version of what is written here.
_FIRST, VERSION = bytes(KEY), b"diffevo_jax journal 1"
#: Seconds at most for which something that is written may be lost with the machine.
SYNC = 0.2


class Found(NamedTuple):
    """What is in a file.

    Attributes:
        records: contents, by key; of equal keys the last.
        end: where the next record goes; less than there is if the last one is not whole.
        damaged: whether something was stepped over.
    """

    records: dict[bytes, bytes]
    end: int
    damaged: bool


def packed(key: bytes, content: bytes) -> bytes:
    """A record.

    Example:
        >>> from diffevo_jax.problems.external import records
        >>> one = records.packed(b"k" * records.KEY, b"something")
        >>> records.unpacked(one + one[:9]).end == len(one)
        True
    """
    return _HEAD.pack(MARK, key, len(content), _crc(key, content)) + content


def unpacked(data: bytes) -> Found:
    """All records that are whole and undamaged.

    Args:
        data: of a file, from its beginning or from the end of a record.
    """
    records: dict[bytes, bytes] = {}
    at, damaged = 0, False
    while at < len(data):
        found = _record(data, at)
        if found is None:
            behind = _next(data, at + 1)
            if behind is None and _is_part(data[at:]):
                return Found(records, at, damaged)
            damaged, at = True, len(data) if behind is None else behind
            continue
        key, content = found
        records[key] = content
        at += _HEAD.size + len(content)
    return Found(records, at, damaged)


def _crc(key: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(key + len(content).to_bytes(8, "little")))


def _record(data: bytes, at: int) -> tuple[bytes, bytes] | None:
    """The key and the content of the record that begins here; None if there is none."""
    if len(data) < at + _HEAD.size:
        return None
    mark, key, length, crc = _HEAD.unpack_from(data, at)
    begin = at + _HEAD.size
    if mark != MARK or begin + length > len(data):
        return None
    content = data[begin : begin + length]
    return (key, content) if crc == _crc(key, content) else None


def _next(data: bytes, at: int) -> int | None:
    """Where the next record begins."""
    while (at := data.find(MARK, at)) >= 0:
        if _record(data, at) is not None:
            return at
        at += 1
    return None


def _is_part(tail: bytes) -> bool:
    """Whether the end of a file is that of a record which was not written whole.

    It may be zeros, where a machine stopped before the disk had them.
    """
    if not tail.strip(b"\0"):
        return True
    if len(tail) < _HEAD.size:
        return tail[: len(MARK)] == MARK[: len(tail)]
    mark, _, length, _ = _HEAD.unpack_from(tail)
    return bool(mark == MARK and _HEAD.size + length > len(tail))


class Records:
    """The records of a file, to which others are added.

    What cannot be written, since the disk is full, waits and is tried again with the next;
    there is one warning each time that it is opened.

    Attributes:
        path: of the file; it is made when it is opened first.
        known: contents by key.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is read yet."""
        self.path = path
        self.known: dict[bytes, bytes] = {}
        self._file = -1
        self._waiting: list[bytes] = []
        self._end, self._synced, self._warned = 0, 0.0, False

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Read what is there, and let others be added within the block.

        Raises:
            OSError: it is there and cannot be read.
            ValueError: another process has it open, or it is of another version.
        """
        self._warned = False
        with contextlib.ExitStack() as stack:
            self._open(stack)
            try:
                yield
            finally:
                self._write(last=True)

    def add(self, key: bytes, content: bytes) -> None:
        """Add a record; it is with the system when this returns, unless that refused it.

        Args:
            key: :data:`KEY` bytes.
            content: any bytes.
        """
        self.known[key] = content
        self._waiting.append(packed(key, content))
        self._write()

    def _open(self, stack: contextlib.ExitStack) -> None:
        """Open the file until the stack ends, and read what it has got since the last."""
        there, flags = self.path.exists(), os.O_RDWR | os.O_CREAT
        try:
            file = os.open(self.path, flags | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            if there:
                raise
            self._warn(error)
            return
        stack.callback(os.close, file)
        _lock(file, self.path)
        if os.fstat(file).st_size < self._end:  # somebody has taken it away
            self._end = 0
        os.lseek(file, self._end, os.SEEK_SET)
        with open(file, "rb", closefd=False) as whole:
            found = unpacked(whole.read())
        version = found.records.pop(_FIRST, VERSION)
        if version != VERSION:
            raise ValueError(
                f"journal: got {self.path} of {version!r}, want one of {VERSION!r}: go on "
                "with the release that wrote it, or take it away"
            )
        if found.damaged:
            warnings.warn(
                f"journal: {self.path} is damaged; what cannot be read is evaluated again",
                stacklevel=2,
            )
        self.known |= found.records
        self._end += found.end
        if not there:
            _sync_folder(self.path.parent)
        self._file = file
        stack.callback(setattr, self, "_file", -1)

    def _write(self, last: bool = False) -> None:
        """Write what waits, after the last record that is whole."""
        if self._file < 0:
            return
        first = [] if self._end or not self._waiting else [packed(_FIRST, VERSION)]
        data = memoryview(b"".join(first + self._waiting))
        try:
            if os.fstat(self._file).st_size != self._end:
                os.ftruncate(self._file, self._end)
            os.lseek(self._file, self._end, os.SEEK_SET)
            left = data
            while left:
                left = left[os.write(self._file, left) :]
            if last or time.monotonic() - self._synced > SYNC:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            self._warn(error)
            return
        self._end += len(data)
        self._waiting.clear()

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"journal: cannot write {self.path} ({error.strerror}); the run goes on, "
                "and what it evaluates meanwhile would be lost with it",
                stacklevel=2,
            )


def _lock(file: int, path: Path) -> None:
    """Keep other processes away: by a lock that a child does not inherit.

    Raises:
        ValueError: another process has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has none
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise ValueError(
            f"journal: got {path}, which another process is writing, want a folder for "
            "each run"
        ) from error
    except OSError:  # a file system without locks
        return


def _sync_folder(path: Path) -> None:
    """Keep the name of a new file, too; Windows does it by itself."""
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

"""A folder that belongs to one computation: what it is of, and who is at work in it."""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffevo_jax.pytree.files import UNFINISHED
from diffevo_jax.pytree.records import read_record

#: Bytes of a manifest at most, of which some thousands are used.
_LARGEST_MANIFEST = 2**16
#: The file that whoever is at work in a folder has locked.
_LOCK = "lock"


class FolderError(ValueError):
    """The folder belongs to something else, is in use, or holds what is damaged."""


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

    It is on the disk before its name is, since what comes later is of no use without it.
    Where a file system has no links several may be, one after the other.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=UNFINISHED) as folder:
        written = Path(folder) / path.name
        with written.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(written, path)
        except FileExistsError:
            return
        except OSError:
            os.replace(written, path)


def read_manifest(path: Path, limit: int = _LARGEST_MANIFEST) -> dict[str, Any]:
    """The manifest of a folder, of at most so many bytes.

    Raises:
        FolderError: it is none.
        OSError: it cannot be read.
    """
    content = content_of(path, limit + 1)
    try:
        return read_record(content, limit)
    except ValueError as error:
        raise FolderError(f"folder: {path} is damaged: {error}") from error


def check_file(path: Path) -> None:
    """Raise FolderError where a folder has the name of a file."""
    if path.is_dir():
        raise FolderError(f"folder: {path} is damaged: it is a folder; remove it and go on")


def content_of(path: Path, limit: int) -> bytes:
    """The first bytes of a file. That it cannot be read now does not make it damaged."""
    check_file(path)
    with path.open("rb") as file:
        return file.read(limit)


_HELD = set[tuple[int, int]]()


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Be the only one at work in a folder; a process that dies leaves it free.

    Args:
        path: of the folder, which is there.

    Raises:
        FolderError: another process, or this one, is at work in it; or its lock is somebody
            else's, or no file.
    """
    taken = FolderError(f"folder: {path} is in use by another run")
    # A lock of the system is of a process, which may come here twice, and loses it when it
    # closes the file, however it has opened it.
    if _identity(path / _LOCK) in _HELD:
        raise FolderError(f"{taken} of this process")
    try:
        file = (path / _LOCK).open("ab")
    except OSError as error:
        raise FolderError(
            f"folder: got {path}, whose {_LOCK} cannot be written: {error.strerror}"
        ) from error
    with file:
        if not _locked(file.fileno(), path):
            raise taken
        this = _identity(file.fileno())
        _HELD.add(this)
        try:
            yield
        finally:
            _HELD.discard(this)


def _identity(file: Path | int) -> tuple[int, int]:
    """Of a file, whatever its name; of none (0, 0)."""
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return 0, 0
    return status.st_dev, status.st_ino


def _locked(descriptor: int, path: Path) -> bool:
    """Whether a file could be locked for this process; a warning where nothing can."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        warnings.warn(
            f"folder: {path} cannot be locked here: start no second run in it",
            stacklevel=4,
        )
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:  # some file systems have no locks
        warnings.warn(
            f"folder: {path} cannot be locked ({error.strerror}): start no second run in "
            "it",
            stacklevel=4,
        )
    return True

"""Files that are written whole or not at all, and whether they can be."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: What a process that is killed while it writes leaves behind; nobody reads it.
UNFINISHED = ".unfinished-"
#: What these names lead to is written to, and not replaced, also if it is a file.
_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/")


@contextlib.contextmanager
def written_whole(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """Write a file, or a folder, that is there in whole afterwards, or as it was before.

    A link is followed. What is neither file nor folder, such as ``/dev/stdout`` or a pipe,
    cannot be replaced and is written to directly.

    Args:
        path: whose folder exists.
        durable: of a file, whether it is on the disk before its name is, and its name
            before this returns, so that it outlives the machine's end too.

    Yields:
        Where to write: beside the path, whose place it takes at the end. If anything is
        raised, a full disk or Ctrl-C, it is removed, and the path is as it was.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from diffevo_jax.pytree.files import written_whole
        >>> path = Path(tempfile.mkdtemp()) / "out.txt"
        >>> with written_whole(path) as unfinished:
        ...     _ = unfinished.write_text("all of it")
        >>> path.read_text()
        'all of it'
    """
    if _is_device(Path(path)):
        yield Path(path)
        return
    target = Path(os.path.realpath(path))
    with _beside(target) as unfinished:
        yield unfinished
        if target.is_dir():
            _replace_folder(unfinished, target)
            return
        if target.exists():
            shutil.copymode(target, unfinished)
        if durable:
            _sync(unfinished)
        os.replace(unfinished, target)
    if durable:
        _sync(target.parent)


def check_writable(name: str, path: Path, *, folder: bool = False) -> None:
    """Find out before anything runs whether :func:`written_whole` can write, by trying.

    Args:
        name: of the argument.
        path: of a file.
        folder: whether what is written is a folder.

    Raises:
        ValueError: it cannot be, or is a folder where a file is wanted, or the reverse.
    """
    try:
        if _is_device(path):
            if folder or not os.access(path, os.W_OK):
                raise OSError("it is a device")
            return
        target = Path(os.path.realpath(path))
        if target.exists() and target.is_dir() != folder:
            raise OSError("it is a folder" if target.is_dir() else "it is a file")
        with _beside(target) as unfinished:
            unfinished.touch()
    except (OSError, ValueError) as error:  # ValueError: a zero in the name
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{name}: got {path}, which cannot be written: {reason}"
        ) from error


def check_apart(**paths: Path | None) -> None:
    """Find out before anything runs whether one output would take away another.

    Args:
        **paths: by the name of the argument; None for what is not asked for. The first ones
            are replaced; ``folder``, ``cache``, ``tensorboard`` and ``config`` are not.

    Raises:
        ValueError: one is where another is, or within a folder that is replaced.
    """
    asked: dict[str, Path] = {}
    for name, path in paths.items():
        # What is no path, too long or with a zero in it, or where nobody may look, is said
        # where it is made.
        with contextlib.suppress(OSError, ValueError):
            target = None if path is None else Path(os.path.realpath(path))
            if target is not None and not _is_device(target):
                asked[name] = target
    for name, target in asked.items():
        others = {other: path for other, path in asked.items() if other != name}
        for other, path in others.items():
            kept = name in ("folder", "cache", "tensorboard", "config")
            if path == target or (not kept and target in path.parents):
                raise ValueError(
                    f"{name}: got {paths[name]}, where {other} goes too, want a path of "
                    "its own"
                )


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_device(path: Path) -> bool:
    """Whether it is there and neither file nor folder, or named as what streams lead to."""
    known = path.exists() and not path.is_file() and not path.is_dir()
    return known or (path.is_file() and str(path).startswith(_STREAMS))


def _replace_folder(unfinished: Path, target: Path) -> None:
    """Put a folder in the place of another one, which nothing can do in one step."""
    with _beside(target) as before:
        try:
            os.rename(target, before)
            os.replace(unfinished, target)
        except BaseException:  # also Ctrl-C between the two
            if before.exists() and not target.exists():
                os.rename(before, target)
            raise


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A path of the same name in a temporary folder on the same disk."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=UNFINISHED) as folder:
        yield Path(folder) / target.name

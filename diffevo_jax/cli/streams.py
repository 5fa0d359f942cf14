"""What a command says: to streams that may be missing, closed, full, or know few letters.

A command saves its files before it speaks, so that nothing that happens here loses them.
"""

import contextlib
import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Letters that an encoding may lack, and what stands for them.
_PLAIN = {"±": "+/-", "…": "..."}


class Captured(io.StringIO):
    """Keeps text that was made for the standard output: of its width and its letters."""

    def __init__(self) -> None:
        super().__init__()
        self._encoding, self._terminal = _encoding(), is_terminal()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # None of a StringIO
        """That of the standard output."""
        return self._encoding

    def isatty(self) -> bool:
        """As the standard output."""
        return self._terminal


def say(text: str) -> None:
    """Print to the standard output; to nobody if there is none, or it is closed.

    Raises:
        OSError: it takes no more: the disk is full, or its reader has gone, which is
            BrokenPipeError.
    """
    if not _is_open():
        return
    try:
        text.encode(_encoding())
    except UnicodeEncodeError:
        for letter, plain in _PLAIN.items():
            text = text.replace(letter, plain)
        text = text.encode(_encoding(), "backslashreplace").decode(_encoding())
    sys.stdout.write(text)
    sys.stdout.flush()


def rendered(table: "RenderableType") -> str:
    """A table as the standard output can show it."""
    from rich.console import Console

    kept = Captured()
    Console(file=kept).print(table, highlight=False)
    return kept.getvalue()


def complain(text: str) -> None:
    """Print a line to the standard error, if there is one, and it takes it."""
    with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):
        line = " ".join(text.split())
        shown = [one if one.isprintable() else ascii(one)[1:-1] for one in line]
        sys.stderr.write(f"diffevo: {''.join(shown)}\n")
        sys.stderr.flush()


def is_terminal() -> bool:
    """Whether somebody looks at the standard output."""
    return _is_open() and sys.stdout.isatty()


def _is_open() -> bool:
    return sys.stdout is not None and not sys.stdout.closed


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"

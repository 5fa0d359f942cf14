"""Ctrl-C in a process of the command: never an exception in the midst of JAX.

Python raises KeyboardInterrupt wherever the process is. Inside JAX it may be lost, in a
callback that nobody called, or unwind what cannot be unwound and end in a crash. So there
the process ends at once, which loses nothing: what is stored is stored whole. Elsewhere the
exception is raised as ever, so that files that are being written are cleared away.
"""

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType

from diffevo_jax.cli import streams

_WAITS = (
    "interrupted; waiting for the generations under way, to keep them too; Ctrl-C again "
    "keeps none"
)


class Handler:
    """Answers Ctrl-C; it is the process's handler of the signal, and has no other home.

    Attributes:
        words: what is said at an end inside JAX.
        waits: whether the first Ctrl-C only asks.
        asked: whether it has.
    """

    def __init__(self) -> None:
        self.words: Callable[[], str] = lambda: "interrupted before the first result"
        self.waits = self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Ask, raise KeyboardInterrupt, or end the process with 130."""
        if self.waits and not self.asked:
            self.asked = True
            streams.complain(_WAITS)
        elif _in_jax(frame):
            if streams.is_terminal():
                with contextlib.suppress(OSError):
                    os.write(1, b"\x1b[?25h\n")  # a bar hides the cursor
            streams.complain(self.words())
            os._exit(130)
        else:
            raise KeyboardInterrupt


def install() -> None:
    """Answer Ctrl-C from now on, unless this process ignores it, as under ``nohup``."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, Handler())


def at_the_end(words: Callable[[], str]) -> None:
    """Say this at an end inside JAX; without effect in a process of somebody else."""
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Handler):
        handler.words = words


def only_ask() -> None:
    """Let the next Ctrl-C only ask for an end, as from now on there is something to keep.

    Without effect in a process of somebody else, where it is KeyboardInterrupt as ever.
    """
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, Handler):
        handler.waits = True


def is_asked() -> bool:
    """Whether Ctrl-C has asked for an end."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, Handler) and handler.asked


def _in_jax(frame: FrameType | None) -> bool:
    """Whether a function of JAX is among those that are being called."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in ("jax", "jaxlib"):
            return True
        frame = frame.f_back
    return False

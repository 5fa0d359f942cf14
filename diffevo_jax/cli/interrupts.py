"""Ctrl-C, SIGTERM and SIGHUP in a process of the command: how it ends, and what it says.

What a signal does is said in :mod:`diffevo_jax.pytree.signals`. Where it ends the process
and JAX is being called, the process ends there, without an exception, which loses nothing:
what is stored is stored whole. Elsewhere KeyboardInterrupt is raised as ever, so that files
that are being written are cleared away.
"""

import contextlib
import os
import signal
from collections.abc import Callable

from diffevo_jax.cli import streams
from diffevo_jax.pytree import signals
from diffevo_jax.pytree.signals import is_asked as is_asked
from diffevo_jax.pytree.signals import only_ask as only_ask

#: Exit codes of a shell for a process that SIGINT, or SIGTERM, has ended.
_INTERRUPTED, _TERMINATED = 130, 143


def install() -> None:
    """Answer signals from now on, but for those that are ignored, as under ``nohup``."""
    handler = signals.Handler(_ask, _end)
    handler.words = lambda: "interrupted before there was a result"
    signals.install(handler)


def at_the_end(words: Callable[[], str]) -> None:
    """Say this at an end inside JAX; without effect in a process of somebody else."""
    handler = signals.current()
    if handler is not None:
        handler.words = words


def wait_for(what: str, otherwise: str) -> None:
    """Let the next signal only ask for an end, and say what is waited for, and done first.

    Without effect in a process of somebody else.

    Args:
        what: is under way, in words.
        otherwise: said if one more signal ends the process inside JAX.
    """
    before = signals.current()
    if before is None:
        return
    handler = signals.Handler(lambda number: _say(number, what), _end)
    handler.number, handler.since, handler.waits = before.number, before.since, True
    handler.words = lambda: otherwise
    for number in signals.NUMBERS:
        if signal.getsignal(number) is before:
            signal.signal(number, handler)


def code() -> int:
    """The exit code of a process that a signal has asked to end: 130 or 143."""
    handler = signals.current()
    number = None if handler is None else handler.number
    return _INTERRUPTED if number in (None, signal.SIGINT) else _TERMINATED


def _ask(number: int) -> None:
    what = "interrupted; waiting for the generations under way, to keep them too"
    if number != signal.SIGINT:
        what += f", for {signals.PATIENCE:.0f} s"
    _say(number, what)


def _say(number: int, what: str) -> None:
    again = "Ctrl-C again" if number == signal.SIGINT else "one more signal"
    streams.complain(f"{what}; {again} ends it at once")


def _end(number: int, in_jax: bool) -> None:
    """Raise KeyboardInterrupt, or end the process."""
    if not in_jax:
        raise KeyboardInterrupt
    if streams.is_terminal():
        with contextlib.suppress(OSError):
            os.write(1, b"\x1b[?25h\n")  # a bar hides the cursor
    handler = signals.current()
    if handler is not None:
        streams.complain(handler.words())
    os._exit(code())

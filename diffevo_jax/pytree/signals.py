"""Signals that ask a process to end: SIGINT, SIGTERM and SIGHUP, answered between chunks.

Python answers a signal wherever it is. Inside JAX an exception may be lost, in a callback
that nobody called, or unwind what cannot be unwound and end in a crash; and a process that
ends at once loses what it has just computed. So while there is something to keep the first
signal only asks: what is under way is waited for and kept, and then the process ends as it
would have. A second one ends it at once.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import jax

#: What answers a signal.
_Answer = Callable[[int, FrameType | None], object] | int | None
#: The signals, of those that this system has.
NUMBERS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)
#: Seconds that what is under way may take after SIGTERM or SIGHUP. Whoever sends them kills
#: after 10 (docker) to 30 (Slurm, Kubernetes), and there is more to be done in that time.
PATIENCE = 8.0
#: Seconds between two looks at what is under way: a twentieth of what it has taken.
_SHORTEST, _LONGEST = 5e-5, 0.01
#: Seconds until a call of JAX is looked at again.
_LOOK = 0.1
#: Seconds in which those who end a process may do so twice: a terminal and its shell.
_TWICE = 1.0
#: Seconds to wait for the end of a call of JAX, in which no exception is raised.
_CALL = 5.0


class Handler:
    """Answers the signals; it is the process's handler of them, and has no other home.

    Args:
        asked: called with the number of the first signal, if that only asks.
        at_once: called with the number, and whether JAX is being called, where the process
            is to end; it may raise.

    Attributes:
        number: of the first signal; None before it.
        waits: whether the first one only asks.
        prompt: whether it is raised, as KeyboardInterrupt, also if it only asks otherwise.
        since: when it came, on the clock of ``time.monotonic``.
        words: what is said where the process is ended at once.
    """

    def __init__(
        self, asked: Callable[[int], None], at_once: Callable[[int, bool], None]
    ) -> None:
        """See the class."""
        self._asked, self._at_once = asked, at_once
        self.number: int | None = None
        self.waits = self.prompt = False
        self.since = 0.0
        self.words: Callable[[], str] = str
        self._raised = self._looks_again = self._again = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Ask, raise KeyboardInterrupt, or end the process."""
        again, self._again = self._again, False
        now, is_first = time.monotonic(), self.number is None
        if is_first:
            self.number, self.since = number, now
        in_jax = _in_jax(frame)
        can_look = hasattr(signal, "pthread_kill")  # not on Windows
        if self.prompt and in_jax and can_look and now - self.since < _CALL:
            self._look_again(number)
        elif self.prompt and not in_jax and not self._raised:
            self._raised = True
            raise KeyboardInterrupt
        elif again and not (self.prompt and in_jax):
            return  # nobody has asked a second time
        elif is_first and self.waits:
            self._asked(number)
        elif is_first or number == signal.SIGINT or now - self.since > _TWICE:
            self._at_once(number, in_jax)

    def _look_again(self, number: int) -> None:
        """Be called once more, when the call of JAX may have ended."""

        def look() -> None:
            self._looks_again, self._again = False, True
            # In the main thread, where it wakes up what sleeps; until it is answered, since
            # one that comes just before a sleep does not end that.
            while self._again and signal.getsignal(number) is self:
                signal.pthread_kill(threading.main_thread().ident or 0, number)
                time.sleep(_LOOK)

        if not self._looks_again:
            self._looks_again = True
            threading.Timer(_LOOK, look).start()


def install(handler: Handler) -> dict[int, _Answer]:
    """Answer the signals from now on, but for those that are ignored or answered already.

    Args:
        handler: of all of them.

    Returns:
        What answered those that it answers now, for :func:`remove`. Nothing outside of the
        main thread, where no signal arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    before: dict[int, _Answer] = {}
    for number in NUMBERS:
        found = signal.getsignal(number)
        if found in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, handler)
            before[number] = found
    return before


def remove(before: dict[int, _Answer]) -> None:
    """Answer the signals as before :func:`install`."""
    for number, found in before.items():
        signal.signal(number, found)


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """For so long the first signal only asks, once :func:`only_ask` is called.

    At the end the process ends as it would have without: by KeyboardInterrupt, or by the
    signal. Handlers of others stay as they are.

    Raises:
        KeyboardInterrupt: SIGINT has asked for an end, or somebody else answers signals and
            has been asked.
    """
    handler = Handler(lambda number: None, _as_ever)
    before = install(handler)
    try:
        yield
    finally:
        remove(before)
        if handler.number is not None:
            _as_ever(handler.number)
        elif is_asked():
            raise KeyboardInterrupt


def _as_ever(number: int, in_jax: bool = False) -> None:
    """End as a process does that answers no signal."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def only_ask() -> None:
    """Let the next signal only ask for an end, as from now on there is something to keep.

    Without effect where somebody else answers the signals.
    """
    handler = current()
    if handler is not None:
        handler.waits = True


def is_asked() -> bool:
    """Whether a signal has asked for an end."""
    handler = current()
    return handler is not None and handler.number is not None


def raise_if_asked() -> None:
    """Raise KeyboardInterrupt if a signal has asked for an end."""
    if is_asked():
        raise KeyboardInterrupt


@contextlib.contextmanager
def promptly() -> Iterator[None]:
    """While something else than JAX runs, for as long as it likes, a signal ends it.

    Raises:
        KeyboardInterrupt: a signal asks for an end, or has asked.
    """
    handler = current()
    if handler is None:
        yield
        return
    outer, handler.prompt = handler.prompt, True
    try:
        if handler.number is not None:
            raise KeyboardInterrupt
        yield
    finally:
        handler.prompt = outer


def wait(arrays: object, meanwhile: Callable[[], object]) -> None:
    """Wait for arrays, where a signal can be answered meanwhile.

    Args:
        arrays: a pytree, being computed.
        meanwhile: called once a signal has asked for an end.

    Raises:
        KeyboardInterrupt: it was none of Ctrl-C, and they take too long.
    """
    handler, begin, is_told = current(), time.monotonic(), False
    if handler is None:
        return
    # Not in a thread that blocks: one that is there when Python ends takes it down.
    while not all(map(_is_ready, jax.tree.leaves(arrays))):
        now = time.monotonic()
        time.sleep(min(max((now - begin) / 20, _SHORTEST), _LONGEST))
        if handler.number is None:
            continue
        if not is_told:
            meanwhile()
            is_told = True
        if handler.number != signal.SIGINT and now - handler.since > PATIENCE:
            raise KeyboardInterrupt


def _is_ready(leaf: object) -> bool:
    """Whether an array is there; one of NumPy always is."""
    look = getattr(leaf, "is_ready", None)
    return look is None or bool(look())


def current() -> Handler | None:
    """Ours, in the thread in which signals arrive; None if there is none."""
    if threading.current_thread() is not threading.main_thread():
        return None
    found = map(signal.getsignal, NUMBERS)
    return next((one for one in found if isinstance(one, Handler)), None)


def _in_jax(frame: FrameType | None) -> bool:
    """Whether a function of JAX is among those that are being called."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).partition(".")[0] in ("jax", "jaxlib"):
            return True
        frame = frame.f_back
    return False

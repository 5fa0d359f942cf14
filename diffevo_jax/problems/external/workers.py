"""A function of one solution, for a batch: in processes of its own, or by any executor.

What takes too long, raises, or takes its process with it is a failed evaluation, and the
others count.
"""

import collections
import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
import sys
import time
import types
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from diffevo_jax.base import Evaluation, PyTree
from diffevo_jax.problems.external.results import gathered, row_of
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree import offers, validation
from diffevo_jax.pytree.annotations import Index, checked, outside, takes

#: Seconds between two looks at futures that nobody can wait for.
_LOOK = 0.05

#: Seconds in which whoever ends our processes ends this one too.
_MOMENT = 0.2

#: What a process of ours runs first: it leaves to its parent what a terminal or a scheduler
#: sends to all, and ends when its parent does, however that ends. What it starts itself
#: takes signals as usual, apart from Ctrl-C. It is text since a function of this file
#: imports JAX.
_FIRST = """
import multiprocessing, os, signal, threading

def follow():
    multiprocessing.parent_process().join()
    os._exit(1)

signal.signal(signal.SIGINT, signal.SIG_IGN)
for name in ("SIGTERM", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), lambda *_: None)
if hasattr(signal, "pthread_sigmask"):
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
threading.Thread(target=follow, daemon=True).start()
"""


@runtime_checkable
class Submits(Protocol):
    """An executor: of ``concurrent.futures``, joblib's loky, dask, submitit."""

    def submit(self, fn: Callable[..., Any], /, *args: object) -> Any:
        """Start a call; what is returned has ``done``, ``result`` and ``cancel``."""
        ...


@runtime_checkable
class Batches(Protocol):
    """An executor that sends what is submitted together in one go, as submitit's do."""

    def batch(self) -> contextlib.AbstractContextManager[object]:
        """What is submitted within it is sent at its end."""
        ...


@runtime_checkable
class Reports(Protocol):
    """A function of a batch that says what a solution came to as soon as it is known.

    What it says of a solution depends on nothing but that, and on what comes with it: it is
    called with some of a generation only, when others are known already.
    """

    def reporting(
        self,
        finished: Callable[[int, Evaluation | None], None],
        /,
        solutions: PyTree,
        *more: PyTree,
    ) -> object:
        """Evaluate N solutions, and report each; what is returned is not looked at.

        Args:
            finished: is called once with each solution's number and what it came to, in
                any order, in the thread of the caller. None has failed, and will not be
                tried again.
            solutions: leaves with leading axis N.
            *more: whatever more there is of each, such as its seed.
        """
        ...


class _Failed(NamedTuple):
    """In the place of a result."""

    error: BaseException


class Each:
    """A function of a batch, made of a function of one solution; see :func:`each`.

    Attributes:
        failures: how often evaluations failed, by the name of the error; those that
            succeeded when tried again count too.
        last_error: of the evaluation that failed last; None if none has.

    Example:
        >>> import math, numpy as np
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from diffevo_jax.problems import external
        >>> with external.each(math.log, ThreadPoolExecutor(2)) as evaluate:
        ...     evaluate(np.array([1.0, 0.0])).fitness.tolist()
        [0.0, nan]
        >>> evaluate, evaluate.last_error
        (each(log), ValueError(...))
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        start: "Callable[[], _Runs]",
        timeout: float | None,
        retries: int,
        space: Space | None = None,
    ) -> None:
        """See :func:`each`."""
        self.failures: collections.Counter[str] = collections.Counter()
        self.last_error: BaseException | None = None
        self.__wrapped__ = fn  # as of functools.wraps
        self._fn, self._start, self._timeout, self._retries = fn, start, timeout, retries
        self._runs: _Runs | None = None
        self._space = space

    def __repr__(self) -> str:
        """Its function, whatever runs it."""
        return f"each({getattr(self._fn, '__name__', repr(self._fn))})"

    def __call__(self, solutions: PyTree, *more: PyTree) -> Evaluation:
        """Evaluate N solutions; whatever more there is of each goes with it."""
        rows = self._rows(None, solutions, *more)
        warn_if_all_failed(self, rows)
        return gathered(rows)

    def reporting(
        self,
        finished: Callable[[int, Evaluation | None], None],
        /,
        solutions: PyTree,
        *more: PyTree,
    ) -> None:
        """The same, and say what each came to; see :class:`Reports`.

        One whose process died is reported at the end, and a moment later: whoever ended its
        process may be about to end this one, and then it has not failed.
        """
        self._rows(finished, solutions, *more)

    def _rows(
        self,
        finished: Callable[[int, Evaluation | None], None] | None,
        solutions: PyTree,
        *more: PyTree,
    ) -> list[Evaluation | None]:
        """What each came to; None has failed."""
        report = finished or (lambda place, row: None)
        count = len(jax.tree.leaves(solutions)[0])
        one = lambda place: jax.tree.map(lambda leaf: leaf[place], (solutions, *more))
        given = [one(place) for place in range(count)]
        if self._space is not None:
            own = self._space.as_python(solutions)
            given = [(row, *rest) for row, (_, *rest) in zip(own, given, strict=True)]
        rows: list[Evaluation | None] = [None] * count
        died: list[int] = []

        def found(places: list[int], last: bool, number: int, value: object) -> None:
            place = places[number]
            if not isinstance(value, _Failed):
                row = rows[place] = row_of(value)
                report(place, row)
                return
            self.last_error = value.error
            self.failures[type(value.error).__name__] += 1
            if last and isinstance(value.error, BrokenExecutor):
                died.append(place)
            elif last:
                report(place, None)

        left = list(range(count))
        for retries_left in reversed(range(self._retries + 1)):
            if not left:
                break
            if self._runs is None:
                self._runs = self._start()
            tell = functools.partial(found, left, not retries_left)
            self._runs.calls(self._fn, [given[n] for n in left], self._timeout, tell)
            left = [place for place in left if rows[place] is None]
        if died and finished is not None:
            time.sleep(_MOMENT)
        for place in died:
            report(place, None)
        return rows

    def close(self) -> None:
        """End its processes; they start again if it is called again."""
        if self._runs is not None:
            self._runs.close()
            self._runs = None

    def __enter__(self) -> "Each":
        """Itself; its processes end with the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End its processes."""
        self.close()


@checked
def each(
    fn: Callable[..., Any],
    executor: Submits | Callable[[], Any] | None = None,
    *,
    workers: int | None = None,
    timeout: float | None = None,
    retries: Index = 0,
    space: Space | None = None,
) -> Each:
    """Make a function of a batch of a function of one solution, for unreliable evaluators.

    An evaluation fails, and the others count, if it raises (``SystemExit`` too), takes
    longer than ``timeout``, or if its process dies. If all of a batch fail there is a
    warning with the last error. The result says which (``failures``, ``last_error``).

    By default it runs in processes of its own, one evaluation at a time in each: only they
    know when an evaluation began, which one took its process with it, and can end one that
    hangs. They import the module of ``fn``, and nothing of this library: keep it in a
    module that does not import JAX. A function of the script itself works if the script
    starts under ``if __name__ == "__main__":``, and its processes then import what it
    imports. They end with the process that started them, even if that is killed. What an
    evaluation has started itself, such as another program, is not ended with it.

    Args:
        fn: ``fn(solution)``, or ``fn(solution, seed)`` for a noisy problem: leaves are
            NumPy arrays without the axis of the batch. It returns fitness, or
            ``(fitness, measures)``, or an :class:`diffevo_jax.Evaluation`.
        executor: None for processes of its own; an executor; or a function that makes one,
            which is then made again when it breaks or hangs. With an executor ``timeout``
            is of a whole batch, and what is late is cancelled. A thread cannot be ended:
            one that hangs keeps its place, and the interpreter waits for it at its end. If
            a process of a pool dies, the pool fails all that it has not done: ``retries``
            gives them another try.
        workers: how many processes of its own; None takes one for each core.
        timeout: seconds, > 0; None waits for ever.
        retries: how often an evaluation that failed is tried again.
        space: of the solutions; ``fn`` then gets each as :meth:`Space.as_python
            <diffevo_jax.problems.Space.as_python>` gives it: categories are their choices
            and not indices, numbers are Python's own. None hands on arrays.

    Returns:
        A function of solutions with leading axis N, and of whatever more there is of each.
        Its processes start when it is called first; ``close`` ends them, as ``with`` does.

    Raises:
        TypeError: other processes cannot import ``fn``, or it takes neither one argument
            nor two.
        ValueError: a number is out of range.

    Example:
        >>> import math, numpy as np
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from diffevo_jax.problems import external
        >>> with external.each(math.sqrt, ThreadPoolExecutor(2)) as evaluate:
        ...     evaluate(np.array([4.0, -1.0])).fitness.tolist()
        [2.0, nan]
        >>> dict(evaluate.failures)
        {'ValueError': 1}
    """
    if timeout is not None:
        validation.check_positive("timeout", timeout)
    takes("fn", fn, ("solution",), ("solution", "seed"))
    if executor is None:
        _check_importable(fn)
        return Each(fn, lambda: _Processes(workers or _cores()), timeout, retries, space)
    if workers is not None:
        raise ValueError(f"workers: got {workers} with an executor, want one of them")
    return Each(fn, lambda: _Executor(executor), timeout, retries, space)


def _cores() -> int:
    """How many this process may use; the system says that only on Linux."""
    limited = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if limited else os.cpu_count() or 1


def _check_importable(fn: Callable[..., Any]) -> None:
    try:
        pickle.dumps(fn)
    except Exception as error:
        raise TypeError(
            f"fn: got {fn!r}, want a function at the top of a module, which other "
            f"processes can import ({error}); joblib's executor takes any"
        ) from error


def warn_if_all_failed(
    evaluate: Callable[..., Any] | Reports, rows: Sequence[Evaluation | None]
) -> None:
    """Warn, with the last error if that is known, since it is hardly the solutions' fault.

    Args:
        evaluate: who evaluated.
        rows: of a batch; None has failed.
    """
    if any(row is not None for row in rows):
        return
    error = evaluate.last_error if isinstance(evaluate, Each) else None
    why = "" if error is None else f", the last by {error!r}"
    text = f"{evaluate!r}: all {len(rows)} evaluations failed{why}"
    warnings.warn(text, stacklevel=outside())


class _Runs(Protocol):
    """What runs calls."""

    def calls(
        self,
        fn: Callable[..., Any],
        given: Sequence[tuple[PyTree, ...]],
        timeout: float | None,
        found: Callable[[int, object], None],
    ) -> None:
        """Say what each call returns as soon as it does, or that it is :class:`_Failed`."""
        ...

    def close(self) -> None:
        """End what runs them."""
        ...


class _Process(NamedTuple):
    """A process that does one call at a time."""

    pool: ProcessPoolExecutor
    pid: "concurrent.futures.Future[int]"

    def end(self) -> None:
        """Kill it, and forget what it does."""
        with contextlib.suppress(Exception):  # it may not be there yet
            _kill(self.pid.result(timeout=0))
        self.pool.shutdown(wait=False, cancel_futures=True)


def _kill(pid: int) -> None:
    """End a process, unless it has ended; Windows has one signal for that."""
    with contextlib.suppress(OSError):
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


class _Call(NamedTuple):
    """A call that runs: which one, where, and until when it may."""

    place: int
    process: _Process
    end: float


class _Processes:
    """Processes of our own, each a pool of one, so that nobody fails with another."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._idle: list[_Process] = []
        self._starting: dict[Any, _Process] = {}
        # at the end of the interpreter too, while there is something to end them with
        weakref.finalize(self, _end, self._idle, self._starting)

    def calls(
        self,
        fn: Callable[..., Any],
        given: Sequence[tuple[PyTree, ...]],
        timeout: float | None,
        found: Callable[[int, object], None],
    ) -> None:
        waiting = collections.deque(range(len(given)))
        busy: dict[Any, _Call] = {}
        try:
            while waiting or busy:
                while waiting and self._idle:
                    process = self._idle.pop()
                    try:
                        future = process.pool.submit(fn, *given[waiting[0]])
                    except BrokenExecutor:  # it has died with nothing to do
                        process.end()
                        continue
                    end = time.monotonic() + (timeout or np.inf)
                    busy[future] = _Call(waiting.popleft(), process, end)
                while len(self._starting) < min(len(waiting), self._count - len(busy)):
                    process = _started(fn)
                    self._starting[process.pool.submit(callable, fn)] = process
                self._look(busy, found)
        finally:
            _find_done({call.place: future for future, call in busy.items()}, found)
            for call in busy.values():
                call.process.end()

    def _look(self, busy: dict[Any, _Call], found: Callable[[int, object], None]) -> None:
        """Wait until something ends, or is late."""
        first = min((call.end for call in busy.values()), default=np.inf)
        seconds = None if first == np.inf else max(first - time.monotonic(), 0.0)
        both = [*busy, *self._starting]
        concurrent.futures.wait(both, seconds, concurrent.futures.FIRST_COMPLETED)
        for ready in [one for one in self._starting if one.done()]:
            process = self._starting.pop(ready)
            if ready.exception() is not None:
                _end(self._idle, self._starting)
                raise RuntimeError(
                    "fn: got a process that ended before it had imported it, want a "
                    "function that imports by its name, and a script under "
                    'if __name__ == "__main__"; in a notebook, one of a file, '
                    "or an executor of joblib; the reason is on the standard error"
                ) from ready.exception()
            self._idle.append(process)
        now = time.monotonic()
        for future in [one for one in busy if one.done() or busy[one].end <= now]:
            place, process, _ = busy.pop(future)
            late = TimeoutError("it took too long")
            error = future.exception() if future.done() else late
            if error is late or isinstance(error, BrokenExecutor):
                process.end()
            else:
                self._idle.append(process)
            found(place, future.result() if error is None else _Failed(error))

    def close(self) -> None:
        _end(self._idle, self._starting)


def _end(idle: list[_Process], starting: dict[Any, _Process]) -> None:
    """End processes, and forget them."""
    for process in (*idle, *starting.values()):
        process.end()
    idle.clear()
    starting.clear()


def _started(fn: Callable[..., Any]) -> _Process:
    """A process, spawned, since JAX has threads and a fork of them may hang.

    It runs nothing but the standard library and what it is sent.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, context, exec, (_FIRST, {}))
    script = b"__main__" in pickle.dumps(fn)
    with contextlib.nullcontext() if script else _no_script(), _no_signals():
        return _Process(pool, pool.submit(os.getpid))


@contextlib.contextmanager
def _no_script() -> Iterator[None]:
    """Start a process that does not import the script that starts it.

    A process that is spawned imports the script first: with it JAX, which takes seconds,
    and, where there is no guard, what the script does. A function of a module needs none
    of it.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextlib.contextmanager
def _no_signals() -> Iterator[None]:
    """Start a process that takes no signal before it knows what to do with it."""
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows
        yield
        return
    held = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Executor:
    """Somebody's executor, or one that is made when it is needed."""

    def __init__(self, given: PyTree) -> None:
        self._made_here = not offers(given, Submits)
        self._make: Callable[[], Any] = given if self._made_here else lambda: given
        self._executor: PyTree = None

    def calls(
        self,
        fn: Callable[..., Any],
        given: Sequence[tuple[PyTree, ...]],
        timeout: float | None,
        found: Callable[[int, object], None],
    ) -> None:
        if self._executor is None:
            self._executor = self._make()
        executor = self._executor
        together = (
            executor.batch() if offers(executor, Batches) else contextlib.nullcontext()
        )
        futures: list[Any] = []
        told: set[int] = set()
        broken = False

        def tell(place: int, value: object) -> None:
            nonlocal broken
            told.add(place)
            error = value.error if isinstance(value, _Failed) else None
            broken |= isinstance(error, BrokenExecutor | _Late)
            found(place, value)

        try:
            with together:
                refused = self._submit(executor, fn, given, futures)
            for place in _done(futures, timeout):
                tell(place, _result(futures[place]))
            for place, future in enumerate(futures):
                if place not in told:
                    tell(place, _result(future))
            for place in range(len(futures), len(given)):
                tell(place, refused)
        finally:
            untold = {n: one for n, one in enumerate(futures) if n not in told}
            _find_done(untold, found)
            for future in futures:
                future.cancel()
        if broken:
            self.close()

    def _submit(
        self,
        executor: PyTree,
        fn: Callable[..., Any],
        given: Sequence[tuple[PyTree, ...]],
        futures: list[Any],
    ) -> _Failed | None:
        """Submit calls while it takes them; what became of the others.

        Raises:
            BrokenExecutor: it takes none, and cannot be made again.
        """
        try:
            for one in given:
                futures.append(executor.submit(fn, *one))
        except BrokenExecutor as error:
            if not futures and not self._made_here:
                raise
            return _Failed(error)
        return None

    def close(self) -> None:
        """Give up an executor that was made here; what hangs in its processes is ended."""
        executor, self._executor = self._executor, None
        if executor is None or not self._made_here:
            return
        # of pools of concurrent.futures and of loky; it has no public name before 3.14
        processes = dict(getattr(executor, "_processes", None) or {})
        executor.shutdown(wait=False)
        for process in processes.values():
            _kill(process.pid)


class _Late(TimeoutError):
    """Not done when the time of the batch was over."""


def _done(futures: Sequence[Any], timeout: float | None) -> Iterator[int]:
    """The places of futures as they are done, for so many seconds."""
    if all(isinstance(one, concurrent.futures.Future) for one in futures):
        places = {future: place for place, future in enumerate(futures)}
        with contextlib.suppress(TimeoutError):
            for future in concurrent.futures.as_completed(futures, timeout):
                yield places[future]
        return
    end, left = time.monotonic() + (timeout or np.inf), list(range(len(futures)))
    while left and time.monotonic() < end:
        ready = [place for place in left if futures[place].done()]
        yield from ready
        left = [place for place in left if place not in ready]
        if not ready:
            time.sleep(_LOOK)


def _find_done(futures: Mapping[int, Any], found: Callable[[int, object], None]) -> None:
    """Say what has been done when something ended the wait, and would be lost."""
    for place, future in futures.items():
        with contextlib.suppress(Exception):  # the first error is the one that counts
            value = _result(future)
            if not isinstance(value, _Failed):
                found(place, value)


def _result(future: PyTree) -> object:
    if not future.done():
        return _Failed(_Late("not done in time"))
    try:
        return future.result()
    except (Exception, SystemExit, concurrent.futures.CancelledError) as error:
        return _Failed(error)

"""Progress bars on the host: over the generations of a run, over the runs of a sweep."""

import contextlib
import io
import math
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

import jax
import numpy as np

from diffevo_jax.running.evolution import Result


def show_generations(
    results: Iterator[Result], num_generations: int, noisy: bool = False
) -> Iterator[Result]:
    """Pass results through, showing a bar with best and mean fitness over the runs.

    Args:
        results: so far, of a run or of many.
        num_generations: of the whole run.
        noisy: whether the best is the luckiest, and is not shown before it is judged.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("generation"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[fitness]}"),
    )
    with Progress(*columns, console=Console(file=_shown())) as bar:
        task = bar.add_task("", total=num_generations, fitness="compiling")
        for result in results:
            info = jax.tree.map(lambda row: row[..., -1], result.history)
            best, mean = np.mean(result.best_fitness), np.mean(info.mean_fitness)
            shown = f"mean {mean:.4g}"
            if result.final is not None:
                error = np.mean(result.final.standard_error)
                shown = f"best {best:.4g} ± {error:.2g}  {shown}"
            elif not noisy:
                shown = f"best {best:.4g}  {shown}"
            bar.update(task, completed=result.history.done.shape[-1], fitness=shown)
            yield result


@contextlib.contextmanager
def show_runs(total: int, done: int, visible: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar with the time left while a sweep runs, if it is wanted.

    Args:
        total: runs.
        done: of which so many need not run again.
        visible: False shows nothing.

    Yields:
        A function that advances the bar by so many runs.
    """
    if not visible:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("run"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # By default rich forgets what took longer than half a minute, as a batch may.
    console = Console(file=_shown())
    with Progress(*columns, console=console, speed_estimate_period=math.inf) as bar:
        task = bar.add_task("", total=total, completed=done)
        yield lambda count: bar.advance(task, count)


class _Unfailing:
    """A stream for a bar: that nobody can see it is no reason to end a run."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _shown() -> Any:
    """The standard output, or what stands for it where there is none."""
    return _Unfailing(io.StringIO() if sys.stdout is None else sys.stdout)

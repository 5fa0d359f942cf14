"""A progress bar over the runs of a sweep, on the host."""

import contextlib
import math
from collections.abc import Callable, Iterator


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
    with Progress(*columns, speed_estimate_period=math.inf) as bar:
        task = bar.add_task("", total=total, completed=done)
        yield lambda count: bar.advance(task, count)

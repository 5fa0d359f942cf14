"""A progress bar over the batches of a sweep, on the host."""

from collections.abc import Iterator, Sequence


def show_batches(numbers: Sequence[int], visible: bool) -> Iterator[int]:
    """Pass numbers of batches through; show a bar with the time left if it is wanted."""
    if not visible:
        yield from numbers
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
        TextColumn("batch"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        yield from bar.track(numbers, total=len(numbers))

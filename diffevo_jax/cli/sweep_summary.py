"""What ``diffevo sweep`` tells at its end: the best settings, or what is missing."""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from diffevo_jax.cli import streams
from diffevo_jax.pytree.records import plain, versions
from diffevo_jax.sweeps import tables
from diffevo_jax.sweeps.folder import Folder
from diffevo_jax.sweeps.plan import Plan

if TYPE_CHECKING:
    import xarray

    from diffevo_jax.cli.request import Request
    from diffevo_jax.cli.sweep_command import SweepOptions


def about(name: str, settings: "Request[SweepOptions]") -> dict[str, str]:
    """Attributes of the table: what was swept, without axes, and with which versions."""
    config = {"strategy": settings.strategy, "problem": settings.problem}
    names = ("population_size", "seeds", "seed", "mode")
    config |= {key: vars(settings.options)[key] for key in names}
    # Without addresses of functions, which differ from process to process.
    text = re.sub(r" at 0x[0-9a-f]+", "", json.dumps(plain(config)))
    return {"name": name, "config": text, "versions": json.dumps(versions())}


def show_best(
    dataset: "xarray.Dataset", top: int, notes: dict[str, str], noisy: bool = False
) -> None:
    """Print the best settings of a sweep as a table, and the summary.

    Args:
        dataset: of the sweep.
        top: so many settings.
        notes: more lines of the summary.
        noisy: whether the best fitness is the luckiest, and is not shown.
    """
    from rich.table import Table

    shown, ranked = "", tables.ranking(dataset)[:top]
    if len(ranked):
        seeds = dataset.sizes["seed"]
        caption = f"means of {seeds} seeds ± 95 % interval" if seeds > 1 else "one seed"
        table = Table(title=dataset.attrs["name"], caption=caption)
        axes = tables.axes_of(dataset)
        columns = {"final mean": "final_mean", "best": "final_best"}
        if noisy:
            del columns["best"]
        for header in ("setting", *axes, *columns):
            table.add_column(header, justify="right", overflow="fold")
        for number in ranked:
            row = dataset.isel(setting=int(number))
            swept = [_text(row[name].item()) for name in axes]
            scores = [_score(row[name]) for name in columns.values()]
            table.add_row(str(number), *swept, *scores)
        shown = streams.rendered(table)
    lines = dict(_lines(dataset)) | notes
    text = [f"{name:12} {value}\n" for name, value in lines.items()]
    streams.say(shown + "".join(text))


def _score(values: npt.ArrayLike) -> str:
    """Mean over seeds, with half the width of its 95 % interval if there are two."""
    values = np.asarray(values, float)
    if len(values) == 1:
        return f"{values[0]:.4g}"
    mean, _, high = tables.interval(values)
    return _within(mean, high)


def _within(mean: float, high: float) -> str:
    return f"{mean:.4g} ± {high - mean:.2g}"


def _lines(dataset: "xarray.Dataset") -> Iterator[tuple[str, str]]:
    settings, seeds = dataset.sizes["setting"], dataset.sizes["seed"]
    yield "runs", f"{settings * seeds:,} (settings: {settings:,}, seeds: {seeds:,})"
    yield "evaluations", f"{int(dataset.evaluations.sum()) * seeds:,}"
    failed = int(dataset.failed.sum())
    if failed:
        broken = int(dataset.failed.any("seed").sum())
        yield "failed", f"{failed:,} runs, of {broken:,} settings, which are not ranked"
    best = dataset.attrs
    if "confirmed_mean" in best:
        score = _within(best["confirmed_mean"], best["confirmed_high"])
        fresh = f"{best['confirmed_seeds']:,} fresh seeds"
        yield "confirmed", f"setting {best['best_setting']}: {score} on {fresh}"


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show_missing(plan: Plan, store: Folder, shard: str | None) -> None:
    """Print what a shard has left to others, and how to make one table of all."""
    numbers = store.missing(len(plan.batches()))
    streams.say(
        f"shard {shard} is done; {_counts(plan, numbers)} are missing in {store.path}.\n"
        "When the other shards have ended, the same command without --shard makes the\n"
        "table; batches that are still missing then are run by it.\n"
    )


def interrupted(plan: Plan, store: Folder | None) -> str:
    """What is stored of a sweep that was interrupted, and how to go on."""
    if store is None:
        return (
            "interrupted; nothing is stored: with --folder DIR a sweep goes on where it "
            "was stopped"
        )
    total = len(plan.batches())
    missing = set(store.missing(total))
    stored = [number for number in range(total) if number not in missing]
    return (
        f"interrupted; {_counts(plan, stored)} are stored in {store.path}; the same "
        "command goes on from there"
    )


def stored_runs(plan: Plan, store: Folder) -> int:
    """How many runs are in a folder."""
    batches = plan.batches()
    missing = sum(batches[number].size for number in store.missing(len(batches)))
    return plan.num_runs - missing


def _counts(plan: Plan, numbers: list[int]) -> str:
    batches = plan.batches()
    runs = sum(batches[number].size for number in numbers)
    return (
        f"{len(numbers):,} of {len(batches):,} batches ({runs:,} of {plan.num_runs:,} runs)"
    )

"""What ``diffevo evolve`` tells at its end: a table, a JSON file, a plot."""

import functools
import json
import math
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from diffevo_jax.base import Problem, PyTree
from diffevo_jax.cli import pages, streams
from diffevo_jax.cli.outputs import Output
from diffevo_jax.problems import Control
from diffevo_jax.pytree.files import written_whole
from diffevo_jax.pytree.records import plain, versions
from diffevo_jax.running import result_files
from diffevo_jax.running.diagnosis import WELL, diagnose
from diffevo_jax.running.evolution import Result, best_run
from diffevo_jax.running.final import FinalEvaluation, is_noisy

#: Whether a success is ended by the environment; else the step limit ends it.
_ENDS = ("Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0")
_SUCCESS_ENDS = {"CartPole-v1": False} | dict.fromkeys(_ENDS, True)
#: Numbers of a solution that are printed, at most: more are a matter for a file.
PRINTED = 8


class Ended(NamedTuple):
    """Runs of one setting.

    Attributes:
        config: what was run, under its names on the command line.
        result: everything in it has a leading run axis (R,).
        seconds: from the start until each chunk was there; the first includes compiling.
            Of a run that has gone on only those since; if it had ended, what reading takes.
        interrupted: whether a signal ended it early.
        resumed: generations that were in its folder before.
        folder: where it is kept, if anywhere.
        command: that made it.
    """

    config: dict[str, Any]
    result: Result
    seconds: list[float]
    interrupted: bool
    resumed: int = 0
    folder: Path | None = None
    command: str = ""


def summarise(ended: Ended) -> dict[str, Any]:
    """The last generation in a few numbers, as in the JSON file."""
    config, result = ended.config, ended.result
    generations = result.history.done.shape[1]
    size, each = config["population_size"], np.asarray(result.num_generations)
    happened = np.arange(generations) < each[:, None]  # rows after a stop repeat its last
    share = success(config["problem"], result.measures)
    final = result.final
    return {
        "generations": generations,
        "interrupted": ended.interrupted,
        "reasons": result.reason,
        "num_generations": each,
        "resumed_after": ended.resumed,
        "mean_fitness": _over_runs(result.history.mean_fitness[:, -1]),
        "success": None if share is None else _over_runs(share),
        "best_fitness": _over_runs(result.best_fitness),
        "final": None if final is None else _final(final),
        "evaluations_per_run": int(np.mean(size * each)),
        "num_failed": int(np.sum(result.history.num_failed, where=happened)),
        "seconds_first_chunk": ended.seconds[0],
        "seconds_later_chunks": ended.seconds[-1] - ended.seconds[0],
    }


def _final(final: FinalEvaluation) -> dict[str, Any]:
    """How sure the best is, in all runs."""
    names = ("standard_error", "low", "high", "num_evaluations", "num_failed")
    return {name: np.asarray(getattr(final, name), float) for name in names}


def success(problem: Problem, measures: PyTree) -> np.ndarray | None:
    """Share of the final population's episodes that succeed, (R,); None if undefined."""
    name = problem.env_name if isinstance(problem, Control) else ""
    ends = _SUCCESS_ENDS.get(name or "")
    if ends is None:
        return None
    return np.mean(np.asarray(measures.terminated) == ends, axis=(1, 2))


def show(ended: Ended, saved: Sequence[Path] = ()) -> None:
    """Print the generations as a table, and the summary.

    Args:
        ended: the runs.
        saved: files that have been written of them.
    """
    from rich.table import Table

    history = jax.tree.map(np.asarray, ended.result.history)
    runs, total = history.done.shape
    rows = np.unique(np.linspace(0, total - 1, 20).round().astype(int))
    caption = f"means of {runs} runs ± standard deviation" if runs > 1 else "one run"
    if len(rows) < total:
        caption += f"; {len(rows)} of {total} generations"
    if np.ptp(ended.result.num_generations):
        caption += "; what has stopped keeps its last row"
    table = Table(title=ended.config["name"], caption=caption)
    headers = ["generation", "sigma", "best", "mean fitness", "effective size"]
    if noisy := is_noisy(ended.config["problem"]):
        headers.remove("best")  # the luckiest
    for header in headers:
        table.add_column(header, justify="right")
    for row in rows:
        info = jax.tree.map(lambda values, row=row: _over_runs(values[:, row]), history)
        table.add_row(
            str(row + 1),
            f"{info.sigma['mean']:.4g}",
            *([] if noisy else [f"{info.best_fitness['mean']:.4g}"]),
            _spread(info.mean_fitness),
            f"{info.effective_sample_size['mean']:.3g}",
        )
    text = "".join(f"{line}\n" for line in _lines(ended))
    if saved:
        text += f"saved        {', '.join(map(str, saved))}\n"
    streams.say(streams.rendered(table) + text)


def _lines(ended: Ended) -> Iterator[str]:
    summary = summarise(ended)
    yield f"final mean   {_spread(summary['mean_fitness'])}"
    if summary["success"]:
        yield f"success      {_spread(summary['success'], 100)} %"
    best, final = _spread(summary["best_fitness"]), summary["final"]
    if final is not None:
        yield f"best         {best}, {_certainty(final)}"
    elif is_noisy(ended.config["problem"]):
        yield f"luckiest     {best}, of single evaluations"
    else:
        yield f"best so far  {best}"
    if told := _recommended(ended):
        yield f"solution     {told}"
    more = "" if final is None else f", and {_evaluations(final):,} at its end"
    mean = " on average" if np.ptp(summary["num_generations"]) else ""
    yield f"evaluations  {summary['evaluations_per_run']:,} a run{mean}{more}"
    if summary["num_failed"]:
        yield f"failed       {summary['num_failed']:,} evaluations in all runs"
    total = ended.config["strategy"].num_generations
    yield from _stopped(summary, total)
    first, rest = summary["seconds_first_chunk"], summary["seconds_later_chunks"]
    if ended.resumed == summary["generations"]:
        yield f"wall time    {first:.2f} s; all of it was there before"
    else:
        took = f"{first:.2f} s for compiling and the first chunk, then {rest:.2f} s"
        yield f"wall time    {took}"
        if ended.resumed:
            yield f"resumed      after {ended.resumed} of {total} generations"
    for sentence in diagnose(ended.result):
        if sentence != WELL:
            yield _hanging(f"diagnosis    {sentence}")
    if ended.interrupted:
        kept = "" if ended.folder is None else "; the same command goes on from there"
        when = f"after {summary['generations']} of {total} generations"
        if summary["generations"] == total:
            when = "before the final evaluation"
        yield f"interrupted  {when}{kept}"


def _stopped(summary: dict[str, Any], total: int) -> Iterator[str]:
    """For each reason to end before the ``total`` generations, how many runs had it."""
    reasons, counts = np.array(summary["reasons"]), summary["num_generations"]
    for reason in np.unique(reasons[~np.isin(reasons, ("finished", "interrupted"))]):
        each = counts[reasons == reason]
        which = f"{len(each):,} of {len(reasons):,} runs, " if len(reasons) > 1 else ""
        span = " to ".join(f"{count:,}" for count in np.unique([each.min(), each.max()]))
        yield f"stopped      {which}{reason}, after {span} of {total:,} generations"


def _recommended(ended: Ended) -> str:
    """The best solution of all runs in a line; empty if every evaluation has failed."""
    taken = best_run(ended.result)
    if not np.isfinite(np.asarray(ended.result.best_fitness)[taken]):
        return ""
    space, runs = ended.config["problem"].space, len(ended.result.best_fitness)
    if space.dim > PRINTED:
        return f"{space.dim:,} numbers, which --json FILE and --out FILE keep"
    said = in_a_line(space.as_python(ended.result.best_solution)[taken])
    said += f"; of run {taken + 1} of {runs:,}, the best" if runs > 1 else ""
    violation = float(np.asarray(ended.result.best_violation)[taken])
    return said + (f"; infeasible, violation {violation:.3g}" if violation > 0 else "")


def in_a_line(solution: PyTree) -> str:
    """A solution of Python's own values, with the names of those that have one.

    Example:
        >>> from diffevo_jax.cli import evolve_summary
        >>> evolve_summary.in_a_line({"bore": 1.80396, "fluid": "oil"})
        'bore 1.804, fluid oil'
    """
    said = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(solution):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        values = [
            f"{value:.4g}" if isinstance(value, float) else str(value)
            for value in np.ravel(leaf).tolist()
        ]
        of_a_list = not name or name.isdigit()
        said.append(", ".join(values) if of_a_list else f"{name} {', '.join(values)}")
    return ", ".join(said)


def _hanging(line: str) -> str:
    """A line of the summary that is too long, under its own beginning."""
    return textwrap.fill(line, pages.width(), subsequent_indent=" " * 13)


def _evaluations(final: dict[str, Any]) -> int:
    """Evaluations of a final evaluation, of a run: the reporting half, twice."""
    return int(2 * (final["num_evaluations"][0] + final["num_failed"][0]))


def _certainty(final: dict[str, Any]) -> str:
    """What the final evaluation says of the best of a run, or of many."""
    by = f"by {np.mean(final['num_evaluations']):,.0f} new evaluations"
    if len(final["low"]) > 1:
        return f"each {by} with a standard error of {np.mean(final['standard_error']):.2g}"
    return f"95 % in [{final['low'][0]:.4g}, {final['high'][0]:.4g}] {by}"


def outputs(
    ended: Ended, json: Path | None, out: Path | None, plot: Path | None
) -> list[Output]:
    """The files that are asked for."""
    wanted = (
        ("--json", json, _write_json),
        ("--out", out, _save),
        ("--plot", plot, _plot),
    )
    return [
        Output(flag, path, functools.partial(write, ended))
        for flag, path, write in wanted
        if path is not None
    ]


def _write_json(ended: Ended, path: Path) -> None:
    record = {
        "config": ended.config,
        "command": ended.command,
        "versions": {"python": sys.version.split()[0]} | versions(),
        "device": f"{jax.default_backend()}: {jax.devices()[0].device_kind}",
        "summary": summarise(ended),
        "history": vars(ended.result.history),
    } | _solutions(ended)
    with written_whole(path) as unfinished:
        unfinished.write_text(json.dumps(plain(record), allow_nan=False) + "\n")


def _save(ended: Ended, path: Path) -> None:
    """The result, with what was run; `diffevo report` shows it."""
    config = dict(ended.config)
    result_files.save(
        path,
        ended.result,
        strategy=config.pop("strategy"),
        problem=config.pop("problem"),
        notes=config,
        command=ended.command,
    )


def _solutions(ended: Ended) -> dict[str, Any]:
    """The best solution of each run, decoded, and which of them to take."""
    result, space = ended.result, ended.config["problem"].space
    solutions = space.as_python(result.best_solution)
    violations, best = np.asarray(result.best_violation), best_run(result)
    taken = {
        "run": best,
        "fitness": result.best_fitness[best],
        "violation": violations[best],
        "solution": solutions[best],
    }
    return {"solutions": solutions, "violations": violations, "recommended": taken}


def _plot(ended: Ended, path: Path) -> None:
    from diffevo_jax import plots

    figure = plots.learning_curve(
        ended.result.history,
        title=ended.config["name"],
        noisy=is_noisy(ended.config["problem"]),
    )
    with written_whole(path) as unfinished:
        figure.savefig(unfinished)


def _over_runs(values: npt.ArrayLike) -> dict[str, Any]:
    values = np.asarray(values, dtype=float)
    with np.errstate(invalid="ignore"):  # -inf where all evaluations of a run failed
        sd = np.std(values, ddof=1) if len(values) > 1 else math.nan
    return {"mean": np.mean(values), "sd": sd, "runs": values}


def _spread(over_runs: dict[str, Any], factor: float = 1.0) -> str:
    mean, sd = factor * over_runs["mean"], factor * over_runs["sd"]
    return f"{mean:.4g}" + (f" ± {sd:.3g}" if math.isfinite(sd) else "")

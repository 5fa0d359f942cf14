"""What the ``diffevo`` command runs and tells: a table, a JSON file, a plot."""

import contextlib
import dataclasses
import functools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from diffevo_jax.base import Problem, PyTree
from diffevo_jax.cli import flags, interrupts, limits, streams
from diffevo_jax.cli.errors import UsageError
from diffevo_jax.cli.outputs import Output
from diffevo_jax.compilation import use_cache
from diffevo_jax.problems import Control
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.files import check_apart, check_writable, written_whole
from diffevo_jax.pytree.keys import key_of_seed
from diffevo_jax.pytree.records import plain, version_of
from diffevo_jax.running import device_mesh, loggers, stops
from diffevo_jax.running.arguments import check_run, check_start, evaluates_on_host
from diffevo_jax.running.bars import show_generations
from diffevo_jax.running.checkpoints import begun
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.final import FinalEvaluation, count_of, is_noisy
from diffevo_jax.running.loggers.following import Logger
from diffevo_jax.running.plan import planned, working

#: Whether a success is ended by the environment; else the step limit ends it.
_ENDS = ("Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0")
_SUCCESS_ENDS = {"CartPole-v1": False} | dict.fromkeys(_ENDS, True)
#: Numbers of stops, the flags that they come from, and what these want them to be.
_STOPPING = {
    "Target.fitness": ("target", ""),
    "Evaluations.count": ("max-evaluations", ""),
    "stop": ("max-evaluations", ""),  # fewer than those of the first look
    "Seconds.seconds": ("max-seconds", ""),
    "Stagnation.patience": ("patience", ", a share of the generations"),
}


@dataclasses.dataclass(frozen=True)
class EvolveOptions:
    """How to run, and what to keep.

    Args:
        population_size: individuals in a generation.
        seeds: independent runs, all in one program.
        seed: number that the keys of the runs are split from.
        chunk_size: generations between looks of the host; None looks ten times or so.
        progress: show a bar, if the output is a terminal.
        json: file for the configuration and the whole history.
        plot: file for a picture of the learning curves, such as curve.png.
        devices: local devices, such as cores, to spread the seeds over; None takes as
            many as divide them.
        final: evaluations after the last generation, even: half of them choose the best,
            half of them judge it; 0 for none; None for a fifth of a run, at most 8
            populations and at most 512, if fitness is noisy, else none.
        cache: folder for compiled programs, so that the next time starts at once.
        target: end a run whose fitness has reached that: its best, or where fitness is
            noisy the mean of a generation, surely.
        max_evaluations: end a run before it has more, those after its end not counted.
        max_seconds: end all runs after so long, with compiling.
        patience: end a run that has stopped rising for that share of its generations, such
            as 0.2, once the annealing can show; None has patience with all.
        log: file for a line of JSON after each generation, such as log.jsonl.
        tensorboard: folder for curves that TensorBoard shows, a folder in it for each seed.
        folder: keep the runs there; the same words go on where they were ended, however
            that was, and show those that are done again.
        every: generations between checkpoints in the folder; None is as often as takes a
            twentieth of the time.
    """

    population_size: int
    seeds: int = 1
    seed: int = 0
    chunk_size: int | None = None
    progress: bool = True
    json: Path | None = None
    plot: Path | None = None
    devices: int | None = None
    final: int | None = None
    cache: Path | None = None
    target: float | None = None
    max_evaluations: int | None = None
    max_seconds: float | None = None
    patience: float | None = None
    log: Path | None = None
    tensorboard: Path | None = None
    folder: Path | None = None
    every: int | None = None


class Report(NamedTuple):
    """Runs of one setting.

    Attributes:
        config: what was run, under its names on the command line.
        result: everything in it has a leading run axis (R,).
        seconds: from the start until each chunk was there; the first includes compiling.
            Of a run that has gone on only those since; if it had ended, what reading takes.
        interrupted: whether a signal ended it early.
        resumed: generations that were in its folder before.
        folder: where it is kept, if anywhere.
    """

    config: dict[str, Any]
    result: Result
    seconds: list[float]
    interrupted: bool
    resumed: int = 0
    folder: Path | None = None


def check_request(settings: flags.Request[EvolveOptions]) -> jax.Array:
    """Find what is wrong before anything is compiled; return the keys of the runs.

    Raises:
        TypeError: a value has the wrong type.
        ValueError: a value is out of range, or a file cannot be written.
        ImportError: there is no matplotlib for the plot.
    """
    options = settings.options
    _check_files(options)
    validation.check_count("seeds", options.seeds)
    if options.every is not None and options.folder is None:
        raise ValueError("every: got no --folder, want one to keep the runs in")
    validation.check_count(
        "chunk_size", 1 if options.chunk_size is None else options.chunk_size
    )
    if not 0 <= options.seed < 2**32:
        raise ValueError(f"seed: got {options.seed}, want an int in [0, 2^32)")
    size, dim = options.population_size, settings.problem.space.dim
    validation.check_count("population_size", size)
    generations = settings.strategy.num_generations
    limits.check_runs("seeds", options.seeds, size, dim, generations)
    device_mesh.devices_for(options.seeds, options.devices)
    count = _count(settings)
    limits.check_memory(f"final: got {count:,}", 8 * count * dim * options.seeds)
    if options.cache is not None:
        use_cache(options.cache)
    keys = jax.random.split(key_of_seed(options.seed), options.seeds)
    check_run(keys[0], settings.strategy, settings.problem, size, None, ())
    check_start(settings.strategy, (size, dim))
    _check_stops(settings)
    return keys


def _check_stops(settings: flags.Request[EvolveOptions]) -> None:
    options, (strategy, problem) = settings.options, settings[1:]
    length = _length(settings)
    try:
        stops.watcher(_stops(options), strategy, problem, options.population_size, length)
    except ValueError as error:
        name, _, text = str(error).partition(": ")
        flag, what = _STOPPING[name]
        raise ValueError(f"--{flag}: {text}{what}") from error


def _length(settings: flags.Request[EvolveOptions]) -> int:
    """Generations between looks of the host."""
    chosen, generations = settings.options.chunk_size, settings.strategy.num_generations
    return min(chosen or math.ceil(generations / 10), generations)


def _stops(options: EvolveOptions) -> tuple[stops.One, ...]:
    """What ends a run early."""
    chosen: dict[Callable[..., stops.One], float | None] = {
        stops.Target: options.target,
        stops.Evaluations: options.max_evaluations,
        stops.Seconds: options.max_seconds,
        stops.Stagnation: options.patience,
    }
    return tuple(kind(value) for kind, value in chosen.items() if value is not None)


def _check_files(options: EvolveOptions) -> None:
    names = ("json", "plot", "log", "cache", "folder", "tensorboard")
    own = () if options.folder is None else ("run.json", "log.jsonl", "lock", "evaluations")
    in_folder = {f"the folder's {name}": Path(options.folder or "", name) for name in own}
    check_apart(**{name: vars(options)[name] for name in names}, **in_folder)
    for name in ("json", "plot", "log"):
        if (path := vars(options)[name]) is not None:
            check_writable(f"--{name}", path)
    if options.plot is None:
        return
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise ImportError("--plot: install diffevo-jax[viz]") from error
    kinds = FigureCanvasBase.get_supported_filetypes()
    if options.plot.suffix[1:].lower() not in kinds:
        raise ValueError(f"--plot: got {options.plot}, want one of {', '.join(kinds)}")


def follow(name: str, settings: flags.Request[EvolveOptions], keys: jax.Array) -> Report:
    """Evolve until the end, or until a signal, which keeps the chunks that are there.

    Raises:
        UsageError: parts do not go together, which is found out before anything runs; or
            the folder is that of another run, or in use, or cannot be written.
    """
    options = settings.options
    begin, last, seconds = time.perf_counter(), None, list[float]()
    has_begun = options.folder is not None and begun(options.folder)
    resumed, is_whole, count = 0, False, _count(settings)
    try:
        with _following(settings, keys) as results:
            for result in results:
                last = jax.block_until_ready(result)
                seconds.append(time.perf_counter() - begin)
                if has_begun and len(seconds) == 1:
                    resumed = last.history.done.shape[1]
                ended = np.asarray(last.state.done) | (np.asarray(last.stopped) > 0)
                is_whole = bool(ended.all()) and (not count or last.final is not None)
                interrupts.only_ask()
                if interrupts.is_asked() and not is_whole:
                    break
    except KeyboardInterrupt:
        if not seconds:
            raise
    except (ImportError, TypeError, ValueError) as error:
        if seconds:
            raise
        raise UsageError(str(error)) from error  # what only N and D show, when traced
    assert last is not None
    options = settings.options
    config = {"name": name, "strategy": settings.strategy, "problem": settings.problem}
    config |= {key: vars(options)[key] for key in ("population_size", "seeds", "seed")}
    config |= {"stop": given} if (given := _stops(options)) else {}
    if resumed and len(seconds) > 1:
        seconds = seconds[1:]
    last = stops.interrupted(last)
    return Report(config, last, seconds, not is_whole, resumed, options.folder)


def _count(settings: flags.Request[EvolveOptions]) -> int:
    """Evaluations of the end of a run."""
    options, (strategy, problem) = settings.options, settings[1:]
    size, generations = options.population_size, strategy.num_generations
    return count_of(options.final, problem, generations, size)


@contextlib.contextmanager
def _following(
    settings: flags.Request[EvolveOptions], keys: jax.Array
) -> Iterator[Iterator[Result]]:
    """The results so far, with a bar."""
    options, (strategy, problem) = settings.options, settings[1:]
    on_host = evaluates_on_host(problem)
    devices = None if on_host else device_mesh.devices_for(options.seeds, options.devices)
    plan = planned(
        keys,
        strategy,
        problem,
        population_size=options.population_size,
        chunk_size=_length(settings),
        devices=devices,
        stop=_stops(options),
        folder=options.folder,
        every=options.every,
    )
    with working(plan, _count(settings), _loggers(options)) as results:
        if options.progress and streams.is_terminal():
            yield show_generations(results, strategy.num_generations, is_noisy(problem))
        else:
            yield results


def _loggers(options: EvolveOptions) -> list[Logger]:
    """The logs that the options ask for."""
    logs = [] if options.log is None else [loggers.jsonl(options.log)]
    if options.tensorboard is not None:
        logs.append(loggers.tensorboard(options.tensorboard))
    return logs


def summarise(report: Report) -> dict[str, Any]:
    """The last generation in a few numbers, as in the JSON file."""
    config, result = report.config, report.result
    generations = result.history.done.shape[1]
    size, each = config["population_size"], np.asarray(result.num_generations)
    happened = np.arange(generations) < each[:, None]  # rows after a stop repeat its last
    share = success(config["problem"], result.measures)
    final = result.final
    return {
        "generations": generations,
        "interrupted": report.interrupted,
        "reasons": result.reason,
        "num_generations": each,
        "resumed_after": report.resumed,
        "mean_fitness": _over_runs(result.history.mean_fitness[:, -1]),
        "success": None if share is None else _over_runs(share),
        "best_fitness": _over_runs(result.best_fitness),
        "final": None if final is None else _final(final),
        "evaluations_per_run": int(np.mean(size * each)),
        "num_failed": int(np.sum(result.history.num_failed, where=happened)),
        "seconds_first_chunk": report.seconds[0],
        "seconds_later_chunks": report.seconds[-1] - report.seconds[0],
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


def show_report(report: Report) -> None:
    """Print the generations as a table, and the summary."""
    from rich.table import Table

    history = jax.tree.map(np.asarray, report.result.history)
    runs, total = history.done.shape
    rows = np.unique(np.linspace(0, total - 1, 20).round().astype(int))
    caption = f"means of {runs} runs ± standard deviation" if runs > 1 else "one run"
    if len(rows) < total:
        caption += f"; {len(rows)} of {total} generations"
    if np.ptp(report.result.num_generations):
        caption += "; what has stopped keeps its last row"
    table = Table(title=report.config["name"], caption=caption)
    headers = ["generation", "sigma", "best", "mean fitness", "effective size"]
    if noisy := is_noisy(report.config["problem"]):
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
    text = "".join(f"{line}\n" for line in _lines(report))
    streams.say(streams.rendered(table) + text)


def _lines(report: Report) -> Iterator[str]:
    summary = summarise(report)
    yield f"final mean   {_spread(summary['mean_fitness'])}"
    if summary["success"]:
        yield f"success      {_spread(summary['success'], 100)} %"
    best, final = _spread(summary["best_fitness"]), summary["final"]
    if final is not None:
        yield f"best         {best}, {_certainty(final)}"
    elif is_noisy(report.config["problem"]):
        yield f"luckiest     {best}, of single evaluations"
    else:
        yield f"best so far  {best}"
    more = "" if final is None else f", and {_evaluations(final):,} at its end"
    mean = " on average" if np.ptp(summary["num_generations"]) else ""
    yield f"evaluations  {summary['evaluations_per_run']:,} a run{mean}{more}"
    if summary["num_failed"]:
        yield f"failed       {summary['num_failed']:,} evaluations in all runs"
    total = report.config["strategy"].num_generations
    reasons, counts = np.array(summary["reasons"]), summary["num_generations"]
    for reason in np.unique(reasons[~np.isin(reasons, ("finished", "interrupted"))]):
        each = counts[reasons == reason]
        which = f"{len(each):,} of {len(reasons):,} runs, " if len(reasons) > 1 else ""
        span = " to ".join(f"{count:,}" for count in np.unique([each.min(), each.max()]))
        yield f"stopped      {which}{reason}, after {span} of {total:,} generations"
    first, rest = summary["seconds_first_chunk"], summary["seconds_later_chunks"]
    if report.resumed == summary["generations"]:
        yield f"wall time    {first:.2f} s; all of it was there before"
    else:
        took = f"{first:.2f} s for compiling and the first chunk, then {rest:.2f} s"
        yield f"wall time    {took}"
        if report.resumed:
            yield f"resumed      after {report.resumed} of {total} generations"
    if report.interrupted:
        kept = "" if report.folder is None else "; the same command goes on from there"
        when = f"after {summary['generations']} of {total} generations"
        if summary["generations"] == total:
            when = "before the final evaluation"
        yield f"interrupted  {when}{kept}"


def _evaluations(final: dict[str, Any]) -> int:
    """Evaluations of a final evaluation, of a run: the reporting half, twice."""
    return int(2 * (final["num_evaluations"][0] + final["num_failed"][0]))


def _certainty(final: dict[str, Any]) -> str:
    """What the final evaluation says of the best of a run, or of many."""
    by = f"by {np.mean(final['num_evaluations']):,.0f} new evaluations"
    if len(final["low"]) > 1:
        return f"each {by} with a standard error of {np.mean(final['standard_error']):.2g}"
    return f"95 % in [{final['low'][0]:.4g}, {final['high'][0]:.4g}] {by}"


def outputs(report: Report, options: EvolveOptions) -> list[Output]:
    """The files that the options ask for."""
    wanted = (("--json", options.json, _write_json), ("--plot", options.plot, _plot))
    return [
        Output(flag, path, functools.partial(write, report))
        for flag, path, write in wanted
        if path is not None
    ]


def _write_json(report: Report, path: Path) -> None:
    packages = ("diffevo-jax", "jax", "jaxlib", "gymnax", "numpy")
    record = {
        "config": report.config,
        "versions": {"python": sys.version.split()[0]}
        | {name: version_of(name) for name in packages},
        "device": f"{jax.default_backend()}: {jax.devices()[0].device_kind}",
        "summary": summarise(report),
        "history": vars(report.result.history),
    }
    with written_whole(path) as unfinished:
        unfinished.write_text(json.dumps(plain(record), allow_nan=False) + "\n")


def _plot(report: Report, path: Path) -> None:
    from diffevo_jax.plots import figures

    figure = figures.learning_curve(
        report.result.history,
        title=report.config["name"],
        noisy=is_noisy(report.config["problem"]),
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

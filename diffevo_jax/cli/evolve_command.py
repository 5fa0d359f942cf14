"""``diffevo evolve``: one setting, some seeds, and how it went."""

import contextlib
import dataclasses
import math
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Problem
from diffevo_jax.cli import evolve_summary, files, films, interrupts, limits, streams
from diffevo_jax.cli.entry import asked
from diffevo_jax.cli.errors import UsageError
from diffevo_jax.cli.evolve_summary import Ended
from diffevo_jax.cli.naming import in_words, said_by
from diffevo_jax.cli.outputs import save_and_show
from diffevo_jax.cli.request import Request
from diffevo_jax.compilation import use_cache
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.files import check_apart, check_writable
from diffevo_jax.pytree.keys import key_of_seed
from diffevo_jax.pytree.records import extra
from diffevo_jax.running import device_mesh, loggers, stops
from diffevo_jax.running.arguments import check_run, check_start, evaluates_on_host
from diffevo_jax.running.bars import show_generations
from diffevo_jax.running.checkpoints import begun
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.final import count_of, is_noisy
from diffevo_jax.running.forecast import footprint
from diffevo_jax.running.loggers.following import Logger
from diffevo_jax.running.plan import planned, working

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
        json: file for the configuration, the whole history, and the best solution of each
            run.
        out: file for all of it, with all populations, such as result.npz, which
            'diffevo report' shows and de.load reads.
        plot: file for a picture of the learning curves, such as curve.png.
        film: file for a film, .gif or .mp4: of an episode of the best policy, or of the
            population of the best run on its landscape.
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
        dry_run: check everything, compile, say how much memory it would take, and run
            nothing; the exit code is 1 if it does not fit.
        config: file with a name and flags, as TOML; flags of the command line count where
            both say something.
        print_config: print all settings as such a file, and run nothing.
    """

    population_size: int
    seeds: int = 1
    seed: int = 0
    chunk_size: int | None = None
    progress: bool = True
    json: Path | None = None
    out: Path | None = None
    plot: Path | None = None
    film: Path | None = None
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
    dry_run: bool = False
    config: Path | None = None
    print_config: bool = False


def evolve(args: Sequence[str]) -> int:
    """Run the command; the exit code."""
    device_mesh.use_all_cores()
    try:
        name, settings, _ = asked("evolve", EvolveOptions, args)
    except SystemExit:  # the help is printed
        return 0
    with said_by(settings.names):
        keys = check_request(settings)
    options = settings.options
    if options.print_config:
        streams.say(files.written(name, settings))
        return 0
    if options.dry_run:
        return _forecast(settings)
    told = follow(name, settings, keys)
    told = told._replace(command=shlex.join(["diffevo", "evolve", *args]))
    outputs = evolve_summary.outputs(told, options.json, options.out, options.plot)
    if options.film is not None:
        outputs.append(films.output(options.film, settings.problem, told.result, keys))
    saved = list[Path]()
    kept = [each.then(saved.append) for each in outputs]
    code = save_and_show(kept, lambda: evolve_summary.show(told, saved))
    return interrupts.code() if told.interrupted else code


def _forecast(settings: Request[EvolveOptions]) -> int:
    """Say what the runs would take; the exit code."""
    options = settings.options
    with said_by(settings.names):
        takes = footprint(
            settings.strategy,
            settings.problem,
            population_size=options.population_size,
            num_runs=options.seeds,
            devices=device_mesh.devices_for(options.seeds, options.devices),
        )
    streams.say(f"{options.seeds:,} runs at a time; each device {takes}\n")
    return int(takes.fits is False)


def check_request(settings: Request[EvolveOptions]) -> jax.Array:
    """Find what is wrong before anything is compiled; return the keys of the runs.

    Raises:
        TypeError: a value has the wrong type.
        ValueError: a value is out of range, or a file cannot be written.
        ImportError: there is no matplotlib for the plot.
    """
    options = settings.options
    # A space of no numbers is an error of rooms below, which know nothing of flags.
    for part in filter(pytree.is_component, (settings.strategy, settings.problem)):
        validation.validate(part, shapes=False)
    _check_files(options)
    if options.film is not None:
        films.check(options.film, settings.problem)
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
    if options.out is not None:
        kept = generations * size * (dim + 1)
        limits.check_memory(f"--out: got {kept:,} numbers a run", 8 * kept * options.seeds)
    count = _count(settings)
    limits.check_memory(f"final: got {count:,}", 8 * count * dim * options.seeds)
    if options.cache is not None:
        use_cache(options.cache)
    keys = jax.random.split(key_of_seed(options.seed), options.seeds)
    check_run(keys[0], settings.strategy, settings.problem, size, None, ())
    check_start(settings.strategy, (size, dim))
    _check_stops(settings)
    return keys


def _check_stops(settings: Request[EvolveOptions]) -> None:
    options, strategy, problem = settings[:3]
    length = length_of(settings)
    try:
        stops.watcher(stops_of(options), strategy, problem, options.population_size, length)
    except ValueError as error:
        name, _, text = str(error).partition(": ")
        flag, what = _STOPPING[name]
        raise ValueError(f"--{flag}: {text}{what}") from error


def length_of(settings: Request[EvolveOptions]) -> int:
    """Generations between looks of the host."""
    chosen, generations = settings.options.chunk_size, settings.strategy.num_generations
    return min(chosen or math.ceil(generations / 10), generations)


def stops_of(options: EvolveOptions) -> tuple[stops.One, ...]:
    """What ends a run early."""
    chosen: dict[Callable[..., stops.One], float | None] = {
        stops.Target: options.target,
        stops.Evaluations: options.max_evaluations,
        stops.Seconds: options.max_seconds,
        stops.Stagnation: options.patience,
    }
    return tuple(kind(value) for kind, value in chosen.items() if value is not None)


def _check_files(options: EvolveOptions) -> None:
    outputs = ("json", "out", "plot", "film", "log", "cache", "folder", "tensorboard")
    own = () if options.folder is None else ("run.json", "log.jsonl", "lock", "evaluations")
    in_folder = {f"the folder's {name}": Path(options.folder or "", name) for name in own}
    paths = {name: vars(options)[name] for name in (*outputs, "config")}
    check_apart(**paths, **in_folder)
    for name in ("json", "out", "plot", "log"):
        if (path := vars(options)[name]) is not None:
            check_writable(f"--{name}", path)
    if options.out is not None and options.out.suffix not in ("", ".npz"):
        raise ValueError(
            f"--out: got {options.out}, want a name that ends in .npz, or has no ending"
        )
    if options.plot is None:
        return
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise ImportError(f"--plot: {extra('viz')}") from error
    kinds = FigureCanvasBase.get_supported_filetypes()
    if options.plot.suffix[1:].lower() not in kinds:
        raise ValueError(f"--plot: got {options.plot}, want one of {', '.join(kinds)}")


def follow(name: str, settings: Request[EvolveOptions], keys: jax.Array) -> Ended:
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
        # What only N and D show, when traced.
        raise UsageError(_in_words(str(error), settings)) from error
    assert last is not None
    config = {"name": name, "strategy": settings.strategy, "problem": settings.problem}
    config |= {key: vars(options)[key] for key in ("population_size", "seeds", "seed")}
    config |= {"stop": given} if (given := stops_of(options)) else {}
    if resumed and len(seconds) > 1:
        seconds = seconds[1:]
    last = stops.interrupted(last)
    return Ended(config, last, seconds, not is_whole, resumed, options.folder)


def _in_words(message: str, settings: Request[EvolveOptions]) -> str:
    """An error in the words that were typed: two of the options are folders."""
    events = settings.options.tensorboard
    if events is not None and message.startswith(f"folder: got {events.absolute()}"):
        message = message.replace("folder", "tensorboard", 1)
    return in_words(message, settings.names)


def _count(settings: Request[EvolveOptions]) -> int:
    """Evaluations of the end of a run."""
    options, strategy, problem = settings[:3]
    size, generations = options.population_size, strategy.num_generations
    return count_of(options.final, problem, generations, size)


@contextlib.contextmanager
def _following(
    settings: Request[EvolveOptions], keys: jax.Array
) -> Iterator[Iterator[Result]]:
    """The results so far, with a bar."""
    options, strategy, problem = settings[:3]
    on_host = evaluates_on_host(problem)
    devices = None if on_host else device_mesh.devices_for(options.seeds, options.devices)
    plan = planned(
        keys,
        strategy,
        problem,
        population_size=options.population_size,
        record=_record(options, problem),
        chunk_size=length_of(settings),
        devices=devices,
        stop=stops_of(options),
        folder=options.folder,
        every=options.every,
    )
    with working(plan, _count(settings), _loggers(options)) as results:
        if options.progress and streams.is_terminal():
            yield show_generations(results, strategy.num_generations, is_noisy(problem))
        else:
            yield results


def _record(options: EvolveOptions, problem: Problem) -> tuple[str, ...]:
    """What is kept of every generation."""
    if options.out is not None:
        return films.RECORDED
    return films.record(options.film, problem)


def _loggers(options: EvolveOptions) -> list[Logger]:
    """The logs that the options ask for."""
    logs = [] if options.log is None else [loggers.jsonl(options.log)]
    if options.tensorboard is not None:
        logs.append(loggers.tensorboard(options.tensorboard))
    return logs

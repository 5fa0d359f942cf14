"""``diffevo sweep``: many settings and seeds, from flags or a TOML file."""

import dataclasses
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from diffevo_jax.cli import (
    axes,
    experiments,
    files,
    interrupts,
    limits,
    rerun,
    streams,
    sweep_summary,
)
from diffevo_jax.cli.axes import Axis
from diffevo_jax.cli.entry import Asked, asked
from diffevo_jax.cli.errors import UsageError
from diffevo_jax.cli.naming import Names, said_by
from diffevo_jax.cli.outputs import Output, save_and_show
from diffevo_jax.cli.request import Request
from diffevo_jax.compilation import use_cache
from diffevo_jax.pytree import validation
from diffevo_jax.pytree.files import check_apart, check_writable
from diffevo_jax.pytree.folders import FolderError
from diffevo_jax.pytree.keys import key_of_seed
from diffevo_jax.running import device_mesh
from diffevo_jax.running.final import is_noisy
from diffevo_jax.sweeps import tables
from diffevo_jax.sweeps.batches import Batching, footprint
from diffevo_jax.sweeps.execution import execute
from diffevo_jax.sweeps.folder import Folder
from diffevo_jax.sweeps.plan import Plan, check_confirm, check_shard, make_plan
from diffevo_jax.sweeps.settings import Axes, Group


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """What to sweep, how to run it, and what to keep.

    Args:
        population_size: individuals in a generation, unless it is an axis.
        axis: FIELD=VALUES, such as sampler.eta=0,0.5,1 or
            "shaping.temperature=logspace(-1,1,40)" or kernel=tempered,gaussian or
            problem.env_params.gravity=5,10; axes multiply; A,B=1:2,3:4 go together.
        seeds: runs of each setting; all settings see the same seeds.
        seed: number of the key that all keys are made from.
        folder: store batches there; the same command goes on from them.
        shard: i/n, with i from 0 to n - 1: run only every n-th batch from the i-th on;
            the jobs share a folder.
        mode: vmap is fastest; with map a run has the same bits whatever else is swept.
        batch_size: runs at a time; None takes what fits into memory, or 64 with a folder.
        devices: local devices, such as cores, to spread a batch over; None for all.
        confirm: run the best setting on so many fresh seeds.
        out: file for the table, .nc, .zarr, .parquet or .csv, when all runs are there.
        top: print so many of the best settings.
        progress: show a bar, if the output is a terminal.
        cache: folder for compiled programs, so that later jobs start sooner.
        dry_run: check everything, compile, say how many runs at a time take how much
            memory, for each structure, and run nothing; the exit code is 1 if they do not
            fit.
        config: file with a name, flags and axes, as TOML; flags of the command line count
            where both say something.
        print_config: print all settings as such a file, and run nothing.
    """

    population_size: int
    axis: tuple[str, ...] = ()
    seeds: int = 1
    seed: int = 0
    folder: Path | None = None
    shard: str | None = None
    mode: Literal["vmap", "map"] = "vmap"
    batch_size: int | None = None
    devices: int | None = None
    confirm: int = 0
    out: Path | None = None
    top: int = 5
    progress: bool = True
    cache: Path | None = None
    dry_run: bool = False
    config: Path | None = None
    print_config: bool = False


def sweep(args: Sequence[str]) -> int:
    """Run the command; the exit code."""
    device_mesh.use_all_cores()
    try:
        found = asked("sweep", SweepOptions, args)
    except SystemExit:  # the help is printed
        return 0
    settings = found.request
    with said_by(_names(found)):
        shard = check_options(settings.options)
        plan = plan_of(settings, found.axes)
    if settings.options.print_config:
        streams.say(files.written(found.name, settings, found.axes))
        return 0
    with said_by(_names(found)):
        if settings.options.dry_run:
            return _forecast(plan)
        store = _folder(settings.options.folder, plan)
    interrupts.at_the_end(lambda: sweep_summary.interrupted(plan, store))
    try:
        return run(found.name, settings, plan, store, shard)
    except KeyboardInterrupt:
        streams.complain(sweep_summary.interrupted(plan, store))
        return interrupts.code()
    except FolderError as error:
        raise UsageError(str(error)) from error


def _names(found: Asked[SweepOptions]) -> Names:
    """What errors call the fields, and the axes."""
    axes = dict.fromkeys(axis.where for axis in found.axes)
    return found.request.names._replace(axes=", ".join(axes) or "--axis")


def _forecast(plan: Plan) -> int:
    """Say what the batches of each structure would take; the exit code."""
    code = 0
    for group in plan.groups:
        first = plan.settings[group.numbers[0]]
        runs, same = len(group.numbers) * plan.num_seeds, _same(plan, group)
        size, takes = footprint(plan.key, group, runs, plan.batching)
        shape = f"({group.population_size:,}, {first.problem.space.dim:,})"
        said = (
            f"{size:,} at a time, population {shape}, {group.num_generations:,} generations"
        )
        streams.say(f"{runs:,} runs{same}, {said}; each device {takes}\n")
        code = max(code, int(takes.fits is False))
    return code


def _same(plan: Plan, group: Group) -> str:
    """What makes a structure of its own of a group: values that others have not."""
    values = [plan.settings[number].values for number in group.numbers]
    shown = {name: {str(one[name]) for one in values} for name in values[0]}
    alone = [
        f"{name}={each}"
        for name, (each, *others) in shown.items()
        if not others and any(str(s.values[name]) != each for s in plan.settings)
    ]
    return f" of {', '.join(alone)}" if alone else ""


def _folder(path: Path | None, plan: Plan) -> Folder | None:
    try:
        return None if path is None else Folder(path, plan)
    except FolderError:
        raise
    except (OSError, ValueError) as error:  # the second: a zero in the name
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"folder: got {path}, {reason}") from error


def check_options(options: SweepOptions) -> tuple[int, int]:
    """Find what is wrong with the options; the shard, i of n.

    Raises:
        ValueError: a number is out of range, or a file cannot be written.
        ImportError: the package for a file is missing.
    """
    validation.check_count("seeds", options.seeds)
    validation.check_count("top", options.top, low=0)
    check_confirm(options.confirm)
    if not 0 <= options.seed < 2**32:
        raise ValueError(f"seed: got {options.seed}, want an int in [0, 2^32)")
    if options.out is not None:
        try:
            tables.check_ending(options.out)
        except ValueError as error:
            raise ValueError(str(error).replace("path", "--out", 1)) from error
        check_writable("--out", options.out, folder=options.out.suffix == ".zarr")
    names = ("out", "folder", "cache", "config")
    check_apart(**{name: vars(options)[name] for name in names})
    shard = (0, 1) if options.shard is None else _shard(options.shard)
    if options.shard is not None and options.folder is None:
        raise ValueError("shard: got no --folder, want one that all shards share")
    if options.cache is not None:
        use_cache(options.cache)
    return shard


def _shard(text: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"(\d+)/(\d+)", text)
    shard = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    try:
        check_shard(shard)
    except ValueError:
        raise ValueError(f"shard: got {text!r}, want i/n with 0 <= i < n") from None
    return shard


def plan_of(settings: Request[SweepOptions], given: Sequence[Axis]) -> Plan:
    """The sweep that is asked for, checked.

    Args:
        settings: what is not swept.
        given: the axes.

    Raises:
        ValueError: an axis names no field, or a number is out of range.
        TypeError: a value has the wrong type.
        ImportError: xarray is not installed.
    """
    options = settings.options
    what = settings.strategy, settings.problem
    local = jax.local_devices()
    if options.devices is not None and not 1 <= options.devices <= len(local):
        raise ValueError(f"devices: got {options.devices}, want 1 to {len(local)}")
    swept = axes.parse(*what, options.population_size, given)
    longest = max(_values("num_generations", settings.strategy.num_generations, swept))
    limits.check_settings(list(map(len, swept.values())), options.seeds, longest)
    limits.check_population(max(_values("population_size", options.population_size, swept)))
    limits.check_memory(f"confirm: got {options.confirm:,}", 8 * options.confirm)
    plan = make_plan(
        key_of_seed(options.seed),
        *what,
        axes=swept,
        num_seeds=options.seeds,
        population_size=options.population_size,
        batching=Batching(options.mode, options.batch_size),
        stored=options.folder is not None,
    )
    for setting in (plan.settings[group.numbers[0]] for group in plan.groups):
        limits.check_runs(
            "batch_size",
            options.batch_size or 1,
            setting.population_size,
            setting.problem.space.dim,
            setting.strategy.num_generations,
        )
    count = options.devices or min(len(local), plan.num_runs)
    devices = tuple(local[:count]) if count > 1 else None
    return plan._replace(batching=plan.batching._replace(devices=devices))


def _values(name: str, otherwise: int, swept: Axes) -> Iterator[Any]:
    """All values of a field of the strategy: those of its axes, or the one that it has."""
    yield otherwise
    for given, rows in swept.items():
        fields = given if isinstance(given, tuple) else (given,)
        for place, field in enumerate(fields):
            if field.rpartition(".")[2] == name:
                for row in rows:
                    yield row[place] if isinstance(given, tuple) else row


def run(
    name: str,
    settings: Request[SweepOptions],
    plan: Plan,
    store: Folder | None,
    shard: tuple[int, int],
) -> int:
    """Run what a sweep asks for, save it, and show it; the exit code.

    Args:
        name: as on the command line.
        settings: what is not swept.
        plan: all settings and seeds.
        store: where batches are kept, if anywhere.
        shard: i of n; ``(0, 1)`` is all.
    """
    options, begin = settings.options, time.perf_counter()
    stored = 0 if store is None else sweep_summary.stored_runs(plan, store)
    dataset = execute(
        plan,
        store,
        shard=shard,
        confirm=options.confirm,
        progress=options.progress and streams.is_terminal(),
    )
    if store is not None and dataset.missing.any():
        sweep_summary.show_missing(plan, store, options.shard)
        return 0
    notes = {"wall time": f"{time.perf_counter() - begin:.2f} s"}
    if stored:
        notes["wall time"] += f"; {stored:,} runs were stored before"
    dataset.attrs |= sweep_summary.about(name, settings)
    if len(tables.ranking(dataset)):
        best = plan.settings[tables.best_setting(dataset)]
        words = rerun.words(name, experiments.experiment_of(name)[1], best)
        words += [f"--seeds={options.seeds}"] * (options.seeds > 1)
        words += [f"--seed={options.seed}"] * (options.seed > 0)
        notes["best again"] = f"diffevo evolve {shlex.join(words)}"

    def save(path: Path) -> None:
        tables.save(dataset, path)
        notes["saved"] = str(path)

    outputs = [] if options.out is None else [Output("--out", options.out, save)]
    noisy = is_noisy(settings.problem)
    show = lambda: sweep_summary.show_best(dataset, options.top, notes, noisy)
    return save_and_show(outputs, show)

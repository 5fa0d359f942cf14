"""Whole jobs on an accelerator: evolutions, sweeps, a training."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import main_job
import numpy as np
import sweep_loop
from accelerator_cases import (
    Case,
    Cases,
    Row,
    compiled,
    peak_memory,
    repeated,
    warmed,
)

import diffevo_jax as de
from diffevo_jax import diffusion

#: Settings that a loop goes through; their rate is the number.
LOOPED = 8
#: Options under which a GPU starts the kernels of a loop by itself.
GRAPHS = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUSTOM_CALL,WHILE,CONDITIONAL,"
    "DYNAMIC_SLICE_FUSION",
    "xla_gpu_graph_min_graph_size": 1,
}
#: A run, a function of its key.
Run = Callable[[jax.Array], Any]


def main_jobs(quick: bool, seed: int) -> Cases:
    """So many runs of the main job in one program."""
    sizes = (1,) if quick else (1, 32, 256, 1024, 4096)
    found = evolved("main job", lambda: main_job.our_run, sizes, seed)
    if jax.default_backend() == "gpu":
        for runs in (1, 32):
            measure = functools.partial(
                evolutions, lambda: main_job.our_run, runs, seed, GRAPHS
            )
            found.append(Case(f"main job by graphs, {runs} runs", measure))
    return found, ("runs_per_second",)


def evolved(
    name: str, make: Callable[[], Run], sizes: tuple[int, ...], seed: int
) -> list[Case]:
    """Evolutions; some tens cost an accelerator little more than one.

    Args:
        name: of the job.
        make: returns a run.
        sizes: numbers of runs in one program.
        seed: of all of them.
    """
    what = lambda runs: f"{name}, {runs:,} run{'s' * (runs > 1)}"
    found = []
    for before, runs in itertools.pairwise((0, *sizes)):
        measure = functools.partial(evolutions, make, runs, seed)
        growth = 4.0 if before <= 1 else runs / before
        found.append(Case(what(runs), measure, what(before) if before else None, growth))
    return found


def evolutions(make: Callable[[], Run], runs: int, seed: int, options: Any = None) -> Row:
    """Whole CartPole evolutions: the history of every run."""
    keys = jax.random.split(jax.random.key(seed), runs)
    program, row = compiled(jax.vmap(make()), keys, options=options)
    row |= repeated(lambda: program(keys), 5)
    history = program(keys)
    mean = history.mean_fitness if isinstance(history, de.Info) else history[0]
    row |= {"runs": runs, "runs_per_second": runs / row["seconds"]}
    row |= {"first_result": row["compile"] + row["first"], "peak_memory": peak_memory()}
    return row | {"final_mean_fitness": float(np.mean(np.asarray(mean)[:, -1]))}


def sweeps(quick: bool, seed: int) -> Cases:
    """Settings a second, in one program and in one call after the other."""
    counts, num_seeds = ((2,), 2) if quick else ((8, 32), 4)
    names = ("Beale",) if quick else ("CartPole", "Beale")
    found = []
    for name, count, kind in itertools.product(names, counts, ("vmap", "sweep", "loop")):
        if kind == "loop" and count != counts[0]:
            continue  # the rate of a loop is the same
        what = lambda count, name=name, kind=kind: f"{kind}, {name}, {count**2:,} settings"
        after = None if count == counts[0] else what(counts[0])
        measure = functools.partial(settings, name, count, kind, num_seeds, seed)
        found.append(Case(what(count), measure, after, (count / counts[0]) ** 2))
    return found, ("settings_per_second",)


def settings(name: str, count: int, kind: str, num_seeds: int, seed: int) -> Row:
    """Temperatures times noises: one program, ``de.sweep``, or a call for each setting."""
    problem, axes = sweep_loop.problems()[name], sweep_loop.settings(count)
    key = jax.random.key(seed)
    keys = jax.random.split(key, num_seeds)
    over_seeds = jax.vmap(sweep_loop.run_of(problem), (0, None, None))
    grid = np.meshgrid(*axes.values(), indexing="ij")
    pairs = np.stack([axis.ravel() for axis in grid], axis=1).astype(np.float32)
    row: Row = {"settings": len(pairs), "seeds": num_seeds, "kind": kind}
    if kind == "sweep":
        strategy = de.DiffusionEvolution(sweep_loop.GENERATIONS)
        size = {"num_seeds": num_seeds, "population_size": sweep_loop.POPULATION}
        row |= warmed(lambda: de.sweep(key, strategy, problem, axes=axes, **size).sizes, 5)
    elif kind == "vmap":
        program, more = compiled(jax.vmap(over_seeds, (None, 0, 0)), keys, *pairs.T)
        row |= more | repeated(lambda: jax.device_get(program(keys, *pairs.T)), 5)
    else:
        some = pairs[np.linspace(0, len(pairs) - 1, min(LOOPED, len(pairs))).astype(int)]
        program, more = compiled(over_seeds, keys, *some[0])
        row |= more | {"settings": len(some)}
        one = lambda pair: program(keys, *pair)
        row |= repeated(lambda: jax.device_get([one(pair) for pair in some]), 5)
    return row | {"settings_per_second": row["settings"] / row["seconds"]}


def unets(quick: bool, seed: int) -> Cases:
    """A training."""
    num_steps = 5 if quick else 1000
    measure = functools.partial(training, quick, num_steps, seed)
    return [Case(f"unet, {num_steps:,} steps", measure)], ("seconds_per_step",)


def training(quick: bool, num_steps: int, seed: int) -> Row:
    """A U-Net of 8 x 8 digits with labels; or of drawn shapes, without scikit-learn."""
    channels, batch_size = ((8, 16), 16) if quick else ((32, 64), 128)
    try:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        images, data = images.reshape(-1, 8, 8, 1), "digits"
    except ImportError:
        images, labels = diffusion.drawn_shapes(jax.random.key(0), 1797, 8)
        data = "shapes"
    images = np.asarray(images, np.float32)
    images = (images - images.mean()) / images.std()
    train = lambda: (
        diffusion.train(
            jax.random.key(seed),
            images,
            diffusion.UNet(channels, num_classes=10),
            diffusion.Recipe(num_steps=num_steps, batch_size=batch_size),
            labels=np.asarray(labels),
        ).losses
    )
    row = warmed(train, 3)
    row |= {"data": data, "channels": channels, "batch_size": batch_size}
    row |= {"final_loss": float(np.mean(np.asarray(train())[-100:]))}
    return row | {"steps": num_steps, "seconds_per_step": row["seconds"] / num_steps}

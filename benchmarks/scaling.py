"""How time and memory grow: with N, D, runs, steps, generations, and devices.

    python benchmarks/scaling.py

* individuals N: ``tell`` with the plain kernel, D = 58;
* guided individuals N: the same with the default denoiser, which is guided;
* dimensions D: the plain kernel, N = 512;
* runs R: CartPole evolution at the published protocol, latent kernel;
* steps T: rollouts of 1,024 policies that balance the pole to the longest limit;
* generations G: an evolution of 256 individuals of 8 numbers with the default denoiser;
* devices P: 16 such evolutions of 10 generations spread over some of the devices, of a CPU
  its cores; an exponent of -1 is a gain of all of them.

Medians of repeated calls, on one device but for the last. Memory is what XLA says of the
compiled program, on each device: ``memory``, the extra memory beside arguments and results,
and ``needed``, with both, the most that a call takes. The exponent is the slope of the
least-squares line on logarithms, over the upper half of the sizes, and its interval
Student's at 95 per cent, which needs three sizes. The figure is
``docs/figures/scaling.png``.
"""

import argparse
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import main_job
import numpy as np
from common import FIGURES, arguments, milliseconds, prepare_devices, save, table
from matplotlib.figure import Figure
from scipy import stats
from timing import extra_memory, median, megabytes

import diffevo_jax as de
from diffevo_jax.plots.canvas import BLUE, INK, ORANGE
from diffevo_jax.running import device_mesh, memory

LANES, HORIZON = 1024, 2000


class Program(NamedTuple):
    """A jitted function and its arguments."""

    function: Any
    arguments: tuple[Any, ...]


class Sweep(NamedTuple):
    """A size that is varied: its name, its values, and the program for one of them."""

    name: str
    sizes: Sequence[int]
    program: Callable[[int], Program]


def powers(low: int, high: int, factor: int = 2) -> tuple[int, ...]:
    """Sizes from low to high, each so many times the one before."""
    count = round(math.log(high / low, factor))
    return tuple(low * factor**k for k in range(count + 1))


PLAIN = de.denoisers.Population(de.kernels.Gaussian(), guidance=None)


def tell(size: int, dim: int, denoiser: de.Denoiser = PLAIN) -> Program:
    """One ``tell`` of N individuals of D numbers."""
    strategy = de.DiffusionEvolution(10, denoiser)
    key = jax.random.key(0)
    candidates = jax.random.normal(key, (size, dim))
    state = de.init(strategy, key, candidates)
    fitness = -jnp.mean(candidates**2, axis=1)
    return Program(jax.jit(de.tell), (strategy, key, state, candidates, fitness))


def generations(count: int) -> Program:
    """One evolution of so many generations."""
    return Program(jax.jit(functools.partial(small_run, count)), (jax.random.key(0),))


def small_run(num_generations: int, key: jax.Array) -> de.Result:
    """256 individuals of 8 numbers, on a sphere."""
    problem = de.problems.Function(lambda x: -jnp.sum(x**2), dim=8)
    strategy = de.DiffusionEvolution(num_generations)
    return de.evolve(key, strategy, problem, population_size=256)


def on_devices(count: int) -> Program:
    """The same 16 evolutions, spread over so many devices."""
    mesh, one = device_mesh.line(jax.devices()[:count]), functools.partial(small_run, 10)
    function = jax.jit(lambda keys: device_mesh.over_runs(one, mesh, keys))
    return Program(function, (jax.random.split(jax.random.key(0), 16),))


def evolution(runs: int) -> Program:
    """So many whole CartPole evolutions."""
    keys = jax.random.split(jax.random.key(0), runs)
    return Program(jax.jit(jax.vmap(main_job.our_run)), (keys,))


def episodes(max_steps: int, weights: Any) -> Program:
    """Rollouts of a limit of so many steps."""
    problem, key = cartpole(max_steps), jax.random.key(1)
    start = problem.init(key)
    play = jax.jit(lambda key, weights: problem.evaluate(key, start, weights)[0])
    return Program(play, (key, weights))


def cartpole(max_steps: int) -> de.problems.Control:
    """CartPole whose own limit is the longest of the sweep."""
    import gymnax

    params = gymnax.make("CartPole-v1")[1].replace(max_steps_in_episode=HORIZON)
    policy = de.problems.MLP((8,))
    return de.problems.Control(
        "CartPole-v1", policy=policy, env_params=params, max_steps=max_steps
    )


def balancing(lanes: int) -> Any:
    """Policies that balance the pole to the horizon, repeated to so many lanes."""
    strategy, problem, size = de.published.control("CartPole-v1")
    key = jax.random.key(0)
    last = de.evolve(key, strategy, problem, population_size=size, final=0).population
    weights, longest = problem.space.decode(last), cartpole(HORIZON)
    evaluation, _ = longest.evaluate(key, longest.init(key), weights)
    best = jnp.argsort(-evaluation.fitness)[:16]
    return jax.tree.map(lambda w: jnp.repeat(w[best], lanes // 16, axis=0), weights)


def sweeps(options: argparse.Namespace) -> list[Sweep]:
    """What is varied, and how far."""
    quick = options.quick
    weights = balancing(64 if quick else LANES)
    largest = 65_536 if options.gpu else 16_384
    return [
        Sweep(
            "individuals N", powers(64, 256 if quick else largest), lambda n: tell(n, 58)
        ),
        Sweep(
            "guided individuals N",
            powers(64, 256 if quick else largest),
            lambda n: tell(n, 58, de.denoisers.Population()),
        ),
        Sweep("dimensions D", powers(2, 8 if quick else 16_384), lambda d: tell(512, d)),
        Sweep("runs R", powers(1, 2 if quick else 64), evolution),
        Sweep(
            "steps T",
            (62, 125) if quick else (62, 125, 250, 500, 1000, HORIZON),
            lambda steps: episodes(steps, weights),
        ),
        Sweep("generations G", powers(10, 40 if quick else 1280), generations),
        Sweep("devices P", powers(1, 2 ** int(math.log2(len(jax.devices())))), on_devices),
    ]


def measure(sweep: Sweep, repetitions: int) -> dict[str, Any]:
    """Seconds and bytes of every size, and their exponents."""
    seconds, extra, needed = [], [], []
    for size in sweep.sizes:
        function, inputs = sweep.program(size)
        compiled = function.lower(*inputs).compile()
        seconds.append(median(functools.partial(compiled, *inputs), repetitions))
        extra.append(extra_memory(compiled))
        needed.append(memory.needed_memory(compiled))
    return {
        "what": sweep.name,
        "sizes": list(sweep.sizes),
        "seconds": seconds,
        "memory": extra,
        "needed": needed,
        "time_exponent": fit(sweep.sizes, seconds)[0],
        "time_interval": interval(sweep.sizes, seconds),
        "memory_exponent": fit(sweep.sizes, extra)[0],
        "memory_interval": interval(sweep.sizes, extra),
        "needed_exponent": fit(sweep.sizes, needed)[0],
        "needed_interval": interval(sweep.sizes, needed),
    }


def fit(sizes: Any, values: Any) -> tuple[float, float]:
    """Exponent and factor of ``factor * size**exponent``, over the upper half of sizes."""
    x, y = upper_half(sizes, values)
    if len(x) < 2:
        return math.nan, math.nan
    if np.ptp(y) == 0:  # of which rounding would make -0.00
        return 0.0, float(np.exp(y[0]))
    exponent, intercept = np.polyfit(x, y, 1)
    return float(exponent), float(np.exp(intercept))


def interval(sizes: Any, values: Any) -> float | None:
    """Half width of the exponent's 95 % interval, Student's; None of less than three."""
    x, y = upper_half(sizes, values)
    if len(x) < 3:
        return None
    if np.ptp(y) == 0:  # SciPy has no error of a constant
        return 0.0
    error = float(stats.linregress(x, y).stderr)
    return float(stats.t.ppf(0.975, len(x) - 2)) * error


def upper_half(sizes: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the larger sizes, or of all if they are few, and of their values."""
    half = len(sizes) // 2 if len(sizes) > 3 else 0
    return np.log(sizes[half:]), np.log(np.maximum(values[half:], 1e-12))


def draw(rows: list[dict[str, Any]]) -> Figure:
    """A column a size; above the time, below the extra memory."""
    figure = Figure(figsize=(2.75 * len(rows), 4.6), layout="constrained")
    axes = figure.subplots(2, len(rows), sharex="col", squeeze=False)
    kinds = (
        ("seconds", "time", 1e3, "milliseconds", BLUE),
        ("memory", "memory", 2.0**-20, "extra memory, MB", ORANGE),
    )
    for column, row in enumerate(rows):
        sizes = np.array(row["sizes"], float)
        half = sizes[len(sizes) // 2 :] if len(sizes) > 3 else sizes
        for line, (name, short, unit, label, color) in enumerate(kinds):
            axis, values = axes[line, column], unit * np.maximum(row[name], 1e-6)
            exponent, factor = fit(sizes, values)
            axis.plot(half, factor * half**exponent, color=INK, lw=1, ls="--")
            axis.plot(sizes, values, "o-", color=color, lw=1.5, ms=4)
            letter = row["what"].split()[-1]
            axis.set_title(f"{short} ~ {letter}$^{{{exponent:.2f}}}$", fontsize=10)
            axis.set(xscale="log", yscale="log", ylim=decades(values))
            axis.spines[["top", "right"]].set_visible(False)
            if column == 0:
                axis.set_ylabel(label)
        axes[1, column].set_xlabel(row["what"])
    return figure


def decades(values: np.ndarray) -> tuple[float, float]:
    """Whole powers of ten around positive values, one at least."""
    low, high = np.log10(values.min() / 1.1), np.log10(values.max() * 1.1)
    return 10.0 ** np.floor(low), 10.0 ** np.ceil(high)


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "", repetitions=5)
    rows = []
    for sweep in sweeps(options):
        rows.append(measure(sweep, options.repetitions))
        print(f"{sweep.name}: time exponent {rows[-1]['time_exponent']:.2f}", flush=True)
    if not options.quick:
        name = f"scaling{'_gpu' * options.gpu}.png"
        draw(rows).savefig(FIGURES / name, dpi=130)
    print(report(rows))
    save("scaling", options, rows)


def report(rows: list[dict[str, Any]]) -> str:
    """The ends of every sweep, and the exponents, as the page's table."""
    lines = [
        [
            row["what"],
            f"{row['sizes'][0]:,} to {row['sizes'][-1]:,}",
            f"{milliseconds(row['seconds'][0])} to {milliseconds(row['seconds'][-1])}",
            exponent_of(row, "time"),
            f"{megabytes(row['memory'][0])} to {megabytes(row['memory'][-1])}",
            exponent_of(row, "memory"),
        ]
        for row in rows
    ]
    header = ["what grows", "from, to", "time, ms", "exponent", "extra memory"]
    return table([*header, "exponent"], lines)


def exponent_of(row: dict[str, Any], kind: str) -> str:
    """An exponent, with its interval if there is one."""
    said, width = f"{row[f'{kind}_exponent']:.2f}", row.get(f"{kind}_interval")
    return said if width is None else f"{said} ± {width:.2f}"


if __name__ == "__main__":
    main()

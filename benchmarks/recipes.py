"""The recipe of EDM beside plain DDPM: equal networks, training steps and answers.

    python benchmarks/recipes.py              # the numbers and the figure
    python benchmarks/recipes.py --quick      # short trainings, nothing stored

EDM: preconditioned, log-normal noise levels; sampled by Heun's method on its grid. DDPM:
the noise predicted, uniform times of a linear beta schedule; ancestral sampling at times of
even distance, with the smaller of its variances, or the larger. Everything else is the
same: network, steps, batches, optimizer, averages, a learning rate that is tuned for
neither; and answers are clipped to the range of the training's values, which only DDPM's
code does. A network of either can be sampled either way, so that the table tells which half
of the recipe does what.

Data: the digits (see images.py), with labels, without guidance; and curves of sinusoids
(see signals.py). Measured, over seeds: the sliced Wasserstein distance W2 of samples from
unseen data (and of the training's data from them: as near as can be), and the share of
digits that a classifier names as asked for.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import images
import jax
import numpy as np
from common import FIGURES, arguments, prepare_devices, save, summary, table
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import diffusion
from diffevo_jax.plots.canvas import BLUE, INK, ORANGE

ANSWERS, TABLED = (9, 17, 35), 35
CURVES = 20_000
STEPS = {"digits": 600, "signal": 4000}
EACH = 100  # samples of a digit
NETWORK = diffusion.MLP((256, 256, 256))
#: Data, number, and its scale in the table.
COLUMNS = (("digits", "w2", 1), ("digits", "named", 100), ("signal", "w2", 1))
TRAININGS = {"EDM": diffusion.EDM(), "DDPM": diffusion.Noise()}
#: Grid, sampler, and levels for so many answers.
SAMPLINGS: dict[str, tuple[Any, Any, Callable[[int], int]]] = {
    "EDM": (
        de.noise.EDM(sigma_min=0.01, sigma_max=30.0),
        de.samplers.Heun(),
        lambda answers: (answers + 1) // 2,
    ),
    "DDPM": (de.noise.VP(), de.samplers.Ancestral(0.0), lambda answers: answers),
    "DDPM, larger": (de.noise.VP(), de.samplers.Ancestral(1.0), lambda answers: answers),
}
LINES = {"EDM": "-", "DDPM": "--", "DDPM, larger": ":"}


def sliced_wasserstein(first: np.ndarray, second: np.ndarray, count: int = 500) -> float:
    """W2 along random directions, root mean square, of samples (N, ...) and (M, ...)."""
    flat = [np.asarray(x, np.float64).reshape(len(x), -1) for x in (first, second)]
    directions = np.random.default_rng(0).normal(size=(flat[0].shape[1], count))
    directions /= np.linalg.norm(directions, axis=0)
    levels = (np.arange(1000) + 0.5) / 1000
    along = [np.quantile(x @ directions, levels, axis=0) for x in flat]
    return float(np.sqrt(np.mean((along[0] - along[1]) ** 2)))


@functools.cache
def sampler(way: str, answers: int, size: tuple[int, int]) -> Callable[..., jax.Array]:
    """A compiled way to sample a denoiser with labels, in the range of the data."""
    grid, steps, levels = SAMPLINGS[way]

    @jax.jit
    def sample(
        key: jax.Array,
        denoiser: diffusion.NetworkDenoiser,
        labels: Any,
        ends: tuple[Any, Any],
    ) -> jax.Array:
        free = lambda y, sigma: denoiser.denoise(y, sigma, labels)
        denoise = diffusion.clip_denoised(free, *ends)
        return de.sample(key, denoise, grid, steps, size, num_levels=levels(answers))

    return sample


class Task(NamedTuple):
    """Data to train with and unseen, a training, and who names samples as what."""

    known: np.ndarray
    unseen: np.ndarray
    train: Callable[[jax.Array, Any], diffusion.Trained]
    labels: np.ndarray | None = None
    name: Callable[[Any], np.ndarray] | None = None


def digits(num_steps: int, seed: int) -> Task:
    """Handwritten digits, by a U-Net."""
    data = images.digits()

    def train(key: jax.Array, parameterisation: Any) -> diffusion.Trained:
        return images.train(key, data, "digits", parameterisation, num_steps)

    labels, name = np.repeat(np.arange(10), EACH), images.classifier(data)
    return Task(data.train, data.unseen, train, labels, name)


def signal(num_steps: int, seed: int) -> Task:
    """Curves, by a feed-forward network; 4,000 samples."""
    keys = jax.random.split(jax.random.key(seed))
    known, unseen = (np.asarray(diffusion.sinusoids(key, CURVES)) for key in keys)

    def train(key: jax.Array, parameterisation: Any) -> diffusion.Trained:
        recipe = diffusion.Recipe(parameterisation=parameterisation, num_steps=num_steps)
        return diffusion.train(key, known, NETWORK, recipe)

    return Task(known, unseen, train)


TASKS = {"digits": digits, "signal": signal}


def measure(task: Task, seed: int) -> list[dict[str, Any]]:
    """Both trainings of one seed, each sampled both ways."""
    key, key_train = jax.random.split(jax.random.key(seed))
    rows, ends = [], (task.known.min(), task.known.max())
    for training, parameterisation in TRAININGS.items():
        trained = task.train(key_train, parameterisation)
        for way, answers in itertools.product(SAMPLINGS, ANSWERS):
            count = 4000 if task.labels is None else len(task.labels)
            size = (count, task.known[0].size)
            draw = sampler(way, answers, size)
            samples = draw(key, trained.denoiser, task.labels, ends)
            row: dict[str, Any] = {"training": training, "sampling": way}
            row |= {"answers": answers, "seed": seed}
            row["w2"] = sliced_wasserstein(samples, task.unseen)
            if task.name is not None:
                row["named"] = float(np.mean(task.name(np.asarray(samples)) == task.labels))
            rows.append(row)
    return rows


def over_seeds(
    result: dict[str, Any], training: str, way: str, answers: int, number: str
) -> dict[str, float]:
    """Mean and interval of a number, and the seeds; empty if it was not measured."""
    wanted = (training, way, answers)
    numbers = [
        row[number]
        for row in result["rows"]
        if (row["training"], row["sampling"], row["answers"]) == wanted
    ]
    return summary(numbers) | {"seeds": len(numbers)} if numbers else {}


def report(results: dict[str, Any]) -> str:
    """All combinations at one number of answers."""
    lines = []
    for training, way in itertools.product(TRAININGS, SAMPLINGS):
        line = [training, way]
        for data, number, scale in COLUMNS:
            got = over_seeds(results[data], training, way, TABLED, number)
            if not got:
                continue
            mean, half = scale * got["mean"], scale * got["interval"]
            line.append(
                f"{mean:.3f} ± {half:.3f}" if scale == 1 else f"{mean:.1f} ± {half:.1f} %"
            )
        if len(line) > 2:
            lines.append([*line, str(got["seeds"])])
    floors = [f"{results[data]['floor']:.3f}" for data in TASKS]
    lines.append(["the data themselves", "", floors[0], "", floors[1], ""])
    header = ["training", f"sampling, {TABLED} answers", "digits, W2", "named as asked"]
    return table([*header, "signal, W2", "seeds"], lines)


def plot(results: dict[str, Any]) -> Figure:
    """Every number over the answers that a sample takes."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    colors = {"EDM": BLUE, "DDPM": ORANGE}
    for ax, (data, number, _) in zip(figure.subplots(1, 3), COLUMNS, strict=True):
        for training, way in itertools.product(TRAININGS, SAMPLINGS):
            every = {
                answers: over_seeds(results[data], training, way, answers, number)
                for answers in ANSWERS
            }
            got = [one for one in every.values() if one]
            if not got:
                continue
            ax.errorbar(
                [answers for answers, one in every.items() if one],
                [one["mean"] for one in got],
                [one["interval"] for one in got],
                color=colors[training],
                ls=LINES[way],
                marker="o",
                ms=3,
                label=f"{training} trained, {way} sampled",
            )
        if number == "w2":
            ax.axhline(results[data]["floor"], color=INK, lw=0.8, ls=":")
            ax.set_yscale("log")
        title = "sliced W2 from unseen data" if number == "w2" else "named as asked for"
        ax.set(title=f"{data}: {title}", xlabel="answers a sample", xscale="log")
        ax.set_xticks(ANSWERS, map(str, ANSWERS), minor=False)
        ax.set_xticks([], minor=True)
        ax.spines[["top", "right"]].set_visible(False)
    where = {"loc": "lower left", "handlelength": 3.5, "bbox_to_anchor": (0, 0.08)}
    figure.axes[2].legend(frameon=False, fontsize="x-small", **where)
    return figure


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "", seeds=5)
    results: dict[str, Any] = {}
    for data, make in TASKS.items():
        task = make(50 if options.quick else STEPS[data], options.seed)
        floor = sliced_wasserstein(task.known, task.unseen)
        seeds = range(options.seed, options.seed + options.seeds)
        rows = []
        for seed in seeds:
            got = measure(task, seed)
            print(data, seed, *(f"{row['w2']:.4f}" for row in got), flush=True)
            rows += got
        results[data] = {"floor": floor, "rows": rows}
    print(report(results))
    save("recipes", options, results)
    if not options.quick:
        plot(results).savefig(FIGURES / "recipes.png", dpi=110)


if __name__ == "__main__":
    main()

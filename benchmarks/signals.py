"""A curve out of noise: chains of 100 steps on sums of sinusoids, 50 numbers each.

    python benchmarks/signals.py             # the numbers and the figure
    python benchmarks/signals.py --quick     # short trainings, nothing stored

Networks are trained on a family of curves at the noise levels of a chain of 100 steps: one
predicts the noise, as DDPM does, the other is preconditioned (EDM). Both are sampled with
DDPM's smaller variance, that of a known clean point, and with its larger one, beta; the
other also with that of data of deviation 3, as curves have 2.6 along an axis. "Clipped"
answers stay in the range of the training's values, as in DDPM's code.

Compared are the ten largest eigenvalues of the covariance of 20,000 generated curves with
those of the family, which are known exactly; "drawn from the family" is the error of as
many true curves. All settings were chosen with seed 1000, which is not shown, except for
the network's width, which an earlier version chose with seed 42.
At last, one network sees one curve alone.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, arguments, prepare_devices, save, summary, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import diffusion, plots


class Way(NamedTuple):
    """A network, and how it is sampled."""

    training: str
    clipped: bool
    sampler: de.samplers.Ancestral

    def __str__(self) -> str:
        deviation = float(self.sampler.sigma_data)
        variance = {0.0: "smaller variance", 1.0: "larger variance"}.get(deviation)
        text = f"{self.training}, {variance or f'variance for deviation {deviation:g}'}"
        return text + ", clipped" * self.clipped


def cosine_betas(count: int) -> np.ndarray:
    """Variances of the cosine schedule (Nichol and Dhariwal, 2021, eq. 17)."""
    alpha_bars = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - alpha_bars[1:] / alpha_bars[:-1], 0.999)


BETAS = cosine_betas(100)
NETWORK = diffusion.MLP((512, 512, 512))
COUNT, LARGEST = 20_000, 10
#: Of the family, and of one curve.
STEPS = (20_000, 1000)
#: What is predicted, how levels are weighted, and the learning rate.
TRAININGS: dict[str, tuple[Any, str, float]] = {
    "noise prediction": (diffusion.Noise(), "noise", 2e-3),
    "preconditioned": (diffusion.EDM(), "network", 4e-3),
}
WAYS = (
    Way("noise prediction", False, de.samplers.Ancestral(0.0)),
    Way("noise prediction", True, de.samplers.Ancestral(0.0)),
    Way("noise prediction", True, de.samplers.Ancestral(1.0)),
    Way("preconditioned", False, de.samplers.Ancestral(0.0)),
    Way("preconditioned", False, de.samplers.Ancestral(1.0)),
    Way("preconditioned", False, de.samplers.Ancestral(3.0)),
)
#: The one that is shown.
SHOWN = WAYS[-1]
STRIP = (0, 40, 60, 80, 90, 99)
BINS: dict[str, Any] = {"low": -4.0, "high": 4.0, "num_bins": 64}


def train(
    key: jax.Array, curves: jax.Array, training: str, num_steps: int
) -> diffusion.Trained:
    """Every step of the chain alike, and what the network predicts."""
    precondition, weighting, learning_rate = TRAININGS[training]
    objective = diffusion.Objective(diffusion.beta_levels(BETAS), weighting)
    return diffusion.train(
        key,
        curves,
        NETWORK,
        precondition,
        objective=objective,
        num_steps=num_steps,
        learning_rate=learning_rate,
    )


@functools.partial(jax.jit, static_argnums=4)
def generate(
    key: jax.Array,
    denoiser: diffusion.Denoiser,
    sampler: de.samplers.Ancestral,
    reach: jax.typing.ArrayLike,
    count: int,
) -> de.SamplePath:
    """Down the chain, every step kept; answers are within the reach."""
    denoise = diffusion.clipped(denoiser.denoise, -reach, reach)
    grid, shape = diffusion.beta_levels(BETAS).grid, (count, *denoiser.shape)
    return de.sample_path(key, denoise, grid, sampler, shape, num_levels=len(BETAS))


def eigenvalues(covariance: np.ndarray) -> np.ndarray:
    """The largest eigenvalues, falling."""
    return np.linalg.eigvalsh(covariance)[::-1][:LARGEST]


def exact_covariance(length: int = 50, low: float = 0.5, high: float = 4.0) -> np.ndarray:
    """Of the family: the mean of cos(2 pi f (t - t')) over its frequencies f."""
    times = np.linspace(0, 1, length)
    twice = 2 * (times[:, None] - times)
    return (high * np.sinc(high * twice) - low * np.sinc(low * twice)) / (high - low)


def one_curve(key: jax.Array, count: int) -> jax.Array:
    """A curve of the family, in unit deviation, so many times."""
    curve = diffusion.sinusoids(key, 1)
    return jnp.repeat((curve - curve.mean()) / curve.std(), count, axis=0)


def compared(what: str, seed: int, curves: Any) -> dict[str, Any]:
    """Eigenvalues, their largest relative error, and the longest curve."""
    got = eigenvalues(np.cov(np.asarray(curves, np.float64).T))
    return {
        "what": what,
        "seed": seed,
        "eigenvalues": list(got),
        "error": float(np.abs(got / eigenvalues(exact_covariance()) - 1).max()),
        "longest": float(np.sqrt(np.mean(np.square(curves), axis=1)).max()),
    }


def measure(seed: int, quick: bool) -> tuple[list[dict[str, Any]], tuple[Any, Any]]:
    """Every way of one seed; curves of the family, and generated ones that are shown."""
    keys = jax.random.split(jax.random.key(seed), 4)
    count, steps = (2000, 200) if quick else (COUNT, STEPS[0])
    family = diffusion.sinusoids(keys[0], 10 * count)
    reach, rows, shown = float(jnp.abs(family).max()), [], None
    for training in TRAININGS:
        trained = train(keys[1], family, training, steps)
        for way in WAYS:
            if way.training == training:
                limit = reach if way.clipped else math.inf
                path = generate(keys[2], trained.denoiser, way.sampler, limit, count)
                rows.append(compared(str(way), seed, path.samples))
                if way is SHOWN:
                    shown = np.asarray(path.samples[:6])
    more = diffusion.sinusoids(keys[3], count)
    rows.append(compared("drawn from the family", seed, more))
    return rows, (np.asarray(more[:6]), shown)


def alone(seed: int, quick: bool) -> tuple[float, Any]:
    """A network that has seen one curve: error of the worst of 1,000 samples."""
    keys = jax.random.split(jax.random.key(seed), 3)
    curves = one_curve(keys[0], 1000)
    trained = train(keys[1], curves, SHOWN.training, 200 if quick else STEPS[1])
    path = generate(keys[2], trained.denoiser, SHOWN.sampler, math.inf, len(curves))
    errors = np.sqrt(np.mean((path.samples - curves) ** 2, axis=1))
    return float(np.max(errors)), (np.asarray(curves), path)


def report(result: dict[str, Any]) -> str:
    """Largest errors of the eigenvalues, and the curve that is farthest out."""
    lines = []
    for what in dict.fromkeys(row["what"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["what"] == what]
        errors = [100 * row["error"] for row in rows]
        got, longest = summary(errors), max(row["longest"] for row in rows)
        mean = f"{got['mean']:.1f} ± {got['interval']:.1f} %"
        each = ", ".join(f"{error:.1f}" for error in errors)
        if max(errors) > 1000:
            mean = each = "more than 1,000 %"
        lines.append([what, mean, each, f"{longest:.1f}"])
    header = ["curves", f"{LARGEST} largest eigenvalues, largest error", "of each seed"]
    text = table([*header, "largest root mean square of a curve"], lines)
    one = f"One curve alone comes back within {result['one_curve']:.3f} of its deviation"
    return f"{text}\n\n{one} (root mean square, the worst of 1,000 samples)."


def draw(result: dict[str, Any], shown: Any, one: Any) -> Figure:
    """Curves and their spectrum; the values and their entropy; the reverse strip."""
    curves, path = one
    figure = Figure(figsize=(11, 7.2), layout="constrained")
    above, middle, below = figure.subfigures(3, 1, height_ratios=(1.15, 1.15, 0.8))
    axes = above.subplots(1, 3)
    titles = ("curves of the family", "generated in 100 steps")
    for ax, some, color, title in zip(
        axes[:2], shown, (plots.INK, plots.BLUE), titles, strict=True
    ):
        ax.plot(some.T + 5 * np.arange(6), color=color, lw=1.2)
        ax.set(title=title, xlabel="t", yticks=[])
    spectrum(axes[2], result)
    forward = de.noise.forward_chain(
        jax.random.key(0), jnp.asarray(curves), jnp.asarray(BETAS)
    )
    through_time(middle.subplots(1, 3), np.asarray(forward), unit_scale(path))
    strip(below.subplots(1, len(STRIP)), curves[0], path)
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def spectrum(ax: Axes, result: dict[str, Any]) -> None:
    """Eigenvalues of the family and of what was generated, of every seed."""
    numbers = np.arange(1, LARGEST + 1)
    exact = eigenvalues(exact_covariance())
    ax.plot(numbers, exact, "o-", color=plots.INK, label="family")
    got = [row["eigenvalues"] for row in result["rows"] if row["what"] == str(SHOWN)]
    ax.plot(numbers, np.transpose(got), "x", color=plots.BLUE, label="generated")
    ax.set(title="eigenvalues of the covariance", xlabel="number", ylim=(0, None))
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[:2], labels[:2], frameon=False)


def unit_scale(path: de.SamplePath) -> np.ndarray:
    """The points of a path with the variance of the data, as DDPM has them."""
    return np.asarray(path.points / jnp.sqrt(1 + path.sigmas**2)[:, None, None])


def through_time(axes: Any, forward: np.ndarray, back: np.ndarray) -> None:
    """Histograms of the values there and back, and their entropy."""
    entropy = jax.jit(jax.vmap(lambda values: diffusion.value_entropy(values, **BINS)))
    histogram = jax.jit(jax.vmap(lambda values: diffusion.value_histogram(values, **BINS)))
    for ax, path, title in (
        (axes[0], forward, "values of one curve, noise added →"),
        (axes[1], back, "the reverse process →"),
    ):
        image = np.asarray(histogram(path)).T
        extent = (0, len(path) - 1, BINS["low"], BINS["high"])
        ax.imshow(image**0.5, origin="lower", aspect="auto", extent=extent, cmap="Blues")
        ax.set(title=title, xlabel="step", ylabel="value")
    axes[2].plot(entropy(forward), color=plots.ORANGE, label="noise added")
    axes[2].plot(entropy(back), color=plots.BLUE, label="reverse")
    most = float(diffusion.normal_entropy(1.0))
    axes[2].axhline(most, color=plots.INK, lw=0.8, ls=":", label="normal values")
    axes[2].set(title="entropy of the values, nats", xlabel="step")
    axes[2].legend(frameon=False)


def strip(axes: Any, curve: np.ndarray, path: de.SamplePath) -> None:
    """One curve on its way out of the noise."""
    points = unit_scale(path)[:, 0]
    for ax, step in zip(axes, STRIP, strict=True):
        last = step == STRIP[-1]
        ax.plot(curve, color=plots.ORANGE, lw=3, alpha=0.35)
        ax.plot(path.samples[0] if last else points[step], color=plots.BLUE, lw=1.2)
        ax.set(title="clean" if last else f"step {step}", yticks=[], ylim=(-4, 4))


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "", seeds=3)
    rows, shown = [], None
    for seed in range(options.seed, options.seed + options.seeds):
        more, shown = measure(seed, options.quick)
        rows += more
        print("\n".join(f"{row['what']}: {row['error']:.3f}" for row in more), flush=True)
    error, one = alone(options.seed, options.quick)
    result = {"rows": rows, "one_curve": error}
    print(report(result))
    save("signals", options, result)
    if not options.quick:
        draw(result, shown, one).savefig(FIGURES / "signals.png", dpi=110)


if __name__ == "__main__":
    main()

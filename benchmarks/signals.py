"""A curve out of noise: chains of 100 steps on sums of sinusoids, 50 numbers each.

    python benchmarks/signals.py             # the numbers and the figure
    python benchmarks/signals.py --quick     # short trainings, nothing stored

Networks are trained on a family of curves at the noise levels of DDPM: one predicts the
noise, as published, the other is preconditioned (EDM). Sampled are both with either
variance of a step of DDPM: that of the posterior given the clean point (beta tilde), and
the larger one (beta, by Euler and Maruyama). Compared are the ten largest eigenvalues of
the covariance of generated curves with those of as many curves that no training has seen;
"more of the family" is what so many curves can tell. At last, one network sees one curve
alone.
"""

import argparse
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, arguments, prepare_devices, save, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import diffusion, plots

#: DDPM's variances for 1,000 steps, so that the noise ends as high in 100.
BETAS = np.linspace(1e-3, 0.2, 100)
NETWORK = diffusion.MLP((512, 512, 512))
COUNT, LARGEST = 20_000, 10
#: Of the family, and of one curve.
STEPS = (8000, 1000)
TRAININGS = {
    "noise prediction": (diffusion.Noise(), "noise"),
    "preconditioned": (diffusion.EDM(), "network"),
}
SAMPLERS = {
    "smaller variance": de.samplers.DDIM(eta=1.0),
    "larger variance": de.samplers.EulerMaruyama(),
}
#: The one that is shown.
SHOWN = ("preconditioned", "larger variance")
STRIP = (0, 40, 60, 80, 90, 99)
BINS: dict[str, Any] = {"low": -4.0, "high": 4.0, "num_bins": 64}


def train(
    key: jax.Array, curves: jax.Array, training: str, num_steps: int
) -> diffusion.Trained:
    """Every step of the chain alike, and what the network predicts."""
    precondition, weighting = TRAININGS[training]
    objective = diffusion.Objective(diffusion.beta_levels(BETAS), weighting)
    return diffusion.train(
        key,
        curves,
        NETWORK,
        precondition,
        objective=objective,
        num_steps=num_steps,
        learning_rate=1e-3,
    )


def generate(
    key: jax.Array, trained: diffusion.Trained, sampler: str, count: int
) -> de.SamplePath:
    """Down the chain, every step kept."""
    shape, grid = (count, *trained.denoiser.shape), diffusion.beta_levels(BETAS).grid

    @jax.jit
    def path(key: jax.Array, denoiser: diffusion.Denoiser) -> de.SamplePath:
        steps, num_levels = SAMPLERS[sampler], len(BETAS)
        return de.sample_path(
            key, denoiser.denoise, grid, steps, shape, num_levels=num_levels
        )

    with warnings.catch_warnings():  # the first steps of DDPM's chain are coarse
        warnings.filterwarnings("ignore", "EulerMaruyama")
        return path(key, trained.denoiser)


def eigenvalues(curves: Any) -> np.ndarray:
    """The largest eigenvalues of the covariance, falling."""
    return np.linalg.eigvalsh(np.cov(np.asarray(curves, np.float64).T))[::-1][:LARGEST]


def one_curve(key: jax.Array, count: int) -> jax.Array:
    """A curve of the family, in unit deviation, so many times."""
    curve = diffusion.sinusoids(key, 1)
    return jnp.repeat((curve - curve.mean()) / curve.std(), count, axis=0)


def measure(options: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    """The numbers, and what the figure shows."""
    keys = jax.random.split(jax.random.key(options.seed), 8)
    count, steps = (2000, (200, 200)) if options.quick else (COUNT, STEPS)
    family, unseen, more = (diffusion.sinusoids(key, count) for key in keys[:3])
    want, shown, rows = eigenvalues(unseen), {}, []
    for training in TRAININGS:
        trained = train(keys[3], family, training, steps[0])
        for sampler in SAMPLERS:
            samples = generate(keys[4], trained, sampler, count).samples
            shown[training, sampler] = np.asarray(samples)
            rows.append(compared(f"{training}, {sampler}", samples, want))
    rows.append(compared("more of the family", more, want))
    alone = one_curve(keys[5], 1000)
    trained = train(keys[6], alone, SHOWN[0], steps[1])
    path = generate(keys[7], trained, SHOWN[1], len(alone))
    errors = np.sqrt(np.mean((path.samples - alone) ** 2, axis=1))
    result = {"want": list(want), "rows": rows, "one_curve": float(np.max(errors))}
    return result, (np.asarray(unseen), shown[SHOWN], np.asarray(alone), path)


def compared(what: str, curves: Any, want: np.ndarray) -> dict[str, Any]:
    """Eigenvalues, their largest relative error, and the longest curve."""
    got = eigenvalues(curves)
    return {
        "what": what,
        "eigenvalues": list(got),
        "error": float(np.abs(got / want - 1).max()),
        "longest": float(np.sqrt(np.mean(np.square(curves), axis=1)).max()),
    }


def report(result: dict[str, Any]) -> str:
    """Largest errors of the eigenvalues, and the curve that is farthest out."""
    lines = [
        [row["what"], f"{100 * row['error']:.0f} %", f"{row['longest']:.1f}"]
        for row in result["rows"]
    ]
    header = ["curves", f"{LARGEST} largest eigenvalues, largest error"]
    text = table([*header, "largest root mean square of a curve"], lines)
    one = f"One curve alone comes back within {result['one_curve']:.3f} of its deviation"
    return f"{text}\n\n{one} (root mean square, the worst of 1,000 samples)."


def draw(result: dict[str, Any], shown: Any) -> Figure:
    """Curves and their spectrum; the values and their entropy; the reverse strip."""
    unseen, samples, alone, path = shown
    figure = Figure(figsize=(11, 7.2), layout="constrained")
    above, middle, below = figure.subfigures(3, 1, height_ratios=(1.15, 1.15, 0.8))
    axes = above.subplots(1, 3)
    for ax, curves, color, title in (
        (axes[0], unseen, plots.INK, "curves of the family"),
        (axes[1], samples, plots.BLUE, "generated in 100 steps"),
    ):
        ax.plot(curves[:6].T + 5 * np.arange(6), color=color, lw=1.2)
        ax.set(title=title, xlabel="t", yticks=[])
    spectrum(axes[2], result, samples)
    forward = de.noise.forward_chain(
        jax.random.key(0), jnp.asarray(alone), jnp.asarray(BETAS)
    )
    through_time(middle.subplots(1, 3), np.asarray(forward), unit_scale(path))
    strip(below.subplots(1, len(STRIP)), alone[0], path)
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def spectrum(ax: Axes, result: dict[str, Any], samples: np.ndarray) -> None:
    """Eigenvalues of the family and of what was generated."""
    numbers = np.arange(1, LARGEST + 1)
    ax.plot(numbers, result["want"], "o-", color=plots.INK, label="family")
    ax.plot(numbers, eigenvalues(samples), "x--", color=plots.BLUE, label="generated")
    ax.set(title="eigenvalues of the covariance", xlabel="number", ylim=(0, None))
    ax.legend(frameon=False)


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
    options = arguments(__doc__ or "")
    result, shown = measure(options)
    print(report(result))
    save("signals", options, result)
    if not options.quick:
        draw(result, shown).savefig(FIGURES / "signals.png", dpi=110)


if __name__ == "__main__":
    main()

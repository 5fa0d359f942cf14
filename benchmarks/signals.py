"""A curve out of noise: DDPM in 100 steps on sums of sinusoids, 50 numbers each.

    python benchmarks/signals.py             # the numbers and the figure
    python benchmarks/signals.py --quick     # a short training, nothing stored

Two trainings of one network by the noise: on a family of curves, and on one curve alone.
Compared are the ten largest eigenvalues of the covariance of generated curves with those of
as many curves that the training has not seen, and the one curve with what is recovered of
it. "Itself" is the family beside more of it: what so many curves can tell.
"""

import argparse
import time
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
NETWORK = diffusion.MLP((256, 256, 256))
COUNT, LARGEST = 20_000, 10
#: Of the family, and of one curve.
STEPS = (10_000, 2_000)
STRIP = (0, 40, 60, 80, 90, 99)
BINS: dict[str, Any] = {"low": -4.0, "high": 4.0, "num_bins": 64}


def train(key: jax.Array, curves: jax.Array, num_steps: int) -> diffusion.Trained:
    """DDPM: predict the noise, every step of the chain alike."""
    objective = diffusion.Objective(diffusion.beta_levels(BETAS), "noise")
    settings = {"objective": objective, "num_steps": num_steps}
    return diffusion.train(key, curves, NETWORK, diffusion.Noise(), **settings)


def generate(key: jax.Array, trained: diffusion.Trained, count: int) -> de.SamplePath:
    """Ancestral sampling, every step kept."""
    shape = (count, *trained.denoiser.shape)
    grid, ancestral = diffusion.beta_levels(BETAS).grid, de.samplers.DDIM(eta=1.0)

    @jax.jit
    def path(key: jax.Array, denoiser: diffusion.Denoiser) -> de.SamplePath:
        return de.sample_path(
            key, denoiser.denoise, grid, ancestral, shape, num_levels=len(BETAS)
        )

    return path(key, trained.denoiser)


def eigenvalues(curves: Any) -> np.ndarray:
    """The largest eigenvalues of the covariance, falling."""
    return np.linalg.eigvalsh(np.cov(np.asarray(curves, np.float64).T))[::-1][:LARGEST]


def one_curve(key: jax.Array, count: int) -> jax.Array:
    """A curve of the family, in unit deviation, so many times."""
    curve = diffusion.sinusoids(key, 1)
    return jnp.repeat((curve - curve.mean()) / curve.std(), count, axis=0)


def measure(options: argparse.Namespace) -> tuple[list[dict[str, Any]], Any]:
    """The numbers, and what the figure shows."""
    keys = jax.random.split(jax.random.key(options.seed), 8)
    count, steps = (2000, (500, 500)) if options.quick else (COUNT, STEPS)
    family, unseen, more = (diffusion.sinusoids(key, count) for key in keys[:3])
    begin = time.perf_counter()
    trained = train(keys[3], family, steps[0])
    seconds = time.perf_counter() - begin
    samples = generate(keys[4], trained, count).samples
    want = eigenvalues(unseen)
    rows = [
        {
            "what": what,
            "eigenvalues": list(got),
            "error": float(np.abs(got / want - 1).max()),
        }
        for what, got in {
            "generated": eigenvalues(samples),
            "itself": eigenvalues(more),
        }.items()
    ]
    alone = one_curve(keys[5], 1000)
    path = generate(keys[7], train(keys[6], alone, steps[1]), len(alone))
    errors = np.sqrt(np.mean((path.samples - alone) ** 2, axis=1))
    rows[0] |= {"want": list(want), "seconds": seconds}
    rows.append({"what": "one curve", "error": float(np.max(errors))})
    return rows, (np.asarray(unseen), np.asarray(samples), np.asarray(alone), path)


def report(rows: list[dict[str, Any]]) -> str:
    """Largest errors of the eigenvalues, and of the curve."""
    generated, itself, one = rows
    cells = [f"{100 * row['error']:.1f} %" for row in (generated, itself)]
    return table(
        ["what is compared", "generated", "the family itself"],
        [
            [f"{LARGEST} largest eigenvalues of the covariance, largest error", *cells],
            [
                "one curve alone, root mean square, worst of 1,000",
                f"{one['error']:.3f}",
                "0",
            ],
        ],
    )


def draw(rows: list[dict[str, Any]], shown: Any) -> Figure:
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
    spectrum(axes[2], rows)
    forward = de.noise.forward_chain(
        jax.random.key(0), jnp.asarray(alone), jnp.asarray(BETAS)
    )
    through_time(middle.subplots(1, 3), np.asarray(forward), unit_scale(path))
    strip(below.subplots(1, len(STRIP)), alone[0], path)
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def spectrum(ax: Axes, rows: list[dict[str, Any]]) -> None:
    """Eigenvalues of the family and of what was generated."""
    numbers = np.arange(1, LARGEST + 1)
    ax.plot(numbers, rows[0]["want"], "o-", color=plots.INK, label="family")
    ax.plot(numbers, rows[0]["eigenvalues"], "x--", color=plots.BLUE, label="generated")
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
    rows, shown = measure(options)
    print(report(rows))
    save("signals", options, rows)
    if not options.quick:
        draw(rows, shown).savefig(FIGURES / "signals.png", dpi=110)


if __name__ == "__main__":
    main()

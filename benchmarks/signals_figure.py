"""The figure of curves: generated ones, their spectrum, and one on its way."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import diffusion
from diffevo_jax.plots.canvas import BLUE, INK, ORANGE

STRIP = (0, 40, 60, 80, 90, 99)
BINS: dict[str, Any] = {"low": -4.0, "high": 4.0, "num_bins": 64}


def figure(shown: Any, spectra: Any, paths: Any, curve: np.ndarray) -> Figure:
    """Curves and their spectrum; the values and their entropy; the reverse strip.

    Args:
        shown: (6, L) curves of the family, and as many generated ones.
        spectra: (E,) eigenvalues of the family, and (S, E) of what every seed generated.
        paths: (T, N, L) values of one curve while noise is added, and the reverse path.
        curve: (L,) that curve.
    """
    forward, path = paths
    figure = Figure(figsize=(11, 7.2), layout="constrained")
    above, middle, below = figure.subfigures(3, 1, height_ratios=(1.15, 1.15, 0.8))
    axes = above.subplots(1, 3)
    titles = ("curves of the family", "generated in 100 steps")
    for ax, some, color, title in zip(axes[:2], shown, (INK, BLUE), titles, strict=True):
        ax.plot(some.T + 5 * np.arange(6), color=color, lw=1.2)
        ax.set(title=title, xlabel="t", yticks=[])
    spectrum(axes[2], *spectra)
    through_time(middle.subplots(1, 3), np.asarray(forward), unit_scale(path))
    strip(below.subplots(1, len(STRIP)), curve, path)
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def spectrum(ax: Axes, family: np.ndarray, generated: Any) -> None:
    """Eigenvalues of the family and of what was generated, of every seed."""
    numbers = np.arange(1, len(family) + 1)
    ax.plot(numbers, family, "o-", color=INK, label="family")
    ax.plot(numbers, np.transpose(generated), "x", color=BLUE, label="generated")
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
    axes[2].plot(entropy(forward), color=ORANGE, label="noise added")
    axes[2].plot(entropy(back), color=BLUE, label="reverse")
    most = float(diffusion.normal_entropy(1.0))
    axes[2].axhline(most, color=INK, lw=0.8, ls=":", label="normal values")
    axes[2].set(title="entropy of the values, nats", xlabel="step")
    axes[2].legend(frameon=False)


def strip(axes: Any, curve: np.ndarray, path: de.SamplePath) -> None:
    """One curve on its way out of the noise."""
    points = unit_scale(path)[:, 0]
    for ax, step in zip(axes, STRIP, strict=True):
        last = step == STRIP[-1]
        ax.plot(curve, color=ORANGE, lw=3, alpha=0.35)
        ax.plot(path.samples[0] if last else points[step], color=BLUE, lw=1.2)
        ax.set(title="clean" if last else f"step {step}", yticks=[], ylim=(-4, 4))

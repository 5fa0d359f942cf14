"""Films of a population: where it is, generation by generation.

A population of two numbers is drawn on its landscape; of one number over its fitness; of
more in the two principal components of all that was recorded. Populations are thinned, so
that a page stays small, and the film says by how much.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from diffevo_jax.report.projections import principal_components
from diffevo_jax.report.thinning import evenly
from diffevo_jax.running.result_files import Plane

#: At most so many frames and individuals of a film.
FRAMES, INDIVIDUALS = 60, 200
#: Bars of a histogram, shades of a landscape.
BARS, SHADES = 32, 13
#: The mean shade of a landscape, and the powers that make it so.
_MEAN_SHADE, _POWERS = 0.33, (0.5, 30.0)


class Film(NamedTuple):
    """Frames of one run.

    Attributes:
        generations: (F,) from 1.
        points: (F, P, 2) in thousandths of the picture, from its lower left.
        best: (F, 2) the fittest of all individuals of the generation, or None.
        sigma: (F,) noise levels.
        labels: of the two axes.
        ranges: of the two axes, (low, high) each.
        ground: (H, W) shades of the landscape, the first row on top; or None.
        counts: (F, B) individuals by fitness, or None.
        fitness_range: of the histogram.
        about: what was left out, and what is drawn.
    """

    generations: np.ndarray
    points: np.ndarray
    best: np.ndarray | None
    sigma: np.ndarray
    labels: tuple[str, str]
    ranges: tuple[tuple[float, float], tuple[float, float]]
    ground: np.ndarray | None
    counts: np.ndarray | None
    fitness_range: tuple[float, float]
    about: str


def film_of(
    paths: np.ndarray,
    fitness: np.ndarray | None,
    sigma: np.ndarray,
    plane: Plane | None = None,
    names: Sequence[str] = (),
) -> Film:
    """The film of one run.

    Args:
        paths: (T, N, D) populations in unit scale.
        fitness: (T, N), or None if it was not recorded.
        sigma: (T,) noise levels.
        plane: of a problem of two numbers, of one run.
        names: of the numbers of a solution.

    Raises:
        ValueError: there is no generation, individual or number.
    """
    if paths.ndim != 3 or not min(paths.shape):
        raise ValueError(
            f"paths: got shape {paths.shape}, want (generations, individuals, numbers), "
            "at least one of each"
        )
    total, size = paths.shape[:2]
    kept = evenly(total, FRAMES)
    spots, labels, where = _spots(paths[kept], fitness, kept, plane, names)
    ranges = _ranges(spots, plane)
    scaled = _scaled(spots, ranges)
    shown = evenly(size, INDIVIDUALS)
    best = counts = None
    low, high = 0.0, 1.0
    if fitness is not None:
        values = np.where(np.isfinite(fitness[kept]), fitness[kept], -np.inf)
        rows = np.arange(len(kept))
        best = scaled[rows, values.argmax(axis=1)]
        counts, low, high = _histogram(values)
    left_out = [
        f"{len(some):,} of {all_:,} {word}"
        for some, all_, word in (
            (shown, size, "individuals"),
            (kept, total, "generations"),
        )
        if len(some) < all_
    ]
    said = [where]
    if left_out:
        said.append(
            f"To keep the page small the film has {' and '.join(left_out)}, evenly chosen "
            "by their number; the histogram counts all individuals."
        )
    ground = None
    if plane is not None and plane.height is not None:
        ground = _shades(np.asarray(plane.height, float))[::-1]
    return Film(
        kept + 1,
        scaled[:, shown],
        best,
        np.asarray(sigma, float)[kept],
        labels,
        ranges,
        ground,
        counts,
        (low, high),
        " ".join(said),
    )


def _spots(
    paths: np.ndarray,
    fitness: np.ndarray | None,
    kept: np.ndarray,
    plane: Plane | None,
    names: Sequence[str],
) -> tuple[np.ndarray, tuple[str, str], str]:
    """Where individuals are drawn (F, N, 2), the labels of the axes, and what they are."""
    dim = paths.shape[-1]
    if plane is not None:
        first, second = names if len(names) == 2 else ("x[0]", "x[1]")
        on = (
            " on the landscape: the stronger the shade, the fitter"
            if plane.height is not None
            else ""
        )
        where = f"The population{on}. The orange point is the fittest of its generation."
        return np.asarray(plane.points, float)[kept], (first, second), where
    if dim == 2:
        where = "The population in unit scale."
        return np.asarray(paths, float), ("number 1", "number 2"), where
    if dim == 1:
        up = np.zeros_like(paths) if fitness is None else fitness[kept][..., None]
        up = np.where(np.isfinite(up), up, np.nan)
        where = "The population in unit scale, over its fitness."
        return np.concatenate([paths, up], axis=-1), ("number 1", "fitness"), where
    centre, directions, shares = principal_components(paths.reshape(-1, dim))
    first, second = (
        f"component {place} ({100 * share:.0f} % of the variance)"
        for place, share in enumerate(shares, 1)
    )
    where = (
        f"The population of {dim:,} numbers each, in the two principal components of all "
        "generations."
    )
    with np.errstate(invalid="ignore", over="ignore"):  # of what is not finite, or huge
        spots = paths @ directions.astype(paths.dtype)  # as they are: they may be large
        return spots - centre @ directions, (first, second), where


def _ranges(
    spots: np.ndarray, plane: Plane | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """What of each axis is shown: that of the plane, or all that is there and a margin."""
    if plane is not None:
        low, high = np.asarray(plane.lower, float), np.asarray(plane.upper, float)
    else:
        flat = spots.reshape(-1, 2)
        flat = flat[np.isfinite(flat).all(axis=1)]
        if not len(flat):
            flat = np.zeros((1, 2))
        low, high = np.quantile(flat, (0.002, 0.998), axis=0)
        margin = 0.05 * np.where(high > low, high - low, 1.0)
        low, high = low - margin, high + margin
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def _scaled(
    spots: np.ndarray, ranges: tuple[tuple[float, float], tuple[float, float]]
) -> np.ndarray:
    """In thousandths of the picture; what is not finite, or far outside, is outside."""
    low, high = np.array(ranges).T
    scaled = (spots - low) / np.where(high > low, high - low, 1.0) * 1000.0
    scaled = np.nan_to_num(scaled, nan=-100.0, posinf=1100.0, neginf=-100.0)
    return np.clip(scaled, -100, 1100).round().astype(int)


def _histogram(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Individuals by fitness (F, B), and from where to where; below counts as lowest."""
    known = values[np.isfinite(values)]
    if not len(known):
        known = np.zeros(1)
    low, high = float(np.quantile(known, 0.01)), float(known.max())
    if high <= low:
        low, high = low - 0.5, high + 0.5
    inside = np.clip(values, low, high)
    edges = np.linspace(low, high, BARS + 1)
    return np.stack([np.histogram(row, edges)[0] for row in inside]), low, high


def _shades(height: np.ndarray) -> np.ndarray:
    """Shades (H, W) of heights, so spread that a third of the picture is dark.

    A power does it: of a few sharp peaks it shows their slopes, and of a plain with a deep
    valley what is best on the plain.
    """
    known = np.isfinite(height)
    shade = np.zeros(height.shape)
    if known.any():
        low, high = height[known].min(), height[known].max()
        shade[known] = (height[known] - low) / (high - low if high > low else 1.0)
        mean = np.clip(shade[known].mean(), 1e-9, 1 - 1e-9)
        shade **= np.clip(np.log(_MEAN_SHADE) / np.log(mean), *_POWERS)
    return np.minimum(shade * SHADES, SHADES - 1).astype(np.uint8)

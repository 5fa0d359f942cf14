"""Films of a population: where it is, generation by generation, as the page's script shows.

A population of two numbers is drawn on its landscape; of one number over its fitness; of
more in the two principal components of all that was recorded. Populations are thinned, so
that a page stays small, and the film says by how much.
"""

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from diffevo_jax.report.markup import Markup, element, numeral
from diffevo_jax.running.result_files import Plane

#: At most so many frames and individuals of a film.
FRAMES, INDIVIDUALS = 60, 200
#: Points that principal components are of at most, and their numbers.
_POINTS, _NUMBERS = 600, 50_000_000
#: Bars of a histogram, shades of a landscape.
BARS, _SHADES = 32, 13
#: How dark the best of a landscape is, and the mean of it; powers that make it so.
_DARKEST, _MEAN_SHADE, _POWERS = 0.45, 0.33, (0.5, 30.0)


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
    kept = _evenly(total, FRAMES)
    spots, labels, where = _spots(paths[kept], fitness, kept, plane, names)
    ranges = _ranges(spots, plane)
    scaled = _scaled(spots, ranges)
    shown = _evenly(size, INDIVIDUALS)
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


def principal_components(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The centre (D,), the first two directions (D, 2) and their shares of the variance.

    Of many rows some are taken, evenly: 600, or what has fifty million numbers in all; what
    is not finite is left out. Of each direction the largest number is positive.

    Args:
        rows: (M, D) with D >= 2.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.report import films
        >>> rows = np.array([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
        >>> _, directions, shares = films.principal_components(rows)
        >>> directions[:, 0].round(6) + 0.0, shares.round(6)
        (array([0., 1., 0.]), array([1., 0.]))
    """
    most = int(np.clip(_NUMBERS // rows.shape[1], 8, _POINTS))
    rows = np.asarray(rows[_evenly(len(rows), most)], float)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        rows = np.zeros((1, rows.shape[1]))
    scale = max(np.abs(rows).max(), 1.0)  # or squares of large numbers overflow
    centre = (rows / scale).mean(axis=0)
    rows, centre = rows / scale - centre, scale * centre
    values, vectors = np.linalg.eigh(rows @ rows.T)  # as many as rows, and not as numbers
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    directions = np.zeros((rows.shape[1], 2))
    for place in range(min(2, len(values))):
        if values[place] > 1e-12 * max(values[0], 1e-300):
            found = rows.T @ vectors[:, place] / np.sqrt(values[place])
            directions[:, place] = found * np.sign(found[np.abs(found).argmax()])
    shares = np.zeros(2)
    whole = values.sum()
    shares[: len(values)] = values[:2] / whole if whole > 0 else 0.0
    return centre, directions, shares


def picture(film: Film, number: int) -> Markup:
    """A film as the page has it: its last frame, which the script replaces by others.

    Args:
        film: to show.
        number: of the film on its page.
    """
    last = len(film.generations) - 1
    dots = [_dot(point, "dot", 9) for point in film.points[last]]
    if film.best is not None:
        dots.append(_dot(film.best[last], "dot best", 13))
    ground: Markup | str = ""
    if film.ground is not None:
        ground = element("img", class_="ground", alt="", src=_uri(_png(film.ground)))
    across, up = (f"{label}" for label in film.labels)
    stage = element(
        "div",
        ground,
        element("svg", dots, viewBox="0 0 1000 1000", aria_hidden="true"),
        class_="stage",
        role="img",
        aria_label=f"The population, {across} across and {up} up.",
    )
    (left, right), (bottom, top) = film.ranges
    scene = element(
        "div",
        element(
            "p",
            element("span", numeral(bottom)),
            element("span", up),
            element("span", numeral(top)),
            class_="side",
        ),
        stage,
        _below(left, across, right),
        class_="scene",
    )
    total = len(film.generations)
    controls = element(
        "div",
        element("button", "Play", type="button", class_="play"),
        element(
            "input",
            type="range",
            min=0,
            max=total - 1,
            value=last,
            step=1,
            aria_label="Generation",
            aria_valuetext=_caption(film, last),
            autocomplete="off",
        ),
        element("output", _caption(film, last)),
        class_="controls",
    )
    panels = [scene]
    if film.counts is not None:
        panels.append(_bars(film, last))
    return element(
        "figure",
        element("div", panels, class_="panels"),
        controls,
        element("figcaption", film.about),
        class_="film",
        data_film=number,
    )


def frames(film: Film) -> dict[str, Any]:
    """What the page's script needs of a film."""
    return {
        "captions": [_caption(film, frame) for frame in range(len(film.generations))],
        "points": [_flat(frame) for frame in film.points],
        "best": None if film.best is None else _flat(film.best),
        "counts": None if film.counts is None else film.counts.tolist(),
        "most": None if film.counts is None else _most(film).tolist(),
    }


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


def _bars(film: Film, frame: int) -> Markup:
    assert film.counts is not None
    width, most = 1000 / BARS, int(_most(film)[frame])
    bars = [
        element(
            "rect",
            x=f"{place * width + 2:.1f}",
            width=f"{width - 4:.1f}",
            y=f"{1000 - 1000 * count / most:.1f}",
            height=f"{1000 * count / most:.1f}",
        )
        for place, count in enumerate(film.counts[frame])
    ]
    svg = element("svg", bars, viewBox="0 0 1000 1000", preserveAspectRatio="none")
    low, high = film.fitness_range
    return element(
        "div",
        element("p", f"individuals, up to {most}", class_="above"),
        element(
            "div", svg, class_="bars", role="img", aria_label="Individuals by fitness."
        ),
        _below(low, "fitness", high),
        class_="histogram",
    )


def _most(film: Film) -> np.ndarray:
    """How many individuals the highest bar of each frame has."""
    return np.maximum(1, np.asarray(film.counts).max(axis=1))


def _below(low: float, label: str, high: float) -> Markup:
    parts = [element("span", text) for text in (numeral(low), label, numeral(high))]
    return element("p", parts, class_="below")


def _dot(point: np.ndarray, kind: str, radius: int) -> Markup:
    return element("circle", class_=kind, cx=point[0], cy=1000 - point[1], r=radius)


def _flat(points: np.ndarray) -> list[int]:
    """x, y, x, y, as the SVG counts: from the top."""
    return np.stack([points[..., 0], 1000 - points[..., 1]], axis=-1).ravel().tolist()


def _caption(film: Film, frame: int) -> str:
    total = int(film.generations[-1])
    return (
        f"generation {int(film.generations[frame]):,} of {total:,}, "
        f"sigma {numeral(float(film.sigma[frame]))}"
    )


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
    return np.minimum(shade * _SHADES, _SHADES - 1).astype(np.uint8)


def _png(shades: np.ndarray) -> bytes:
    """A picture of black that is more or less there, as PNG's specification has it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return (
            struct.pack(">I", len(content))
            + checked
            + struct.pack(">I", zlib.crc32(checked))
        )

    height, width = shades.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, a palette
    alpha = (np.linspace(0.0, _DARKEST, _SHADES) * 255).astype(np.uint8).tobytes()
    rows = b"".join(b"\0" + row.tobytes() for row in shades.astype(np.uint8))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            chunk(b"IHDR", header),
            chunk(b"PLTE", bytes(3 * _SHADES)),
            chunk(b"tRNS", alpha),
            chunk(b"IDAT", zlib.compress(rows, 9)),
            chunk(b"IEND", b""),
        ]
    )


def _uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _evenly(total: int, most: int) -> np.ndarray:
    """At most so many of the first ``total`` numbers, evenly, the ends among them."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int))

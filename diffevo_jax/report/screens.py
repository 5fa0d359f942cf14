"""A film in a page: a frame of it as HTML, and what the script needs for the others."""

import base64
import struct
import zlib
from typing import Any

import numpy as np

from diffevo_jax.report.films import BARS, SHADES, Film
from diffevo_jax.report.markup import Markup, element, numeral

#: How dark the best of a landscape is.
_DARKEST = 0.45


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
        element("p", f"individuals, up to {most:,}", class_="above"),
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
    alpha = (np.linspace(0.0, _DARKEST, SHADES) * 255).astype(np.uint8).tobytes()
    rows = b"".join(b"\0" + row.tobytes() for row in shades.astype(np.uint8))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            chunk(b"IHDR", header),
            chunk(b"PLTE", bytes(3 * SHADES)),
            chunk(b"tRNS", alpha),
            chunk(b"IDAT", zlib.compress(rows, 9)),
            chunk(b"IEND", b""),
        ]
    )


def _uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"

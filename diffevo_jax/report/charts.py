"""Curves of several results on the same axes, drawn here and not by the page's script.

A chart is an SVG that is stretched to its place, with lines that stay as thin as they are,
and labels in HTML beside it, which stay as large. So it fits any width, and it is there
where no script runs, and in print. The script shows values where the mouse or the arrow
keys are.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from diffevo_jax.plots.curves import mean_band
from diffevo_jax.report.markup import Markup, element, numeral
from diffevo_jax.report.thinning import evenly

#: Points of a curve at most, which is more than a page has columns of pixels.
MOST_POINTS = 400
#: Colours, and then as many again with other dashes.
COLORS, DASHES = 4, ("", "6 4", "2 3")


class Curve(NamedTuple):
    """A line over generations, or over anything.

    Attributes:
        label: what it is of.
        slot: which colour and dash it has, from 0.
        x: (T,) increasing.
        mean: (T,) NaN where there is none.
        low: (T,) lower end of the interval; None without.
        high: (T,) its upper end; None without.
    """

    label: str
    slot: int
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def mean_curve(label: str, slot: int, x: npt.ArrayLike, runs: npt.ArrayLike) -> Curve:
    """The mean over runs and its interval, as :func:`diffevo_jax.plots.curves.mean_band`.

    Args:
        label: what it is of.
        slot: which colour and dash it has.
        x: (T,).
        runs: (R, T); where one is not finite there is a gap.

    Example:
        >>> from diffevo_jax.report import charts
        >>> curve = charts.mean_curve("a", 0, [1], [[0.0], [2.0]])
        >>> curve.mean, curve.high.round(2)
        (array([1.]), array([13.71]))
    """
    band, x = mean_band(runs), np.asarray(x, float)
    if len(np.asarray(runs)) < 2:
        return Curve(label, slot, x, band.mean)
    return Curve(label, slot, x, *band)


def thinned(curve: Curve) -> Curve:
    """At most ``MOST_POINTS`` of a curve, evenly spaced, the ends among them."""
    if len(curve.x) <= MOST_POINTS:
        return curve
    kept = evenly(len(curve.x), MOST_POINTS)
    low, high = (None if end is None else end[kept] for end in (curve.low, curve.high))
    return Curve(curve.label, curve.slot, curve.x[kept], curve.mean[kept], low, high)


def chart(
    title: str,
    curves: Sequence[Curve],
    *,
    x_label: str = "generation",
    log_x: bool = False,
    log_y: bool = False,
    about: str = "",
    is_part: bool = False,
) -> tuple[Markup, dict[str, Any]]:
    """A chart, and what the page's script needs of it.

    Args:
        title: what is on the vertical axis.
        curves: of which one at least has a finite value.
        x_label: of the horizontal axis.
        log_x: whether that is logarithmic; values <= 0 are left out.
        log_y: whether the vertical axis is.
        about: a sentence below the title.
        is_part: whether it is below a heading of the third level.
    """
    curves = [thinned(curve) for curve in curves]
    x_axis = _axis([curve.x for curve in curves], log_x, margin=0.0)
    rows = [_rows(curve) for curve in curves]
    y_axis = _axis([values for each in rows for values in each], log_y, margin=0.04)
    drawn = [_grid(y_axis)]
    for curve, (mean, *ends) in zip(curves, rows, strict=True):
        place = x_axis.places(curve.x)
        color = f"c{curve.slot % COLORS}"
        if ends:
            band = _band(place, *(y_axis.places(end) for end in ends))
            drawn.append(element("path", class_=f"band {color}", d=band))
        dash = DASHES[curve.slot // COLORS % len(DASHES)]
        line = _line(place, y_axis.places(mean))
        drawn.append(
            element("path", class_=f"line {color}", d=line, stroke_dasharray=dash or None)
        )
    picture = element(
        "svg",
        drawn,
        viewBox="0 0 1000 1000",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    names = ", ".join(curve.label for curve in curves)
    plot = element(
        "div",
        _marks(y_axis, "y"),
        _marks(x_axis, "x"),
        element(
            "div",
            picture,
            element("div", class_="cursor", hidden=True),
            element("div", class_="reading", hidden=True),
            class_="area",
            tabindex=0,
            role="img",
            aria_label=f"{title} over {x_label}: {names}. Arrow keys read values.",
        ),
        class_="plot",
    )
    words = element("p", about, class_="about") if about else ""
    whole = element(
        "figure",
        element("figcaption", element("h4" if is_part else "h3", title), words),
        plot,
        element("p", x_label, class_="x-label"),
        class_="chart",
    )
    return whole, _values(curves, rows, x_axis, x_label)


def legend(labels: Sequence[str]) -> Markup:
    """Which line is of what, in the order of the slots."""
    items = []
    for slot, label in enumerate(labels):
        dash = DASHES[slot // COLORS % len(DASHES)] or None
        stroke = element(
            "line",
            class_=f"line c{slot % COLORS}",
            x1=1,
            x2=29,
            y1=6,
            y2=6,
            stroke_dasharray=dash,
        )
        swatch = element(
            "svg", stroke, viewBox="0 0 30 12", width=30, height=12, aria_hidden="true"
        )
        items.append(element("li", swatch, element("span", label)))
    return element("ul", items, class_="legend")


class _Axis(NamedTuple):
    """From ``low`` to ``high``, in logarithms if it is logarithmic."""

    low: float
    high: float
    is_log: bool

    def places(self, values: npt.ArrayLike) -> np.ndarray:
        """In thousandths of the axis; NaN stays."""
        values = np.asarray(values, float)
        if self.is_log:
            with np.errstate(invalid="ignore", divide="ignore"):
                values = np.where(values > 0, np.log10(values), np.nan)
        scale = max(abs(self.low), abs(self.high))
        low, high = self.low / scale, self.high / scale  # or their difference overflows
        return 1000.0 * (values / scale - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round values on the axis."""
        if not self.is_log:
            return round_values(self.low, self.high)
        first, last = math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9)
        if last - first < 1:
            return round_values(10**self.low, 10**self.high, 4)
        step = max(1, math.ceil((last - first) / 5))
        return [10.0**power for power in range(first, min(last, 308) + 1, step)]


def round_values(low: float, high: float, count: int = 5) -> list[float]:
    """About so many values from low to high: 1, 2 or 5 times a power of ten apart.

    Example:
        >>> from diffevo_jax.report import charts
        >>> charts.round_values(0.0, 9.7)
        [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    rough = high / count - low / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _axis(columns: Sequence[np.ndarray], is_log: bool, margin: float) -> _Axis:
    values = np.concatenate([np.ravel(column) for column in columns]).astype(float)
    values = values[np.isfinite(values)]
    if is_log:
        values = np.log10(values[values > 0])
    if not len(values):
        values = np.zeros(1)
    low, high = float(values.min()), float(values.max())
    if high / 2 - low / 2 <= 5e-10 * max(1.0, abs(low), abs(high)):
        half = 0.1 * abs(low) or 0.5
        low, high = low - half, high + half
    pad = margin * high - margin * low
    largest = np.finfo(float).max
    return _Axis(max(low - pad, -largest), min(high + pad, largest), is_log)


def _rows(curve: Curve) -> list[np.ndarray]:
    """The mean, and the ends of its interval where there are any."""
    if curve.low is None or curve.high is None or not np.isfinite(curve.low).any():
        return [curve.mean]
    return [curve.mean, curve.low, curve.high]


def _line(x: np.ndarray, y: np.ndarray) -> str:
    """The path of a line with gaps, in the SVG's units, whose second axis points down."""
    words, pen_is_down = [], False
    for across, up in zip(x, y, strict=True):
        if not (np.isfinite(across) and np.isfinite(up)):
            pen_is_down = False
            continue
        words.append(f"{'L' if pen_is_down else 'M'}{across:.1f} {1000 - up:.1f}")
        pen_is_down = True
    if len(words) == 1 or (words and all(word[0] == "M" for word in words)):
        words = [f"{word}h.1" for word in words]  # a single point is a dot
    return "".join(words)


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """The path around an interval; gaps part it."""
    known = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    found = []
    for begin, end in edges.reshape(-1, 2):
        there = slice(begin, end)
        up = _line(x[there], high[there])
        down = _line(x[there][::-1], low[there][::-1])
        found.append(f"{up}L{down[1:]}Z")
    return "".join(found)


def _marks(axis: _Axis, side: str) -> Markup:
    """Labels of an axis, and its lines, at their places in per cent."""
    edge = "bottom" if side == "y" else "left"
    marks = [
        element("li", element("span", tick), style=f"{edge}:{place / 10:.2f}%")
        for tick, place in _placed(axis)
    ]
    return element("ul", marks, class_=f"ticks {side}", aria_hidden="true")


def _grid(axis: _Axis) -> Markup:
    """Lines across, where the vertical axis has labels."""
    lines = "".join(f"M0 {1000 - place:.1f}H1000" for _, place in _placed(axis))
    return element("path", class_="grid", d=lines)


def _placed(axis: _Axis) -> list[tuple[str, float]]:
    ticks = axis.ticks()
    return [
        (label, float(place))
        for label, place in zip(told_apart(ticks), axis.places(ticks), strict=True)
        if -1e-6 <= place <= 1000 + 1e-6
    ]


def told_apart(values: Sequence[float]) -> list[str]:
    """Numbers of an axis with as many digits as it takes that no two read the same.

    Example:
        >>> from diffevo_jax.report import charts
        >>> charts.told_apart([5000.0, 5000.2, 5000.4])
        ['5,000', '5,000.2', '5,000.4']
        >>> charts.told_apart([0.0, 0.5])
        ['0', '0.5']
    """
    numbers = [float(f"{value:.12g}") for value in values]
    for digits in range(4, 13):
        told = [numeral(number, digits) for number in numbers]
        if len(set(told)) == len(told):
            break
    return told


def _values(
    curves: Sequence[Curve], rows: list[list[np.ndarray]], x_axis: _Axis, x_label: str
) -> dict[str, Any]:
    """What the script shows: places and values, as text."""
    return {
        "xLabel": x_label,
        "curves": [
            {
                "label": curve.label,
                "color": curve.slot % COLORS,
                "at": [_number(place) for place in x_axis.places(curve.x)],
                "x": [numeral(_whole(value)) for value in curve.x],
                "values": [_told(*(row[n] for row in each)) for n in range(len(curve.x))],
            }
            for curve, each in zip(curves, rows, strict=True)
        ],
    }


def _number(value: float) -> float | None:
    return round(float(value), 1) if np.isfinite(value) else None


def _whole(value: float) -> int | float:
    return int(value) if float(value).is_integer() else float(value)


def _told(mean: float, low: float | None = None, high: float | None = None) -> str:
    text = numeral(float(mean))
    if low is None or high is None or not np.isfinite(low):
        return text
    return f"{text} ± {numeral(float(high - mean))}"

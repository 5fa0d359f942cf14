"""What pictures share: arrays, a figure without pyplot, lines that differ in grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that the colour-blind can tell apart (Okabe and Ito, 2008).
ORANGE, BLUE, GREEN, INK = "#D55E00", "#0072B2", "#009E73", "#222222"
PURPLE, SKY, AMBER = "#CC79A7", "#56B4E9", "#E69F00"


@runtime_checkable
class Numbers(Protocol):
    """An array of NumPy or JAX, a column of pandas, or a variable of xarray."""

    @property
    def shape(self) -> tuple[int, ...]:
        """How many along each axis."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Of which kind."""
        ...

    def __array__(self) -> np.ndarray:
        """The numbers."""
        ...


#: One colour or more, as matplotlib has them.
Colors = Sequence[str | Sequence[float]] | Numbers


class Look(NamedTuple):
    """How a line looks: its colour, its dashes and its marker."""

    color: str
    dashes: str
    marker: str


#: Each differs from the one before by colour, dashes and marker.
COLORS = (BLUE, ORANGE, GREEN, INK, PURPLE, SKY, AMBER)
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v")


def look(number: int) -> Look:
    """The look of line ``number``; the first 140 are all different."""
    return Look(
        COLORS[number % len(COLORS)],
        DASHES[number % len(DASHES)],
        MARKERS[number % len(MARKERS)],
    )


def palette(colors: Colors) -> list[str]:
    """Colours in any of matplotlib's ways, each as ``"#rrggbb"``.

    Args:
        colors: names, or numbers in [0, 1]: an array (K, 3) is K colours.

    Raises:
        ValueError: there is none, or one of them is no colour.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.plots.canvas import palette
        >>> palette(np.eye(3)), palette(["C0", (0.0, 0.0, 0.0)])
        (['#ff0000', '#00ff00', '#0000ff'], ['#1f77b4', '#000000'])
    """
    from matplotlib.colors import is_color_like, to_hex

    each = list(np.asarray(colors) if isinstance(colors, Numbers) else colors)
    if wrong := [one for one in each if not is_color_like(one)]:
        raise ValueError(f"colors: got {wrong[0]!r}, want colours of matplotlib")
    if not each:
        raise ValueError("colors: got none, want at least one")
    return [to_hex(one) for one in each]


def blank(width: float, height: float) -> Figure:
    """A new figure, of so many inches."""
    from matplotlib.figure import Figure  # which pyplot does not know

    return Figure(figsize=(width, height), layout="constrained")


def open_frame(ax: Axes) -> None:
    """Take away the lines above and at the right of axes."""
    ax.spines[["top", "right"]].set_visible(False)


def evenly(generations: Sequence[int], count: int, total: int) -> list[int]:
    """The generations given, from 1, or so many evenly spaced.

    Raises:
        ValueError: one of those given is not among the ``total``.
    """
    if wrong := [number for number in generations if not 1 <= number <= total]:
        raise ValueError(f"generations: got {wrong[0]}, want 1 to {total}")
    return list(generations) or np.unique(np.linspace(1, total, count, dtype=int)).tolist()

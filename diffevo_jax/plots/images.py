"""Images side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from diffevo_jax.plots.canvas import blank
from diffevo_jax.pytree.annotations import checked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Of an image's height: the gap between two, and the room for a title.
GAP, WORDS = 0.08, 0.22


@checked
def image_grid(
    images: npt.ArrayLike,
    *,
    columns: int | None = None,
    value_range: Sequence[float] = (0.0, 1.0),
    titles: Sequence[str] = (),
    ax: Axes | None = None,
    title: str = "",
) -> Figure:
    """Draw images in rows.

    Args:
        images: (N, H, W) in grey, or (N, H, W, C) with C of 1 (grey), 3 (red, green, blue)
            or 4 (and opacity).
        columns: images a row; None makes the grid about square.
        value_range: the values of black and of white: ``(-1, 1)`` of images that are
            centred, ``(0, 255)`` of bytes.
        titles: one above each image, or none.
        ax: where to draw.
        title: above the axes.

    Raises:
        ValueError: a shape is wrong, a value is outside the range, or is not a number.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax import plots
        >>> figure = plots.image_grid(np.zeros((10, 8, 8)), columns=5)
        >>> len(figure.axes[0].images)
        10
    """
    pixels = _pixels(images, value_range)
    count, height, width = pixels.shape[:3]
    if titles and len(titles) != count:
        raise ValueError(f"titles: got {len(titles)}, want {count}, one an image")
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    step_x, step_y = width + GAP * height, height * (1 + GAP + WORDS * bool(titles))
    across, down = columns * step_x, rows * step_y
    ax = ax or blank(6.0, max(1.2, 6.0 * down / across)).add_subplot()
    for number, image in enumerate(pixels):
        row, column = divmod(number, columns)
        left, top = column * step_x, row * step_y
        extent = (left, left + width, top + height, top)
        ax.imshow(image, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="none")
        if titles:
            middle, above = left + width / 2, top - 0.03 * height
            ax.text(middle, above, titles[number], ha="center", va="bottom", fontsize=8)
    ax.set(xlim=(0, across - GAP * height), aspect="equal")
    ax.set(ylim=(down - GAP * height, -WORDS * height * bool(titles)))
    ax.set_axis_off()
    ax.set_title(title)
    return cast("Figure", ax.figure)


def _pixels(images: npt.ArrayLike, value_range: Sequence[float]) -> np.ndarray:
    """Images (N, H, W) or (N, H, W, 3 or 4) in [0, 1]."""
    values = np.asarray(images, float)
    if values.ndim == 4 and values.shape[-1] == 1:
        values = values[..., 0]
    colours = values.ndim == 4 and values.shape[-1] in (3, 4)
    if not (values.ndim == 3 or colours) or not values.size:
        got = np.shape(images)
        raise ValueError(f"images: got shape {got}, want (N, H, W) or (N, H, W, 1, 3 or 4)")
    if len(value_range) != 2 or not value_range[0] < value_range[1]:
        raise ValueError(f"value_range: got {value_range}, want (low, high), low < high")
    low, high = value_range
    least, most = values.min(), values.max()
    if not (low <= least and most <= high):  # NaN too
        found = f"values in [{least:.3g}, {most:.3g}]"
        want = f"[{low:g}, {high:g}], or value_range=; or clip them"
        raise ValueError(f"images: got {found}, want {want}")
    return (values - low) / (high - low)

"""Sweeps over two axes, as maps."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from diffevo_jax.plots.canvas import INK, blank
from diffevo_jax.plots.spacing import Cells
from diffevo_jax.plots.sweep_grids import over_two_axes
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.sweeps.tables import axes_of, check_dataset

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What is maximised, so that the highest is the best.
FITNESS = ("final_mean", "final_best")
#: The largest magnitude that has a colour of its own: a quarter of float64's.
_FARTHEST = np.finfo(float).max / 4
#: How cells without a mean are hatched.
HATCHES = {"failed": "xx", "missing": "//"}
#: Cells in which the numbers are written, at most.
WRITTEN = 36
#: Letters of a name in a line, at most: one of a part with its parameters is long.
LINE = 28
#: Ticks an axis that are at the values themselves, at most.
TICKS = 12


@checked
def heat_map(
    dataset: xarray.Dataset,
    x: str,
    y: str,
    value: str = "final_mean",
    *,
    ax: Axes | None = None,
    title: str = "",
) -> Figure:
    """Draw a sweep over two axes: the mean over seeds of every setting, and the best.

    If other axes were swept too a cell is the mean over their values, and the title says
    so; to see one of the values alone select it,
    ``dataset.isel(setting=dataset["problem.scale"].values == 1.0)``.

    An axis whose values are geometric is logarithmic; one of names, or of numbers that are
    unevenly spaced, has cells of equal size. Hatched is where there is no mean: a run is
    missing, or has failed, or a value of another axis was not tried. The frame is around
    the highest mean, of a fitness; it is that of the seeds of the sweep, which have
    favoured it.

    Args:
        dataset: of :func:`diffevo_jax.sweep`, or opened from a file of one.
        x: the axis along the width, as it is called in the dataset, or an ending of it that
            is unambiguous: ``"eta"`` for ``"sampler.eta"``.
        y: the axis along the height.
        value: a variable over settings and seeds, or over settings.
        ax: where to draw.
        title: above the axes; empty is where the value is best. What a cell is the mean
            over is said below it, and what the value is beside the colours.

    Raises:
        TypeError: the dataset is none.
        ValueError: there is no such axis or variable, or a setting is there twice.

    Example:
        >>> import jax, diffevo_jax as de
        >>> table = de.sweep(
        ...     jax.random.key(0),
        ...     de.DiffusionEvolution(num_generations=3),
        ...     de.problems.Landscape("himmelblau"),
        ...     axes={"sampler.eta": [0.0, 1.0], "shaping.temperature": [0.1, 0.3, 0.9]},
        ...     population_size=8,
        ...     num_seeds=2,
        ... )
        >>> figure = de.plots.heat_map(table, "eta", "temperature")
        >>> figure.axes[0].get_ylabel(), figure.axes[0].get_yscale()
        ('shaping.temperature', 'log')
    """
    check_dataset(dataset)
    across, up = _axis(dataset, "x", x), _axis(dataset, "y", y)
    if across == up:
        raise ValueError(f"y: got {up!r}, which is x, want another axis")
    _check_value(dataset, value)
    whole = over_two_axes(dataset, across, up, value)
    columns = [whole.columns, whole.rows]
    grid = np.ma.masked_invalid(whole.means)
    ax = ax or blank(5.6, 4.2).add_subplot()
    # Beyond these a colour would need a difference that is infinite.
    shade = np.ma.clip(grid, -_FARTHEST, _FARTHEST)
    mesh = ax.pcolormesh(columns[0].edges, columns[1].edges, shade, cmap="viridis")
    reason = _hatch(ax, columns, {"failed": whole.failed, "missing": whole.missing})
    _scale(ax, "x", columns[0])
    _scale(ax, "y", columns[1])
    if grid.size <= WRITTEN:
        _write(ax, columns, grid, mesh.norm(shade))
    meaning = str(dataset[value].attrs.get("long_name", value.replace("_", " ")))
    best = ""
    if value in FITNESS and grid.count():
        row, column = np.unravel_index(grid.argmax(), grid.shape)
        _frame(ax, columns, int(row), int(column))
        place = ", ".join(
            f"{_last(name)} = {_text(axis.values[n])}"
            for name, axis, n in zip((across, up), columns, (column, row), strict=True)
        )
        best = f"highest: {grid.max():.4g} at\n{place}"
    ax.set(xlabel=across + reason, ylabel=up)
    above = [title or best, whole.averaged]
    ax.set_title("\n".join(filter(None, above)), fontsize="medium")
    ax.figure.colorbar(mesh, ax=ax, label=meaning)
    return cast("Figure", ax.figure)


def _axis(dataset: xarray.Dataset, argument: str, name: str) -> str:
    """The coordinate that is meant by a name or an ending of one."""
    swept = axes_of(dataset)
    if name in swept:
        return name
    meant = [one for one in swept if one.endswith(f".{name}")]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise ValueError(f"{argument}: got {name!r}, which may be {' or '.join(meant)}")
    close = difflib.get_close_matches(name, [*swept, *map(_last, swept)], 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{argument}: got {name!r}, want one of {', '.join(swept)}{hint}")


def _check_value(dataset: xarray.Dataset, value: str) -> None:
    """Raise ValueError if it is no variable over settings and seeds."""
    if value not in dataset.data_vars:
        known = [str(name) for name in dataset.data_vars]
        raise ValueError(f"value: got {value!r}, want one of {', '.join(known)}")
    if not set(dataset[value].dims) <= {"setting", "seed"}:
        wrong = ", ".join(map(str, dataset[value].dims))
        raise ValueError(
            f"value: got {value!r} over {wrong}, want one over setting and seed"
        )


def _corner(columns: Sequence[Cells], row: int, column: int) -> tuple[float, ...]:
    """Left, bottom, width and height of a cell."""
    (left, right), (bottom, top) = (
        axis.edges[place : place + 2]
        for axis, place in zip(columns, (column, row), strict=True)
    )
    return left, bottom, right - left, top - bottom


def _hatch(ax: Axes, columns: Sequence[Cells], where: dict[str, np.ndarray]) -> str:
    """Hatch the cells that have no mean, and say why in a line."""
    from matplotlib.patches import Rectangle

    for name, mask in where.items():
        for row, column in np.argwhere(mask):
            left, bottom, width, height = _corner(columns, row, column)
            patch = Rectangle((left, bottom), width, height, label=name)
            patch.set(fc="0.95", ec="0.45", hatch=2 * HATCHES[name], lw=0)
            ax.add_patch(patch)
    shown = [f"{HATCHES[name]} {name}" for name, mask in where.items() if mask.any()]
    return f"\nhatched: {', '.join(shown)}" if shown else ""


def _frame(ax: Axes, columns: Sequence[Cells], row: int, column: int) -> None:
    """A frame around a cell that is seen on any colour."""
    from matplotlib.patches import Rectangle

    left, bottom, width, height = _corner(columns, row, column)
    for color, line, name in (("white", 4.0, "_halo"), (INK, 1.8, "highest")):
        patch = Rectangle((left, bottom), width, height, label=name)
        patch.set(fill=False, ec=color, lw=line, clip_on=False, zorder=4)
        ax.add_patch(patch)


def _write(
    ax: Axes, columns: Sequence[Cells], grid: np.ma.MaskedArray, shade: npt.ArrayLike
) -> None:
    """The numbers, in the cells."""
    dark = np.ma.filled(np.ma.asarray(shade), 0.0) < 0.6
    for row, column in np.argwhere(~np.ma.getmaskarray(grid)):
        ax.text(
            columns[0].places[column],
            columns[1].places[row],
            _short(grid[row, column]),
            color="white" if dark[row, column] else INK,
            ha="center",
            va="center",
            fontsize=8,
        )


def _short(value: float) -> str:
    """Three digits, and those before the point, if there are at most six."""
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"


def _scale(ax: Axes, which: str, axis: Cells) -> None:
    """Ticks of an axis, and its scale."""
    named = axis.spacing == "names"
    if axis.spacing == "geometric":
        ax.set(**{f"{which}scale": "log"})
    if named or len(axis.values) <= TICKS:
        step = -(-len(axis.values) // TICKS) if named else 1
        labels = [_text(value) for value in axis.values[::step]]
        widest = max(len(line) for label in labels for line in label.splitlines() or [""])
        long = which == "x" and widest * len(labels) > 48
        ticks = ax.xaxis if which == "x" else ax.yaxis
        ticks.set_ticks(axis.places[::step], labels=labels)
        ticks.set_ticks([], minor=True)
        for label in ticks.get_ticklabels() if long else ():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    ax.set(**{f"{which}lim": (axis.edges[0], axis.edges[-1])})


def _text(value: float | str) -> str:
    """A value in short lines, of which no dollar begins a formula."""
    if not isinstance(value, str):
        return f"{value:.4g}"
    return textwrap.fill(value, LINE).replace("$", r"\$")


def _last(name: str) -> str:
    return name.rpartition(".")[2]

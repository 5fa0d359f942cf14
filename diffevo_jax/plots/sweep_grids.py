"""A sweep over two axes: the means of its settings in rows and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from diffevo_jax.plots.spacing import Cells, cells
from diffevo_jax.sweeps.tables import axes_of, unit_of

if TYPE_CHECKING:
    import xarray


class Grid(NamedTuple):
    """Means of settings, by the values of two axes.

    Attributes:
        columns: the axis along the width.
        rows: the axis along the height.
        means: (rows, columns), NaN where one is missing or has failed.
        failed: (rows, columns) whether a run of the cell has failed.
        missing: (rows, columns) whether a run of the cell is not there.
        averaged: in words, which other axes a mean is over; empty if none.
    """

    columns: Cells
    rows: Cells
    means: np.ndarray
    failed: np.ndarray
    missing: np.ndarray
    averaged: str


def over_two_axes(
    dataset: xarray.Dataset, across: str, up: str, value: str = "final_mean"
) -> Grid:
    """The mean of each cell: over seeds, and over the other axes if any was swept.

    A cell with a failed or a missing run has no mean, and neither has one with fewer
    settings than others have: its mean would be over something else.

    Args:
        dataset: of a sweep.
        across: name of the axis along the width.
        up: name of the axis along the height.
        value: a variable over settings and seeds, or over settings.

    Raises:
        ValueError: a setting is there twice.

    Example:
        >>> import numpy as np, xarray
        >>> from diffevo_jax.plots.sweep_grids import over_two_axes
        >>> axes = dict(zip("abc", np.indices((2, 1, 2)).reshape(3, -1)))
        >>> table = xarray.Dataset(
        ...     {"final_mean": (("setting", "seed"), [[1.0], [3.0], [5.0], [7.0]])},
        ...     {name: ("setting", values) for name, values in axes.items()})
        >>> grid = over_two_axes(table, "a", "b")
        >>> grid.means.tolist(), grid.averaged
        ([[2.0, 6.0]], 'mean over 2 values of c')
    """
    values = {name: values_of(dataset, name) for name in axes_of(dataset)}
    columns, rows = cells(values[across]), cells(values[up])
    means, failed, missing = _means(dataset, value)
    members: dict[tuple[int, int], list[int]] = {}
    for setting, place in enumerate(zip(values[up], values[across], strict=True)):
        cell = rows.values.index(place[0]), columns.values.index(place[1])
        members.setdefault(cell, []).append(setting)
    most = max(map(len, members.values()))
    others = [
        name
        for name, own in values.items()
        if any(len({own[n] for n in found}) > 1 for found in members.values())
    ]
    told = list(zip(*(values[name] for name in values), strict=True))
    if len(set(told)) < len(told):
        raise ValueError("dataset: got a setting twice, want each once")
    shape = (len(rows.values), len(columns.values))
    grid = Grid(
        columns,
        rows,
        np.full(shape, np.nan),
        np.zeros(shape, bool),
        np.ones(shape, bool),
        _words({name: len(set(values[name])) for name in others}),
    )
    for cell, found in members.items():
        grid.missing[cell] = len(found) < most or missing[found].any()
        grid.failed[cell] = failed[found].any() and not grid.missing[cell]
        if not grid.missing[cell] and not grid.failed[cell]:
            grid.means[cell] = _mean(means[found][None])[0]
    return grid


def values_of(dataset: xarray.Dataset, name: str) -> list[float | str]:
    """The values of an axis, a setting each."""
    return [
        one if isinstance(one, str) else float(one) for one in dataset[name].values.tolist()
    ]


def _words(counts: dict[str, int]) -> str:
    parts = [f"{count:,} values of {name}" for name, count in counts.items()]
    return f"mean over {' and '.join(parts)}" if parts else ""


def _means(
    dataset: xarray.Dataset, value: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each setting the mean over seeds, and whether a run failed or is missing."""
    count = dataset.sizes["setting"]

    def any_run(name: str) -> np.ndarray:
        if name not in dataset:
            return np.zeros(count, bool)
        flags = np.asarray(dataset[name], bool).reshape(count, -1)
        return np.asarray(flags.any(axis=1))

    values = np.asarray(dataset[value], float).reshape(count, -1)
    failed, missing = any_run("failed"), any_run("missing")
    with np.errstate(invalid="ignore"):
        means = np.where(failed | missing, np.nan, _mean(values))
    return means, failed | ~np.isfinite(means) & ~missing, missing


def _mean(values: np.ndarray) -> np.ndarray:
    """Means of rows, also where a sum would overflow."""
    unit = unit_of(values)
    return np.asarray(unit * (values / unit).mean(axis=1))

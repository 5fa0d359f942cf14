"""What belongs to one sweep: how fitness depends on its axes, and its settings, ranked."""

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diffevo_jax.base import PyTree
from diffevo_jax.plots.curves import mean_band
from diffevo_jax.plots.sweep_grids import over_two_axes
from diffevo_jax.report.charts import chart, legend, mean_curve
from diffevo_jax.report.markup import Markup, element, numeral
from diffevo_jax.report.sections import Made, Section, section
from diffevo_jax.report.tables import sorting, table
from diffevo_jax.sweeps.tables import axes_of, half_width, tidy

if TYPE_CHECKING:
    import pandas
    import xarray

#: Rows of the table at most, and values of an axis of a heat map.
MOST_ROWS, MOST_VALUES = 500, 30
#: Learning curves that are drawn of a sweep: those of the best settings.
_CURVES = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """A table of a sweep.

    Attributes:
        label: what it is called on the page.
        dataset: the whole of it.
        runs: a row for each setting and seed.
        axes: names of the columns that were swept.
        curves: of the best settings, (R, T) mean fitness each; empty if it is not there.
        config: what was swept, without axes.
        versions: of the packages.
    """

    label: str
    dataset: "xarray.Dataset"
    runs: "pandas.DataFrame"
    axes: tuple[str, ...]
    curves: dict[int, np.ndarray]
    config: dict[str, Any]
    versions: dict[str, Any]


def sweep_of(dataset: "xarray.Dataset", label: str) -> Sweep:
    """What a page shows of a table.

    Args:
        dataset: of a sweep, or of :func:`diffevo_jax.sweeps.load`.
        label: what it is called.
    """
    dims = ("setting", "seed", "generation")
    sweep = Sweep(
        label,
        dataset,
        tidy(dataset, generations=False),
        tuple(axes_of(dataset)),
        {},
        *(json.loads(dataset.attrs.get(name) or "{}") for name in ("config", "versions")),
    )
    if "mean_fitness" not in dataset:
        return sweep
    means = dataset["mean_fitness"].transpose(*dims)
    best = ranked(sweep)["setting"].tolist()[:_CURVES]
    curves = {setting: means.sel(setting=setting).to_numpy() for setting in best}
    return dataclasses.replace(sweep, curves=curves)


def of_sweep(number: int, sweep: Sweep, made: Made) -> Section:
    """What belongs to one sweep: dependence on its axes, best curves, all settings."""
    parts = dependence(sweep, made)
    known = [
        mean_curve(words_of(sweep, setting), slot, np.arange(1, runs.shape[1] + 1), runs)
        for slot, (setting, runs) in enumerate(sweep.curves.items())
    ]
    if any(np.isfinite(curve.mean).any() for curve in known):
        about = "Of the best settings."
        drawn = made.kept(chart("mean fitness", known, about=about))
        parts += [legend([curve.label for curve in known]), drawn]
    parts.append(settings_table(sweep))
    spaced = [element("div", part, class_="part") for part in parts]
    return section(f"sweep-{number}", f"Sweep: {sweep.label}", spaced)


def ranked(sweep: Sweep) -> "pandas.DataFrame":
    """A row for each setting, the best mean over seeds first.

    Settings with a failed or a missing run come last, without a mean. The columns are
    those of the axes, and ``setting``, ``mean``, ``half`` (of its 95 % interval),
    ``best`` and ``seeds``.
    """
    import pandas

    rows = []
    for setting, group in sweep.runs.groupby("setting", sort=True):
        values = group["final_mean"].to_numpy(float)
        broken = ~np.isfinite(values).all()
        broken |= bool(group[["failed", "missing"]].to_numpy(bool).any())
        mean = float(mean_band(np.reshape(values, (-1, 1))).mean[0])
        half = float(half_width(values)) if len(values) > 1 and not broken else np.nan
        row = {"setting": int(setting)} | {name: group[name].iloc[0] for name in sweep.axes}
        row |= {"mean": np.nan if broken else mean, "half": half}
        best = group["final_best"].max() if "final_best" in group else np.nan
        rows.append(row | {"best": best, "seeds": len(values)})
    return pandas.DataFrame(rows).sort_values("mean", ascending=False, kind="stable")


def settings_table(sweep: Sweep) -> Markup:
    """The settings, ranked; the page's script sorts it by any column."""
    rows = ranked(sweep)
    has_half = bool(np.isfinite(rows["half"]).any())
    heads = ["setting", *sweep.axes, "mean"] + ["± 95 %"] * has_half + ["best"]
    names = ["setting", *sweep.axes, "mean"] + ["half"] * has_half + ["best"]
    numeric = {name: rows[name].dtype.kind in "fiu" for name in names}
    columns = [(text, numeric[name]) for text, name in zip(heads, names, strict=True)]
    body = [
        element("tr", [_cell(row[name], numeric[name]) for name in names])
        for row in rows.head(MOST_ROWS).to_dict("records")
    ]
    seeds = int(rows["seeds"].max())
    left = len(rows) - len(body)
    said = (
        f"Means of the last population's fitness over {seeds:,} seeds."
        if seeds > 1
        else ("Mean fitness of the last population; one seed.")
    )
    if left > 0:
        said += f" The best {len(body):,} of {len(rows):,} settings."
    broken = int((~np.isfinite(rows["mean"])).sum())
    if broken:
        said += f" {broken:,} settings have failed or missing runs, and no mean."
    said += " A click on a column sorts by it."
    label, head = f"Settings of {sweep.label}", sorting(columns, falling="mean")
    return table(label, said, head, body, "sortable")


def _cell(value: PyTree, is_numeric: bool) -> Markup:
    if is_numeric and value is not None:
        known = float(value) if np.isfinite(value) else None
        return element("td", numeral(value), class_="number", data_value=known)
    return element("td", str(value))


def dependence(sweep: Sweep, made: Made) -> list[Markup]:
    """How the mean depends on the axes: a chart of one, a heat map of two."""
    rows = ranked(sweep)
    values = {name: _levels(rows[name].tolist()) for name in sweep.axes}
    varied = [name for name in sweep.axes if len(values[name]) > 1]
    if len(varied) == 1 and rows[varied[0]].dtype.kind in "fiu":
        return [made.kept(_line(sweep, varied[0]))]
    if len(varied) < 2:
        return []
    across, down = sorted(varied, key=lambda name: -len(values[name]))[:2]
    if max(len(values[across]), len(values[down])) > MOST_VALUES:
        said = f"An axis has more than {MOST_VALUES} values: there is no heat map."
        return [element("p", said, class_="about")]
    if rows.duplicated(list(sweep.axes)).any():
        said = "A setting is there twice: there is no heat map."
        return [element("p", said, class_="about")]
    return [_heat_map(sweep, across, down)]


def words_of(sweep: Sweep, setting: int) -> str:
    """A setting in words: its number, and the values of its axes."""
    row = sweep.runs[sweep.runs["setting"] == setting].iloc[0]
    said = [f"{name.rpartition('.')[2]} {_level(row[name])}" for name in sweep.axes]
    return ", ".join(said) or f"setting {setting}"


def _line(sweep: Sweep, axis: str) -> tuple[Markup, dict[str, Any]]:
    runs = sweep.runs.sort_values([axis, "seed"])
    groups = list(runs.groupby(axis, sort=True))
    x = np.array([value for value, _ in groups], float)
    count = min(len(group) for _, group in groups)
    seeds = np.stack(
        [group["final_mean"].to_numpy(float)[:count] for _, group in groups], 1
    )
    curve = mean_curve(sweep.label, 0, x, seeds)
    log_x = bool(x.min() > 0 and x.max() / x.min() > 100)
    return chart("final mean fitness", [curve], x_label=axis, log_x=log_x)


def _heat_map(sweep: Sweep, across: str, down: str) -> Markup:
    grid = over_two_axes(sweep.dataset, across, down)
    columns, rows = grid.columns.values, grid.rows.values[::-1]
    cells = grid.means[::-1]
    known = cells[np.isfinite(cells)]
    scale = np.abs(known).max(initial=0.0) or 1.0  # or the largest difference overflows
    low, high = known.min(initial=scale) / scale, known.max(initial=-scale) / scale
    shade = (cells / scale - low) / (high - low if high > low else 1.0)
    head = element(
        "tr",
        element(
            "td",
            element("span", f"{across} →"),
            element("span", f"{down} ↓"),
            class_="corner",
        ),
        [element("th", _level(value), scope="col") for value in columns],
    )
    body = []
    for place, value in enumerate(rows):
        line = [
            element("td", numeral(float(cell)), style=f"--t:{_shade(dark)}")
            if np.isfinite(cell)
            else element("td", "–", class_="none")
            for cell, dark in zip(cells[place], shade[place], strict=True)
        ]
        body.append(element("tr", element("th", _level(value), scope="row"), line))
    said = "Final mean fitness: the stronger the shade, the higher."
    if grid.averaged:
        said += f" Each is the {grid.averaged}."
    if not np.isfinite(cells).all():
        said += " A cell with a failed or a missing run has no mean."
    return table("Heat map", said, head, body, "heat")


def _shade(dark: float) -> str:
    return f"{float(dark):.3f}"


def _level(value: PyTree) -> str:
    return numeral(value) if isinstance(value, int | float | np.number) else str(value)


def _levels(values: Sequence[Any]) -> list[Any]:
    """The different values of an axis, in order."""
    found = list(dict.fromkeys(values))
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=str)

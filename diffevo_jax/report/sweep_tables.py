"""What a page can show of a sweep: its settings, ranked; how fitness depends on an axis."""

import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffevo_jax.base import PyTree
from diffevo_jax.plots.curves import mean_band
from diffevo_jax.pytree.records import extra
from diffevo_jax.report.charts import Curve, chart, mean_curve
from diffevo_jax.report.markup import Markup, caption, element, numeral
from diffevo_jax.sweeps.tables import half_width

if TYPE_CHECKING:
    import pandas

#: Endings of the files that are tables of sweeps.
ENDINGS = (".nc", ".zarr", ".parquet", ".csv")
#: Rows of the table at most, and values of an axis of a heat map.
MOST_ROWS, MOST_VALUES = 500, 30
#: Columns that a sweep has beside its axes.
_OWN = (
    *("setting", "seed", "generation", "final_mean", "final_best", "failed", "missing"),
    *("evaluations", "best_fitness", "mean_fitness", "sigma", "effective_sample_size"),
    *("self_weight", "num_failed", "num_weightless", "num_diverged", "num_clipped", "done"),
)
#: Learning curves that are drawn of a sweep: those of the best settings.
_CURVES = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep:
    """A table of a sweep.

    Attributes:
        label: what it is called on the page.
        runs: a row for each setting and seed.
        axes: names of the columns that were swept.
        curves: of the best settings, (R, T) mean fitness each; empty if it is not there.
        config: what was swept, without axes.
        versions: of the packages.
    """

    label: str
    runs: "pandas.DataFrame"
    axes: tuple[str, ...]
    curves: dict[int, np.ndarray]
    config: dict[str, Any]
    versions: dict[str, Any]


def read_sweep(path: Path, label: str) -> Sweep:
    """Read a table that ``diffevo sweep --out`` or ``de.sweeps.save`` has written.

    Args:
        path: its ending says what it is.
        label: what it is called.

    Raises:
        ImportError: a package for it is missing.
        OSError: it cannot be read.
        ValueError: it is no such table.
    """
    try:
        runs, history, attributes = _content(path)
    except ImportError as error:
        raise ImportError(f"{path.name}: {extra('sweep')} ({error})") from error
    except Exception as error:  # whatever a reader of a format raises
        raise ValueError(f"path: got {path}, which is no table: {error}") from error
    lost = [name for name in ("setting", "seed", "final_mean") if name not in runs]
    if lost:
        raise ValueError(
            f"path: got {path}, which has no column {lost[0]}, want a table of a sweep"
        )
    if not len(runs):
        raise ValueError(f"path: got {path}, a table without a run, want one at least")
    runs = runs.astype({"setting": int, "seed": int, "final_mean": float})
    axes = tuple(str(name) for name in runs.columns if name not in _OWN)
    curves: dict[int, np.ndarray] = {}
    if history is not None:
        best = ranked(runs)["setting"].to_numpy()[:_CURVES]
        curves = {int(setting): history(int(setting)) for setting in best}
    parsed = lambda name: json.loads(attributes.get(name) or "{}")
    return Sweep(
        str(attributes.get("name", label)) if label == path.stem else label,
        runs,
        axes,
        curves,
        parsed("config"),
        parsed("versions"),
    )


def _content(path: Path) -> tuple["pandas.DataFrame", Any, dict[str, Any]]:
    """Rows of settings and seeds, a function from a setting to its history, and words."""
    import pandas

    if path.suffix == ".csv":
        return pandas.read_csv(path), None, {}
    if path.suffix == ".parquet":
        long = pandas.read_parquet(path)
        runs = long.drop_duplicates(["setting", "seed"])

        def of_rows(setting: int) -> np.ndarray:
            rows = long[long["setting"] == setting]
            return rows.pivot(
                index="seed", columns="generation", values="mean_fitness"
            ).to_numpy()

        return runs, of_rows, {}
    import xarray

    opened = functools.partial(xarray.open_dataset, engine="h5netcdf")
    if path.suffix == ".zarr":
        opened = functools.partial(xarray.open_dataset, engine="zarr", consolidated=False)
    with opened(path) as file:
        dataset = file.load()
    whole = [
        name for name in dataset.data_vars if set(dataset[name].dims) <= {"setting", "seed"}
    ]
    runs = dataset[whole].to_dataframe().reset_index()
    means = dataset["mean_fitness"].transpose("setting", "seed", "generation").to_numpy()
    return runs, lambda setting: means[setting], dict(dataset.attrs)


def ranked(runs: "pandas.DataFrame") -> "pandas.DataFrame":
    """A row for each setting, the best mean over seeds first.

    Settings with a failed or a missing run come last, without a mean. The columns are
    those of the axes, and ``setting``, ``mean``, ``half`` (of its 95 % interval),
    ``best`` and ``seeds``.
    """
    import pandas

    axes = [name for name in runs.columns if name not in _OWN]
    rows = []
    for setting, group in runs.groupby("setting", sort=True):
        values = group["final_mean"].to_numpy(float)
        broken = ~np.isfinite(values).all()
        for name in ("failed", "missing"):
            broken |= name in group and group[name].astype(bool).any()
        mean = float(mean_band(np.reshape(values, (-1, 1))).mean[0])
        half = float(half_width(values)) if len(values) > 1 and not broken else np.nan
        row = {"setting": int(setting)} | {name: group[name].iloc[0] for name in axes}
        row |= {"mean": np.nan if broken else mean, "half": half}
        best = group["final_best"].max() if "final_best" in group else np.nan
        rows.append(row | {"best": best, "seeds": len(values)})
    return pandas.DataFrame(rows).sort_values("mean", ascending=False, kind="stable")


def table(sweep: Sweep) -> Markup:
    """The settings, ranked; the page's script sorts it by any column."""
    rows = ranked(sweep.runs)
    has_half = bool(np.isfinite(rows["half"]).any())
    heads = ["setting", *sweep.axes, "mean"] + ["± 95 %"] * has_half + ["best"]
    names = ["setting", *sweep.axes, "mean"] + ["half"] * has_half + ["best"]
    numeric = {name: rows[name].dtype.kind in "fiu" for name in names}
    head = element(
        "tr",
        [
            element(
                "th",
                element("button", text, type="button"),
                scope="col",
                class_="number" if numeric[name] else None,
                aria_sort="descending" if name == "mean" else None,
            )
            for text, name in zip(heads, names, strict=True)
        ],
    )
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
    whole = element(
        "table",
        caption(said + " A click on a column sorts by it."),
        element("thead", head),
        element("tbody", body),
        class_="sortable",
    )
    return element(
        "div",
        whole,
        class_="wide",
        role="region",
        tabindex=0,
        aria_label=f"Settings of {sweep.label}",
    )


def _cell(value: PyTree, is_numeric: bool) -> Markup:
    if is_numeric and value is not None:
        known = float(value) if np.isfinite(value) else None
        return element("td", numeral(value), class_="number", data_value=known)
    return element("td", str(value))


def dependence(sweep: Sweep) -> tuple[list[Markup], list[dict[str, Any]]]:
    """How the mean depends on the axes: a chart of one, a heat map of two.

    Returns:
        What the page shows, and what its script needs of charts.
    """
    rows = ranked(sweep.runs)
    values = {name: _levels(rows[name].tolist()) for name in sweep.axes}
    varied = [name for name in sweep.axes if len(values[name]) > 1]
    if len(varied) == 1 and rows[varied[0]].dtype.kind in "fiu":
        return _line(sweep, varied[0])
    if len(varied) < 2:
        return [], []
    across, down = sorted(varied, key=lambda name: -len(values[name]))[:2]
    if max(len(values[across]), len(values[down])) > MOST_VALUES:
        said = f"An axis has more than {MOST_VALUES} values: there is no heat map."
        return [element("p", said, class_="about")], []
    return [_heat_map(rows, across, down, values, len(varied) - 2)], []


def words_of(sweep: Sweep, setting: int) -> str:
    """A setting in words: its number, and the values of its axes."""
    row = sweep.runs[sweep.runs["setting"] == setting].iloc[0]
    said = [f"{name.rpartition('.')[2]} {_level(row[name])}" for name in sweep.axes]
    return ", ".join(said) or f"setting {setting}"


def _line(sweep: Sweep, axis: str) -> tuple[list[Markup], list[dict[str, Any]]]:
    runs = sweep.runs.sort_values([axis, "seed"])
    groups = list(runs.groupby(axis, sort=True))
    x = np.array([value for value, _ in groups], float)
    count = min(len(group) for _, group in groups)
    seeds = np.stack(
        [group["final_mean"].to_numpy(float)[:count] for _, group in groups], 1
    )
    curve: Curve = mean_curve(sweep.label, 0, x, seeds)
    log_x = bool(x.min() > 0 and x.max() / x.min() > 100)
    drawn, values = chart("final mean fitness", [curve], x_label=axis, log_x=log_x)
    return [drawn], [values]


def _heat_map(
    rows: "pandas.DataFrame",
    across: str,
    down: str,
    values: dict[str, list[Any]],
    others: int,
) -> Markup:
    grid = rows.pivot_table(index=down, columns=across, values="mean", aggfunc="mean")
    grid = grid.reindex(index=values[down][::-1], columns=values[across])
    cells = grid.to_numpy(float)
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
        [element("th", _level(value), scope="col") for value in values[across]],
    )
    body = []
    for place, value in enumerate(values[down][::-1]):
        line = [
            element("td", numeral(float(cell)), style=f"--t:{_shade(dark)}")
            if np.isfinite(cell)
            else element("td", "–", class_="none")
            for cell, dark in zip(cells[place], shade[place], strict=True)
        ]
        body.append(element("tr", element("th", _level(value), scope="row"), line))
    said = "Final mean fitness: the stronger the shade, the higher."
    if others:
        said += f" Each is the mean over the other {'axis' if others == 1 else 'axes'}."
    whole = element(
        "table",
        caption(said),
        element("thead", head),
        element("tbody", body),
        class_="heat",
    )
    return element(
        "div", whole, class_="wide", role="region", tabindex=0, aria_label="Heat map"
    )


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

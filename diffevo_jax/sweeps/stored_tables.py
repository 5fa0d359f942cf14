"""Tables of sweeps read back from files."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffevo_jax.base import Info
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.sweeps.tables import ABOUT, check_ending, check_xarray

if TYPE_CHECKING:
    import pandas
    import xarray

#: What says which run a row is, and what every table has of it.
_NEEDED = ("setting", "seed", "final_mean")
#: What a row of a run, and what a row of a generation has beside the axes.
_OF_RUNS = ("final_mean", "final_best", "failed", "missing")
_OF_GENERATIONS = tuple(field.name for field in dataclasses.fields(Info))


@checked
def load(path: str | Path) -> "xarray.Dataset":
    """Read a table that :func:`diffevo_jax.sweeps.save` or ``diffevo sweep --out`` wrote.

    Of NetCDF and Zarr it is the dataset as it was. Of Parquet and CSV it is made of their
    rows: what they leave out, the attributes and what ``keep=`` asked for, and in CSV the
    history too, is not there. A run without a row is missing, and one without a finite mean
    has failed, where the table itself does not say so.

    Args:
        path: with the ending ``.nc``, ``.zarr``, ``.parquet`` or ``.csv``.

    Returns:
        An ``xarray.Dataset`` with the dimensions setting and seed, and generation if there
        is a history, which goes wherever that of :func:`diffevo_jax.sweep` goes.

    Raises:
        ImportError: a package for it is missing.
        OSError: it is not there.
        ValueError: the ending is none of these, or it is no table of a sweep.

    Example:
        >>> import jax, tempfile, diffevo_jax as de
        >>> table = de.sweep(
        ...     jax.random.key(0),
        ...     de.DiffusionEvolution(num_generations=3),
        ...     de.problems.Landscape("beale"),
        ...     axes={"sampler.eta": [0.0, 1.0]},
        ...     population_size=8,
        ... )
        >>> path = tempfile.mkdtemp() + "/sweep.csv"
        >>> de.sweeps.save(table, path)
        >>> loaded = de.sweeps.load(path)
        >>> bool((de.sweeps.ranking(loaded) == de.sweeps.ranking(table)).all())
        True
    """
    check_xarray()
    path = check_ending(path)
    path.stat()
    try:
        return _completed(_READERS[path.suffix](path))
    except Exception as error:  # whatever a reader of a format raises
        raise ValueError(
            f"path: got {path}, which is no table of a sweep: {error}"
        ) from error


def _completed(dataset: "xarray.Dataset") -> "xarray.Dataset":
    """With the flags that a table of another origin may lack.

    Raises:
        ValueError: there is no run.
    """
    _check_columns(map(str, dataset.variables))
    final = dataset["final_mean"]
    if set(final.dims) != {"setting", "seed"} or not final.size:
        raise ValueError(f"final_mean of {dict(final.sizes)}, want settings and seeds")
    if "missing" not in dataset:
        dataset["missing"] = (final.dims, np.zeros(final.shape, bool))
    if "failed" not in dataset:
        unknown = ~np.isfinite(np.asarray(final, float))
        dataset["failed"] = (final.dims, unknown & ~np.asarray(dataset["missing"]))
    return dataset


def _read_csv(path: Path) -> "xarray.Dataset":
    import pandas

    # or a choice that is called None would be none
    return of_rows(pandas.read_csv(path, keep_default_na=False, na_values=[""]))


def _read_parquet(path: Path) -> "xarray.Dataset":
    import pandas

    return of_rows(pandas.read_parquet(path))


def _read_array_file(path: Path) -> "xarray.Dataset":
    import xarray

    opened = functools.partial(xarray.open_dataset, engine="h5netcdf")
    if path.suffix == ".zarr":
        opened = functools.partial(xarray.open_dataset, engine="zarr", consolidated=False)
    with opened(path) as file:
        return file.load()


_READERS: dict[str, Callable[[Path], "xarray.Dataset"]] = {
    ".nc": _read_array_file,
    ".zarr": _read_array_file,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
}
#: Endings of the files that are tables of sweeps.
ENDINGS = tuple(_READERS)


def of_rows(rows: "pandas.DataFrame") -> "xarray.Dataset":
    """The dataset of a tidy table: a row for each run, or for each of its generations.

    Args:
        rows: with the columns ``setting``, ``seed`` and ``final_mean``; what is no column
            of a sweep is an axis.

    Raises:
        ValueError: a column is lacking, there is no run or one twice, or an axis has
            several values in a setting.

    Example:
        >>> import pandas
        >>> from diffevo_jax.sweeps.stored_tables import of_rows
        >>> rows = {"setting": [0, 1, 1], "seed": [0, 0, 1], "final_mean": [1.0, 2.0, 3.0]}
        >>> dataset = of_rows(pandas.DataFrame(rows | {"eta": [0.1, 0.2, 0.2]}))
        >>> dataset["eta"].values.tolist(), dataset["missing"].values.tolist()
        ([0.1, 0.2], [[False, True], [False, False]])
    """
    import xarray

    _check_columns(map(str, rows.columns))
    if not len(rows):
        raise ValueError("no run, want one at least")
    rows = rows.astype({"setting": int, "seed": int, "final_mean": float})
    keys = ["setting", "seed", *(["generation"] if "generation" in rows else [])]
    if rows.duplicated(keys).any():
        raise ValueError("a run is there twice")
    axes, inverse = zip(
        *(np.unique(rows[key].to_numpy(), return_inverse=True) for key in keys), strict=True
    )
    first = np.unique(inverse[0], return_index=True)[1]
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    coordinates = dict(zip(keys, axes, strict=True))
    for column in rows.columns:
        name, values = str(column), rows[column].to_numpy()
        if name in keys:
            continue
        if name in _OF_GENERATIONS and len(keys) == 3:
            variables[name] = (tuple(keys), _spread(values.astype(float), inverse, axes))
        elif name in _OF_RUNS:
            is_flag = name in ("failed", "missing")
            kept = values.astype(bool if is_flag else float)
            variables[name] = (("setting", "seed"), _spread(kept, inverse[:2], axes[:2]))
        else:
            again = values[first][inverse[0]]
            if ((again != values) & ((again == again) | (values == values))).any():
                raise ValueError(f"{name} has several values in a setting")
            of_settings = (("setting",), values[first])
            if name == "evaluations":
                variables[name] = of_settings
            else:
                coordinates[name] = of_settings
    there = _spread(np.ones(len(rows), bool), inverse[:2], axes[:2])
    said = variables.get("missing", (("setting", "seed"), ~there))[1]
    variables["missing"] = (("setting", "seed"), said | ~there)
    dataset = xarray.Dataset(variables, coordinates)
    for name in ABOUT.keys() & variables.keys():
        dataset[name].attrs["long_name"] = ABOUT[name]
    return dataset


def _check_columns(names: Iterable[str]) -> None:
    known = set(names)
    if lost := [name for name in _NEEDED if name not in known]:
        raise ValueError(f"no column {lost[0]}")


def _spread(
    values: np.ndarray, places: tuple[np.ndarray, ...], axes: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Values of rows at their places; elsewhere NaN, or False."""
    fill = False if values.dtype == bool else np.nan
    grid = np.full([len(axis) for axis in axes], fill, values.dtype)
    grid[places] = values
    return grid

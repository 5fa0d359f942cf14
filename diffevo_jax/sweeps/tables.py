"""Labelled results of sweeps: an xarray Dataset, on disk, as a tidy table, its best row."""

import importlib
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from diffevo_jax.pytree import annotations
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.files import written_whole
from diffevo_jax.pytree.records import extra
from diffevo_jax.sweeps.batches import KEEPABLE, KeptRuns, named

if TYPE_CHECKING:
    import pandas
    import xarray

#: What a Zarr store has in its folder.
_ZARR = {"zarr.json", ".zgroup", ".zmetadata"}
_MISSING = extra("sweep")
#: Where a run's mean fitness stands among what it leaves.
_MEAN = "history/mean_fitness"


def check_xarray() -> None:
    """Raise ImportError if the package is not installed; it is not imported before."""
    try:
        import xarray  # noqa: F401
    except ImportError as error:
        raise ImportError(f"sweeps need xarray: {_MISSING}") from error


class Rows:
    """Results of all runs on the host, filled batch by batch.

    A column has the dtype of what it holds, or the next one that has a NaN, for what is
    missing: int32 is float64, and no fitness is rounded.

    Args:
        num_settings: S.
        num_seeds: R.
        run_shapes: what a run of each group leaves, by the names of
            :func:`diffevo_jax.sweeps.batches.named`.
    """

    def __init__(
        self,
        num_settings: int,
        num_seeds: int,
        run_shapes: Sequence[Mapping[str, jax.ShapeDtypeStruct]],
    ) -> None:
        self.shape = (num_settings, num_seeds)
        self.columns = {
            name: np.full((*self.shape, *_largest(name, run_shapes)), np.nan, dtype)
            for name, dtype in _dtypes(run_shapes).items()
        }
        self.final = np.full(self.shape, np.nan, self.columns[_MEAN].dtype)
        self.known = np.zeros(self.shape, bool)
        self.evaluations = np.zeros(num_settings, np.int64)

    def put(
        self, setting: np.ndarray, seed: np.ndarray, arrays: Mapping[str, np.ndarray]
    ) -> None:
        """Store runs: flat arrays with a leading axis of runs, as :func:`flat` makes."""
        for name, values in arrays.items():
            inner = tuple(slice(length) for length in values.shape[1:])
            self.columns[name][:, :, *inner][setting, seed] = values
        self.final[setting, seed] = arrays[_MEAN][:, -1]
        self.known[setting, seed] = True

    def dataset(self, values: Sequence[dict[str, Any]]) -> "xarray.Dataset":
        """An ``xarray.Dataset`` with the dimensions setting, seed and generation.

        Args:
            values: what is swept, of every setting.
        """
        dims, best = ("setting", "seed"), self.columns["best"]
        finite = np.isfinite(self.final) & np.isfinite(best)
        variables: dict[str, Any] = {
            "final_mean": (dims, self.final),
            "final_best": (dims, best),
            "failed": (dims, self.known & ~finite),
            "missing": (dims, ~self.known),
            "evaluations": (dims[:1], self.evaluations),
        }
        for full, rows in self.columns.items():
            kind, _, name = full.partition("/")
            if kind == "history":
                variables[name] = ((*dims, "generation"), rows)
            elif kind == "kept":
                variables[name] = ((*dims, *KEEPABLE[name]), rows)
        coordinates: dict[str, Any] = {
            "setting": np.arange(self.shape[0]),
            "seed": np.arange(self.shape[1]),
            "generation": np.arange(self.columns[_MEAN].shape[2]),
        }
        for name in dict.fromkeys(name for row in values for name in row):
            column = [row.get(name) for row in values]
            coordinates[name] = ("setting", _column(column))
        import xarray

        dataset = xarray.Dataset(variables, coordinates)
        for name, text in ABOUT.items():
            dataset[name].attrs["long_name"] = text
        return dataset


ABOUT = {
    "final_mean": "mean fitness of the last population",
    "final_best": "best fitness of all evaluations; under noise the luckiest",
    "failed": "the last population or the best is not finite",
    "missing": "not run yet",
    "evaluations": "evaluations of a run",
}


def _column(values: Sequence[Any]) -> np.ndarray:
    if all(isinstance(value, int) for value in values):
        return np.array(values, np.int64)
    if all(isinstance(value, int | float) for value in values):
        return np.array(values, float)
    return np.array([str(value) for value in values], dtype=object)


def axes_of(dataset: "xarray.Dataset") -> list[str]:
    """Names of the coordinates that were swept."""
    swept = [str(name) for name in dataset.coords if dataset[name].dims == ("setting",)]
    return [name for name in swept if name != "setting"]


def check_dataset(dataset: object) -> None:
    """Raise TypeError unless it is an ``xarray.Dataset``."""
    if not hasattr(dataset, "data_vars"):
        got = annotations.got(dataset)
        raise TypeError(f"dataset: got {got}, want an xarray.Dataset, as of sweep")


@checked
def save(dataset: "xarray.Dataset", path: str | Path) -> None:
    """Save a sweep: NetCDF (``.nc``), Zarr (``.zarr``), or a tidy Parquet or CSV table.

    NetCDF and Zarr hold everything; ``xarray.open_dataset`` reads them. The tidy table has
    one row for each setting, seed and generation, or a CSV one for each setting and seed.
    All of it is written, or none, and what was there before is then as it was.
    :func:`diffevo_jax.sweeps.load` reads each of them.

    Raises:
        ValueError: the ending is none of these, or a folder is there that is no Zarr store.
        ImportError: the package for it is missing.
        OSError: it cannot be written, or the disk is full.

    Example:
        >>> import numpy as np, tempfile, xarray, diffevo_jax as de
        >>> from pathlib import Path
        >>> dims = ("setting", "seed", "generation")
        >>> history = np.ones((1, 2, 5))
        >>> columns = {"final_mean": (dims[:2], [[1.0, 3.0]]), "sigma": (dims, history)}
        >>> path = tempfile.mkdtemp() + "/sweep.csv"
        >>> de.sweeps.save(xarray.Dataset(columns), path)  # of de.sweep
        >>> print(Path(path).read_text())
        setting,seed,final_mean
        0,0,1.0
        0,1,3.0
    """
    check_dataset(dataset)
    path = check_ending(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished:
        _FORMATS[path.suffix].write(dataset, unfinished)


def check_ending(path: str | Path) -> Path:
    """Whether :func:`save` can write such a file, known before a sweep runs.

    Raises:
        ValueError: the ending is unknown, or there is a folder that is not to be replaced.
        ImportError: the package for it is missing.
    """
    path = Path(path)
    if path.suffix not in _FORMATS:
        raise ValueError(f"path: got {path}, want an ending among {', '.join(_FORMATS)}")
    try:
        for package in _FORMATS[path.suffix].packages:
            importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"{path.name}: {_MISSING} ({error})") from error
    found = {one.name for one in path.iterdir()} if os.path.isdir(path) else set()
    if found and not (path.suffix == ".zarr" and found & _ZARR):
        raise ValueError(f"path: got {path}, a folder with something else, want another")
    return path


@checked
def tidy(dataset: "xarray.Dataset", *, generations: bool = True) -> "pandas.DataFrame":
    """A pandas table with a row for each setting, seed and generation.

    Args:
        dataset: of :func:`diffevo_jax.sweep`.
        generations: False leaves the history out: a row for each setting and seed.

    Example:
        >>> import numpy as np, xarray, diffevo_jax as de
        >>> dims = ("setting", "seed", "generation")
        >>> history = np.ones((1, 2, 5))
        >>> columns = {"final_mean": (dims[:2], [[1.0, 3.0]]), "sigma": (dims, history)}
        >>> dataset = xarray.Dataset(columns)  # as a sweep has it
        >>> table = de.sweeps.tidy(dataset, generations=False)
        >>> table.final_mean.tolist(), len(de.sweeps.tidy(dataset))
        ([1.0, 3.0], 10)
    """
    check_dataset(dataset)
    kept = [name for name in dataset.data_vars if name in KEEPABLE]
    dataset = dataset.drop_vars(kept)
    if not generations:
        dataset = dataset.drop_dims("generation", errors="ignore")
    return dataset.to_dataframe().reset_index()


def _write_netcdf(dataset: "xarray.Dataset", path: Path) -> None:
    """By way of memory: on a full disk HDF5 raises again and again, wherever it ends."""
    import h5netcdf
    import xarray

    content = io.BytesIO()
    with h5netcdf.File(content, "w") as file:
        dataset.dump_to_store(xarray.backends.H5NetCDFStore(file))
    path.write_bytes(content.getbuffer())


class _Format(NamedTuple):
    packages: tuple[str, ...]
    write: Callable[[Any, Path], Any]


_FORMATS = {
    ".nc": _Format(("h5netcdf",), _write_netcdf),
    ".zarr": _Format(
        ("zarr",), lambda dataset, path: dataset.to_zarr(path, mode="w", consolidated=False)
    ),
    ".parquet": _Format(
        ("pandas", "pyarrow"),
        lambda dataset, path: tidy(dataset).to_parquet(path, index=False),
    ),
    ".csv": _Format(
        ("pandas",),
        lambda dataset, path: tidy(dataset, generations=False).to_csv(path, index=False),
    ),
}


@checked
def ranking(dataset: "xarray.Dataset", by: str = "final_mean") -> np.ndarray:
    """Numbers of the settings, the one with the best mean over seeds first.

    Settings with a failed or a missing run are left out.

    Args:
        dataset: of :func:`diffevo_jax.sweep`.
        by: ``"final_mean"`` or ``"final_best"``, which under noise ranks by luck.

    Example:
        >>> import numpy as np, xarray, diffevo_jax as de
        >>> final = np.array([[1.0, 3.0], [4.0, 6.0], [9.0, np.nan]])  # as a sweep has it
        >>> columns = {"final_mean": final, "failed": np.isnan(final), "missing": final < 0}
        >>> dims = ("setting", "seed")
        >>> dataset = xarray.Dataset({name: (dims, rows) for name, rows in columns.items()})
        >>> de.sweeps.ranking(dataset).tolist()  # of the last a run has failed
        [1, 0]
    """
    check_dataset(dataset)
    broken = np.asarray(dataset["failed"] | dataset["missing"]).any(axis=1)
    means = np.asarray(dataset[by], float)[~broken].mean(axis=1)
    return np.flatnonzero(~broken)[np.argsort(-means, kind="stable")]


@checked
def best_setting(dataset: "xarray.Dataset", by: str = "final_mean") -> int:
    """Number of the setting with the best mean over seeds; see :func:`ranking`.

    Raises:
        ValueError: no setting is without failed and missing runs.

    Example:
        >>> import numpy as np, xarray, diffevo_jax as de
        >>> final = np.array([[1.0, 3.0], [4.0, 6.0], [9.0, np.nan]])  # as a sweep has it
        >>> columns = {"final_mean": final, "failed": np.isnan(final), "missing": final < 0}
        >>> dims = ("setting", "seed")
        >>> dataset = xarray.Dataset({name: (dims, rows) for name, rows in columns.items()})
        >>> de.sweeps.best_setting(dataset)  # of the last a run has failed
        1
    """
    ranked = ranking(dataset, by)
    if not len(ranked):
        raise ValueError("best setting: got failed or missing runs in every setting")
    return int(ranked[0])


@checked
def interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Mean and confidence interval of the mean, by Student's t.

    Args:
        values: (R,) with R >= 2.
        level: how often it covers, in (0, 1).

    Example:
        >>> import diffevo_jax as de
        >>> [round(x, 2) for x in de.sweeps.interval([1.0, 3.0])]  # 2 and 12.71 either way
        [2.0, -10.71, 14.71]
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values: got shape {values.shape}, want (R,) with R >= 2")
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}, want a number in (0, 1)")
    mean, half = float(values.mean()), float(half_width(values, level))
    return mean, mean - half, mean + half


def half_width(values: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Half of the confidence interval of the mean over R runs, by Student's t.

    Args:
        values: (R, ...) with R >= 2.
        level: how often it covers, in (0, 1).

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.sweeps.tables import half_width
        >>> half_width(np.array([[0.0, 1.0], [2.0, 1.0]])).round(2).tolist()
        [12.71, 0.0]
    """
    from scipy.stats import t

    unit = unit_of(values)
    with np.errstate(invalid="ignore", over="ignore"):  # infinite runs; a wide interval
        error = (values / unit).std(axis=0, ddof=1) / math.sqrt(len(values))
        return unit * error * float(t.ppf(0.5 + level / 2, len(values) - 1))


def unit_of(values: np.ndarray) -> float:
    """The largest finite magnitude: in its unit no sum and no square overflows."""
    known = np.isfinite(values)
    magnitudes = np.abs(values, where=known, out=np.zeros(values.shape))
    return float(magnitudes.max(initial=0.0)) or 1.0


def flat(runs: KeptRuns) -> dict[str, np.ndarray]:
    """What is kept of runs, as named arrays on the host."""
    return {name: np.asarray(array) for name, array in named(runs).items()}


def _dtypes(
    run_shapes: Sequence[Mapping[str, jax.ShapeDtypeStruct]],
) -> dict[str, np.dtype]:
    """Of the columns of a table."""
    return {
        name: np.result_type(np.float32, *(group[name].dtype for group in run_shapes))
        for name in run_shapes[0]
    }


def _largest(
    name: str, run_shapes: Sequence[Mapping[str, jax.ShapeDtypeStruct]]
) -> tuple[int, ...]:
    """Shape of a column's entries: that of the longest runs."""
    shapes = [group[name].shape for group in run_shapes]
    return tuple(max(lengths) for lengths in zip(*shapes, strict=True))

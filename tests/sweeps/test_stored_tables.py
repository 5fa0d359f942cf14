"""Tables of sweeps: what was saved is read back, and what is none is refused."""

import numpy as np
import pandas
import pytest
import xarray

import diffevo_jax as de
from diffevo_jax.sweeps.stored_tables import of_rows

RNG = np.random.default_rng(0)


@pytest.fixture
def table() -> xarray.Dataset:
    """As a sweep of three settings and two seeds leaves it; one run has failed."""
    dims = ("setting", "seed")
    means = RNG.normal(size=(3, 2, 4))
    means[1, 0] = np.nan
    return xarray.Dataset(
        {
            "final_mean": (
                dims,
                means[..., -1],
                {"long_name": "mean fitness of the last population"},
            ),
            "final_best": (dims, means.max(axis=-1)),
            "failed": (dims, np.isnan(means[..., -1])),
            "missing": (dims, np.zeros((3, 2), bool)),
            "evaluations": (dims[:1], np.array([8, 8, 16])),
            "mean_fitness": ((*dims, "generation"), means),
        },
        {
            "setting": np.arange(3),
            "seed": np.arange(2),
            "generation": np.arange(4),
            "sampler.eta": ("setting", [0.1, 1 / 3, 1.0]),
            "kernel": ("setting", np.array(["None", "Tempered()", "NA"], object)),
        },
        {"name": "beale"},
    )


@pytest.mark.parametrize("ending", [".nc", ".zarr"])
def test_a_dataset_is_read_as_it_was(table, ending, tmp_path) -> None:
    de.sweeps.save(table, tmp_path / f"sweep{ending}")
    xarray.testing.assert_identical(de.sweeps.load(tmp_path / f"sweep{ending}"), table)


@pytest.mark.parametrize(
    ("ending", "lost"), [(".parquet", []), (".csv", ["mean_fitness", "generation"])]
)
def test_a_tidy_table_is_the_dataset_again(table, ending, lost, tmp_path) -> None:
    de.sweeps.save(table, tmp_path / f"sweep{ending}")
    found = de.sweeps.load(tmp_path / f"sweep{ending}")
    # some versions of pandas read the last digit of a CSV otherwise
    xarray.testing.assert_allclose(found, table.drop_vars(lost), rtol=1e-14)
    assert found["final_mean"].attrs == table["final_mean"].attrs
    assert de.sweeps.ranking(found).tolist() == de.sweeps.ranking(table).tolist()
    assert len(de.sweeps.tidy(found, generations=False)) == 6


def test_a_run_without_a_row_is_missing_and_one_without_a_mean_has_failed() -> None:
    rows = {"setting": [0, 0, 4], "seed": [0, 1, 1], "final_mean": [1.0, np.nan, 3.0]}
    found = of_rows(pandas.DataFrame(rows))
    assert found["missing"].values.tolist() == [[False, False], [True, False]]
    assert found["setting"].values.tolist() == [0, 4]


def test_flags_that_a_table_lacks_follow_from_its_means(tmp_path) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text("setting,seed,final_mean,a\n0,0,,1\n1,0,2,2\n")
    found = de.sweeps.load(path)
    assert found["failed"].values.tolist() == [[True], [False]]
    assert de.sweeps.ranking(found).tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column setting"),
        ("setting,seed,final_mean\n", "no run, want one at least"),
        ("setting,seed,final_mean\n0,0,1\n0,0,2\n", "a run is there twice"),
        ("setting,seed,final_mean,a\n0,0,1,1\n0,1,2,2\n", "a has several values"),
        ("setting,seed,final_mean\nx,0,1\n", "no table of a sweep"),
    ],
)
def test_a_table_of_no_sweep_is_refused(text, message, tmp_path) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^path: got .*sweep\.csv.*{message}"):
        de.sweeps.load(path)


def test_a_path_is_checked_as_by_save(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"want an ending among \.nc"):
        de.sweeps.load(tmp_path / "sweep.txt")
    with pytest.raises(FileNotFoundError):
        de.sweeps.load(tmp_path / "sweep.nc")
    (tmp_path / "sweep.zarr").mkdir()
    (tmp_path / "sweep.zarr" / "other").touch()
    with pytest.raises(ValueError, match="a folder with something else"):
        de.sweeps.load(tmp_path / "sweep.zarr")

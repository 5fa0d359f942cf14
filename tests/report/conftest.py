"""Results that the tests of pages share."""

import numpy as np
import pytest
import xarray
from made_results import made

import diffevo_jax as de

COMMAND = "diffevo evolve himmelblau --seeds 3 --out 'a <b>.npz'"


@pytest.fixture(scope="session")
def two_numbers(tmp_path_factory) -> str:
    """The file of three runs on a landscape."""
    path = tmp_path_factory.mktemp("two") / "landscape.npz"
    problem = de.problems.Landscape("himmelblau")
    notes = {"name": "himmelblau", "population_size": 16, "seeds": 3}
    about = {"strategy": de.DiffusionEvolution(6), "problem": problem, "notes": notes}
    de.save(path, made(3, 16, 2, scale=4.0), **about, command=COMMAND)
    return str(path)


@pytest.fixture(scope="session")
def many_numbers(tmp_path_factory) -> str:
    """The file of one run in twelve dimensions."""
    path = tmp_path_factory.mktemp("many") / "sphere.npz"
    problem = de.problems.Function(lambda x: -(x**2).sum(), dim=12)
    strategy = de.DiffusionEvolution(6)
    de.save(path, made(None, 16, 12), strategy=strategy, problem=problem)
    return str(path)


@pytest.fixture(scope="session")
def swept(tmp_path_factory) -> str:
    """The table of a sweep over two axes: six settings, two seeds."""
    means = np.random.default_rng(0).normal(size=(6, 2, 3))
    dims, alike = ("setting", "seed"), np.zeros((6, 2), bool)
    dataset = xarray.Dataset(
        {
            "final_mean": (dims, means[..., -1]),
            "final_best": (dims, means.max(axis=-1)),
            "failed": (dims, alike),
            "missing": (dims, alike),
            "evaluations": (dims[:1], np.full(6, 24)),
            "mean_fitness": ((*dims, "generation"), means),
        },
        {
            "setting": np.arange(6),
            "seed": np.arange(2),
            "generation": np.arange(3),
            "sampler.eta": ("setting", np.repeat([0.0, 0.5, 1.0], 2)),
            "shaping.temperature": ("setting", np.tile([0.1, 1.0], 3)),
        },
    )
    path = tmp_path_factory.mktemp("sweep") / "sweep.nc"
    de.sweeps.save(dataset, path)
    return str(path)

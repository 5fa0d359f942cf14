"""Runs to draw; nothing global is touched by any picture."""

import sys

import jax
import matplotlib as mpl
import pytest

import diffevo_jax as de

PROBLEM = de.problems.Landscape("two_peaks", scale=1.5)
STRATEGY = de.DiffusionEvolution(
    6, denoiser=de.denoisers.Population(shaping=de.shaping.Identity())
)


@pytest.fixture(scope="session")
def results():
    """Of five runs, in one program."""
    record = ("population", "fitness", "clean_estimate")

    def run(key):
        return de.evolve(key, STRATEGY, PROBLEM, population_size=16, record=record)

    return jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 5))


@pytest.fixture
def history(results):
    return results.history


@pytest.fixture
def result(results):
    return jax.tree.map(lambda leaf: leaf[0], results)


@pytest.fixture
def problem():
    return PROBLEM


@pytest.fixture(autouse=True)
def nothing_global_changes():
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()

"""Results that the tests of pages share."""

import jax
import pytest

import diffevo_jax as de

RECORD = ("population", "fitness")


@pytest.fixture(scope="session")
def two_numbers(tmp_path_factory) -> str:
    """The file of three runs on a landscape."""
    problem = de.problems.Landscape("himmelblau")
    strategy = de.DiffusionEvolution(6)
    run = lambda key: de.evolve(key, strategy, problem, population_size=16, record=RECORD)
    results = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 3))
    path = tmp_path_factory.mktemp("two") / "landscape.npz"
    command = "diffevo evolve himmelblau --seeds 3 --out 'a <b>.npz'"
    notes = {"name": "himmelblau", "population_size": 16, "seeds": 3}
    de.save(path, results, strategy=strategy, problem=problem, notes=notes, command=command)
    return str(path)


@pytest.fixture(scope="session")
def many_numbers(tmp_path_factory) -> str:
    """The file of one run on a sphere in twelve dimensions."""
    problem = de.problems.Function(lambda x: -(x**2).sum(), dim=12)
    strategy = de.DiffusionEvolution(6)
    key = jax.random.key(1)
    result = de.evolve(key, strategy, problem, population_size=16, record=RECORD)
    path = tmp_path_factory.mktemp("many") / "sphere.npz"
    de.save(path, result, strategy=strategy, problem=problem)
    return str(path)


@pytest.fixture(scope="session")
def swept(tmp_path_factory) -> str:
    """The table of a sweep over two axes."""
    dataset = de.sweep(
        jax.random.key(0),
        de.DiffusionEvolution(3),
        de.problems.Landscape("himmelblau"),
        axes={"sampler.eta": [0.0, 0.5, 1.0], "shaping.temperature": [0.1, 1.0]},
        population_size=8,
        num_seeds=2,
    )
    path = tmp_path_factory.mktemp("sweep") / "sweep.nc"
    de.sweeps.save(dataset, path)
    return str(path)

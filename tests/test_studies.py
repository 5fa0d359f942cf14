"""What the studies of the benchmarks have of their own: an archive, a loop."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks_can_be_imported(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_an_archive_of_elites_keeps_the_best_of_every_cell() -> None:
    import learning_curves

    # given four cells, candidates in some of them, three times over
    draw = np.random.default_rng(0)
    points = draw.normal(size=(3, 20, 2)).astype(np.float32)
    fitness = draw.normal(size=(3, 20)).astype(np.float32)
    fitness[0, 3] = np.nan
    cell = draw.integers(0, 3, size=(3, 20))  # nobody is in the last one
    archive = jnp.zeros((4, 2)), jnp.full(4, -jnp.inf)
    for told in zip(points, fitness, cell, strict=True):
        archive = learning_curves.kept(*archive, *map(jnp.asarray, told))
    # then each has the best that ever was in it
    elites, best = map(np.asarray, archive)
    for each in range(3):
        inside = np.where(cell == each, np.nan_to_num(fitness, nan=-np.inf), -np.inf)
        at = np.unravel_index(inside.argmax(), inside.shape)
        assert best[each] == fitness[at]
        np.testing.assert_array_equal(elites[each], points[at])
    assert best[3] == -np.inf


def test_labels_of_curves_are_moved_apart() -> None:
    import learning_curves

    moved = learning_curves.apart(np.array([100.0, 490.0, 95.0, 500.0]), 20.0)
    assert moved.tolist() == [100.0, 480.0, 80.0, 500.0]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["contraction", "shift", "mixture"])
def test_with_no_shares_the_loop_is_the_default(stage) -> None:
    import shares
    from design_tasks import TASKS

    task = TASKS["8 dims"]._replace(num_generations=5)
    problem, key = de.replace(task.problems(), number=0), jax.random.key(3)
    result = de.evolve(
        key, de.DiffusionEvolution(5), problem, population_size=task.population_size
    )
    loop = jax.jit(lambda key: shares.evolved(stage, task, key, problem, shares.DEFAULT))
    np.testing.assert_allclose(loop(key), task.score(result.fitness), rtol=1e-3)

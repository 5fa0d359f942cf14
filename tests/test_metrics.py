"""Numbers that describe weights and populations."""

import collections
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax import metrics


def random_weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(shape[-1]), size=shape[:-1])


def test_effective_sample_size_is_the_inverse_of_the_sum_of_squares():
    weights = random_weights(3, 5)

    sizes = metrics.effective_sample_size(jnp.asarray(weights))

    np.testing.assert_allclose(sizes, 1 / (weights**2).sum(axis=1), rtol=1e-5)  # float32


@pytest.mark.parametrize(
    ("weights", "size"),
    [([0.0, 1.0, 0.0, 0.0], 1.0), ([0.25] * 4, 4.0), ([0.5, 0.5, 0.0, 0.0], 2.0)],
)
def test_effective_sample_size_counts_those_who_have_weight(weights, size):
    assert float(metrics.effective_sample_size(jnp.asarray(weights))) == size


def test_self_weight_is_the_diagonal():
    weights = random_weights(4, 4)

    np.testing.assert_allclose(
        metrics.self_weight(jnp.asarray(weights)), np.diag(weights), rtol=1e-6
    )


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_entropy_is_that_of_the_occupied_cells(dim):
    population = np.random.default_rng(1).normal(size=(64, dim)).astype(np.float32) * 0.2
    cells = collections.Counter(map(tuple, np.round(population / np.float32(0.1))))
    shares = np.array(list(cells.values())) / 64

    entropy = metrics.entropy(jnp.asarray(population))

    np.testing.assert_allclose(entropy, -(shares * np.log2(shares)).sum(), rtol=1e-5)


def test_entropy_runs_from_zero_to_the_logarithm_of_the_population_size():
    together = jnp.full((16, 2), 0.3)
    apart = jnp.arange(16.0)[:, None] * jnp.ones(2)

    assert float(metrics.entropy(together)) == 0.0
    assert float(metrics.entropy(apart)) == math.log2(16)


def test_a_larger_cell_holds_more():
    population = jnp.array([[0.0], [0.4], [3.0], [3.4]])

    assert float(metrics.entropy(population, cell=0.1)) == 2.0
    assert float(metrics.entropy(population, cell=1.0)) == 1.0


def test_top_takes_the_fittest_best_first():
    population = jnp.arange(5.0)[:, None]

    best = metrics.top(population, jnp.array([3.0, 9.0, -1.0, 7.0, 0.0]), 3)

    assert best.ravel().tolist() == [1.0, 3.0, 0.0]


def test_top_puts_failed_fitness_last():
    population = jnp.arange(4.0)[:, None]

    best = metrics.top(population, jnp.array([jnp.nan, -5.0, jnp.inf, -6.0]), 2)

    assert best.ravel().tolist() == [1.0, 3.0]


def test_qd_score_is_the_sum_over_cells_of_the_best():
    rng = np.random.default_rng(2)
    solutions = rng.uniform(-6, 6, size=(50, 2)).astype(np.float32)
    fitness = rng.uniform(size=50).astype(np.float32)
    best: dict[tuple[float, ...], float] = {}
    for solution, value in zip(solutions, fitness, strict=True):
        cell = tuple(np.round(np.clip(solution, -4, 4)))
        best[cell] = max(best.get(cell, 0.0), float(value))

    score = metrics.qd_score(jnp.asarray(solutions), jnp.asarray(fitness), low=-4, high=4)

    np.testing.assert_allclose(score, sum(best.values()), rtol=1e-5)


def test_qd_score_of_the_perfect_population_is_the_number_of_cells():
    axis = np.arange(-4.0, 5.0)
    solutions = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)

    score = metrics.qd_score(jnp.asarray(solutions), jnp.ones(81), low=-4.0, high=4.0)

    assert float(score) == 81.0  # the published 9 x 9 cells


def test_qd_score_does_not_count_the_failed():
    solutions = jnp.array([[0.0], [1.0], [2.0]])

    score = metrics.qd_score(
        solutions, jnp.array([0.5, jnp.nan, jnp.inf]), low=-4.0, high=4.0
    )

    assert float(score) == 0.5


def test_metrics_can_be_mapped_over_runs():
    populations = 0.1 * np.random.default_rng(3).normal(size=(3, 8, 2)).astype(np.float32)

    mapped = jax.vmap(metrics.entropy)(populations)

    alone = [metrics.entropy(one) for one in populations]
    np.testing.assert_allclose(mapped, np.stack(alone), rtol=1e-6)

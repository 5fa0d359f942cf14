"""The Gaussian fit with fewer individuals than dimensions: what is chance is shrunk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from often import often

import diffevo_jax as de
from diffevo_jax.attention import covariance


@pytest.mark.parametrize(("size", "dim"), often(1, [(32, 1000), (6, 20_000), (24, 300)]))
@pytest.mark.parametrize("guidance", [0.0, 0.75])
def test_few_individuals_in_many_dimensions_do_not_fly_apart(size, dim, guidance) -> None:
    # given the published levels, and a sphere whose optimum is at the root of 1
    problem = de.problems.Function(lambda x: -jnp.mean((x - 1.0) ** 2), dim=dim)
    fit = de.denoisers.GaussianFit(guidance=guidance)
    strategy = de.DiffusionEvolution(10, fit, grid=de.noise.Cosine())
    history = de.evolve(jax.random.key(0), strategy, problem, population_size=size).history
    # then no generation is much worse than the first one, where fitness is about -2
    assert float(history.mean_fitness.min()) > -2.5
    assert float(history.mean_fitness[-1]) > float(history.mean_fitness[0])


@pytest.mark.parametrize("size", [4, 16])
@pytest.mark.parametrize("softness", [0.0, 1.0], ids=["equal weights", "unequal weights"])
def test_of_a_sphere_in_many_dimensions_all_is_chance(size, softness) -> None:
    draw = np.random.default_rng(0)
    weight = jax.nn.softmax(jnp.float32(softness * draw.normal(size=size)))
    points = jnp.float32(draw.normal(size=(size, 50_000)))
    centred = points - weight @ points
    share, variance = covariance.shrinkage(weight, centred)
    # the length of a point in 50,000 dimensions differs by 1 % or so
    assert share > 0.98
    np.testing.assert_allclose(variance, 1 - jnp.sum(weight**2), rtol=0.03)


def test_with_many_points_nothing_is_shrunk() -> None:
    draw = np.random.default_rng(0)
    points = jnp.float32(draw.normal(size=(20_000, 3)) * [3.0, 1.0, 0.1])
    weight = jnp.full(20_000, 1 / 20_000)
    share, _ = covariance.shrinkage(weight, points - points.mean(axis=0))
    assert 0 <= share < 1e-3


def test_points_of_the_same_weight_have_one_degree_of_freedom_less() -> None:
    freedom = jax.vmap(covariance.degrees_of_freedom)
    weights = jnp.array([[0.25] * 4, [0.5, 0.5, 0.0, 0.0], [0.9, 0.1, 0.0, 0.0]])
    np.testing.assert_allclose(freedom(weights), [3.0, 1.0, 1.0], rtol=1e-4)
    assert covariance.degrees_of_freedom(jnp.array([1.0, 0.0])) == 1.0

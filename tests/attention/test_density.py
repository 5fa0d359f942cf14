"""How crowded it is: what the conditions do not show. They have the oracles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxprs import equations, largest_array

from diffevo_jax.attention import density

DISTANCE = jax.jit(density.neighbour_distance, static_argnums=1)
DENSITY = jax.jit(density.log_density)
FUNCTIONS = {
    "distance": lambda points: density.neighbour_distance(points, 3),
    "density": density.log_density,
}
FOUR = jnp.zeros((4, 2))
each_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


@each_function
def test_no_matrix_of_a_large_population_is_made(function):
    jaxpr = jax.make_jaxpr(function)(jnp.zeros((5000, 2)))

    assert largest_array(jaxpr) <= 5000 * 1024


@each_function
def test_every_matrix_product_asks_for_full_precision(function):
    jaxpr = jax.make_jaxpr(function)(jnp.zeros((8, 2)))

    products = [e for e in equations(jaxpr) if e.primitive.name == "dot_general"]
    asked = {precision for e in products for precision in e.params["precision"]}
    assert asked == {jax.lax.Precision.HIGHEST}


def test_blocks_of_a_large_population_join():
    points = np.random.default_rng(0).normal(size=(1100, 1)).astype(np.float32)

    got = DISTANCE(points, 50)

    apart = np.abs(points - points.T.astype(np.float64)) / points.std(dtype=np.float64)
    want = np.sort(apart, axis=1)[:, 1:51].mean(axis=1)  # oneself comes first
    # Squares of distances are off by 1e-7 of the spread, their roots by up to 3e-4.
    np.testing.assert_allclose(got, want, atol=1e-3)


def test_in_one_dimension_the_nearest_is_next():
    got = DISTANCE(np.array([[0.0], [1.0], [3.0], [7.0]], np.float32), 1)

    np.testing.assert_allclose(got * np.sqrt(7.1875), [1.0, 1.0, 2.0, 4.0], rtol=1e-5)


def test_scores_have_mean_zero_and_deviation_one_over_the_valid():
    distance, valid = jnp.array([1.0, 2.0, 6.0, 99.0]), jnp.array([1, 1, 1, 0], bool)

    scores = np.asarray(density.standardized_distances(distance, valid))[:3]

    np.testing.assert_allclose([scores.mean(), scores.std()], [0.0, 1.0], atol=1e-6)


def test_a_spread_of_rounding_errors_is_none():
    distance = jnp.array([1.0, 1.0 + 1e-5, 1.0])

    scores = density.standardized_distances(distance, jnp.ones(3, bool))

    assert scores.tolist() == [0.0, 0.0, 0.0]


def test_who_does_not_count_is_as_if_not_there():
    points = np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32)
    valid = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
    points[~valid] = 1e6

    some = DENSITY(points, valid=valid)

    alone = DENSITY(points[valid])
    np.testing.assert_allclose(some[valid], alone, atol=1e-5)
    assert some[~valid].tolist() == [0.0, 0.0]


def test_derivatives_are_right_where_two_cells_are_as_near():
    # given a cross, whose middle is as far from one centre as from the other
    cross = np.array([[1, 0], [-1, 0], [0, 0], [0, 0.5], [0, -0.5]], np.float32)

    def definition(points):
        size, dim = points.shape
        spread = jnp.sqrt(jnp.mean((points - points.mean(axis=0)) ** 2))
        bandwidth = size ** (-1 / (dim + 4)) * spread
        apart = points[:, None] - points[None]
        kernel = jnp.exp(-jnp.sum(apart**2, axis=2) / (2 * bandwidth**2))
        return jnp.log(kernel.mean(axis=1))

    got = jax.jit(jax.jacobian(density.log_density))(cross)
    want = jax.jit(jax.jacobian(definition))(cross)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: density.neighbour_distance(FOUR, 4), ValueError, "count: got 4, want"),
        (
            lambda: density.neighbour_distance(FOUR, 9, None, jnp.ones(1)),
            ValueError,
            r"fitness: got shape \(1,\), want \(4,\)",
        ),
        (
            lambda: density.neighbour_distance(FOUR, 1, jnp.ones(1, bool)),
            ValueError,
            r"valid: got shape \(1,\), want \(4,\)",
        ),
        (lambda: density.log_density(FOUR[0]), ValueError, r"points: got shape \(2,\)"),
        (
            lambda: density.log_density(FOUR, -1.0),
            ValueError,
            r"bandwidth: got -1\.0, want",
        ),
    ],
)
def test_what_has_no_density_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_integers_are_points_too():
    points = [[0, 0], [1, 2], [3, 1]]
    of = lambda points: jax.jit(lambda: density.log_density(points))()
    np.testing.assert_array_equal(of(points), of(jnp.asarray(points, float)))

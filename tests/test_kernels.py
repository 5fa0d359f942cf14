"""Kernels: the feature map and the factor on the squared distance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax import kernels, validation


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0])
def test_the_factor_of_the_gaussian_kernel_is_kappa(kappa):
    assert kernels.Gaussian(kappa).factor((), dim=58) == kappa


@pytest.mark.parametrize(
    ("dimension", "dim", "kappa"),
    [(2.0, 1, 1.0), (2.0, 2, 1.0), (2.0, 58, 2 / 58), (0.5, 4, 0.125), (100.0, 58, 1.0)],
)
def test_the_tempered_kernel_counts_distances_as_in_few_dimensions(dimension, dim, kappa):
    factor = kernels.Tempered(dimension).factor((), dim=dim)

    np.testing.assert_allclose(factor, kappa, rtol=1e-6)


def test_the_factor_of_a_projection_is_one():
    assert kernels.RandomProjection(2).factor(jnp.ones((2, 5)), dim=5) == 1.0


@pytest.mark.parametrize("kernel", [kernels.Gaussian(), kernels.Tempered()])
def test_the_features_without_a_projection_are_the_points(kernel):
    points = jax.random.normal(jax.random.key(0), (4, 3))

    features = kernel.features(kernel.init(jax.random.key(1), 3), points)

    assert jnp.array_equal(features, points)


@pytest.mark.parametrize("kernel", [kernels.Gaussian(), kernels.Tempered()])
def test_a_kernel_without_a_projection_keeps_no_array(kernel):
    assert jax.tree.leaves(kernel.init(jax.random.key(0), 1_000_000)) == []


@pytest.mark.parametrize(("latent", "dim"), [(1, 1), (2, 58), (8, 3)])
def test_the_rows_of_a_projection_have_length_one(latent, dim):
    matrix = kernels.RandomProjection(latent).init(jax.random.key(2), dim)

    assert matrix.shape == (latent, dim)
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1.0, rtol=1e-6)


def test_the_rows_of_a_projection_point_everywhere():
    draw = jax.jit(jax.vmap(lambda key: kernels.RandomProjection(2).init(key, 3)))

    rows = np.asarray(draw(jax.random.split(jax.random.key(3), 2000))).reshape(-1, 3)

    # A uniform direction has mean 0 and covariance I / 3; 5 standard errors.
    assert np.abs(rows.mean(axis=0)).max() < 5 / np.sqrt(3 * 4000)
    assert np.abs(rows.T @ rows / 4000 - np.eye(3) / 3).max() < 5 * 0.3 / np.sqrt(4000)


def test_the_shadow_of_a_standard_normal_population_is_standard_normal():
    kernel, count = kernels.RandomProjection(2), 20_000
    points = jax.random.normal(jax.random.key(4), (count, 58))

    shadow = np.asarray(kernel.features(kernel.init(jax.random.key(5), 58), points))

    error = 5 / np.sqrt(count)
    np.testing.assert_allclose(shadow.mean(axis=0), 0.0, atol=error)
    np.testing.assert_allclose(shadow.var(axis=0), 1.0, atol=error * np.sqrt(2))


def test_a_shadow_is_the_matrix_product_of_the_points():
    kernel = kernels.RandomProjection(3)
    matrix = kernel.init(jax.random.key(6), 7)
    points = np.random.default_rng(0).normal(size=(4, 7))

    shadow = kernel.features(matrix, jnp.asarray(points))

    want = points @ np.asarray(matrix, np.float64).T
    np.testing.assert_allclose(shadow, want, atol=2e-6)  # float32 sums of 7 terms


def test_a_shadow_is_linear():
    kernel = kernels.RandomProjection(2)
    matrix = kernel.init(jax.random.key(7), 5)
    first, second = np.random.default_rng(8).normal(size=(2, 4, 5)).astype(np.float32)
    shadow = lambda points: np.asarray(kernel.features(matrix, points))

    mixed = shadow(2.0 * first - 0.5 * second)

    np.testing.assert_allclose(mixed, 2.0 * shadow(first) - 0.5 * shadow(second), atol=2e-6)


def test_a_projection_is_a_function_of_its_key():
    kernel = kernels.RandomProjection(2)

    first, again = (kernel.init(jax.random.key(9), 5) for _ in range(2))

    assert jnp.array_equal(first, again)
    assert not jnp.array_equal(first, kernel.init(jax.random.key(10), 5))


def test_the_shadow_asks_for_full_precision():
    kernel = kernels.RandomProjection(2)
    jaxpr = jax.make_jaxpr(kernel.features)(jnp.ones((2, 5)), jnp.ones((4, 5)))

    (product,) = [e for e in jaxpr.eqns if e.primitive.name == "dot_general"]

    assert set(product.params["precision"]) == {jax.lax.Precision.HIGHEST}


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (kernels.Gaussian(kappa=-1.0), r"Gaussian\.kappa: got -1\.0, want .* >= 0"),
        (kernels.Tempered(dimension=0.0), r"Tempered\.dimension: got 0\.0, want .* > 0"),
        (kernels.RandomProjection(dim=0), r"RandomProjection\.dim: got 0, want"),
    ],
)
def test_a_number_out_of_range_is_refused(kernel, message):
    with pytest.raises(ValueError, match=message):
        validation.validate(kernel)

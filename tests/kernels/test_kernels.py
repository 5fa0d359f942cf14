"""Kernels: the feature map and the factor on the squared distance."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import kernels
from diffevo_jax.pytree import validation

#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}


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
        (kernels.PrincipalComponents(0), r"PrincipalComponents\.dim: got 0, want"),
        (kernels.Perplexity(0.5), r"Perplexity\.neighbours: got 0\.5, want .* >= 1"),
    ],
)
def test_a_number_out_of_range_is_refused(kernel, message):
    with pytest.raises(ValueError, match=message):
        validation.validate(kernel)


# Principal components


def weighted_points(count: int = 40, dim: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Points with axes of different lengths away from the origin, and log-weights."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(dim, dim)) * np.linspace(3.0, 0.2, dim)[:, None]
    points = rng.normal(size=(count, dim)) @ mix + 2.0
    log_weight = rng.normal(size=count)
    log_weight[:3] = -np.inf
    return points.astype(np.float32), log_weight.astype(np.float32)


@functools.partial(jax.jit, compiler_options=QUICK)
def generation(strategy, points, fitness):
    key = jax.random.key(0)
    return strategy.tell(key, strategy.init(key, points), points, fitness)[0]


def tell(kernel, points, log_weight):
    """One generation without fresh noise, under log-weights that are the fitness."""
    strategy = de.DiffusionEvolution(
        10,
        denoiser=de.denoisers.Population(
            kernel=kernel, shaping=de.shaping.Boltzmann(1.0), guidance=0.0
        ),
        grid=de.noise.Cosine(),
        sampler=de.samplers.DDIM(eta=0.0),
    )
    return generation(strategy, points, log_weight)


def test_the_axes_are_the_eigenvectors_of_the_weighted_covariance():
    points, log_weight = weighted_points()

    axes = kernels.principal_axes(jnp.asarray(points), jnp.asarray(log_weight), 3)

    weight = np.exp(np.float64(log_weight))
    covariance = np.cov(np.float64(points).T, aweights=weight, bias=True)
    vectors = np.linalg.eigh(covariance)[1][:, ::-1][:, :3]
    # up to sign; float32 rounding over the differences of the eigenvalues
    np.testing.assert_allclose(np.abs(axes @ vectors), np.eye(3), atol=1e-4)


def test_whoever_has_no_weight_does_not_turn_the_axes():
    points, log_weight = weighted_points()
    moved = points.copy()
    moved[:3] *= 100

    first, second = (kernels.principal_axes(x, log_weight, 2) for x in (points, moved))

    np.testing.assert_allclose(np.abs(first @ second.T), np.eye(2), atol=1e-5)


def test_without_any_weight_all_turn_the_axes_the_same():
    points, _ = weighted_points()

    nobody = kernels.principal_axes(points, jnp.full(len(points), -jnp.inf), 2)

    every = kernels.principal_axes(points, jnp.zeros(len(points)), 2)
    np.testing.assert_allclose(nobody, every, atol=1e-6)


def test_fewer_points_than_axes_leave_axes_of_zeros():
    points, log_weight = weighted_points()

    axes = kernels.principal_axes(points[-2:], log_weight[-2:], 4)

    assert axes.shape == (4, 5)
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), [1, 1, 0, 0], atol=1e-6)


@pytest.mark.parametrize("count", [1, 6])
def test_equal_points_have_some_finite_axes(count):
    axes = kernels.principal_axes(jnp.full((count, 3), 0.7), jnp.zeros(count), 2)

    assert np.isfinite(axes).all()


def test_more_axes_than_dimensions_are_refused():
    with pytest.raises(
        ValueError, match=r"PrincipalComponents\.dim: got 3, want at most 2"
    ):
        kernels.PrincipalComponents(3).init(jax.random.key(0), 2)


def test_queries_and_keys_are_measured_along_the_same_axes():
    points, log_weight = weighted_points()
    log_weight = np.where(np.isfinite(log_weight), log_weight, np.nan)

    told = tell(kernels.PrincipalComponents(2), points, log_weight)

    sigma = float(de.noise.Cosine().sigmas(10)[0])
    axes = np.float64(told.denoiser.kernel_state)
    queries = np.sqrt(1 + sigma**2) * np.float64(points) @ axes.T
    squares = ((queries[:, None] - np.float64(points) @ axes.T) ** 2).sum(axis=-1)
    weight = np.nan_to_num(np.exp(np.float64(log_weight))) * np.exp(-squares / 2 / sigma**2)
    want = weight @ points / weight.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(told.clean_estimate, want, atol=1e-4)


def test_a_turned_population_has_turned_answers():
    points, log_weight = weighted_points()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0].astype(np.float32)
    kernel = kernels.PrincipalComponents(2)

    plain = tell(kernel, points[3:], log_weight[3:]).clean_estimate
    turned = tell(kernel, points[3:] @ turn, log_weight[3:]).clean_estimate

    np.testing.assert_allclose(turned, plain @ turn, atol=2e-4)  # values reach 10


def test_all_principal_components_are_the_exact_kernel():
    points, log_weight = weighted_points()

    every = tell(kernels.PrincipalComponents(5), points[3:], log_weight[3:])

    exact = tell(kernels.Gaussian(), points[3:], log_weight[3:])
    np.testing.assert_allclose(every.population, exact.population, atol=1e-4)


# Perplexity

PRECISION = jax.jit(kernels.perplexity_precision, compiler_options=QUICK)


def half_squares(scale: float = 1.0) -> np.ndarray:
    """Half the squared distances of 6 queries and 40 keys in 3 dimensions."""
    rng = np.random.default_rng(2)
    queries, keys = rng.normal(size=(6, 1, 3)), rng.normal(size=(40, 3))
    return np.float32(0.5 * ((scale * (queries - keys)) ** 2).sum(axis=-1))


def kernel_weights(half, neighbours, mask=None) -> np.ndarray:
    """Normalised weights of the calibrated kernel, in float64."""
    mask = np.ones(half.shape[1], bool) if mask is None else mask
    precision = np.float64(PRECISION(half, mask, neighbours))
    exponent = -precision[:, None] * (half - half[:, mask].min(axis=1, keepdims=True))
    weight = np.where(mask, np.exp(np.where(mask, exponent, 0.0)), 0.0)
    return weight / weight.sum(axis=1, keepdims=True)


def perplexity(weight: np.ndarray) -> np.ndarray:
    return np.exp(-np.sum(weight * np.log(np.maximum(weight, 1e-300)), axis=1))


@pytest.mark.parametrize("neighbours", [1.5, 4.0, 20.0, 39.0])
def test_everybody_has_as_many_neighbours_as_asked_for(neighbours):
    weight = kernel_weights(half_squares(), neighbours)

    np.testing.assert_allclose(perplexity(weight), neighbours, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e3, 1e-3])
def test_distances_have_no_unit(scale):
    weight = kernel_weights(half_squares(scale), 10.0)

    # exponents up to 20, wrong by float32 rounding
    np.testing.assert_allclose(weight, kernel_weights(half_squares(), 10.0), atol=1e-5)


def test_a_power_of_two_as_scale_changes_no_bit():
    plain, doubled = (PRECISION(half_squares(s), np.ones(40, bool), 7.0) for s in (1, 2))

    assert jnp.array_equal(plain, 4 * doubled)


def test_a_constant_in_a_row_does_not_matter():
    raised = half_squares() + np.arange(6, dtype=np.float32)[:, None] - 3.0

    weight = kernel_weights(raised, 10.0)

    np.testing.assert_allclose(weight, kernel_weights(half_squares(), 10.0), atol=1e-5)


@pytest.mark.parametrize("neighbours", [40.0, 41.0, 1e6])
def test_with_as_many_neighbours_as_individuals_everyone_is_one(neighbours):
    weight = kernel_weights(half_squares(), neighbours)

    np.testing.assert_allclose(weight, 1 / 40, rtol=1e-6)


@pytest.mark.parametrize("neighbours", [1.0, 0.0, -5.0])
def test_one_neighbour_is_the_nearest(neighbours):
    # less than one there is not, and a traced number may ask for it
    weight = kernel_weights(half_squares(), neighbours)

    nearest = np.argmin(half_squares(), axis=1)
    np.testing.assert_allclose(weight[np.arange(6), nearest], 1.0, rtol=1e-6)


@pytest.mark.parametrize("neighbours", [1.0, 3.0, 50.0])
@pytest.mark.parametrize("distance", [0.0, 2.5])
def test_equal_distances_are_equal_weights(distance, neighbours):
    weight = kernel_weights(np.full((6, 40), distance, np.float32), neighbours)

    np.testing.assert_array_equal(weight, 1 / 40)


def test_whoever_has_no_weight_is_no_neighbour():
    mask = np.arange(40) % 3 > 0
    half = half_squares()
    half[:, ~mask] = 0.0  # nearer than anyone

    weight = kernel_weights(half, 8.0, mask)

    np.testing.assert_allclose(
        weight[:, mask], kernel_weights(half[:, mask], 8.0), rtol=1e-4
    )


def test_if_nobody_has_weight_everyone_is_a_neighbour():
    nobody = PRECISION(half_squares(), np.zeros(40, bool), 8.0)

    assert jnp.array_equal(nobody, PRECISION(half_squares(), np.ones(40, bool), 8.0))


def test_the_kernel_of_a_strategy_has_that_many_neighbours():
    # given weights that are all the same, the effective number is that of the kernel
    points, _ = weighted_points()

    told = tell(kernels.Perplexity(5.0), points, np.zeros(len(points), np.float32))

    sigma = float(de.noise.Cosine().sigmas(10)[0])
    queries = np.sqrt(1 + sigma**2) * np.float64(points)
    half = 0.5 * ((queries[:, None] - np.float64(points)) ** 2).sum(axis=-1)
    half -= half.min(axis=1, keepdims=True)  # which float32 holds
    want = kernel_weights(np.float32(half), 5.0) @ points
    np.testing.assert_allclose(told.clean_estimate, want, atol=1e-3)  # values reach 10


# Perplexity along principal axes


def test_a_perplexity_kernel_may_look_along_the_principal_axes():
    # given the same points, seen in their first two axes by hand
    points, log_weight = map(jnp.asarray, weighted_points())
    whole, along = kernels.Perplexity(7.0), kernels.Perplexity(7.0, components=2)
    dim = points.shape[1]

    axes = along.adapt(along.init(jax.random.key(0), dim), points, log_weight)

    shadow = points @ kernels.principal_axes(points, log_weight, 2).T
    np.testing.assert_array_equal(along.features(axes, points), shadow)
    assert whole.init(jax.random.key(0), dim) == ()
    assert whole.features((), points) is points


def test_a_perplexity_kernel_looks_along_all_axes_if_there_are_fewer():
    points = jnp.linspace(-1.0, 1.0, 20)[:, None]
    kernel = kernels.Perplexity(components=2)
    axes = kernel.adapt(kernel.init(jax.random.key(0), 1), points, jnp.zeros(20))
    np.testing.assert_allclose(abs(kernel.features(axes, points)), abs(points), rtol=1e-6)


def test_more_principal_components_than_dimensions_are_an_error():
    message = "PrincipalComponents.dim: got 4, want at most 3"
    with pytest.raises(ValueError, match=message):
        kernels.PrincipalComponents(4).init(jax.random.key(0), 3)

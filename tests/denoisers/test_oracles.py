"""The exact denoiser of a Gaussian mixture.

The oracle is Bayes' rule with dense covariances, in float64, component by component:
``r_k`` in proportion to ``w_k N(y; mu_k, C_k + s² I)`` and, with the gain
``G_k = C_k (C_k + s² I)^-1``, the mean ``sum_k r_k (mu_k + G_k (y - mu_k))``.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxprs import largest_array

from diffevo_jax import denoisers
from diffevo_jax.denoisers import oracles

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
SIGMAS = [0.0, 1e-3, 0.3, 30.0]
#: It is mostly compile time that these tests cost.
JIT = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

# Methods with everything as an argument: one program for each shape.
DENOISE = JIT(oracles.GaussianMixture.denoise)
SCORE = JIT(oracles.GaussianMixture.score)
LOG_DENSITY = JIT(oracles.GaussianMixture.log_density)
MIXTURE = JIT(oracles.gaussian_mixture)
RANDOM = JIT(oracles.random_mixture, static_argnums=(1, 2))
SAMPLE = JIT(oracles.GaussianMixture.sample, static_argnums=2)
GRADIENT = JIT(jax.grad(lambda y, mixture, sigma: mixture.log_density(y, sigma).sum()))


def random_parts(count: int, dim: int):
    """Means, dense covariances and weights of a mixture, in float64."""
    rng = np.random.default_rng(100 * count + dim)
    roots = rng.normal(size=(count, dim, dim)) / np.sqrt(dim)
    covariances = 0.1 * roots @ roots.swapaxes(1, 2) + 0.02 * np.eye(dim)
    return rng.normal(size=(count, dim)), covariances, rng.dirichlet(np.ones(count))


def bayes(y, sigma, means, covariances, weights):
    """Posterior means and log-densities of noisy points."""
    joint, answers = [], []
    for mean, covariance, weight in zip(means, covariances, weights, strict=True):
        total = covariance + sigma**2 * np.eye(len(mean))
        whitened = np.linalg.solve(total, (y - mean).T).T
        distance = ((y - mean) * whitened).sum(axis=1)
        volume = np.linalg.slogdet(2 * np.pi * total)[1]
        joint.append(np.log(weight) - 0.5 * (distance + volume))
        answers.append(mean + whitened @ covariance)
    joint = np.stack(joint, axis=1)
    largest = joint.max(axis=1, keepdims=True)
    posterior = np.exp(joint - largest)
    total = posterior.sum(axis=1, keepdims=True)
    clean = np.einsum("nk,knd->nd", posterior / total, np.stack(answers))
    return clean, (largest + np.log(total))[:, 0]


def noisy(parts, sigma: float, count: int = 16) -> np.ndarray:
    """Points where the mixture is, with noise."""
    rng, means = np.random.default_rng(7), parts[0]
    clean = means[rng.integers(len(means), size=count)]
    return clean + np.sqrt(0.1 + sigma**2) * rng.normal(size=clean.shape)


# Bayes' rule


@pytest.mark.parametrize(("count", "dim"), [(1, 1), (3, 2), (20, 50)])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_estimate_is_that_of_bayes_rule_in_float64(count, dim, sigma):
    parts = random_parts(count, dim)
    y = noisy(parts, sigma)
    want, _ = bayes(y, sigma, *parts)

    with ENABLE_X64(True):
        got = DENOISE(MIXTURE(*parts), y, sigma)

    np.testing.assert_allclose(got, want, atol=1e-11)  # condition numbers of about 50


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_log_density_is_that_of_bayes_rule_in_float64(sigma):
    parts = random_parts(20, 50)
    y = noisy(parts, sigma)
    _, want = bayes(y, sigma, *parts)

    with ENABLE_X64(True):
        got = LOG_DENSITY(MIXTURE(*parts), y, sigma)

    np.testing.assert_allclose(got, want, rtol=1e-11)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_estimate_is_exact_to_rounding_in_float32(sigma):
    parts = random_parts(20, 50)
    y = noisy(parts, sigma).astype(np.float32)
    want, _ = bayes(y.astype(np.float64), sigma, *parts)

    got = DENOISE(MIXTURE(*parts), y, sigma)

    # Logarithms of 50 terms, near 100, keep 1e-5; they weigh means some 10 apart.
    np.testing.assert_allclose(got, want, atol=2e-4)


@pytest.mark.parametrize("form", ["one", "each", "axes", "matrices"])
def test_every_form_of_the_covariances_means_the_same(form):
    means, weights = np.array([[0.0, 1.0], [2.0, -1.0]]), np.array([0.3, 0.7])
    forms = {
        "one": 0.5,
        "each": np.array([0.5, 0.5]),
        "axes": np.full((2, 2), 0.5),
        "matrices": np.stack([0.5 * np.eye(2)] * 2),
    }
    y = np.random.default_rng(0).normal(size=(8, 2))
    want, _ = bayes(y, 0.4, means, forms["matrices"], weights)

    got = DENOISE(oracles.gaussian_mixture(means, forms[form], weights), y, 0.4)

    np.testing.assert_allclose(got, want, atol=1e-5)


def test_weights_count_up_to_a_factor():
    small, large = (
        oracles.gaussian_mixture([[0.0], [1.0]], 1.0, factor * np.array([1.0, 3.0]))
        for factor in (1e-3, 1e3)
    )

    np.testing.assert_allclose(small.log_weights, large.log_weights, rtol=1e-6)
    np.testing.assert_allclose(np.exp(small.log_weights), [0.25, 0.75], rtol=1e-6)


def test_a_component_of_weight_zero_is_not_there():
    mixture = oracles.gaussian_mixture([[0.0], [1.0]], 1.0, [1.0, 0.0])
    alone = oracles.gaussian_mixture([[0.0]], 1.0)
    y = np.linspace(-3, 3, 5)[:, None]

    np.testing.assert_array_equal(DENOISE(mixture, y, 0.5), DENOISE(alone, y, 0.5))


# Identities


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_score_is_the_gradient_of_the_log_density(sigma):
    parts = random_parts(20, 50)
    y = noisy(parts, sigma)

    with ENABLE_X64(True):
        mixture = MIXTURE(*parts)
        score, gradient = SCORE(mixture, y, sigma), GRADIENT(y, mixture, sigma)

    np.testing.assert_allclose(score, gradient, atol=1e-10)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_tweedies_formula_holds(sigma):
    parts = random_parts(20, 50)
    y = noisy(parts, sigma)

    with ENABLE_X64(True):
        mixture = MIXTURE(*parts)
        clean, score = DENOISE(mixture, y, sigma), SCORE(mixture, y, sigma)

    np.testing.assert_allclose(clean, y + sigma**2 * np.asarray(score), atol=1e-11)


def test_the_score_does_not_cancel_at_little_noise():
    # (denoise - y) / sigma² in float32 would be off by 1e-7 / 1e-8.
    parts, sigma = random_parts(3, 2), 1e-4
    y = noisy(parts, sigma).astype(np.float32)
    with ENABLE_X64(True):
        exact = SCORE(MIXTURE(*parts), y.astype(np.float64), sigma)

    score = SCORE(MIXTURE(*parts), y, sigma)

    np.testing.assert_allclose(score, exact, rtol=1e-4, atol=1e-4)


def test_a_single_gaussian_is_wieners_filter():
    mixture = oracles.gaussian_mixture([[1.0, -2.0]], [[4.0, 0.25]])
    y = np.random.default_rng(1).normal(size=(6, 2))

    clean = DENOISE(mixture, y, 0.5)

    gain = np.array([4.0, 0.25]) / np.array([4.25, 0.5])
    want = np.array([1.0, -2.0]) + gain * (y - np.array([1.0, -2.0]))
    np.testing.assert_allclose(clean, want, rtol=1e-5, atol=1e-6)


def test_the_density_integrates_to_one():
    mixture = MIXTURE(*random_parts(3, 2))
    axis = np.linspace(-10, 10, 201)  # 0.1 apart: far finer than a deviation of 0.5
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)

    density = np.exp(np.asarray(LOG_DENSITY(mixture, grid, 0.5), np.float64))

    # The trapezoidal rule is exact here; float32 exponents keep 1e-5.
    assert abs(density.sum() * 0.1**2 - 1) < 1e-5


# Limits


@pytest.mark.parametrize("sigma", [1e6, 1e12, np.inf])
def test_pure_noise_is_answered_with_the_mean_of_the_mixture(sigma):
    mixture = MIXTURE(*random_parts(3, 2))
    y = np.random.default_rng(2).normal(size=(16, 2)) * min(sigma, 1e12)

    clean = np.asarray(DENOISE(mixture, y, sigma))

    # The posterior of y at one deviation still moves by mu / sigma.
    want = np.broadcast_to(mixture.mean(), (16, 2))
    np.testing.assert_allclose(clean, want, atol=2e-5)


@pytest.mark.parametrize("sigma", [0.0, 1e-6, 1e-4])
def test_a_point_without_noise_is_its_own_answer(sigma):
    mixture = MIXTURE(*random_parts(3, 2))
    y = noisy(random_parts(3, 2), 0.0)

    clean = DENOISE(mixture, y, sigma)

    np.testing.assert_allclose(clean, y, atol=2e-6)  # sigma² / lambda, and rounding


@pytest.mark.parametrize("sigma", [0.0, 1e-30, 1e30])
@pytest.mark.parametrize("variance", [0.0, 1e-30, 1e30])
def test_traced_extremes_are_never_nan(variance, sigma):
    @JIT
    def answers(variance, sigma):
        mixture = oracles.gaussian_mixture([[-1.0], [1.0]], variance)
        y = jnp.array([[-1.0], [0.3], [50.0]])
        methods = (mixture.denoise, mixture.score, mixture.log_density)
        return [method(y, sigma) for method in methods]

    assert all(np.isfinite(leaf).all() for leaf in answers(variance, sigma))


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_a_mixture_of_points_is_a_population(sigma):
    rng = np.random.default_rng(3)
    points = rng.normal(size=(16, 2)).astype(np.float32)
    log_g = rng.normal(size=16).astype(np.float32)
    y = (points + sigma * rng.normal(size=points.shape)).astype(np.float32)
    mixture = oracles.gaussian_mixture(points, 1e-12, np.exp(log_g))

    clean = DENOISE(mixture, y, sigma)

    population = JIT(denoisers.posterior_mean)(y, points, points, log_g, 1 / sigma**2)
    np.testing.assert_allclose(clean, population.clean, atol=2e-5)


@pytest.mark.parametrize("method", ["denoise", "score", "log_density"])
def test_swept_noise_gives_what_each_level_gives_alone(method):
    mixture = MIXTURE(*random_parts(3, 2))
    y, sigmas = noisy(random_parts(3, 2), 1.0), np.array([0.0, 0.1, 1.0, 10.0])

    function = getattr(oracles.GaussianMixture, method)

    swept = JIT(jax.vmap(function, (None, None, 0)))(mixture, y, sigmas)

    each = JIT(function)
    alone = np.stack([each(mixture, y, sigma) for sigma in sigmas])
    np.testing.assert_allclose(swept, alone, rtol=2e-5, atol=2e-5)


# Samples


@pytest.fixture(scope="module")
def drawn():
    """A mixture and a large sample of it."""
    mixture, count = RANDOM(jax.random.key(6), 4, 3), 40_000
    points = SAMPLE(mixture, jax.random.key(7), count)
    return mixture, np.asarray(points, np.float64)


def largest_z(values: np.ndarray, wanted: np.ndarray) -> float:
    """Largest distance of the mean over rows to what is wanted, in standard errors."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return float(np.abs((values.mean(axis=0) - wanted) / error).max())


def test_samples_have_the_mean_of_the_mixture(drawn):
    mixture, points = drawn

    # One of 3 coordinates beyond 4.8: once in 2e5.
    assert largest_z(points, np.asarray(mixture.mean())) < 4.8


def test_samples_have_the_covariance_of_the_mixture(drawn):
    mixture, points = drawn
    apart = points - np.asarray(mixture.mean())

    products = apart[:, :, None] * apart[:, None, :]

    # One of 6 products beyond 5: once in 3e5.
    assert largest_z(products, np.asarray(mixture.covariance())) < 5


def test_samples_come_from_the_density(drawn):
    # Stein's identities: the mean of the score is 0 and that of x . score is -D.
    mixture, points = drawn
    score = np.asarray(SCORE(mixture, jnp.asarray(points, jnp.float32), 0.0))

    assert largest_z((points * score).sum(axis=1, keepdims=True), np.array([-3.0])) < 4.5
    assert largest_z(score, np.zeros(3)) < 4.8


def test_no_array_has_a_matrix_for_every_point_and_component():
    mixture = MIXTURE(*random_parts(3, 2))
    y = jnp.zeros((7, 2))

    for function in (mixture.denoise, mixture.score, mixture.log_density):
        assert largest_array(jax.make_jaxpr(function)(y, 1.0)) <= 7 * 3 * 2


# Errors


@pytest.mark.parametrize(
    ("means", "covariances", "weights", "message"),
    [
        ([0.0, 1.0], 1.0, None, r"means: got shape \(2,\), want \(K, D\)"),
        ([[np.nan]], 1.0, None, "means: got .* want finite"),
        ([[0.0, 1.0]], np.ones(2), None, r"covariances: got shape \(2,\), want one of"),
        ([[0.0, 1.0]], 0.0, None, "covariances: got 0.0, want positive"),
        ([[0.0, 1.0]], np.inf, None, "covariances: got inf, want finite"),
        ([[0.0, 1.0]], [[1.0, -1.0]], None, "covariances: got .* want positive"),
        ([[0.0, 1.0]], [[[1.0, 2.0], [2.0, 1.0]]], None, "want positive"),
        ([[0.0, 1.0]], [[[1.0, 0.5], [0.0, 1.0]]], None, "want symmetric"),
        ([[0.0], [1.0]], 1.0, [1.0], r"weights: got shape \(1,\), want \(2,\)"),
        ([[0.0], [1.0]], 1.0, [1.0, -1.0], "weights: got .* want finite numbers >= 0"),
        ([[0.0], [1.0]], 1.0, [0.0, 0.0], "weights: got .* not all 0"),
    ],
)
def test_what_is_no_mixture_is_refused(means, covariances, weights, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        oracles.gaussian_mixture(means, covariances, weights)


def test_points_of_another_dimension_are_refused():
    mixture = oracles.gaussian_mixture([[0.0, 1.0]], 1.0)

    with pytest.raises(ValueError, match=r"y: got shape \(4, 3\), want \(N, 2\)"):
        mixture.denoise(jnp.zeros((4, 3)), 1.0)


def test_a_noise_level_for_each_point_is_refused():
    mixture = oracles.gaussian_mixture([[0.0, 1.0]], 1.0)

    with pytest.raises(ValueError, match=r"sigma: got shape \(4,\), want \(\)"):
        mixture.score(jnp.zeros((4, 2)), jnp.ones(4))

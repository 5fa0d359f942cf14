"""Two theorems: what an error of the denoiser may lead to, and what it does lead to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion

KEY = jax.random.key(0)
GRID = de.noise.VE(sigma_min=0.05, sigma_max=30.0)
SIGMAS = np.asarray(GRID.sigmas(200))
#: Four Gaussians on the corners of a square, the same with other weights, and all in one.
WIDTH, CORNERS = 0.5, 0.5 * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
FOUR = de.oracles.gaussian_mixture(CORNERS, WIDTH**2)
OTHER = de.oracles.gaussian_mixture(CORNERS, WIDTH**2, [1, 2, 2, 4])
ONE = de.oracles.gaussian_mixture(np.zeros((4, 2)), WIDTH**2)


# One program for all mixtures of four.


@jax.jit
def errors_of(model, exact, points):
    return diffusion.denoising_errors(KEY, model.denoise, exact.denoise, points, SIGMAS)


@jax.jit
def slopes_of(model, points):
    """The largest slope at each level, of points in units of the noisy deviation."""

    def largest(sigma):
        reach = jnp.hypot(sigma, WIDTH) * points
        return jnp.max(diffusion.largest_slopes(model.denoise, reach, sigma))

    return jax.lax.map(largest, SIGMAS)


@jax.jit
def drawn(mixture, rate, bias=0.0):
    """Samples with the noise of the last level, from the same noise for every denoiser."""
    return de.sample(
        KEY,
        lambda y, sigma: mixture.denoise(y, sigma) + bias * jnp.array([1.0, 0.0]),
        GRID,
        de.samplers.DDIM(rate),
        (1000, 2),
        num_levels=400,
        final_denoise=False,
    )


@pytest.fixture(scope="module")
def errors():
    """Mean squared errors of OTHER, where FOUR is exact."""
    return errors_of(OTHER, FOUR, FOUR.sample(KEY, 4000))


def gaussian_shift(variance: float, bias: float, rate: float) -> float:
    """How far a constant error of the answers moves samples of a Gaussian, exactly.

    The mean obeys dm/dlog(sigma) = (1 + rate) (m sigma^2 / (variance + sigma^2) - bias).
    """
    sigma = np.geomspace(0.05, 30.0, 200_001)
    shrinks = ((variance + 0.05**2) / (variance + sigma**2)) ** ((1 + rate) / 2)
    return float(np.trapezoid((1 + rate) * bias * shrinks, np.log(sigma)))


def bound_of_bias(variance: float, bias: float, rate: float):
    slopes, errors = variance / (variance + SIGMAS**2), np.full(len(SIGMAS), bias**2)
    return diffusion.wasserstein_bound(SIGMAS, errors, slopes, 0.0, rate)


# Ingredients


def test_errors_of_a_wrong_gaussian_are_those_of_the_closed_form():
    model = de.oracles.gaussian_mixture(np.full((4, 2), 0.3), 2.0)

    got = errors_of(model, ONE, ONE.sample(KEY, 4000))

    sigma2, variance = SIGMAS**2, WIDTH**2
    shares = 2 / (2 + sigma2) - variance / (variance + sigma2)
    want = 2 * (shares**2 * (variance + sigma2) + (0.3 * sigma2 / (2 + sigma2)) ** 2)
    # 8,000 numbers: a standard error of 2 %.
    np.testing.assert_allclose(got, want, rtol=0.08)


def test_the_slope_between_modes_is_their_spread_over_that_of_the_noise():
    # In the middle all modes are as probable: covariance = within + between.
    middle = jnp.zeros((1, 2))

    slopes = slopes_of(FOUR, middle)

    share = SIGMAS**2 / (WIDTH**2 + SIGMAS**2)
    want = (WIDTH**2 * share + (0.5 * share) ** 2) / SIGMAS**2
    np.testing.assert_allclose(slopes, want, rtol=1e-4)


def test_a_rotation_brings_nothing_apart():
    turn = lambda y, sigma: y @ jnp.array([[0.3, 5.0], [-5.0, 0.3]])

    slopes = jax.jit(lambda y: diffusion.largest_slopes(turn, y, 1.0))(jnp.ones((3, 2)))

    np.testing.assert_allclose(slopes, 0.3, rtol=1e-5)


# The bound of Kullback and Leibler


def test_the_divergence_is_reached_by_a_denoiser_that_is_exact_for_other_data():
    # Gaussians: all in closed form, from the errors to the divergences at both ends.
    mean, variance, other = 0.7, 1.0, 0.4
    sigma2 = SIGMAS**2
    shares = variance / (variance + sigma2) - other / (other + sigma2)
    errors = shares**2 * (variance + sigma2) + (mean * sigma2 / (other + sigma2)) ** 2

    def kl(noise):
        ratio = (variance + noise) / (other + noise)
        return 0.5 * (ratio - 1 - np.log(ratio) + mean**2 / (other + noise))

    bound = diffusion.kl_bound(SIGMAS, errors, kl(sigma2[0]))

    np.testing.assert_allclose(bound.total, kl(sigma2[-1]), rtol=2e-3)  # 200 trapezoids


def test_the_divergence_of_mixtures_is_reached_too(errors):
    axis = np.linspace(-3.5, 3.5, 141)  # 0.05 apart, in a density as wide as 0.5
    plane = jnp.float32(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
    log_density = jax.jit(de.oracles.GaussianMixture.log_density)
    data, model = (np.asarray(log_density(each, plane, 0.05)) for each in (FOUR, OTHER))

    bound = diffusion.kl_bound(SIGMAS, errors, 0.0)

    kl = np.sum(np.exp(data) * (data - model)) * 0.05**2
    # The sample is 2 % off; at sigma_max the two differ by 1e-4.
    np.testing.assert_allclose(bound.error, kl, rtol=0.06)


def test_a_bias_of_all_answers_costs_less_than_the_bound():
    # Between levels it is undone: the data pull samples back, which the bound ignores.
    variance, bias = 0.25, 0.1

    bound = diffusion.kl_bound(SIGMAS, np.full(len(SIGMAS), bias**2), 0.0)

    shift = gaussian_shift(variance, bias, rate=1.0)
    assert 0.5 * shift**2 / (variance + 0.05**2) < bound.total
    np.testing.assert_allclose(bound.total, 0.5 * bias**2 / 0.05**2, rtol=2e-3)


# The bound of Wasserstein


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_wasserstein_distance_is_reached_by_a_bias_in_a_gaussian(rate):
    bound = bound_of_bias(0.25, 0.1, rate)

    np.testing.assert_allclose(bound.total, gaussian_shift(0.25, 0.1, rate), rtol=2e-3)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_samples_of_a_biased_denoiser_are_as_far_as_the_bound_says(rate):
    apart = np.asarray(drawn(ONE, rate, 0.1) - drawn(ONE, rate, 0.0))

    # The same noise: every sample is moved alike, by the distance. 400 steps are 1 % off.
    far = np.linalg.norm(apart, axis=1)
    np.testing.assert_allclose(far, bound_of_bias(WIDTH**2, 0.1, rate).total, rtol=0.03)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_samples_of_a_mixture_stay_within_the_bound(errors, rate):
    # Slopes are largest on the diagonal, which goes between the modes.
    slopes = slopes_of(OTHER, jnp.linspace(-6.0, 6.0, 241)[:, None] * jnp.ones(2))

    bound = diffusion.wasserstein_bound(SIGMAS, errors, slopes, 0.0, rate)

    apart = np.asarray(drawn(OTHER, rate, 0.0) - drawn(FOUR, rate, 0.0))
    coupled = np.sqrt(np.mean(np.sum(apart**2, axis=1)))
    # At least the difference of the means, which is known; at most what the theorem says.
    assert 0.9 * np.linalg.norm(OTHER.mean() - FOUR.mean()) < coupled < bound.total


def test_the_bound_grows_exponentially_with_the_distance_of_modes():
    # The slope between modes that are 2 apart adds 1 / width^2 to the logarithm.
    def growth(half):
        share = SIGMAS**2 / (WIDTH**2 + SIGMAS**2)
        slopes = WIDTH**2 / (WIDTH**2 + SIGMAS**2) + half**2 * share**2 / SIGMAS**2
        zero = np.zeros(len(SIGMAS))
        return diffusion.wasserstein_bound(SIGMAS, zero, slopes, 1.0, rate=1.0).prior

    ratio = np.log(growth(1.0) / growth(0.0))

    want = 1.0 / (WIDTH**2 + 0.05**2) - 1.0 / (WIDTH**2 + 30.0**2)
    np.testing.assert_allclose(ratio, want, rtol=1e-2)


def test_a_growth_beyond_numbers_is_infinite_and_not_nan():
    zero, steep = np.zeros(len(SIGMAS)), np.full(len(SIGMAS), 1e3)

    nothing = diffusion.wasserstein_bound(SIGMAS, zero, steep, 0.0)
    something = diffusion.wasserstein_bound(SIGMAS, zero + 1.0, steep, 0.0)

    assert nothing.total == 0.0
    assert np.isposinf(something.total)


# Errors


def test_ingredients_of_other_shapes_are_refused():
    many = np.ones(len(SIGMAS))
    with pytest.raises(ValueError, match=r"errors: got shape \(3,\), want \(200,\)"):
        diffusion.kl_bound(SIGMAS, np.ones(3), 0.0)
    with pytest.raises(ValueError, match=r"slopes: got shape \(\), want \(200,\)"):
        diffusion.wasserstein_bound(SIGMAS, many, np.ones(()), 0.0)
    with pytest.raises(ValueError, match=r"sigmas: got shape \(1,\), want \(L,\)"):
        diffusion.kl_bound(np.ones(1), np.ones(1), 0.0)


@pytest.mark.parametrize("sigmas", [SIGMAS[::-1], np.array([2.0, 1.0, 0.0])])
def test_levels_that_do_not_fall_are_an_error(sigmas):
    with pytest.raises(ValueError, match=r"sigmas: got .*, want numbers that fall"):
        diffusion.kl_bound(sigmas, np.ones(len(sigmas)), 0.0)

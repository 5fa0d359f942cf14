"""The covariance view: coloured noise, signals above the noise, and how values spread."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion
from diffevo_jax.attention.covariance import filtered

KEY = jax.random.key(0)
TIMES = np.arange(50.0)
DENOISE = jax.jit(de.oracles.GaussianMixture.denoise)
LOG_DENSITY = jax.jit(de.oracles.GaussianMixture.log_density)
COLOURED, FITTED = jax.jit(diffusion.coloured_noise), jax.jit(diffusion.fit_gaussian)


def low_rank_covariance(dim: int, rank: int) -> np.ndarray:
    root = np.random.default_rng(dim).normal(size=(dim, rank))
    return root @ root.T / rank


def sinusoids(count: int, seed: int = 0) -> np.ndarray:
    """Sums of three sinusoids with random phases and sizes, (count, 50)."""
    rng = np.random.default_rng(seed)
    waves = 2 * np.pi * np.array([1, 3, 5])[:, None] * TIMES / len(TIMES)
    phases, sizes = rng.uniform(0, 2 * np.pi, (count, 3, 1)), rng.normal(size=(count, 3, 1))
    signals = np.sum(sizes * np.sin(waves + phases), axis=1)
    return signals / signals.std(axis=1, keepdims=True)


def noisy_two_points(sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Values -1 or 1 and noise, in unit scale: places 0.001 apart, and their density."""
    x, signal = np.arange(-8, 8, 1e-3), 1 / np.hypot(1, sigma)
    width = sigma * signal
    bumps = [np.exp(-0.5 * ((x - mean) / width) ** 2) for mean in (-signal, signal)]
    return x, (bumps[0] + bumps[1]) / (2 * width * np.sqrt(2 * np.pi))


# Coloured noise


@pytest.mark.parametrize("rank", [5, 2])
def test_coloured_noise_has_the_covariance(rank):
    covariance = low_rank_covariance(5, rank)

    noise = COLOURED(covariance, mean=3.0)

    np.testing.assert_allclose(noise.covariance(), covariance, atol=1e-5)
    np.testing.assert_array_equal(noise.mean(), np.full(5, 3.0))
    assert (np.diff(noise.eigenvalues[0]) <= 0).all()


def test_draws_of_coloured_noise_have_the_covariance():
    covariance = low_rank_covariance(3, 3)

    draws = np.asarray(COLOURED(covariance).sample(KEY, 20_000), np.float64)

    products = draws[:, :, None] * draws[:, None]
    error = (products.mean(axis=0) - covariance) / (products.std(axis=0) / np.sqrt(20_000))
    assert np.abs(error).max() < 4.5  # standard errors; one of 6 beyond: once in 2e4


def test_noise_has_no_part_in_a_direction_of_variance_0():
    covariance = np.array([[1.0, 1.0], [1.0, 1.0]])

    draws = COLOURED(covariance).sample(KEY, 100)

    # Square roots of singular values that are rounding, 1e-7.
    np.testing.assert_allclose(draws[:, 0], draws[:, 1], atol=2e-3)


def test_the_density_is_that_of_coloured_noise():
    covariance = low_rank_covariance(4, 4)
    x = np.random.default_rng(1).normal(size=(6, 4))

    got = LOG_DENSITY(COLOURED(covariance), jnp.float32(x), 0.5)

    total = covariance + 0.25 * np.eye(4)
    distance = np.sum(x * np.linalg.solve(total, x.T).T, axis=1)
    want = -0.5 * (distance + np.linalg.slogdet(2 * np.pi * total)[1])
    np.testing.assert_allclose(got, want, rtol=1e-4)


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (np.ones(3), r"got shape \(3,\), want \(D, D\)"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "want a symmetric one"),
        (np.diag([2.0, -1.0]), "want no eigenvalue below 0"),
        (np.array([[0.0, 1.0], [1.0, 0.0]]), "want no eigenvalue below 0"),
        (np.full((2, 2), np.nan), "want finite numbers"),
    ],
)
def test_what_is_no_covariance_is_refused(covariance, message):
    with pytest.raises(ValueError, match=f"(?s)covariance: .*{message}"):
        diffusion.coloured_noise(covariance)


# A signal as a draw of noise with its covariance


@pytest.mark.parametrize("places", ["times", "values"])
def test_a_signal_is_more_probable_under_noise_with_its_covariance(places):
    signal = sinusoids(1)[0]
    covariance = (
        diffusion.logistic_covariance(TIMES, 5.0)
        if places == "times"
        else diffusion.logistic_covariance(signal)
    )
    points = jnp.stack([signal, np.random.default_rng(0).normal(size=50)]).astype(float)

    own, white = (LOG_DENSITY(COLOURED(c), points, 0.1) for c in (covariance, np.eye(50)))

    # 40 and 86 nats more, and for white noise 62 and 350 less.
    assert own[0] > white[0] + 30
    assert own[1] < white[1] - 30


def test_pairwise_differences_make_a_covariance():
    places = np.random.default_rng(2).normal(size=40)

    covariance = np.asarray(diffusion.logistic_covariance(places, 0.7))

    apart = np.abs(places[:, None] - places) / 0.7
    np.testing.assert_allclose(covariance, 2 / (1 + np.exp(apart)), atol=1e-6)
    assert np.linalg.eigvalsh(covariance).min() > -1e-5  # rounding of 40


def test_signals_have_few_directions_and_noise_many():
    signals, noise = sinusoids(400), np.random.default_rng(0).normal(size=(400, 50))

    ranks = [
        float(diffusion.effective_rank(FITTED(points).eigenvalues[0]))
        for points in (signals, noise)
    ]

    assert 5 < ranks[0] <= 6.001  # a sine and a cosine for each of three frequencies
    assert 45 < ranks[1] < 50  # 50, seen through 400 draws


@pytest.mark.parametrize(
    ("variances", "rank"),
    [([3.0, 0.0, 0.0], 1), ([2.0, 2.0, 2.0], 3), ([1.0, 1.0, 0.0], 2)],
)
def test_the_effective_rank_counts_equal_directions(variances, rank):
    got = diffusion.effective_rank(1e3 * jnp.array([variances, variances]))

    np.testing.assert_allclose(got, [rank, rank], rtol=1e-6)


# Signal against noise


def test_shares_are_what_the_denoiser_keeps_of_each_direction():
    noise = COLOURED(low_rank_covariance(4, 4))
    sigmas = jnp.array([2.0, 0.3])

    seen = diffusion.wiener_filter(noise.eigenvalues[0], sigmas)

    axes = noise.eigenvectors[0]
    kept = [jnp.diag(DENOISE(noise, axes.T, sigma) @ axes) for sigma in sigmas]
    np.testing.assert_allclose(seen.gains, kept, atol=1e-5)
    np.testing.assert_allclose(seen.degrees_of_freedom, np.sum(kept, axis=1), atol=1e-5)


def test_directions_come_out_of_the_noise_one_after_the_other():
    sigmas = jnp.array([10.0, 2.5, 1.5, 0.5, 0.01])

    seen = diffusion.wiener_filter(jnp.array([9.0, 4.0, 1.0, 0.0]), sigmas)

    np.testing.assert_array_equal(seen.num_above, [0, 1, 2, 3, 3])
    np.testing.assert_array_equal(seen.num_above, np.sum(seen.gains > 0.5, axis=1))


# The Gaussian as a diffusion model


@pytest.mark.parametrize("count", [40, 3])
def test_the_fitted_denoiser_is_the_filter_of_the_population(count):
    rng = np.random.default_rng(count)
    points = jnp.float32(rng.normal(size=(count, 5)) * [3, 1, 0.3, 0.1, 1] + 2)
    log_weight = jnp.float32(rng.normal(size=count)).at[0].set(-jnp.inf)
    y = jnp.float32(rng.normal(size=(7, 5)))

    got = DENOISE(FITTED(points, log_weight), y, 0.4)

    weight = jax.nn.softmax(log_weight)
    mean = weight @ points
    want = mean + filtered(y - mean, weight, points - mean, 0.0, 0.0, 0.4)
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_samples_of_the_gaussian_model_have_the_covariance_of_the_data():
    data = np.random.default_rng(3).normal(size=(200, 3)) @ [
        [1, 0.5, 0],
        [0, 0.5, 0],
        [0, 0, 0.3],
    ]
    model = FITTED(data)
    # Start points with exactly the covariance of noise: what is left is the solver's error.
    normal = np.random.default_rng(4).normal(size=(500, 3))
    white = np.linalg.qr(np.c_[np.ones(500), normal])[0][:, 1:] * np.sqrt(500)
    grid = de.noise.EDM()

    samples = jax.jit(
        lambda start: de.sample(
            KEY,
            model.denoise,
            grid,
            de.samplers.Heun(),
            (500, 3),
            num_levels=60,
            start=start,
        )
    )(grid.sigma_max * white)

    # The spread that is missing at sigma_max is 1e-4; the solver's error is 0.3 %.
    want = np.cov(data.T, bias=True)
    np.testing.assert_allclose(np.cov(samples.T, bias=True), want, atol=0.01 * want.max())


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"log_weight: got \(2,\), want \(3,\)"):
        diffusion.fit_gaussian(jnp.ones((3, 2)), jnp.zeros(2))


def test_weights_without_a_sum_are_refused():
    with pytest.raises(ValueError, match="log_weight: got NaN or infinity"):
        diffusion.fit_gaussian(jnp.ones((3, 2)), np.array([0.0, np.inf, 0.0]))


def test_a_mean_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"mean: got shape \(3,\), want \(\) or \(2,\)"):
        diffusion.coloured_noise(np.eye(2), [1.0, 2.0, 3.0])


def test_a_difference_of_zero_cannot_matter():
    with pytest.raises(ValueError, match=r"scale: got 0.0, want a number > 0"):
        diffusion.logistic_covariance([0.0, 1.0], 0.0)


# Values through time


def test_shares_of_millions_of_values_have_the_sum_one():
    # Floats that are added one after the other would be 3 % off.
    shares = diffusion.value_histogram(jnp.zeros(3_000_000), low=-1, high=1, num_bins=2)

    assert shares.tolist() == [0.0, 1.0]


def test_a_value_that_is_nan_is_in_no_bin():
    values = jnp.array([0.1, np.nan])

    assert np.isnan(diffusion.value_histogram(values, low=0, high=1, num_bins=2)).all()


def test_bins_without_width_are_refused():
    with pytest.raises(ValueError, match=r"high: got 1.0, want more than low = 1.0"):
        diffusion.value_histogram(jnp.zeros(3), low=1.0, high=1.0, num_bins=2)


@jax.jit
def entropies(path):
    entropy = lambda x: diffusion.value_entropy(x, low=-6.0, high=6.0, num_bins=240)
    return jax.vmap(entropy)(path)


@pytest.mark.slow
def test_values_drift_from_structured_to_normal_and_back():
    two = de.oracles.gaussian_mixture([[-1.0], [1.0]], 1e-4)
    clean = two.sample(KEY, 10_000)
    grid, process = jnp.array([0.0, 0.2, 0.5, 1.0, 5.0]), de.noise.VP()
    betas = de.noise.betas_from_alpha_bar(de.noise.alpha_bar_from_sigma(grid[1:]))

    forward = entropies(de.noise.forward_chain(KEY, clean, betas))
    noisy = jax.random.normal(KEY, (10_000, 1))
    path = jax.jit(lambda x: de.sde.heun(process, two.denoise, x, process.times(40), True))(
        noisy
    )
    reverse = entropies(path)

    for entropy, sigma in zip(forward[1:], grid[1:], strict=True):
        x, density = noisy_two_points(float(sigma))
        want = -np.sum(density * np.log(np.maximum(density, 1e-300))) * (x[1] - x[0])
        assert abs(entropy - want) < 0.03  # 240 bins: 0.012 too low, and 0.01 of chance
    assert (np.diff(forward) > 0).all()
    assert abs(forward[-1] - diffusion.normal_entropy(1.0)) < 0.03
    assert abs(reverse[0] - diffusion.normal_entropy(1.0)) < 0.03
    assert reverse[-1] < 0  # two points, smeared by 0.01


def test_values_beyond_the_ends_count_in_the_outermost_bins():
    values = jnp.array([[-9.0, 0.1], [0.6, 9.0]])

    shares = diffusion.value_histogram(values, low=0.0, high=1.0, num_bins=2)

    np.testing.assert_array_equal(shares, [0.5, 0.5])


def test_the_entropy_of_a_flat_histogram_is_the_log_of_its_width():
    values = jnp.float32(np.linspace(-6.0, 6.0, 2400, endpoint=False) + 1e-3)

    entropy = entropies(values.reshape(1, 300, 8))

    np.testing.assert_allclose(entropy, np.log(12.0), rtol=1e-5)

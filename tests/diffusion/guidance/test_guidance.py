"""Guidance: denoisers of what is wanted, beside closed forms and exact posteriors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion

KEY = jax.random.key(0)
GRID = de.noise.VE(sigma_min=0.01, sigma_max=30.0)
TWO = de.oracles.gaussian_mixture([[-1.0, -1.0], [1.0, 1.0]], 0.25)
CORRELATED = de.oracles.gaussian_mixture([[0.0, 0.0]], [[[1.0, 0.8], [0.8, 1.0]]])
HALF = np.array([True, False])


def points(count: int, dim: int, seed: int = 0) -> jax.Array:
    return jnp.float32(2 * np.random.default_rng(seed).normal(size=(count, dim)))


def draw(denoise, sampler, levels: int, count: int = 1000):
    """Samples, as numbers of NumPy."""
    shape = (count, 2)
    return np.asarray(
        jax.jit(
            lambda key: de.sample(key, denoise, GRID, sampler, shape, num_levels=levels)
        )(KEY),
        np.float64,
    )


def against(samples, exact, seed: int = 1):
    """Error of the mean and ratio of deviations of the second number, and W2 to exact."""
    want = np.sort(np.asarray(exact.sample(jax.random.key(seed), len(samples)))[:, 1])
    got = np.sort(samples[:, 1])
    spread = want.std()
    w2 = np.sqrt(np.mean((got - want) ** 2)) / spread
    return (got.mean() - want.mean()) / spread, got.std() / spread, w2


LEVELS = jnp.array([0.05, 1.0, 20.0])


@jax.jit
def exact_answers(mixture, y):
    """The answers of a mixture at little, some and much noise, (3, N, D)."""
    return jax.lax.map(lambda sigma: mixture.denoise(y, sigma), LEVELS)


def answers(denoise, y):
    """The same of any denoiser."""
    return jax.jit(lambda y: jax.lax.map(lambda sigma: denoise(y, sigma), LEVELS))(y)


# Guidance


MEANS, VARIANCES = jnp.array([-1.0, 2.0, 0.5]), jnp.array([1.0, 1.0, 3.0])


def gaussian_of_label():
    """A learned denoiser that is exact: a Gaussian for labels 0 and 1, and for none (2)."""

    def apply(weights, y, c_noise, label):
        sigma = jnp.exp(4 * c_noise)
        given = jnp.full(len(y), 2) if label is None else label
        mean, variance = MEANS[given][:, None], VARIANCES[given][:, None]
        noisy = y * jnp.hypot(sigma, 1.0)[:, None]  # the network's input is scaled
        share = variance / (variance + sigma[:, None] ** 2)
        return mean + share * (noisy - mean)

    network = diffusion.Network(lambda key, shape: (), apply, null_label=2)
    return diffusion.NetworkDenoiser(network, diffusion.Clean(), (), (2,))


GUIDED = jax.jit(
    lambda y, sigma, guidance: gaussian_of_label().denoise(y, sigma, 1, guidance)
)


@pytest.mark.parametrize("w", [-1.0, 0.0, 2.5])
def test_the_guided_score_is_1_plus_w_times_one_minus_w_times_the_other(w):
    y, sigma = points(5, 2), 0.7

    clean = GUIDED(y, sigma, w)

    score = [(mean - y) / (v + sigma**2) for mean, v in zip(MEANS, VARIANCES, strict=True)]
    want = y + sigma**2 * ((1 + w) * score[1] - w * score[2])
    np.testing.assert_allclose(clean, want, atol=1e-5)


def test_guided_denoisers_are_a_network_that_knows_both():
    model, y = gaussian_of_label(), points(5, 2)
    with_label = lambda y, sigma: model.denoise(y, sigma, label=0)

    got = jax.jit(diffusion.classifier_free_guidance(with_label, model.denoise, 2.0))(
        y, 0.7
    )

    want = model.denoise(y, 0.7, label=0, guidance=2.0)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_guidance_of_gaussians_of_one_variance_moves_the_mean():
    right, both = (de.oracles.gaussian_mixture([[m, 0.0]], 0.5) for m in (1.0, 0.0))

    samples = draw(
        diffusion.classifier_free_guidance(right.denoise, both.denoise, 2.0),
        de.samplers.Heun(),
        40,
    )

    # Standard errors are 0.022 and 0.03; of the mean, 0.07 is hidden by noise of 30.
    np.testing.assert_allclose(samples.mean(axis=0), [3.0, 0.0], atol=0.18)
    np.testing.assert_allclose(samples.var(axis=0), [0.5, 0.5], atol=0.09)


def test_a_classifier_of_noisy_points_gives_the_denoiser_of_a_class():
    component = de.oracles.gaussian_mixture([[-1.0, -1.0], [1.0, 1.0]], 0.25, [0.0, 1.0])
    log_probability = lambda y, sigma: (
        component.log_density(y, sigma) - TWO.log_density(y, sigma)
    )
    guided = diffusion.classifier_guidance(TWO.denoise, log_probability)

    y = points(6, 2)

    got = answers(guided, y)

    # At most sigma^2 = 400 times what rounding leaves of a difference of gradients.
    np.testing.assert_allclose(got, exact_answers(component, y), atol=1e-3)


# Exact posteriors


def test_the_exact_posterior_is_prior_times_likelihood():
    rng = np.random.default_rng(1)
    roots = rng.normal(size=(3, 4, 4))
    covariances = roots @ roots.swapaxes(1, 2) + 0.1 * np.eye(4)
    prior = de.oracles.gaussian_mixture(rng.normal(size=(3, 4)), covariances, [1, 2, 3])
    matrix, values = rng.normal(size=(2, 4)), np.array([0.5, -1.0])
    seen = diffusion.LinearObservation(matrix, values, 0.4)

    @jax.jit
    def ratio(x):
        posterior = seen.posterior(prior).log_density(x, 0.0)
        return prior.log_density(x, 0.0) + seen.log_likelihood(x) - posterior

    # The evidence, a mixture of Gaussians of the values, whatever the point.
    evidence = ratio(points(8, 4))
    apart = values - np.asarray(prior.means) @ matrix.T
    totals = matrix @ covariances @ matrix.T + 0.16 * np.eye(2)
    distances = np.einsum("kd,kde,ke->k", apart, np.linalg.inv(totals), apart)
    densities = np.exp(-0.5 * distances) / np.sqrt(np.linalg.det(2 * np.pi * totals))
    want = np.log(densities @ np.array([1, 2, 3]) / 6)
    np.testing.assert_allclose(evidence, np.full(8, want), atol=2e-3)  # of 300 nats


def test_the_likelihood_is_a_density_of_the_values():
    seen = diffusion.LinearObservation(jnp.eye(1), jnp.array([0.5]), 0.3)
    x = np.arange(-4, 5, 0.01, np.float32)[:, None]

    # It is symmetric in point and value.
    assert abs(np.sum(np.exp(seen.log_likelihood(x))) * 0.01 - 1) < 1e-4


def test_the_linear_posterior_of_a_gaussian_is_exact():
    rng, y = np.random.default_rng(2), points(6, 4)
    root = rng.normal(size=(4, 4))
    prior = de.oracles.gaussian_mixture(
        rng.normal(size=(1, 4)), [root @ root.T + 0.1 * np.eye(4)]
    )
    seen = diffusion.LinearObservation(rng.normal(size=(2, 4)), np.array([1.0, -2.0]), 0.2)

    got = answers(diffusion.linear_posterior(prior.denoise, seen), y)

    # Condition numbers of some hundreds.
    np.testing.assert_allclose(got, exact_answers(seen.posterior(prior), y), atol=1e-3)


def test_one_deviation_is_exact_for_white_data():
    prior = de.oracles.gaussian_mixture([[1.0, -1.0, 0.0, 2.0]], 4.0)
    matrix, y = np.array([[1.0, 2.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]]), points(6, 4)
    seen = diffusion.LinearObservation(matrix, np.array([1.0, -2.0]), 0.2)

    got = answers(diffusion.linear_posterior(prior.denoise, seen, prior_deviation=2.0), y)

    np.testing.assert_allclose(got, exact_answers(seen.posterior(prior), y), atol=1e-3)


def test_the_linear_posterior_of_a_population_uses_its_covariance():
    rng = np.random.default_rng(5)
    x, log_weight = rng.normal(size=(32, 2)), rng.normal(size=32)
    matrix, value, noise, sigma = np.array([[1.0, 0.5]]), 2.0, 0.3, 0.8
    y = x + sigma * rng.normal(size=x.shape)
    values, weight = jnp.float32(x), jnp.float32(log_weight)
    population = lambda y, sigma: (
        de.denoisers.posterior_mean(y, values, values, weight, 1 / sigma**2).clean
    )
    seen = diffusion.LinearObservation(jnp.float32(matrix), jnp.array([value]), noise)

    got = jax.jit(diffusion.linear_posterior(population, seen))(jnp.float32(y), sigma)

    logits = log_weight - np.sum((y[:, None] - x) ** 2, axis=2) / (2 * sigma**2)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    mean = weights @ x
    apart = x - mean[:, None]
    covariance = np.einsum("nm,nmd,nme->nde", weights, apart, apart)
    cross = covariance @ matrix[0]
    gain = cross / (cross @ matrix[0] + noise**2)[:, None]
    want = mean + gain * (value - mean @ matrix[0])[:, None]
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_along_axes_without_variance_nothing_is_corrected():
    # given a denoiser with a slope below 0 along the first axis, as a network may have
    slopes = jnp.array([-0.5, 0.5])
    denoise = lambda y, sigma: slopes * y
    observation = diffusion.known_part([True, True], [3.0, 3.0], 0.1)

    clean = diffusion.linear_posterior(denoise, observation)(jnp.ones((1, 2)), 2.0)

    # then along the other it is Kalman's update, with a variance of 2^2 / 2
    want = [[-0.5, 0.5 + 2.5 * 2.0 / (2.0 + 0.1**2)]]
    np.testing.assert_allclose(clean, want, rtol=1e-5)


# Posteriors by sampling


@pytest.mark.slow
def test_samples_of_the_unknown_part_of_a_gaussian_are_from_the_posterior():
    seen = diffusion.known_part(HALF, [1.5, 0.0], 0.1)

    samples = draw(
        diffusion.linear_posterior(CORRELATED.denoise, seen), de.samplers.Heun(), 50
    )

    mean, deviation, _ = against(samples, seen.posterior(CORRELATED))
    # Standard errors are 0.04 and 0.03, as the exact samples are as few; the solver's 0.04.
    assert abs(mean) < 0.16
    assert abs(deviation - 1) < 0.13


def test_the_posterior_with_a_flat_likelihood_is_the_denoiser():
    y = points(6, 2)

    got = answers(diffusion.posterior_guidance(TWO.denoise, lambda x: 0.0 * x[:, 0]), y)

    np.testing.assert_allclose(got, exact_answers(TWO, y), atol=1e-5)


def test_the_plain_posterior_forgets_the_uncertainty_of_the_clean_point():
    # For a Gaussian the gain has no C in its denominator: l s^2 / (l + s^2) / deviation^2.
    prior = de.oracles.gaussian_mixture([[0.0]], 2.0)
    seen = diffusion.LinearObservation(jnp.eye(1), jnp.array([1.0]), 0.5)
    y, sigma = points(5, 1), 1.5

    denoise = diffusion.posterior_guidance(prior.denoise, seen.log_likelihood, scale=0.3)

    got = jax.jit(denoise)(y, sigma)

    clean = 2.0 / (2.0 + sigma**2) * y
    gain = 0.3 * 2.0 * sigma**2 / (2.0 + sigma**2) / 0.5**2
    np.testing.assert_allclose(got, clean + gain * (1.0 - clean), rtol=1e-4)


# What each is wrong by: means and deviations of the unknown number, in deviations of the
# exact posterior; samples and sampler have errors of 0.03. benchmarks/posterior_bias.py
BIAS = {
    "posterior_guidance of a Gaussian": (CORRELATED, 0.3, (0.1, 0.4), (0.75, 0.95)),
    "linear_posterior of two modes": (TWO, 0.3, (-0.5, -0.25), (1.2, 1.45)),
    "inpaint in a Gaussian": (CORRELATED, 0.1, (-0.5, -0.2), (1.05, 1.35)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BIAS)
def test_biases_are_as_large_as_they_are(case):
    prior, noise, mean_range, deviation_range = BIAS[case]
    seen = diffusion.known_part(HALF, [0.7, 0.0], noise)
    denoise = {
        "posterior_guidance": diffusion.posterior_guidance(
            prior.denoise, seen.log_likelihood
        ),
        "linear_posterior": diffusion.linear_posterior(prior.denoise, seen),
        "inpaint": diffusion.inpaint(prior.denoise, HALF, [0.7, 0.0]),
    }[case.split()[0]]

    samples = draw(denoise, de.samplers.DDIM(1.0), 200)

    mean, deviation, _ = against(samples, seen.posterior(prior))
    assert mean_range[0] < mean < mean_range[1]
    assert deviation_range[0] < deviation < deviation_range[1]


@pytest.mark.slow
def test_langevin_corrections_let_the_unknown_part_catch_up():
    denoise = diffusion.inpaint(CORRELATED.denoise, HALF, [0.7, 0.0])
    exact = diffusion.known_part(HALF, [0.7, 0.0], 0.01).posterior(CORRELATED)

    plain = against(draw(denoise, de.samplers.DDIM(1.0), 100), exact)[2]
    corrected = de.samplers.PredictorCorrector(num_corrections=4, step=0.3)
    better = against(draw(denoise, corrected, 50), exact)[2]

    assert plain > 0.25  # 0.4, and 0.1 with corrections
    assert better < plain / 2


def test_the_known_part_is_what_it_is_given():
    known = np.array([[True, False], [False, False]])

    samples = draw(
        diffusion.inpaint(TWO.denoise, known, [[7.0, 0.0]] * 2),
        de.samplers.DDIM(0.5),
        4,
        2,
    )

    assert samples[0, 0] == 7.0
    assert (np.abs(samples.ravel()[1:]) < 5).all()


@pytest.mark.parametrize(
    ("sampler", "same"),
    [(de.samplers.DDIM(0.0), 1.0), (de.samplers.DDIM(1.0), 0.5), ("Consistency", 0.0)],
    ids=["ODE", "SDE", "fresh"],
)
def test_a_known_part_has_the_noise_of_its_level_and_the_sampler_says_how_fresh(
    sampler, same
):
    # given two numbers of which one is known to be 1, and levels that fall by half
    sampler = de.samplers.Consistency() if sampler == "Consistency" else sampler
    denoise = diffusion.inpaint(CORRELATED.denoise, HALF, [1.0, 0.0])
    grid, shape = de.noise.Levels([4.0, 2.0, 1.0]), (20_000, 2)
    start = jnp.array([1.0, 0.0]) + 4.0 * jax.random.normal(KEY, shape)

    path = jax.jit(
        lambda: de.sample_path(
            KEY, denoise, grid, sampler, shape, num_levels=3, start=start
        )
    )()

    # then its noise has the level's deviation; five standard errors are 0.03
    noise = (np.asarray(path.points)[:, :, 0] - 1.0) / np.asarray(path.sigmas)[:, None]
    np.testing.assert_allclose(noise.std(axis=1), 1.0, atol=0.03)
    # and with that of the level before the correlation that the step leaves, sigma' / sigma
    assert np.corrcoef(noise[0], noise[1])[0, 1] == pytest.approx(same, abs=0.035)


# Errors


def test_known_numbers_are_named_by_booleans():
    with pytest.raises(TypeError, match="known: got int32, want booleans"):
        diffusion.inpaint(TWO.denoise, [0, 2], [1.0, 1.0])


@pytest.mark.parametrize("deviation", [0.0, -1.0])
def test_a_prior_without_a_deviation_is_refused(deviation):
    seen = diffusion.known_part([True, False], [1.0, 0.0], 0.1)

    with pytest.raises(ValueError, match=r"prior_deviation: got .*, want a number > 0"):
        diffusion.linear_posterior(TWO.denoise, seen, deviation)


@pytest.mark.parametrize(
    ("matrix", "values", "deviation", "message"),
    [
        (np.ones(2), np.ones(2), 1.0, r"matrix of shape \(2,\)"),
        (np.ones((2, 3)), np.ones(3), 1.0, r"want \(M, D\) and \(M,\)"),
        (np.ones((1, 2)), np.ones(1), 0.0, "deviation: got 0.0, want a number > 0"),
    ],
)
def test_what_is_no_observation_is_refused(matrix, values, deviation, message):
    seen = diffusion.LinearObservation(matrix, values, deviation)

    for use in (
        seen.posterior,
        lambda prior: diffusion.linear_posterior(prior.denoise, seen),
    ):
        with pytest.raises(ValueError, match=message):
            use(TWO)


@pytest.mark.parametrize(
    ("known", "values", "message"),
    [
        ([False, False], [0.0, 0.0], "known: got .* not all False"),
        ([1, 0], [0.0, 0.0], "known: got .* booleans"),
        (
            [[True, False]],
            [[0.0, 0.0]],
            r"known: got bool of shape \(1, 2\), want \(D,\) or",
        ),
        ([True, False], [0.0], r"values: got shape \(1,\), want \(2,\)"),
    ],
)
def test_a_part_that_is_none_is_refused(known, values, message):
    with pytest.raises(ValueError, match=message):
        diffusion.known_part(known, values, 0.1)


def test_the_known_part_of_an_image_is_that_of_its_numbers_in_their_order():
    mask = np.random.default_rng(0).random((2, 3, 2)) < 0.5
    values = np.arange(12.0).reshape(2, 3, 2)

    image = diffusion.known_part(mask, values, 0.1)

    assert de.equal(image, diffusion.known_part(mask.ravel(), values.ravel(), 0.1))
    np.testing.assert_array_equal(image.matrix @ values.ravel(), values[mask])


def test_the_known_part_of_an_image_is_put_into_flat_samples():
    mask = np.random.default_rng(0).random((2, 3, 2)) < 0.5
    values, y = np.arange(12.0).reshape(2, 3, 2), points(5, 12)
    denoise = lambda y, sigma: 0.5 * y

    image = diffusion.inpaint(denoise, mask, values)(y, 1.0)

    flat = diffusion.inpaint(denoise, mask.ravel(), values.ravel())(y, 1.0)
    np.testing.assert_array_equal(image, flat)

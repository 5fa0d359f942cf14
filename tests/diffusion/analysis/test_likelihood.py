"""The flow as a density, on mixtures whose denoiser and density are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax import diffusion, noise
from diffevo_jax.denoisers import oracles

KEY = jax.random.key(0)
#: Far enough for the noisy end to be Gaussian to 1e-4, and narrow enough at the clean one.
GRID = noise.VE(sigma_min=0.005, sigma_max=80.0)
MIXTURE = oracles.gaussian_mixture([[1.0, 0.5], [-1.0, -0.5]], [[0.2, 0.1], [0.1, 0.4]])


def points(count=64):
    rng = np.random.default_rng(0)
    means = np.asarray(MIXTURE.means)[rng.integers(0, 2, count)]
    return np.float32(means + 0.4 * rng.normal(size=(count, 2)))


def prior():
    """Mean and deviation of the clean points."""
    return {
        "prior_mean": MIXTURE.mean(),
        "prior_deviation": jnp.sqrt(jnp.trace(MIXTURE.covariance()) / 2),
    }


@pytest.fixture(scope="module")
def exact():
    """Points, their likelihood by the flow, and what comes back from the latents."""

    @jax.jit
    def both(x):
        found = diffusion.log_likelihood(
            MIXTURE.denoise, x, GRID, num_levels=129, **prior()
        )
        back = diffusion.decode(MIXTURE.denoise, found.latent, GRID, num_levels=129)
        return found, back

    return points(), *both(points())


def test_the_likelihood_of_the_exact_denoiser_is_exact(exact):
    x, found, _ = exact

    want = MIXTURE.log_density(x, sigma=GRID.sigma_min)

    # Nats; with twice as many levels it hardly changes: it is the rounding of sums of 10
    # nats, and the noisy end, which is not quite a Gaussian.
    np.testing.assert_allclose(found.log_density, want, atol=1e-3)


def test_the_noise_at_the_clean_end_does_not_matter(exact):
    x, found, _ = exact

    # Second order in sigma_min over the narrowest deviation, 0.011.
    np.testing.assert_allclose(found.log_density, MIXTURE.log_density(x, 0.0), atol=2e-3)


def test_the_prior_is_where_and_as_wide_as_it_is_said_to_be():
    # given N(2, 1 / 4), and a grid that ends where the data still matter
    grid, x = noise.VE(sigma_min=0.01, sigma_max=3.0), jnp.array([[1.5], [2.7]])

    found = diffusion.log_likelihood(
        lambda y, sigma: 2.0 + 0.25 / (0.25 + sigma**2) * (y - 2.0),
        x,
        grid,
        num_levels=65,
        prior_mean=2.0,
        prior_deviation=0.5,
    )

    variance = 0.25 + 0.01**2
    want = -0.5 * ((x[:, 0] - 2.0) ** 2 / variance + np.log(2 * np.pi * variance))
    np.testing.assert_allclose(found.log_density, want, atol=1e-4)  # rounding of the sum


def test_decoding_brings_encoded_points_back(exact):
    x, _, back = exact

    np.testing.assert_allclose(back, x, atol=1e-3)


def test_latents_are_noise(exact):
    # Points of the mixture itself would have exactly this size.
    latent = np.asarray(exact[1].latent)

    # 5 standard errors of 128 squares.
    assert np.mean((latent / 80) ** 2) == pytest.approx(1, abs=5 * np.sqrt(2 / 128))


@pytest.mark.parametrize("method", ["heun", "rk4"])
def test_encoding_has_the_order_of_its_method(method):
    # given a Gaussian of variance v, whose flow is y ~ sqrt(v + sigma^2)
    v, grid, x = 0.5, noise.VE(sigma_min=0.1, sigma_max=10.0), jnp.ones((1, 1))
    want = np.sqrt((v + 10.0**2) / (v + 0.1**2))

    errors = []
    for steps in (6, 12):
        end = diffusion.encode(
            lambda y, sigma: v / (v + sigma**2) * y,
            x,
            grid,
            num_levels=steps + 1,
            method=method,
        )
        errors.append(abs(end[0, 0] - want))

    order = np.log2(errors[0] / errors[1])
    # So few steps are not quite in the limit.
    assert order == pytest.approx({"heun": 2, "rk4": 4}[method], abs=0.6)


def test_probes_estimate_the_divergence_without_bias():
    # given one point, and its estimates by two probes each
    one = lambda key: diffusion.log_likelihood(
        MIXTURE.denoise, points(1), GRID, num_levels=17, key=key, num_probes=2
    )
    keys = jax.random.split(KEY, 400)
    estimates = np.asarray(jax.jit(jax.vmap(one))(keys).log_density, np.float64)[:, 0]

    exact = jax.jit(
        lambda x: diffusion.log_likelihood(MIXTURE.denoise, x, GRID, num_levels=17)
    )(points(1)).log_density[0]

    # then their mean is right to 5 standard errors, of which it has some
    error = estimates.std() / np.sqrt(len(estimates))
    assert error > 0.001
    assert estimates.mean() == pytest.approx(float(exact), abs=5 * error)


def terms_of_the_bound(v, count):
    """Prior, steps and decoder for N(0, v) and its exact denoiser, per number, float64."""
    s = np.float64(noise.VE().sigmas(count))
    error = v * s**2 / (v + s**2)
    prior = -0.5 * np.log(s[0] ** 2 / (s[0] ** 2 + v))  # the mean squares cancel
    steps = 0.5 * (s[1:] ** -2 - s[:-1] ** -2) * error[:-1]
    decoder = 0.5 * np.log(2 * np.pi * s[-1] ** 2) + 0.5 * error[-1] / s[-1] ** 2
    return prior, steps, decoder


def test_every_term_of_the_bound_of_a_gaussian_is_its_number():
    v, count, size = 0.25, 100, 20_000
    x = np.sqrt(v) * np.random.default_rng(0).normal(size=(size, 1)).astype(np.float32)

    bound = diffusion.variational_bound(
        KEY,
        lambda y, sigma: v / (v + sigma**2) * y,
        x,
        noise.VE(),
        num_levels=count,
        prior_deviation=np.sqrt(v),
    )

    # 5 standard errors of that many squares.
    close = 5 * np.sqrt(2 / size)
    prior, steps, decoder = terms_of_the_bound(v, count)
    np.testing.assert_allclose(bound.steps, steps, rtol=close)
    assert float(bound.decoder) == pytest.approx(decoder, abs=close / 2)
    assert float(bound.prior) == pytest.approx(prior, abs=close * v / 30**2)
    total = prior + steps.sum() + decoder
    assert float(bound.total) == pytest.approx(total, abs=close * steps.max() * 10)


def test_the_bound_of_a_gaussian_comes_down_to_its_entropy():
    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.25)
    total = lambda terms: terms[0] + terms[1].sum() + terms[2]

    above = [total(terms_of_the_bound(0.25, count)) - entropy for count in (100, 1000)]

    # In inverse proportion to the number of steps; the decoder's share does not go away.
    assert above[1] > 0
    assert above[0] / above[1] == pytest.approx(10, rel=0.1)


def test_steps_of_the_bound_are_kls_to_the_posterior():
    # given the DDPM posterior of two neighbours, and that with the answer for the clean one
    sigma, lower, clean, answer, y = 2.0, 1.5, 0.3, -0.1, 1.7
    rates = [1 / (1 + s**2) for s in (sigma, lower)]
    x = jnp.array([y / np.sqrt(1 + sigma**2)])
    mean, variance = noise.ddpm_posterior(x, jnp.array([clean]), *rates)
    guess, _ = noise.ddpm_posterior(x, jnp.array([answer]), *rates)

    kl = diffusion.gaussian_kl(mean, variance, guess, variance)

    fall = diffusion.training.objectives.snr_falls(jnp.array([sigma, lower]))[0]
    want = 0.5 * fall * (clean - answer) ** 2
    np.testing.assert_allclose(kl[0], want, rtol=1e-5)


def test_the_kl_of_gaussians_is_a_mean_of_log_ratios():
    rng = np.random.default_rng(0)
    x = 1.0 + 2.0 * rng.normal(size=200_000)

    log = lambda mean, s: -0.5 * ((x - mean) / s) ** 2 - np.log(s)
    ratios = log(1.0, 2.0) - log(0.0, 3.0)

    got = diffusion.gaussian_kl(1.0, 4.0, 0.0, 9.0)
    # 5 standard errors of the mean.
    assert float(got) == pytest.approx(ratios.mean(), abs=5 * ratios.std() / 200_000**0.5)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"num_levels": 1}, ValueError, "num_levels: got 1, want an int >= 2"),
        ({"method": "euler"}, ValueError, "method: got 'euler', want one of"),
        ({"points": np.ones(3)}, ValueError, r"points: got shape \(3,\), want \(N, D\)"),
        ({"grid": noise.VE(-1.0)}, ValueError, r"VE\.sigma_min: got -1.0"),
        ({"key": 3}, TypeError, "key: got int"),
        ({"key": KEY, "num_probes": 0}, ValueError, "num_probes: got 0"),
    ],
)
def test_an_error_names_what_is_wrong(changes, kind, message):
    arguments = {"points": np.ones((3, 1)), "grid": GRID, "num_levels": 3} | changes

    with pytest.raises(kind, match=message):
        diffusion.log_likelihood(lambda y, sigma: 0 * y, **arguments)

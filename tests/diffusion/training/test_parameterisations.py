"""Parameterisations: the same clean point in other words, at any noise level."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion, noise

KEY = jax.random.key(0)
ALL = {
    kind.__name__: kind
    for kind in (
        diffusion.EDM,
        diffusion.Noise,
        diffusion.Velocity,
        diffusion.Flow,
        diffusion.Score,
        diffusion.Clean,
    )
}
SIGMAS = np.float32([0.01, 0.1, 0.5, 1.0, 3.0, 30.0])


def drawn(sigma_data=1.0, count=50_000):
    """Clean points of that deviation, and noise."""
    clean, eps = np.random.default_rng(0).normal(size=(2, count, 1)).astype(np.float32)
    return np.float32(sigma_data) * clean, eps


@pytest.mark.parametrize("sigma_data", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_input_and_target_of_edm_have_unit_variance_at_every_level(sigma, sigma_data):
    edm, (clean, eps) = diffusion.EDM(sigma_data), drawn(sigma_data)

    inputs = edm.coefficients(sigma).scale * (clean + sigma * eps)
    targets = edm.target(clean, eps, sigma)

    # 5 standard errors of 50,000 squares are 3 %.
    assert abs(inputs.var() - 1) < 0.05
    assert abs(targets.var() - 1) < 0.05


@pytest.mark.parametrize("sigma", SIGMAS)
def test_edm_does_not_amplify_errors_of_the_network(sigma):
    out = diffusion.EDM(0.5).coefficients(sigma).out

    # Its error counts less than the noise, and less than the data.
    assert out < min(sigma, 0.5)


def test_without_preconditioning_the_input_of_the_network_explodes():
    clean, eps = drawn()

    inputs = diffusion.Score().coefficients(30.0).scale * (clean + 30.0 * eps)

    assert inputs.std() > 25


@pytest.mark.parametrize("sigma_data", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", ALL)
def test_the_target_is_what_makes_the_denoiser_answer_the_clean_point(name, sigma_data):
    part, (clean, eps) = ALL[name](sigma_data), drawn(sigma_data, count=100)

    for sigma in SIGMAS:
        y = clean + sigma * eps
        skip, out = part.coefficients(sigma)[:2]
        found = skip * y + out * part.target(clean, eps, sigma)
        # Float32: y is rounded to 1e-7 of its size.
        np.testing.assert_allclose(found, clean, atol=2e-6 * max(1, sigma))


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("Noise", noise.noise_from_clean),
        ("Velocity", noise.velocity_from_clean),
        ("Score", lambda y, clean, s: s * noise.score_from_clean(y, clean, s)),
        ("Clean", lambda y, clean, s: clean),
        ("Flow", lambda y, clean, s: noise.noise_from_clean(y, clean, s) - clean),
    ],
)
def test_the_answer_for_the_exact_clean_point_is_that_of_the_conversions(name, convert):
    # given the posterior mean of a mixture
    mixture = de.oracles.gaussian_mixture([[-1.0, 0.5], [1.0, 0.0]], 0.1)
    y = 2 * jax.random.normal(KEY, (50, 2))

    for sigma in SIGMAS[1:]:  # at 0.01 the conversion itself cancels
        clean = mixture.denoise(y, sigma)
        skip, out = ALL[name]().coefficients(sigma)[:2]
        answer = (clean - skip * y) / out
        want = convert(y, clean, sigma)
        np.testing.assert_allclose(answer, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_a_network_that_answers_the_target_is_the_exact_denoiser(name):
    # given a network that knows the posterior mean of N(0, 1), in the words of its part
    part, y = ALL[name](), jax.random.normal(KEY, (20, 2))
    sigma_of = {
        "Flow": lambda c: c / (1 - c),
        "Score": lambda c: 2 * jnp.exp(c),
    }.get(name, lambda c: jnp.exp(4 * c))

    def apply(weights, scaled, c_noise, label):
        skip, out, scale, _ = part.coefficients(sigma_of(c_noise))
        y = scaled / scale[:, None]
        clean = y / (1 + sigma_of(c_noise)[:, None] ** 2)
        return (clean - skip[:, None] * y) / out[:, None]

    network = diffusion.Network(init=lambda key, shape: (), apply=apply)
    denoiser = diffusion.NetworkDenoiser(network, part, (), (2,))

    for sigma in (0.1, 1.0, 10.0):
        # Rounding of the noise level in the network's own units, 1e-6, is multiplied by
        # c_out of up to 10.
        found = denoiser.denoise(y, sigma)
        np.testing.assert_allclose(found, y / (1 + sigma**2), atol=2e-5)


def test_edm_in_units_of_the_data_is_velocity_prediction():
    clean, eps = drawn(count=100)
    edm, velocity = diffusion.EDM(), diffusion.Velocity()

    for sigma in SIGMAS:
        np.testing.assert_allclose(
            edm.target(clean, eps, sigma), -velocity.target(clean, eps, sigma), atol=1e-6
        )
        signal = 1 / np.sqrt(1 + sigma**2)
        want = signal * (eps - sigma * clean)  # Salimans and Ho
        np.testing.assert_allclose(velocity.target(clean, eps, sigma), want, atol=2e-6)
        assert velocity.coefficients(sigma).scale == pytest.approx(signal)


def test_flow_matching_has_the_coefficients_of_a_straight_line():
    # At time t: x_t = (1 - t) x_0 + t eps, and x_0 = x_t - t u.
    t = np.float32([0.1, 0.5, 0.9])

    skip, out, scale, level = diffusion.Flow().coefficients(t / (1 - t))

    np.testing.assert_allclose(level, t, rtol=1e-6)
    np.testing.assert_allclose(scale, 1 - t, rtol=1e-6)  # y to x_t
    np.testing.assert_allclose(skip, 1 - t, rtol=1e-6)
    np.testing.assert_allclose(out, -t, rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_coefficients_follow_the_shape_of_the_noise_levels(name):
    coefficients = ALL[name]().coefficients(jnp.ones((3, 2)))

    assert all(jnp.shape(value) == (3, 2) for value in coefficients)


@pytest.mark.parametrize("name", ALL)
def test_a_deviation_of_data_that_is_not_positive_is_an_error(name):
    with pytest.raises(ValueError, match=rf"{name}\.sigma_data: got 0.0"):
        de.pytree.validation.validate(ALL[name](0.0))

"""Bits per dimension, beside distributions whose entropy in bits is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import diffevo_jax as de
from diffevo_jax import diffusion
from diffevo_jax.diffusion.analysis.bits import bits_of_density

KEY = jax.random.key(0)
#: The Gaussian that data of a scale are, and its exact denoiser.
STANDARD = de.oracles.gaussian_mixture(jnp.zeros((1, 4)), 1.0)
GRID = de.noise.VE(sigma_min=0.01, sigma_max=80.0)
SHAPE = (500, 2, 2, 1)


def levels_of_gaussian(mean, deviation, levels=256):
    """Images of independent levels, of a Gaussian that is rounded; its probabilities."""
    whole = np.arange(levels)
    inner = stats.norm.cdf(whole[1:] - 0.5, mean, deviation)
    probability = np.diff(np.concatenate([[0.0], inner, [1.0]]))
    drawn = np.random.default_rng(0).choice(levels, p=probability, size=SHAPE)
    return drawn.astype(np.uint8), probability


@functools.partial(jax.jit, static_argnames=("num_draws", "num_probes"))
def by_flow(model, pixels, scale, grid, at=0.0, width=1.0, num_draws=8, num_probes=None):
    """Bits of each image by the flow of a mixture; one program for all of a shape."""
    return diffusion.bits_per_dimension(
        KEY,
        model.denoise,
        pixels,
        scale,
        grid,
        num_levels=65,
        num_draws=num_draws,
        num_probes=num_probes,
        prior_mean=at,
        prior_deviation=width,
    )


def bits(pixels, scale, model=STANDARD, grid=GRID, **options):
    return np.asarray(by_flow(model, pixels, scale, grid, **options), np.float64)


@pytest.mark.parametrize("deviation", [20.0, 1.0, 0.6])
def test_dequantised_bits_bound_those_of_the_levels_from_above(deviation):
    # given levels of a rounded Gaussian, and its own density as the model
    pixels, probability = levels_of_gaussian(100.3, deviation)
    scale = diffusion.PixelScale(100.3, deviation)

    got = bits(pixels, scale)

    # then each image costs at least what its levels do, and in closed form
    # (z^2 + 1 / 12 deviation^2 + log(2 pi deviation^2)) / 2 nats a number
    exact = -np.log2(probability[pixels]).mean(axis=(1, 2, 3))
    z = (pixels - 100.3) / deviation
    nats = 0.5 * (z**2 + 1 / (12 * deviation**2) + np.log(2 * np.pi * deviation**2))
    want = nats.mean(axis=(1, 2, 3)) / np.log(2)
    gap, error = got - exact, np.std(got - want) / np.sqrt(len(got))
    assert gap.mean() > -5 * error
    assert (want >= exact).all()
    # 5 standard errors over draws of the noise; sigma_min adds 1e-4.
    assert got.mean() == pytest.approx(want.mean(), abs=5 * error + 2e-4)


def test_the_bound_is_near_where_a_density_hardly_changes_within_a_level():
    # the Gaussian's probability has 1 / (24 deviation^2) nats less, to second order
    gaps = []
    for deviation in (4.0, 2.0):
        pixels, probability = levels_of_gaussian(100.0, deviation)
        z = (pixels - 100.0) / deviation
        dequantised = 0.5 * (
            z**2 + 1 / (12 * deviation**2) + np.log(2 * np.pi * deviation**2)
        )
        gaps.append(np.mean(dequantised + np.log(probability[pixels])))

    assert gaps[0] > 0
    np.testing.assert_allclose(gaps, [1 / 24 / 4.0**2, 1 / 24 / 2.0**2], rtol=0.1)


def test_levels_that_are_all_alike_cost_their_logarithm_to_a_uniform_density():
    assert float(bits_of_density(jnp.zeros(3), 12, 256.0)[0]) == 8.0
    # uniform within [-1, 1], a density of 1/2 in each of 12 numbers, whose half is 127.5
    got = bits_of_density(12 * jnp.log(0.5), 12, 127.5)
    assert float(got) == pytest.approx(np.log2(255), rel=1e-6)


@pytest.mark.parametrize(
    ("mean", "deviation"), [(127.5, 127.5), (0.0, 255.0), (100.0, 20.0)]
)
def test_bits_are_those_of_the_pixels_however_they_are_scaled(mean, deviation):
    # given one density of pixels, N(100, 20^2), seen through several scales
    pixels, _ = levels_of_gaussian(100.0, 20.0)
    at, width = (100.0 - mean) / deviation, 20.0 / deviation
    model = de.oracles.gaussian_mixture(jnp.full((1, 4), at), width**2)
    scale = diffusion.PixelScale(mean, deviation)
    grid = de.noise.VE(0.01 * width, 80.0 * width)

    got = bits(pixels, scale, model, grid, at=at, width=width)

    want = bits(pixels, diffusion.PixelScale(100.0, 20.0))
    # The same noise; rounding of sums of 20 nats.
    np.testing.assert_allclose(got, want, atol=1e-3)


def test_probes_have_the_bits_of_the_exact_divergence():
    pixels, _ = levels_of_gaussian(100.0, 2.0)
    scale = diffusion.PixelScale(100.0, 2.0)

    probed = bits(pixels, scale, num_probes=1)

    # The divergence of a round Gaussian is the same along all probes; rounding.
    np.testing.assert_allclose(probed, bits(pixels, scale), atol=1e-3)


def test_every_level_has_the_probability_of_a_gaussian_within_half_of_it():
    levels, mean, deviation = 16, 4.3, 2.5

    got = diffusion.discretised_gaussian(jnp.arange(levels), mean, deviation, levels)

    edges = np.arange(levels - 1) + 0.5
    inner = stats.norm.cdf(edges, mean, deviation)
    want = np.diff(np.concatenate([[0.0], inner, [1.0]]))
    np.testing.assert_allclose(np.exp(got), want, rtol=1e-4)
    assert float(jnp.exp(got).sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("level", [0, 3, 12, 15])
def test_levels_far_from_the_mean_keep_their_digits(level):
    got = diffusion.discretised_gaussian(level, 7.0, 0.5, 16)

    low = (level - 0.5 - 7.0) / 0.5 if level > 0 else -np.inf
    high = (level + 0.5 - 7.0) / 0.5 if level < 15 else np.inf
    tail = sorted([-abs(low), -abs(high)])  # on the side below the mean
    want = np.log(stats.norm.cdf(tail[1]) - stats.norm.cdf(tail[0]))
    assert float(got) == pytest.approx(want, rel=1e-4)


def test_a_level_at_any_distance_costs_bits_that_are_finite():
    got = diffusion.discretised_gaussian(200, 0.0, 0.01, 256)

    assert float(got) == pytest.approx(-0.5 * (199.5 / 0.01) ** 2, rel=1e-4)


def test_the_bound_of_a_chain_of_one_level_is_its_entropy_beside_its_start():
    # given levels of a rounded Gaussian, and an answer that does not look
    pixels, probability = levels_of_gaussian(100.0, 3.0)
    scale = diffusion.PixelScale(100.0, 3.0)
    constant = lambda y, sigma: jnp.zeros_like(y)
    # whose last level has just that deviation
    grid = de.noise.Levels([1.0])

    got = jax.jit(
        lambda key: diffusion.variational_bits(
            key, constant, pixels, scale, grid, num_levels=1
        )
    )(KEY)

    data = scale.to_data(pixels).reshape(-1)
    start = jnp.mean(diffusion.gaussian_kl(data, 1.0, 0.0, 2.0)) / np.log(2)
    # The mean of -log2 P over the levels that were drawn.
    want = start - np.log2(probability[pixels]).mean()
    assert float(got) == pytest.approx(float(want), abs=1e-4)


def test_the_bound_of_a_chain_is_its_closed_form_above_the_entropy():
    # given levels of a rounded Gaussian, and the denoiser of the Gaussian, which knows
    # nothing of levels
    pixels, probability = levels_of_gaussian(100.0, 20.0)
    scale, grid, count = diffusion.PixelScale(100.0, 20.0), de.noise.VE(0.015, 80.0), 300

    @jax.jit
    def bound(keys):
        one = lambda key: diffusion.variational_bits(
            key, STANDARD.denoise, pixels, scale, grid, num_levels=count
        )
        return jax.lax.map(one, keys)

    found = np.asarray(bound(jax.random.split(KEY, 16)), np.float64)

    # then its terms are means over normal noise e, of which the answer to x + s e has the
    # error (s^2 x - s e) / (1 + s^2)
    x, s = (pixels.reshape(-1) - 100.0) / 20.0, np.float64(grid.sigmas(count))
    square = np.mean(x**2)
    errors = (s**4 * square + s**2) / (1 + s**2) ** 2
    ratio = s[0] ** 2 / (1 + s[0] ** 2)
    prior = 0.5 * (ratio - 1 - np.log(ratio) + square / (1 + s[0] ** 2))
    steps = 0.5 * np.sum((s[1:] ** -2 - s[:-1] ** -2) * errors[:-1])
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    mean = 20 * (x[:, None] + s[-1] * nodes) / (1 + s[-1] ** 2) + 100
    bounds = [(pixels.reshape(-1, 1) + side - mean) / (20 * s[-1]) for side in (0.5, -0.5)]
    low, high = np.sort(-np.sign(sum(bounds)) * bounds, axis=0)  # below the mean
    decoder = -np.log(stats.norm.cdf(high) - stats.norm.cdf(low))
    decoder = np.mean(decoder @ weights) / weights.sum()
    want = (prior + steps + decoder) / np.log(2)
    # 5 standard errors over the noise of the chain.
    close = 5 * found.std() / np.sqrt(len(found))
    assert found.mean() == pytest.approx(want, abs=close)
    assert want > -np.log2(probability[pixels]).mean() + close


@pytest.mark.parametrize("function", ["bits_per_dimension", "variational_bits"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": diffusion.PixelScale(levels=0)}, "scale: got .*, without levels"),
        ({"pixels": np.zeros(4)}, r"pixels: got shape \(4,\), want \(N, H, W, C\)"),
        ({"pixels": np.full((1, 2), 0.5)}, "pixels: got .* not whole"),
        ({"pixels": np.full((1, 2), 256)}, "pixels: got 256 to 256, want 0 to 255"),
        ({"scale": diffusion.PixelScale(deviation=0.0)}, "PixelScale.deviation: got 0.0"),
    ],
)
def test_an_error_names_what_is_wrong(function, changes, message):
    arguments = {"pixels": np.zeros((1, 2)), "scale": diffusion.PixelScale()} | changes
    with pytest.raises(ValueError, match=message):
        getattr(diffusion, function)(
            KEY, STANDARD.denoise, grid=GRID, num_levels=3, **arguments
        )

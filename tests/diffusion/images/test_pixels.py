"""Pixels as data and back: the same pixels, and noise within half a level."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax import diffusion

KEY = jax.random.key(0)
ALL = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize(
    "scale", [diffusion.PixelScale(), diffusion.PixelScale(33.3, 7.1), None]
)
def test_every_level_comes_back(scale):
    scale = scale or diffusion.fit_scale(ALL)

    pixels = scale.to_pixels(scale.to_data(ALL))

    assert pixels.dtype == jnp.uint8
    np.testing.assert_array_equal(pixels, ALL)


def test_every_level_comes_back_from_the_noise_that_makes_it_continuous():
    scale = diffusion.fit_scale(ALL)

    noisy = scale.to_data(diffusion.dequantise(KEY, ALL))

    assert not np.array_equal(noisy, scale.to_data(ALL))
    np.testing.assert_array_equal(scale.to_pixels(noisy), ALL)


def test_the_default_takes_8_bits_to_minus_1_and_1():
    data = diffusion.PixelScale().to_data(ALL)

    assert (data.min(), data.max()) == (-1.0, 1.0)


def test_a_fitted_scale_gives_what_training_expects():
    pixels = np.random.default_rng(0).integers(0, 17, (50, 4, 4, 1)).astype(np.uint8)

    data = diffusion.fit_scale(pixels, levels=17).to_data(pixels)

    # Rounding of float32.
    assert float(data.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(data.std()) == pytest.approx(1.0, abs=1e-6)


def test_samples_beyond_the_levels_are_clipped_to_them():
    scale = diffusion.PixelScale(8.0, 4.0, levels=17)

    pixels = scale.to_pixels(jnp.array([-9.0, 0.1, 9.0]))

    assert pixels.tolist() == [0, 8, 16]


@pytest.mark.parametrize(("levels", "dtype"), [(256, "uint8"), (65536, "int32")])
def test_pixels_have_the_dtype_of_their_levels(levels, dtype):
    scale = diffusion.PixelScale(0.0, 1.0, levels)

    assert scale.to_pixels([levels - 1.0]).dtype == dtype
    assert scale.to_pixels([levels - 1.0])[0] == levels - 1


def test_images_of_any_numbers_are_not_rounded():
    pixels = np.float32([[0.1, 0.25, 0.9]])
    scale = diffusion.fit_scale(pixels)

    again = scale.to_pixels(scale.to_data(pixels))

    assert scale.levels == 0
    np.testing.assert_allclose(again, pixels, atol=1e-7)  # rounding


def test_the_noise_is_uniform_within_half_a_level():
    noise = np.asarray(diffusion.dequantise(KEY, np.zeros(100_000)), np.float64)

    assert (noise >= -0.5).all()
    assert (noise < 0.5).all()
    # 5 standard errors of the mean, and of the mean square of a uniform number.
    assert noise.mean() == pytest.approx(0, abs=5 * np.sqrt(1 / 12 / 100_000))
    assert np.mean(noise**2) == pytest.approx(1 / 12, abs=5 * np.sqrt(1 / 180 / 100_000))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda: diffusion.PixelScale(levels=1).check(),
            "PixelScale.levels: got 1, want 2",
        ),
        (lambda: diffusion.PixelScale(levels=-1).check(), "PixelScale.levels: got -1"),
        (
            lambda: diffusion.PixelScale().to_data([256]),
            "pixels: got 256 to 256, want 0 to",
        ),
        (lambda: diffusion.fit_scale(np.uint8([3, 3])), "pixels: got 3 everywhere, want"),
        (lambda: diffusion.fit_scale([0.0, np.inf]), "pixels: got none, or NaN or inf"),
        (lambda: diffusion.fit_scale(np.zeros((0, 2, 2, 1))), "pixels: got none, or NaN"),
        (lambda: diffusion.fit_scale([0.0, 0.5], 256), r"numpy.round\(255 \* pixels\)"),
        (lambda: diffusion.fit_scale([0.0, 17.0], 17), "pixels: got 0 to 17, want 0 to 16"),
    ],
)
def test_what_are_no_pixels_is_told(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_a_scale_cannot_be_fitted_to_what_jax_traces():
    with pytest.raises(ValueError, match="pixels: got an array that JAX traces"):
        jax.jit(lambda pixels: diffusion.fit_scale(pixels).mean)(jnp.ones(3))


def test_scaling_is_traced_with_the_scale_as_an_argument():
    scale = diffusion.fit_scale(ALL)

    got = jax.jit(lambda scale, pixels: scale.to_pixels(scale.to_data(pixels)))(scale, ALL)

    np.testing.assert_array_equal(got, ALL)

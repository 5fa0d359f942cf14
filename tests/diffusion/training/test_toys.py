"""Curves and drawn shapes to learn from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from often import often

from diffevo_jax import diffusion

KEY = jax.random.key(0)


def test_curves_have_the_covariance_of_their_frequencies():
    # given frequencies uniform from 1 to 3, of which phases average out all but cosines
    curves = np.asarray(diffusion.sinusoids(KEY, 50_000, 20, low=1.0, high=3.0))

    apart = np.subtract.outer(*2 * [np.linspace(0, 1, 20)])
    want = 1.5 * np.sinc(6 * apart) - 0.5 * np.sinc(2 * apart)
    # 5 standard errors: a product of two values varies by at most 1.6, as the fourth
    # moment of a curve is 3.5.
    np.testing.assert_allclose(curves.T @ curves / 50_000, want, atol=5 * 1.6 / 50_000**0.5)
    np.testing.assert_allclose(curves.mean(axis=0), 0.0, atol=5 / 50_000**0.5)


def test_one_wave_has_one_frequency():
    curve = diffusion.sinusoids(KEY, 1, 101, num_waves=1, low=2.0, high=2.0)[0]

    # two periods: it repeats after half of the curve, and is opposite after a quarter
    np.testing.assert_allclose(curve[50:], curve[:51], atol=1e-4)
    np.testing.assert_allclose(curve[25:], -curve[:-25], atol=1e-4)


@pytest.fixture(scope="module")
def drawn():
    return diffusion.drawn_shapes(KEY, 60, 256)


#: Area in units of the square of the longest row.
AREAS = {
    "disc": np.pi / 4,
    "ring": (np.pi * 8 / 9) / (4 * 8 / 9),
    "square": 1.0,
    "cross": 5 / 9,
    "triangle": 3**0.5 / 4,
}


@pytest.mark.parametrize("name", often(2, diffusion.SHAPES))
def test_a_shape_has_its_area(drawn, name):
    images, labels = drawn

    of_kind = images[labels == diffusion.SHAPES.index(name), :, :, 0]
    ratio = of_kind.sum(axis=(1, 2)) / of_kind.sum(axis=2).max(axis=1) ** 2
    # A pixel is 1 / 50 of a radius or less, and the longest row is between two of them.
    np.testing.assert_allclose(ratio, AREAS[name], rtol=0.05)


@pytest.mark.parametrize("size", often(1, [8, 16, 64]))
def test_shapes_are_inside_of_their_image(size):
    images, _ = diffusion.drawn_shapes(KEY, 400, size)

    edges = jnp.concatenate([images[:, [0, -1]], images[:, :, [0, -1]].swapaxes(1, 2)])
    assert edges.max() == 0
    assert (images.min(), images.max()) == (0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: diffusion.sinusoids(KEY, 0), "count"),
        (lambda: diffusion.sinusoids(KEY, 5, 1), "length"),
        (lambda: diffusion.sinusoids(KEY, 5, num_waves=0), "num_waves"),
        (lambda: diffusion.drawn_shapes(KEY, 5, 7), "size"),
    ],
)
def test_an_error_names_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()

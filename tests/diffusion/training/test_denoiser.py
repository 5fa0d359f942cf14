"""A network as a denoiser: shapes, labels, guidance, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion

KEY = jax.random.key(0)


class TestDenoiser:
    def denoiser(self, null_label=None):
        """D = y / 2 plus the label, in the words of EDM at sigma 1."""
        edm = diffusion.EDM()
        skip, out, scale, _ = edm.coefficients(1.0)

        def apply(weights, scaled, c_noise, label):
            y = scaled / scale
            more = 0.0 if label is None else label.reshape((-1, 1, 1))
            return (0.5 * y + more - skip * y) / out

        network = diffusion.Network(lambda key, shape: (), apply, null_label)
        return diffusion.NetworkDenoiser(network, edm, (), (2, 3))

    def test_flat_samples_are_the_same_samples(self):
        y = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)

        clean = self.denoiser().denoise(y, 1.0)
        flat = self.denoiser().denoise(y.reshape(4, 6), 1.0)

        assert (clean.shape, flat.shape) == ((4, 2, 3), (4, 6))
        np.testing.assert_array_equal(clean.reshape(4, 6), flat)
        np.testing.assert_allclose(clean, y / 2, atol=1e-6)

    @pytest.mark.parametrize(
        ("guidance", "want"), [(None, 4.0), (-1.0, 1.0), (0.0, 4.0), (2.0, 10.0)]
    )
    def test_guidance_goes_beyond_the_label_and_away_from_none(self, guidance, want):
        # given a label of 4, and one of 1 that says nothing
        clean = self.denoiser(null_label=1.0).denoise(
            jnp.zeros((2, 6)), 1.0, jnp.full(2, 4.0), guidance
        )

        np.testing.assert_allclose(clean, want, atol=1e-5)

    def test_guidance_of_0_has_the_bits_of_the_label_alone(self):
        y = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
        ask = functools.partial(self.denoiser(null_label=1.0).denoise, y, 1.0, 4.0)

        np.testing.assert_array_equal(ask(0.0), ask())

    def test_one_label_may_be_for_all(self):
        clean = self.denoiser(null_label=1.0).denoise(jnp.zeros((2, 6)), 1.0, 4.0)

        np.testing.assert_allclose(clean, 4.0, atol=1e-5)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((jnp.zeros((2, 5)), 1.0), r"y: got shape \(2, 5\), want \(N, \*\(2, 3\)\)"),
            ((jnp.zeros(6), 1.0), r"y: got shape \(6,\)"),
            ((jnp.zeros((2, 6)), jnp.ones(3)), r"sigma: got shape \(3,\)"),
            ((jnp.zeros((2, 6)), 1.0, None, 2.0), "guidance: wants a label"),
            ((jnp.zeros((2, 6)), 1.0, 4.0, 2.0), "guidance: wants a label"),
        ],
    )
    def test_an_error_names_what_is_wrong(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            self.denoiser().denoise(*arguments)

    def test_it_goes_into_sample(self):
        draw = lambda key: de.sample(
            key,
            self.denoiser().denoise,
            de.noise.VE(),
            de.samplers.Heun(),
            (5, 6),
            num_levels=3,
        )

        assert jax.eval_shape(draw, KEY).shape == (5, 6)


@functools.cache
def of_points() -> diffusion.NetworkDenoiser:
    """A denoiser of points with labels 0 to 2."""
    network, edm = diffusion.MLP((8,), num_classes=3), diffusion.EDM()
    return diffusion.NetworkDenoiser(network, edm, network.init(KEY, (2,)), (2,))


@pytest.mark.parametrize("label", [99, -1, np.array([0, 4]), [0, 4]])
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_label_that_is_none_is_an_error_inside_jit_too(transform, label):
    ask = transform(lambda y: of_points().denoise(y, 1.0, label))

    with pytest.raises(ValueError, match="label: got "):
        ask(jnp.zeros((2, 2)))


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan, np.array([1.0, 0.0])])
def test_a_noise_level_that_is_none_is_an_error(sigma):
    with pytest.raises(ValueError, match=r"sigma: got .*, want > 0"):
        of_points().denoise(jnp.zeros((2, 2)), sigma)


def test_whole_numbers_are_points():
    got = of_points().denoise(jnp.array([[1, 2]]), 0.5)

    assert np.array_equal(got, of_points().denoise(jnp.array([[1.0, 2.0]]), 0.5))

"""Clipped answers: no farther from the truth, and chains that do not explode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion

BETAS = np.linspace(1e-3, 0.2, 100)


def test_no_answer_moves_away_from_the_exact_one():
    low, high = jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.5])
    clean = jax.random.uniform(jax.random.key(0), (50, 2), minval=low, maxval=high)
    y = 3 * jax.random.normal(jax.random.key(1), (500, 2))
    squares = jnp.sum((y[:, None] - clean) ** 2, axis=2)
    want = jax.nn.softmax(-squares / (2 * 0.5**2), axis=1) @ clean
    wrong = lambda y, sigma: want + jnp.sin(7 * y)
    before = jnp.abs(wrong(y, 0.5) - want)
    after = jnp.abs(diffusion.clip_denoised(wrong, low, high)(y, 0.5) - want)
    assert jnp.all(after <= before + 1e-6)  # rounding of answers of order 1
    assert after.mean() < 0.7 * before.mean()


def test_answers_within_the_range_are_untouched():
    denoise = lambda y, sigma: 0.3 * y
    y = jnp.linspace(-3.0, 3.0, 8).reshape(4, 2)
    got = diffusion.clip_denoised(denoise, -np.inf, 1.0)(y, 1.0)
    np.testing.assert_array_equal(got, denoise(y, 1.0))


def test_clipped_answers_keep_a_chain_from_exploding():
    """Half of the noise predicted, as by a network that was never so far out."""
    grid = diffusion.beta_levels(BETAS).grid

    @jax.jit
    def chain(key, high):
        denoise = lambda y, sigma: y - 0.5 * sigma / jnp.hypot(1.0, sigma) * y
        denoise = diffusion.clip_denoised(denoise, -high, high)
        return de.sample(
            key,
            denoise,
            grid,
            de.samplers.DDIM(eta=1.0),
            (100, 2),
            num_levels=100,
            final_denoise=False,
        )

    # the points of the last level, with its noise of 0.03
    assert jnp.abs(chain(jax.random.key(0), jnp.inf)).max() > 3
    assert jnp.abs(chain(jax.random.key(0), 1.0)).max() < 1.3


@pytest.mark.parametrize(
    ("low", "high"), [(1.0, 0.0), ([0.0, 1.0], [1.0, 0.5]), (np.nan, 1.0)]
)
def test_a_range_that_is_none_is_refused(low, high):
    with pytest.raises(ValueError, match="clip_denoised: got low"):
        diffusion.clip_denoised(lambda y, sigma: y, low, high)

"""The probability flow by an adaptive solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax import diffusion, noise
from diffevo_jax.denoisers import oracles

pytest.importorskip("diffrax")

from diffevo_jax.interop import diffrax

MIXTURE = oracles.gaussian_mixture([[-1.0, 0.5], [1.0, -0.5]], 0.04)
GRID = noise.VE(sigma_min=0.01, sigma_max=100.0)


def test_the_density_of_an_exact_denoiser_is_exact():
    # given narrow modes, and only the ends of a grid
    points = MIXTURE.sample(jax.random.key(0), 50)

    found = diffusion.log_likelihood(
        MIXTURE.denoise, points, GRID, num_levels=2, method=diffrax.adaptive()
    )

    exact = MIXTURE.log_density(points, GRID.sigma_min)
    # The noisy end is taken for a Gaussian, errors of (distance / 100)^2, and rounding.
    np.testing.assert_allclose(found.log_density, exact, atol=1e-3)


def test_decoding_brings_encoded_points_back():
    points, method = MIXTURE.sample(jax.random.key(1), 50), diffrax.adaptive()

    latent = diffusion.encode(MIXTURE.denoise, points, GRID, num_levels=2, method=method)
    back = diffusion.decode(MIXTURE.denoise, latent, GRID, num_levels=2, method=method)

    np.testing.assert_allclose(back, points, atol=1e-3)


def test_a_solver_that_runs_out_of_steps_says_so():
    points = jnp.ones((4, 2))

    with pytest.raises(RuntimeError, match="max_steps"):
        diffusion.encode(
            MIXTURE.denoise,
            points,
            GRID,
            num_levels=2,
            method=diffrax.adaptive(max_steps=3),
        ).block_until_ready()

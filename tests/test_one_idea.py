"""The one idea: a sampler and a grid cannot tell who answers.

The same sampler object and grid, with a population, a Gaussian fit, a trained network and
an exact denoiser, evolve a population and draw samples.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import denoisers, diffusion

SAMPLER, GRID = de.samplers.DDIM(eta=0.5), de.noise.Cosine()
MEAN, DEVIATION = np.array([0.6, -0.4]), 0.3
N, T = 64, 16


def log_density(x: jax.Array) -> jax.Array:
    """Of the points that are wanted, up to a constant."""
    return -0.5 * jnp.sum(((x - MEAN) / DEVIATION) ** 2)


PROBLEM = de.problems.Function(log_density, dim=2)
#: The population answers for the points that are wanted: its weights are their density.
SHAPING = de.shaping.Boltzmann(temperature=1.0)
ORACLE = de.oracles.gaussian_mixture([MEAN], DEVIATION**2)


def network() -> denoisers.Fixed:
    """Trained on the points that are wanted."""
    recipe = diffusion.Recipe(
        diffusion.EDM(sigma_data=0.6), num_steps=300, batch_size=64, learning_rate=1e-2
    )
    data = ORACLE.sample(jax.random.key(1), 512)
    trained = diffusion.train(jax.random.key(2), data, diffusion.MLP((16,)), recipe)
    return denoisers.Fixed(trained.denoise)


@pytest.fixture(scope="module")
def answering() -> dict[str, Any]:
    """Who answers, and who of them learns while evolving."""
    return {
        "population": denoisers.Population(de.kernels.Gaussian(), SHAPING),
        "gaussian_fit": denoisers.GaussianFit(SHAPING),
        "network": network(),
        "oracle": denoisers.Fixed(ORACLE.denoise),
    }


@pytest.mark.parametrize("name", ["population", "gaussian_fit", "network", "oracle"])
def test_a_sampler_cannot_tell_who_answers(name: str, answering: dict[str, Any]) -> None:
    denoiser, key = answering[name], jax.random.key(0)
    # when it evolves, and what it has learnt draws, by the same sampler on the same grid
    strategy = de.DiffusionEvolution(T, denoiser, SAMPLER, GRID)
    result = de.evolve(key, strategy, PROBLEM, population_size=N)
    denoise = denoisers.bind(denoiser, result.state.denoiser)
    drawn = de.sample(key, denoise, GRID, SAMPLER, (N, 2), num_levels=T)
    # then both end where the wanted points are: a mean of 64 of them is known to 0.04
    assert strategy.sampler is SAMPLER
    assert strategy.grid is GRID
    for points in (result.population, drawn):
        np.testing.assert_allclose(points.mean(axis=0), MEAN, atol=0.2)
        assert np.all(points.std(axis=0) < 2 * DEVIATION)
    assert float(result.best_fitness) > -0.5

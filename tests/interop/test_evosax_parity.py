"""Parity with evosax 0.3.2's own Diffusion Evolution, and where it differs.

evosax minimises, and keeps points at ``x``, ours are at ``y = x / sqrt(alpha)``.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evosax.algorithms.population_based import diffusion_evolution as evosax

from diffevo_jax import denoisers, noise, samplers, shaping

THEIR_STEP = jax.jit(evosax.ddim_step)


@jax.jit
def our_step(key, x, clean, alpha, alpha_next, eta):
    """Our step between points at unit scale, with the noise that theirs draws."""
    sigma, sigma_next = map(noise.sigma_from_alpha_bar, (alpha, alpha_next))
    eps = jax.random.normal(key, x.shape)
    y = samplers.ddim_step(x / jnp.sqrt(alpha), clean, sigma, sigma_next, eta, eps)
    return y * jnp.sqrt(alpha_next)


def population(count: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """A population of N(0, I), and costs to be minimised."""
    rng = np.random.default_rng(dim)
    x, cost = rng.normal(size=(count, dim)), 2.0 * rng.normal(size=count)
    return x.astype(np.float32), cost.astype(np.float32)


@jax.jit
def their_estimate(x: jax.Array, cost: jax.Array, alpha: float) -> jax.Array:
    return evosax.estimate_x_0(x, x, evosax.fitness_mapping_energy(cost), alpha)


@jax.jit
def our_estimate(x: jax.Array, cost: jax.Array, alpha: float) -> jax.Array:
    sigma = noise.sigma_from_alpha_bar(alpha)
    log_g = shaping.log_weight(shaping.Boltzmann(temperature=1.0), -cost)
    return denoisers.posterior_mean(x / jnp.sqrt(alpha), x, x, log_g, sigma**-2).clean


@pytest.mark.parametrize("alpha", [1e-3, 0.3, 0.99])
def test_in_two_dimensions_the_estimates_agree(alpha):
    x, cost = population(64, 2)

    ours = our_estimate(x, cost, alpha)

    theirs = their_estimate(x, cost, alpha)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("alpha", "alpha_next"), [(1e-3, 0.03), (0.5, 0.6), (0.97, 0.999)])
def test_the_steps_agree(eta, alpha, alpha_next):
    x, clean = np.random.default_rng(1).normal(size=(2, 64, 2)).astype(np.float32)
    arguments = (jax.random.key(2), x, clean, alpha, alpha_next, eta)

    np.testing.assert_allclose(our_step(*arguments), THEIR_STEP(*arguments), atol=1e-5)


@pytest.mark.parametrize(
    ("grid", "schedule"),
    [
        (noise.Cosine(), evosax.cosine_schedule),
        (noise.Linear(), evosax.ddim_schedule),
        (noise.DDPM(), evosax.ddpm_schedule),
    ],
    ids=["cosine", "linear", "ddpm"],
)
def test_the_grids_agree(grid, schedule):
    ours = noise.alpha_bar_from_sigma(grid.sigmas(25))

    np.testing.assert_allclose(ours, schedule(25)[::-1], rtol=2e-5, atol=1e-7)


def test_a_whole_generation_agrees():
    x, cost = population(64, 2)
    key, levels = jax.random.key(3), (0.2, 0.5)

    ours = our_step(key, x, our_estimate(x, cost, levels[0]), *levels, 1.0)

    theirs = THEIR_STEP(key, x, their_estimate(x, cost, levels[0]), *levels, 1.0)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_in_two_hundred_dimensions_theirs_shrinks_to_the_origin_and_ours_does_not():
    x, cost = population(256, 200)
    alpha = float(evosax.cosine_schedule(10)[-2])  # their first cosine levels

    theirs = their_estimate(x, cost, alpha)
    ours = np.asarray(our_estimate(x, cost, alpha), np.float64)

    exact = exact_estimate(np.asarray(x, np.float64), np.asarray(cost, np.float64), alpha)
    assert np.abs(theirs).max() < 1e-6 * np.abs(exact).max()
    np.testing.assert_allclose(ours, exact, atol=1e-4)  # float32 exponents near 100


def test_one_failed_cost_poisons_theirs_and_not_ours():
    x, cost = population(64, 2)
    cost[7] = np.nan

    theirs = their_estimate(x, cost, 0.3)
    ours = our_estimate(x, cost, 0.3)

    assert np.isnan(theirs).all()
    assert np.isfinite(ours).all()


def exact_estimate(x: np.ndarray, cost: np.ndarray, alpha: float) -> np.ndarray:
    """The paper's estimate in float64 and log space."""
    squared = ((x[:, None] - np.sqrt(alpha) * x[None]) ** 2).sum(axis=-1)
    logits = -cost - squared / (2 * (1 - alpha))
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights @ x / weights.sum(axis=1, keepdims=True)

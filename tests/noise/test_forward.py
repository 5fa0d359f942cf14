"""The forward process, and the posterior of one of its steps.

``alpha`` is the cumulative signal rate of the paper (arXiv:2410.02543), from 1 (clean).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax import noise, samplers

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


# In one go


def test_diffusing_by_zero_returns_the_points():
    clean = jax.random.normal(jax.random.key(0), (4, 3))

    assert jnp.array_equal(noise.diffuse(jax.random.key(1), clean, 0.0), clean)


def test_diffusing_without_end_returns_pure_noise():
    here, there = jnp.full((4, 3), 5.0), jnp.full((4, 3), -5.0)

    noisy = [noise.diffuse(jax.random.key(1), points, jnp.inf) for points in (here, there)]

    assert jnp.array_equal(*noisy)
    assert bool(jnp.isfinite(noisy[0]).all())


@pytest.mark.parametrize("sigma", [1e-4, 1e-3, 0.5, 1.0, 30.0])
def test_diffusing_gives_the_mean_and_variance_of_the_forward_process(sigma):
    count, alpha = 100_000, 1 / (1 + sigma**2)
    clean = jnp.full((count,), 2.0)

    moved = np.asarray(noise.diffuse(jax.random.key(2), clean, sigma), np.float64)

    # 5 standard errors, and 2 ulp of the points: they are near 2.
    deviation = np.sqrt(1 - alpha)
    shift = 5 * deviation / np.sqrt(count) + 5e-7
    np.testing.assert_allclose(moved.mean(), np.sqrt(alpha) * 2, atol=shift)
    np.testing.assert_allclose(
        moved.std(), deviation, rtol=5 / np.sqrt(2 * count), atol=2e-7
    )


def test_a_standard_normal_population_stays_one():
    clean = jax.random.normal(jax.random.key(3), (100_000,))

    moved = noise.diffuse(jax.random.key(4), clean, 0.8)

    np.testing.assert_allclose(jnp.std(moved), 1.0, rtol=5 / np.sqrt(200_000))


# The forward chain and the posterior of one of its steps


def test_a_forward_step_keeps_and_adds_what_it_should():
    key, x = jax.random.key(5), np.random.default_rng(3).normal(size=(4, 3))

    with ENABLE_X64(True):
        moved = noise.forward_step(key, jnp.asarray(x), 0.3)
        eps = jax.random.normal(key, (4, 3), float)

    want = np.sqrt(0.7) * x + np.sqrt(0.3) * np.asarray(eps)
    np.testing.assert_allclose(moved, want, rtol=1e-12)


def test_the_covariance_of_the_chain_is_that_of_going_in_one_go():
    betas = np.linspace(1e-3, 0.2, 40)
    start = np.array([[2.0, 0.6], [0.6, 0.5]])

    covariance = start
    with ENABLE_X64(True):
        key, step = jax.random.key(6), jax.jit(noise.forward_step)
        eps = float(jax.random.normal(key, (1, 1), float)[0, 0])
        for beta in betas:  # a step is linear in x
            pure = float(step(key, np.zeros((1, 1)), beta)[0, 0])
            kept, added = float(step(key, np.ones((1, 1)), beta)[0, 0]) - pure, pure / eps
            covariance = kept**2 * covariance + added**2 * np.eye(2)
        alpha_bar = float(noise.alpha_bar_from_betas(betas)[-1])

    want = alpha_bar * start + (1 - alpha_bar) * np.eye(2)
    np.testing.assert_allclose(covariance, want, atol=1e-10)  # 40 steps of float64


def test_points_of_the_chain_have_that_covariance():
    count, betas = 50_000, jnp.linspace(1e-3, 0.2, 20)
    start = np.array([[2.0, 0.6], [0.6, 0.5]])
    clean = jax.random.normal(jax.random.key(7), (count, 2)) @ np.linalg.cholesky(start).T

    chain = jax.jit(noise.forward_chain)(jax.random.key(8), clean, betas)

    assert chain.shape == (21, count, 2)
    assert jnp.array_equal(chain[0], clean)
    for step in (1, 10, 20):
        alpha_bar = np.prod(1 - np.asarray(betas, np.float64)[:step])
        want = alpha_bar * start + (1 - alpha_bar) * np.eye(2)
        got = np.cov(np.asarray(chain[step], np.float64).T)
        # 5 standard errors: an entry has variance (S_ii S_jj + S_ij^2) / count.
        error = np.sqrt((np.outer(np.diag(want), np.diag(want)) + want**2) / count)
        assert (np.abs(got - want) < 5 * error).all()


@pytest.mark.parametrize(("alpha", "alpha_next"), [(0.3, 0.6), (0.001, 0.9), (0.9, 0.91)])
def test_the_posterior_is_gaussian_conditioning(alpha, alpha_next):
    x, clean = np.random.default_rng(4).normal(size=(2, 5, 3))

    with ENABLE_X64(True):
        mean, variance = noise.ddpm_posterior(x, clean, alpha, alpha_next)

    # The next point is N(prior, spread) and x = kept next + noise; condition on x.
    prior, spread, kept = np.sqrt(alpha_next) * clean, 1 - alpha_next, alpha / alpha_next
    gain = spread * np.sqrt(kept) / (kept * spread + 1 - kept)
    want = prior + gain * (x - np.sqrt(kept) * prior)
    np.testing.assert_allclose(mean, want, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(variance, spread - gain * np.sqrt(kept) * spread, rtol=1e-10)


def test_the_posterior_is_the_ddim_step_with_full_noise():
    alpha, alpha_next = 0.3, 0.6
    x, clean, w = np.random.default_rng(5).normal(size=(3, 5, 3))

    with ENABLE_X64(True):
        mean, variance = noise.ddpm_posterior(x, clean, alpha, alpha_next)
        sigma, sigma_next = map(noise.sigma_from_alpha_bar, (alpha, alpha_next))
        y = x / np.sqrt(alpha)
        moved = samplers.ddim_step(y, clean, sigma, sigma_next, 1.0, w)

    want = np.asarray(mean) + np.sqrt(variance) * w
    got = np.asarray(moved) * np.sqrt(alpha_next)
    np.testing.assert_allclose(got, want, rtol=1e-10)


def test_the_posterior_mean_is_the_same_from_the_noise():
    alpha, alpha_next = 0.3, 0.6
    x, clean = np.random.default_rng(6).normal(size=(2, 5, 3))
    eps = (x - np.sqrt(alpha) * clean) / np.sqrt(1 - alpha)

    with ENABLE_X64(True):
        mean, _ = noise.ddpm_posterior(x, clean, alpha, alpha_next)
        same = noise.ddpm_mean_from_noise(x, eps, alpha, alpha_next)

    np.testing.assert_allclose(same, mean, rtol=1e-10)

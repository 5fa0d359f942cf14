"""Grids of noise levels, and the change between coordinates.

``alpha`` is the cumulative signal rate of the paper (arXiv:2410.02543), from 1 (clean).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffevo_jax import noise, samplers

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
GRIDS = {"cosine": noise.Cosine(), "linear": noise.Linear(), "ddpm": noise.DDPM()}
SIGMAS = jax.jit(lambda grid, n: grid.sigmas(n), static_argnums=1)
FIXED = settings(derandomize=True, database=None, deadline=None, max_examples=100)


def published_alphas(name: str, n: int) -> np.ndarray:
    """The published schedules in float64; index 0 is the clean end."""
    if name == "cosine":
        alpha = (np.cos(np.linspace(0, np.pi, n)) + 1) / 2
        return (alpha + 1e-3) * (1 - 1e-3) / (1 + 1e-3)
    if name == "linear":
        return np.linspace(1 - 1e-4, 1e-8, n)
    epsilon, t = 1e-4, np.linspace(1 / n, 1, n)
    first, last = np.log(1 / (1 - epsilon)), np.log(epsilon)
    beta = (n**2 * first + last) / (n - 1)
    gamma = -n * (n * first + last) / (n - 1)
    return np.exp(-beta * t - gamma * t**2)


def sigma_of(alpha: np.ndarray) -> np.ndarray:
    return np.sqrt((1 - alpha) / alpha)


# Grids


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("n", [2, 3, 10, 25, 100])
def test_a_grid_is_the_published_schedule_from_noisy_to_clean(name, n):
    sigmas = SIGMAS(GRIDS[name], n)

    want = sigma_of(published_alphas(name, n)[::-1])
    np.testing.assert_allclose(sigmas, want, rtol=1e-5)  # float32, without cancellation


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("n", [2, 10, 300, 1000])
def test_a_grid_falls_strictly_within_the_clip(name, n):
    sigmas = np.asarray(SIGMAS(GRIDS[name], n))

    assert sigmas.shape == (n,)
    assert (np.diff(sigmas) < 0).all()
    assert sigmas[0] <= 1e6
    assert sigmas[-1] >= 1e-6


@pytest.mark.parametrize(
    ("name", "noisiest"),
    [("cosine", 0.001 * 0.999 / 1.001), ("linear", 1e-8), ("ddpm", 1e-4)],
)
def test_one_level_is_the_noisiest(name, noisiest):
    sigmas = SIGMAS(GRIDS[name], 1)

    np.testing.assert_allclose(sigmas, [sigma_of(np.float64(noisiest))], rtol=1e-5)


@pytest.mark.parametrize(
    "grid",
    [
        lambda value: noise.Cosine(margin=value),
        lambda value: noise.Linear(min_noise=value),
        lambda value: noise.Linear(min_signal=value),
        lambda value: noise.DDPM(epsilon=value),
    ],
    ids=["cosine", "linear-noise", "linear-signal", "ddpm"],
)
def test_the_numbers_of_a_grid_can_be_swept(grid):
    values = jnp.array([1e-5, 1e-3, 0.1])

    swept = jax.vmap(lambda value: SIGMAS(grid(value), 5))(values)

    alone = [SIGMAS(grid(value), 5) for value in values]
    np.testing.assert_allclose(swept, np.stack(alone), rtol=1e-5)  # float32 rounding


@FIXED
@given(st.floats(1e-12, 0.5), st.floats(1e-12, 0.5), st.sampled_from([1, 2, 7]))
def test_a_grid_of_any_legal_numbers_is_finite_and_within_the_clip(first, second, n):
    for grid in (noise.Cosine(first), noise.Linear(first, second), noise.DDPM(first)):
        sigmas = np.asarray(SIGMAS(grid, n))

        assert (sigmas >= np.float32(1e-6)).all()
        assert (sigmas <= np.float32(1e6)).all()


@pytest.mark.parametrize("value", [1e-12, 1e-4, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("grid", [noise.Cosine, noise.Linear, noise.DDPM])
def test_a_grid_never_rises_whatever_its_legal_number(grid, value):
    sigmas = np.asarray(SIGMAS(grid(value), 100), np.float64)

    assert (sigmas[1:] <= sigmas[:-1] * (1 + 1e-6)).all()  # up to float32 rounding


# Coordinates


def test_sigma_is_the_noise_to_signal_ratio():
    alpha = np.array([1e-6, 0.1, 0.5, 0.9])

    sigma = noise.sigma_from_alpha_bar(jnp.asarray(alpha))

    np.testing.assert_allclose(sigma, sigma_of(alpha), rtol=1e-6)


def test_sigma_and_alpha_bar_are_inverse():
    alpha = jnp.linspace(0.001, 0.999, 50)

    back = noise.alpha_bar_from_sigma(noise.sigma_from_alpha_bar(alpha))

    np.testing.assert_allclose(back, alpha, rtol=1e-6)  # float32 rounding


@pytest.mark.parametrize(("alpha", "sigma"), [(0.0, 1e6), (1.0, 1e-6)])
def test_the_ends_of_the_signal_rate_are_safe(alpha, sigma):
    assert float(noise.sigma_from_alpha_bar(alpha)) == np.float32(sigma)


@pytest.mark.parametrize(("sigma", "alpha"), [(0.0, 1.0), (np.inf, 0.0), (1e30, 0.0)])
def test_the_ends_of_sigma_are_safe(sigma, alpha):
    assert float(noise.alpha_bar_from_sigma(sigma)) == alpha


@pytest.mark.parametrize("alpha", [0.001, 0.5, 0.999])
def test_the_canonical_point_at_unit_scale_is_the_papers_point(alpha):
    clean, eps = np.random.default_rng(0).normal(size=(2, 5, 3))
    sigma = sigma_of(np.float64(alpha))

    y = clean + sigma * eps
    x = y / np.asarray(noise.canonical_scale(sigma))

    paper = np.sqrt(alpha) * clean + np.sqrt(1 - alpha) * eps
    np.testing.assert_allclose(x, paper, rtol=1e-5)


def test_noise_and_clean_point_imply_each_other():
    clean, eps = np.random.default_rng(1).normal(size=(2, 6, 3)).astype(np.float32)
    y = clean + 0.7 * eps

    np.testing.assert_allclose(noise.noise_from_clean(y, clean, 0.7), eps, atol=1e-6)
    np.testing.assert_allclose(noise.clean_from_noise(y, eps, 0.7), clean, atol=1e-6)


# Forward diffusion


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


# Other names of a level


@pytest.mark.parametrize("sigma", [1e-5, 0.03, 1.0, 30.0, 1e5])
def test_log_snr_is_the_log_of_signal_over_noise_and_comes_back(sigma):
    log_snr = noise.log_snr_from_sigma(sigma)

    alpha = 1 / (1 + np.float64(sigma) ** 2)
    want = np.log(alpha) - np.log1p(-alpha) if sigma > 0.1 else -2 * np.log(sigma)
    np.testing.assert_allclose(log_snr, want, rtol=1e-5)  # float32
    np.testing.assert_allclose(noise.sigma_from_log_snr(log_snr), sigma, rtol=1e-5)


def test_betas_and_alpha_bar_are_inverse():
    betas = np.linspace(1e-4, 0.02, 1000)

    with ENABLE_X64(True):
        alpha_bar = noise.alpha_bar_from_betas(betas)
        back = noise.betas_from_alpha_bar(alpha_bar)

    np.testing.assert_allclose(alpha_bar, np.cumprod(1 - betas), rtol=1e-12)  # float64
    np.testing.assert_allclose(back, betas, rtol=1e-10)  # 1e-16 of a log of 10, over 1e-4


# What a denoiser may answer


def answers(sigma: float) -> dict[str, np.ndarray]:
    """The four answers in float64, by their formulas at unit scale."""
    clean, eps = np.random.default_rng(2).normal(size=(2, 6, 3))
    alpha = 1 / (1 + sigma**2)
    x = np.sqrt(alpha) * clean + np.sqrt(1 - alpha) * eps
    return {
        "y": x / np.sqrt(alpha),
        "clean": clean,
        "noise": eps,
        "score": -(x - np.sqrt(alpha) * clean) / (1 - alpha) * np.sqrt(alpha),
        "velocity": np.sqrt(alpha) * eps - np.sqrt(1 - alpha) * clean,
    }


@pytest.mark.parametrize("sigma", [0.03, 1.0, 30.0])
@pytest.mark.parametrize("name", ["noise", "score", "velocity"])
def test_an_answer_is_its_formula_at_unit_scale_and_comes_back(name, sigma):
    given = answers(sigma)
    there = getattr(noise, f"{name}_from_clean")
    back = getattr(noise, f"clean_from_{name}")

    with ENABLE_X64(True):
        answer = there(given["y"], given["clean"], sigma)
        clean = back(given["y"], given[name], sigma)

    np.testing.assert_allclose(answer, given[name], rtol=1e-9)  # the formula cancels
    np.testing.assert_allclose(clean, given["clean"], rtol=1e-9)


@pytest.mark.parametrize("name", ["noise", "score", "velocity"])
def test_answers_come_back_in_float32(name):
    given = {key: np.float32(value) for key, value in answers(0.7).items()}

    answer = getattr(noise, f"{name}_from_clean")(given["y"], given["clean"], 0.7)
    clean = getattr(noise, f"clean_from_{name}")(given["y"], answer, 0.7)

    np.testing.assert_allclose(clean, given["clean"], atol=1e-5)  # points of order 3


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

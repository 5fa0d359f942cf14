"""A noise level and a prediction in other words, against their formulas.

``alpha`` is the cumulative signal rate of the paper (arXiv:2410.02543), from 1 (clean).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax import noise

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


def sigma_of(alpha: np.ndarray) -> np.ndarray:
    return np.sqrt((1 - alpha) / alpha)


# Levels


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


# What a denoiser may predict


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

"""DDIM against the published equations in the variance-preserving coordinates.

There, with alpha the signal rate of a level and alpha' that of the next (cleaner) one,

    x' = sqrt(alpha') x0 + sqrt(1 - alpha' - s²) eps + s w,
    eps = (x - sqrt(alpha) x0) / sqrt(1 - alpha),
    s = eta sqrt((1 - alpha') / (1 - alpha) (1 - alpha / alpha')).

The library's y is x / sqrt(alpha).
"""

import jax
import numpy as np
import pytest

from diffevo_jax import compilation, noise, samplers
from diffevo_jax.pytree import validation

GRIDS = {"cosine": noise.Cosine(), "linear": noise.Linear(), "ddpm": noise.DDPM()}
SIGMAS = jax.jit(lambda grid, n: grid.sigmas(n), static_argnums=1)
STEP = jax.jit(samplers.ddim_step)
STEPS = jax.jit(jax.vmap(samplers.ddim_step, in_axes=(0, 0, 0, 0, None, 0)))
UPDATE = jax.jit(
    lambda sampler, *arguments: sampler.update(*arguments),
    compiler_options=compilation.compiler_options(quick=True),
)


def paper_step(x, clean, alpha, alpha_next, eta, w):
    """One published step in float64."""
    s = eta * np.sqrt((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next))
    eps = (x - np.sqrt(alpha) * clean) / np.sqrt(1 - alpha)
    kept = np.sqrt(np.maximum(1 - alpha_next - s**2, 0.0))
    return np.sqrt(alpha_next) * clean + kept * eps + s * w


def levels(name: str, n: int) -> np.ndarray:
    """The noise levels of a grid as the float64 numbers that they are."""
    return np.asarray(SIGMAS(GRIDS[name], n), np.float64)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# The step


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("eta", [0.0, 0.1, 0.9, 1.0])
def test_a_step_is_the_papers_at_every_level(name, eta):
    sigmas = levels(name, 10)
    alpha = 1 / (1 + sigmas**2)
    x, clean, w = np.random.default_rng(0).normal(size=(3, 9, 8, 2))
    a, a_next = alpha[:-1, None, None], alpha[1:, None, None]

    y = x / np.sqrt(a)
    moved = STEPS(*map(np.float32, (y, clean, sigmas[:-1], sigmas[1:], eta, w)))

    # The points are of order 3: a few float32 roundings.
    got = np.asarray(moved, np.float64) * np.sqrt(a_next)
    want = paper_step(x, clean, a, a_next, eta, w)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("name", GRIDS)
def test_with_eta_one_a_step_is_the_posterior_of_ddpm(name):
    sigmas = levels(name, 10)
    alpha = 1 / (1 + sigmas**2)
    a, a_next = alpha[:-1], alpha[1:]
    x, clean = 0.7, -0.4

    step = lambda w: (
        np.asarray(
            STEPS(
                *map(
                    np.float32, (x / np.sqrt(a), np.full(9, clean), sigmas[:-1], sigmas[1:])
                ),
                1.0,
                np.full(9, w, np.float32),
            ),
            np.float64,
        )
        * np.sqrt(a_next)
    )

    # Ho et al., 2020, eq. 7, with beta = 1 - a / a' of one step.
    beta = 1 - a / a_next
    mean = np.sqrt(a_next) * beta / (1 - a) * clean
    mean += np.sqrt(a / a_next) * (1 - a_next) / (1 - a) * x
    deviation = np.sqrt((1 - a_next) / (1 - a) * beta)
    np.testing.assert_allclose(step(0.0), mean, atol=1e-5)
    np.testing.assert_allclose(step(1.0) - step(0.0), deviation, atol=1e-5)


def test_with_eta_zero_noise_has_no_part():
    y, clean, w = normal(0, 3, 8, 2)

    moved = [STEP(y, clean, 2.0, 0.5, 0.0, noise) for noise in (w, 100 * w)]

    assert np.array_equal(*moved)


def test_with_eta_zero_a_step_is_eulers_on_the_probability_flow():
    y, clean = normal(1, 2, 8, 2)

    moved = STEP(y, clean, 2.0, 0.5, 0.0, np.zeros((8, 2), np.float32))

    slope = (y - clean) / 2.0  # dy / dsigma
    np.testing.assert_allclose(moved, y + (0.5 - 2.0) * slope, atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_step_to_the_same_level_stays(eta):
    y, clean, w = normal(2, 3, 8, 2)

    stayed = STEP(y, clean, 0.8, 0.8, eta, w)

    np.testing.assert_allclose(stayed, y, atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_to_no_noise_is_the_clean_point(eta):
    y, clean, w = normal(3, 3, 8, 2)

    assert np.array_equal(STEP(y, clean, 0.8, 0.0, eta, w), clean)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_for_a_constant_denoiser_a_huge_step_is_exact(eta):
    # y = clean + sigma eps stays of that form at the next level: mean and variance.
    count, clean = 100_000, np.full(100_000, 5.0, np.float32)
    eps, w = normal(4, 2, count)

    moved = np.asarray(
        STEP(clean + np.float32(1000) * eps, clean, 1000.0, 0.5, eta, w), np.float64
    )

    error = 5 / np.sqrt(count)  # standard errors
    np.testing.assert_allclose(moved.mean(), 5.0, atol=0.5 * error)
    np.testing.assert_allclose(moved.var(), 0.25, rtol=error * np.sqrt(2))


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("n", [2, 25, 1000])
def test_kept_and_fresh_noise_add_up_at_every_level(name, n):
    sigmas = levels(name, n)
    high, low = sigmas[:-1].astype(np.float32), sigmas[1:].astype(np.float32)
    zeros, ones = np.zeros(n - 1, np.float32), np.ones(n - 1, np.float32)

    for eta in (0.0, 0.1, 0.999, 1.0):
        kept = np.asarray(STEPS(high, zeros, high, low, eta, zeros), np.float64)
        fresh = np.asarray(STEPS(zeros, zeros, high, low, eta, ones), np.float64)

        # NaN would be a negative radicand; otherwise float32 rounding.
        np.testing.assert_allclose(kept**2 + fresh**2, sigmas[1:] ** 2, rtol=2e-6)


def test_levels_that_rise_do_not_give_nan():
    y, clean, w = normal(5, 3, 8, 2)

    for eta in (0.0, 1.0):
        assert np.isfinite(STEP(y, clean, 0.5, 0.6, eta, w)).all()


def test_eta_can_be_swept():
    y, clean, w = normal(6, 3, 4, 2)
    etas = np.array([0.0, 0.4, 1.0], np.float32)

    swept = jax.vmap(samplers.ddim_step, in_axes=(None,) * 4 + (0, None))(
        y, clean, 2.0, 0.5, etas, w
    )

    alone = [STEP(y, clean, 2.0, 0.5, eta, w) for eta in etas]
    np.testing.assert_allclose(swept, np.stack(alone), atol=1e-6)


# The sampler


def test_ddim_asks_where_the_point_is():
    y, sigmas = np.ones((3, 2), np.float32), np.array([3.0, 2.0, 1.0], np.float32)
    sampler = samplers.DDIM()

    query, sigma, memory = sampler.query(
        jax.random.key(0), y, sampler.init(y), sigmas, np.int32(1)
    )

    assert np.array_equal(query, y)
    assert (float(sigma), memory) == (2.0, ())


def test_ddim_takes_one_round_a_level():
    assert [samplers.DDIM().num_rounds(levels) for levels in (1, 2, 25)] == [1, 2, 25]


def test_an_update_reaches_the_next_level():
    y, clean = normal(7, 2, 3, 2)
    sigmas = np.array([3.0, 2.0, 1.0], np.float32)

    moved, sigma, memory = UPDATE(
        samplers.DDIM(eta=0.0), jax.random.key(0), y, (), clean, sigmas, np.int32(1)
    )

    assert (float(sigma), memory) == (1.0, ())
    np.testing.assert_allclose(moved, STEP(y, clean, 2.0, 1.0, 0.0, y), atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_at_the_last_level_nothing_moves(eta):
    y, clean = normal(8, 2, 3, 2)

    stayed, sigma, _ = UPDATE(
        samplers.DDIM(eta),
        jax.random.key(0),
        y,
        (),
        clean,
        np.array([3.0, 2.0], np.float32),
        np.int32(1),
    )

    assert float(sigma) == 2.0
    np.testing.assert_allclose(stayed, y, atol=1e-6)


@pytest.mark.parametrize(("eta", "same"), [(0.0, True), (0.5, False)])
def test_the_key_matters_only_with_fresh_noise(eta, same):
    y, clean = normal(9, 2, 3, 2)
    update = lambda seed: UPDATE(
        samplers.DDIM(eta),
        jax.random.key(seed),
        y,
        (),
        clean,
        np.array([3.0, 2.0], np.float32),
        np.int32(0),
    )[0]

    assert np.array_equal(update(1), update(2)) is same
    assert np.array_equal(update(1), update(1))


@pytest.mark.parametrize("eta", [-0.1, 1.01])
def test_eta_is_a_fraction(eta):
    with pytest.raises(ValueError, match=r"DDIM\.eta: got .* want .*>= 0 and <= 1"):
        validation.validate(samplers.DDIM(eta))

"""Objectives: which noise levels, how much each counts, and what their sums are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion, noise

KEY = jax.random.key(0)
#: Midpoints: sums over them are integrals over the quantiles.
U = (np.arange(20_000, dtype=np.float32) + 0.5) / 20_000


DRAW = jax.jit(lambda levels, u: levels.draw(u))


def draw(levels, u):
    """Sigma and rate in float64; one program for all numbers of a kind of levels."""
    return np.asarray(DRAW(de.pytree.strong(levels), np.float32(u)), np.float64)


def test_log_normal_levels_have_their_moments():
    sigma, _ = draw(diffusion.LogNormalLevels(-1.2, 1.2), U)

    # The tails beyond the last midpoints hold 1e-4 of the variance.
    assert float(np.log(sigma).mean()) == pytest.approx(-1.2, abs=1e-3)
    assert float(np.log(sigma).std()) == pytest.approx(1.2, abs=1e-3)


@pytest.mark.parametrize("name", ["VP", "SubVP", "VE", "Flow"])
def test_levels_of_a_process_are_those_of_uniform_times(name):
    process = getattr(noise, name)()

    sigma, _ = draw(diffusion.ProcessLevels(process), [0.0, 0.25, 1.0])

    late, early = np.asarray(process.times(2))
    times = early + np.float32([0.0, 0.25, 1.0]) * (late - early)
    np.testing.assert_allclose(sigma, process.sigma(times), rtol=1e-6)


def test_all_levels_of_a_grid_are_alike():
    levels = diffusion.GridLevels(noise.Levels([8.0, 4.0, 2.0, 1.0]), 4)

    sigma, _ = draw(levels, U)

    values, counts = np.unique(sigma, return_counts=True)
    assert values.tolist() == [1.0, 2.0, 4.0, 8.0]
    assert counts.tolist() == [5000] * 4


LEVELS = {
    "log-normal": diffusion.LogNormalLevels(0.0, 0.5),
    "VP": diffusion.ProcessLevels(noise.VP()),
    "sub-VP": diffusion.ProcessLevels(noise.SubVP()),
    "VE": diffusion.ProcessLevels(noise.VE()),
}


@pytest.mark.parametrize("name", LEVELS)
def test_the_rate_is_the_fall_of_the_signal_to_noise_ratio(name):
    u, step = np.array([0.2, 0.5, 0.8]), 1e-3
    _, rate = draw(LEVELS[name], u)

    ratio = lambda u: draw(LEVELS[name], u)[0] ** -2

    # Central differences: wrong by step^2 times a third derivative, and by rounding.
    falls = (ratio(u - step) - ratio(u + step)) / (2 * step)
    np.testing.assert_allclose(rate, falls, rtol=5e-3)


@pytest.mark.parametrize("name", ["VP", "SubVP", "VE"])
def test_half_of_g_squared_is_the_weight_of_the_likelihood(name):
    # given g(t)^2 of each process as Song et al. have it, and the score matching loss
    # g^2 |score(x) - score of the noise|^2 = g^2 / (s^2 sigma^4) |D - x_0|^2
    process = getattr(noise, name)()
    u = np.array([0.1, 0.5, 0.9])
    late, early = np.asarray(process.times(2))
    t = early + u * (late - early)
    beta = 0.1 + 19.9 * t
    g_squared = {
        "VP": beta,
        "SubVP": beta * (1 - np.exp(-2 * (0.1 * t + 9.95 * t**2))),
        "VE": process.sigma(t) ** 2 * 2 * np.log(30.0 / 0.03),
    }[name]
    want = (late - early) * g_squared / (process.scale(t) ** 2 * process.sigma(t) ** 4)

    objective = diffusion.Objective(diffusion.ProcessLevels(process), "likelihood")
    sigma, rate = draw(objective.levels, u)
    weight = objective.weight(sigma, rate, np.ones(3))

    np.testing.assert_allclose(weight, 0.5 * want, rtol=1e-3)  # the rate is a difference


@pytest.mark.parametrize("name", ["VP", "SubVP", "VE"])
def test_score_matching_weighted_by_its_mean_square_is_the_loss_of_the_noise(name):
    # given points in the process's own coordinates, their scores, and a model that is wrong
    process, t = getattr(noise, name)(), 0.4
    scale, sigma = np.float64(process.scale(t)), np.float64(process.sigma(t))
    rng = np.random.default_rng(0)
    clean, eps = rng.exponential(size=100_000), rng.normal(size=100_000)
    x = scale * (clean + sigma * eps)
    log_density = lambda x, clean: jax.scipy.stats.norm.logpdf(
        x, scale * clean, scale * sigma
    )
    score = np.asarray(jax.vmap(jax.grad(log_density))(x, clean), np.float64)
    model = 0.1 - 0.3 * x

    matched = np.mean((model - score) ** 2) / np.mean(score**2)

    # then its clean points, by Tweedie's formula for s y, have the same loss
    answer = x / scale + scale * sigma**2 * model
    weight = diffusion.Objective(LEVELS["VE"], "noise").weight(sigma, 0.0, 1.0)
    # 5 standard errors of the mean of 100,000 squares.
    want = weight * np.mean((answer - clean) ** 2)
    np.testing.assert_allclose(matched, want, rtol=5 * np.sqrt(2 / 100_000))


def test_a_weighting_of_one_s_own_counts_the_error_of_the_clean_point():
    sigma, out = jnp.array([0.5, 2.0]), jnp.array([0.3, 0.9])
    ours = diffusion.Objective(LEVELS["VE"], lambda sigma: sigma**-2)

    de.pytree.validation.validate(ours)
    got = ours.weight(sigma, jnp.ones(2), out)

    noise_weight = diffusion.Objective(LEVELS["VE"], "noise").weight(sigma, 0.0, out)
    np.testing.assert_allclose(got, noise_weight, rtol=1e-6)


def gaussian_error(sigma, variance, other):
    """Mean squared error on N(0, variance) of the exact denoiser of N(0, other)."""
    a = other / (other + sigma**2)
    return (1 - a) ** 2 * variance + a**2 * sigma**2


@pytest.mark.parametrize("name", LEVELS)
def test_the_likelihood_loss_is_the_kl_divergence(name):
    # given data N(0, 1) and the denoiser of N(0, 2), which is wrong at every level
    objective = diffusion.Objective(LEVELS[name], "likelihood")
    sigma, rate = draw(objective.levels, U)

    weight = np.float64(objective.weight(sigma, rate, np.ones_like(sigma)))
    excess = weight * (gaussian_error(sigma, 1.0, 2.0) - gaussian_error(sigma, 1.0, 1.0))

    # then the excess of the loss is the KL at the clean end less that at the noisy end:
    # the bound of Song, Durkan, Murray and Ermon is tight here
    kl = lambda s: float(diffusion.gaussian_kl(0.0, 1 + s**2, 0.0, 2 + s**2))
    want = kl(sigma.min()) - kl(sigma.max())
    np.testing.assert_allclose(excess.mean(), want, rtol=0.02)  # midpoints, steep ends


def test_on_a_grid_the_likelihood_loss_is_the_variational_bound():
    # given a grid, and the exact denoiser of N(0, 1)
    grid, count = noise.VE(), 50
    sigmas = np.float64(grid.sigmas(count))
    objective = diffusion.Objective(diffusion.GridLevels(grid, count), "likelihood")
    sigma, rate = draw(objective.levels, (np.arange(count) + 0.5) / count)

    weight = objective.weight(sigma, rate, np.ones(count))
    loss = np.mean(np.float64(weight) * gaussian_error(sigmas, 1.0, 1.0))

    # Of every step half the fall of 1 / sigma^2; of the last level all of it.
    falls = np.append(sigmas[1:] ** -2 - sigmas[:-1] ** -2, sigmas[-1] ** -2)
    want = np.sum(0.5 * falls * gaussian_error(sigmas, 1.0, 1.0))
    assert loss == pytest.approx(want, rel=1e-4)  # differences in float32


@pytest.mark.parametrize(
    ("weighting", "want"),
    [
        ("network", [1.0, 1.0]),
        ("noise", [9.0, 2.25]),  # 1 / sigma^2 of the clean point's, times c_out^2
        ("clean", [36.0, 36.0]),
        ("likelihood", [90.0, 180.0]),
    ],
)
def test_the_weight_is_of_the_network_s_own_error(weighting, want):
    objective = diffusion.Objective(LEVELS["VE"], weighting)
    sigma, rate, out = jnp.array([2.0, 4.0]), jnp.array([5.0, 10.0]), jnp.full(2, 6.0)

    assert objective.weight(sigma, rate, out).tolist() == want


def test_levels_of_a_batch_cover_the_quantiles():
    objective = diffusion.Objective(diffusion.ProcessLevels(noise.Flow(0.0, 0.9)))

    sigma, _ = objective.draw(KEY, 16)

    times = np.sort(np.asarray(sigma / (1 + sigma))) / 0.9
    np.testing.assert_allclose(np.diff(times), 1 / 16, atol=1e-5)
    assert not np.array_equal(sigma, objective.draw(jax.random.key(1), 16)[0])


def test_betas_that_leave_a_signal_are_an_error():
    # 100 of the 1,000 betas of DDPM's range leave a third of the variance.
    with pytest.raises(ValueError, match=r"betas: got 100 that end with alpha_bar 0\.36"):
        diffusion.beta_levels(np.linspace(1e-4, 0.02, 100))


def test_betas_of_ddpm_are_its_levels():
    betas = np.linspace(1e-4, 0.02, 1000)

    levels = diffusion.beta_levels(betas)

    last = np.prod(1 - betas)
    sigma, _ = draw(levels, [0.0])
    np.testing.assert_allclose(sigma, np.sqrt(1 / last - 1), rtol=1e-4)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (diffusion.Objective(LEVELS["VE"], "mse"), r"Objective\.weighting: got 'mse'"),
        (diffusion.GridLevels(noise.VE(), 0), r"GridLevels\.num_levels: got 0"),
        (diffusion.LogNormalLevels(0.0, 0.0), r"LogNormalLevels\.deviation: got 0.0"),
    ],
)
def test_an_error_names_what_is_wrong(part, message):
    with pytest.raises(ValueError, match=message):
        de.pytree.validation.validate(part)


def test_betas_beyond_their_range_are_an_error():
    with pytest.raises(ValueError, match=r"betas: got -0.5 to 1.0, want \[0, 1\]"):
        diffusion.beta_levels([-0.5, 1.0])


def test_betas_want_a_list():
    with pytest.raises(ValueError, match=r"betas: got shape \(\)"):
        diffusion.beta_levels(0.1)

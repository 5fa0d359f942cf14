"""Grids of noise levels.

``alpha`` is the cumulative signal rate of the paper (arXiv:2410.02543), from 1 (clean).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diffevo_jax as de
from diffevo_jax import noise, pytree
from diffevo_jax.pytree import validation


@pytree.dataclass
class Host:
    """A grid of one's own, by NumPy; it may have levels too many."""

    more: int = pytree.static(default=0)

    def sigmas(self, num_levels):
        return np.geomspace(30.0, 0.03, num_levels + self.more)


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


# As published


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


# Lists of levels


def test_chains_of_betas_alphas_and_alpha_bars_are_one_grid():
    betas = np.linspace(1e-3, 0.05, 20)
    alpha_bar = np.cumprod(1 - betas)

    made = [
        noise.from_betas(betas),
        noise.from_alphas(1 - betas),
        noise.from_alpha_bars(alpha_bar),
    ]

    want = np.sqrt(1 / alpha_bar - 1)[::-1]
    for levels in made:
        validation.validate(levels)
        np.testing.assert_allclose(levels.sigmas(20), want, rtol=5e-5)  # of 1 - 1e-3


def test_small_betas_keep_their_digits():
    levels = noise.from_betas(np.full(3, 1e-9))

    want = np.sqrt(np.expm1(-3 * np.log1p(-1e-9)))
    np.testing.assert_allclose(levels.sigmas(3)[0], want, rtol=1e-6)  # float32


def test_levels_of_another_length_are_an_error_with_both_counts():
    with pytest.raises(ValueError, match=r"Levels.values: got 3 levels, but 10 are asked"):
        noise.Levels([3.0, 2.0, 1.0]).sigmas(10)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], "from noisy to clean"),
        ([1.0, 0.0], r"values: got .*, want a number > 0"),
        ([np.inf, 1.0], r"values: got .*, want a number > 0"),
        ([[1.0]], "want shape"),
        ([], "want shape"),
    ],
)
def test_levels_that_are_no_grid_are_an_error(values, message):
    with pytest.raises(ValueError, match=message):
        validation.validate(noise.Levels(np.array(values)))


#: What is said of ``Host(more=1)``, if four levels are asked for.
TOO_MANY = r"grid: got levels of shape \(5,\) of Host, want \(4,\)"
STRATEGIES = [de.DiffusionEvolution, de.Consensus, de.MonoFlow]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_levels_of_numpy_are_levels_where_the_generation_is_traced(strategy):
    levels = strategy(4, grid=Host()).sigmas()
    last = jax.jit(lambda generation: levels[generation])(3)
    np.testing.assert_allclose(last, 0.03, rtol=1e-6)  # float32


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_grid_that_gives_too_many_levels_is_an_error(strategy):
    with pytest.raises(ValueError, match=TOO_MANY):
        strategy(4, grid=Host(more=1)).sigmas()


def test_samples_are_not_drawn_along_too_many_levels(key):
    denoise = lambda y, sigma: jnp.zeros_like(y)
    given = key, denoise, Host(more=1), de.samplers.DDIM(), (3, 2)
    with pytest.raises(ValueError, match=TOO_MANY):
        de.sample(*given, num_levels=4)


@pytest.mark.parametrize(
    "look",
    [
        lambda *given: de.diffusion.log_likelihood(*given, num_levels=4),
        lambda *given: de.diffusion.variational_bound(
            jax.random.key(0), *given, num_levels=4
        ),
    ],
    ids=["log_likelihood", "variational_bound"],
)
def test_no_likelihood_is_of_too_many_levels(look):
    denoise = lambda y, sigma: jnp.zeros_like(y)
    with pytest.raises(ValueError, match=TOO_MANY):
        look(denoise, jnp.ones((3, 2)), Host(more=1))


def test_a_level_of_an_objective_is_none_of_too_many():
    levels = de.diffusion.GridLevels(Host(more=1), num_levels=4)
    with pytest.raises(ValueError, match=TOO_MANY):
        levels.draw(jnp.array([0.5]))

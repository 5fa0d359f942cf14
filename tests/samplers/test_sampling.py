"""Sampling: the right distribution, and the promises of ``sample``."""

import functools
import math
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from often import often

import diffevo_jax as de
from diffevo_jax import noise, samplers
from diffevo_jax.denoisers import oracles

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
KEY = jax.random.key(0)
COUNT, LONG = 8192, 257
GRID = noise.VE(sigma_min=0.05, sigma_max=20.0)
#: Three components, narrow and wide, around 0, so that pure noise is a fair start.
WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[1.0, 0.5], [-1.0, 0.5], [-1.0, -2.0]])
COVARIANCES = np.array(
    [[[0.2, 0.1], [0.1, 0.1]], [[0.1, 0.0], [0.0, 0.4]], [[0.05, 0.0], [0.0, 0.05]]]
)
DIRECTIONS = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, -0.6]])


@functools.cache
def target() -> oracles.GaussianMixture:
    return oracles.gaussian_mixture(MEANS, COVARIANCES, WEIGHTS)


def long_run(sampler, mixture):
    """Points at the last level of a long grid."""
    return de.sample(
        KEY,
        mixture.denoise,
        GRID,
        sampler,
        (COUNT, 2),
        num_levels=LONG,
        final_denoise=False,
    )


def largest_distance(points) -> float:
    """Of Kolmogorov and Smirnov to the exact distribution, over the directions."""
    worst = 0.0
    for direction in DIRECTIONS:
        x = np.sort(np.asarray(points, np.float64) @ direction)
        within = np.einsum("d,kde,e->k", direction, COVARIANCES, direction)
        deviation = np.sqrt(within + 0.05**2)
        exact = jax.scipy.stats.norm.cdf((x[:, None] - MEANS @ direction) / deviation)
        exact = np.asarray(exact, np.float64) @ WEIGHTS
        ranks = np.arange(len(x) + 1) / len(x)
        worst = max(worst, (ranks[1:] - exact).max(), (exact - ranks[:-1]).max())
    return worst


#: All that add noise and whose limit is the distribution of the clean points. Consistency
#: is not there: see ``test_convergence.py``.
STOCHASTIC = {
    "DDIM(0.5)": samplers.DDIM(eta=0.5),
    "DDIM(1)": samplers.DDIM(eta=1.0),
    "Ancestral": samplers.Ancestral(),
    "EulerMaruyama": samplers.EulerMaruyama(rate=1.0),
    "DPMSolver2M": samplers.DPMSolver2M(eta=1.0),
    "GHFilter": samplers.GHFilter(g=0.7, h=0.0, eta=1.0),
    "Heun": samplers.Heun(eta=1.0),
    "EDM": samplers.EDM(churn=40.0),
    "PredictorCorrector": samplers.PredictorCorrector(),
    "AnnealedLangevin": samplers.AnnealedLangevin(num_steps=4),
}
FAULTS = {
    "too much noise": lambda key, *shape, draw=jax.random.normal: 1.5 * draw(key, *shape),
    "one noise for all steps": (
        lambda key, *shape, draw=jax.random.normal: draw(jax.random.key(7), *shape)
    ),
}
#: By the inequality of Dvoretzky, Kiefer, Wolfowitz and Massart a distance is larger with
#: probability 2 exp(-2 n d²): with 10 samplers and 4 directions one false alarm in 1e6. The
#: steps themselves are wrong by less than 0.02.
LARGEST = math.sqrt(math.log(2 * 10 * 4 / 1e-6) / (2 * COUNT))


LONG_RUN = jax.jit(long_run, compiler_options=de.compiler_options())


@pytest.mark.parametrize("name", often(3, STOCHASTIC))
def test_on_a_long_grid_a_stochastic_sampler_ends_in_the_distribution(name):
    assert largest_distance(LONG_RUN(STOCHASTIC[name], target())) < LARGEST


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["DDIM(1)", "EDM"])
def test_wrong_noise_is_seen(name, fault):
    # Traced anew, with the fault.
    planted = jax.jit(
        lambda *arguments: long_run(*arguments), compiler_options=de.compiler_options()
    )

    mixture = target()

    with mock.patch.object(jax.random, "normal", FAULTS[fault]):
        points = planted(STOCHASTIC[name], mixture)

    assert largest_distance(points) > 2 * LARGEST


# What sample promises

SHAPE, SGD = (6, 2), optax.sgd(0.1)
SHORT = noise.VE(sigma_min=0.2, sigma_max=4.0)


def toy(y, sigma):
    """A denoiser with something of its own at every point and level."""
    return jnp.tanh(2 * y) / (1 + 0.3 * sigma)


@functools.partial(
    jax.jit, static_argnums=(2, 3), compiler_options=de.compiler_options(quick=True)
)
def short_run(key, sampler, num_levels=4, final_denoise=True, start=None, grid=SHORT):
    return de.sample(
        key,
        toy,
        grid,
        sampler,
        SHAPE,
        num_levels=num_levels,
        final_denoise=final_denoise,
        start=start,
    )


def traced(sampler, num_levels=3, shape=SHAPE, start=None) -> jax.ShapeDtypeStruct:
    """Shape and type of samples, without running."""
    run = lambda key: de.sample(
        key, toy, SHORT, sampler, shape, num_levels=num_levels, start=start
    )
    return jax.eval_shape(run, KEY)


def points(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def test_samples_have_the_shape():
    samples = short_run(KEY, samplers.DDIM())

    assert (samples.shape, samples.dtype) == (SHAPE, np.float32)


def test_one_point_in_one_dimension_is_a_sample():
    assert traced(samplers.Heun(), shape=(1, 1)).shape == (1, 1)


def test_the_key_decides():
    first, again, other = (
        short_run(jax.random.key(seed), samplers.DDIM()) for seed in (1, 1, 2)
    )

    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_from_a_given_start_without_noise_the_key_does_not_matter():
    first, other = (
        short_run(jax.random.key(seed), samplers.DDIM(eta=0.0), start=points(0))
        for seed in (1, 2)
    )

    assert np.array_equal(first, other)


def test_noise_differs_from_step_to_step_and_from_the_start():
    # Consistency returns the answer, 0, with fresh noise; one level, the start itself.
    draw = lambda levels: de.sample(
        KEY,
        lambda y, sigma: 0 * y,
        noise.Constant(1.0),
        samplers.Consistency(),
        (100, 100),
        num_levels=levels,
        final_denoise=False,
    )

    ends = np.stack([draw(levels).ravel() for levels in (1, 2, 3)])

    # 5 standard errors of 10,000 products; squares vary by twice as much.
    products = ends @ ends.T / 10_000
    np.testing.assert_allclose(products, np.eye(3), atol=5 * np.sqrt(2 / 10_000))


def test_one_level_neither_moves_nor_asks_for_more_than_the_clean_point():
    start = points(1)

    stayed = short_run(KEY, samplers.DDIM(), 1, False, start)
    clean = short_run(KEY, samplers.DDIM(), 1, True, start)

    assert np.array_equal(stayed, start)
    np.testing.assert_allclose(clean, toy(start, 4.0), atol=1e-6)


def test_without_a_start_noise_of_the_first_level_is_drawn():
    start = de.sample(
        KEY,
        toy,
        SHORT,
        samplers.DDIM(),
        (10_000, 2),
        num_levels=1,
        final_denoise=False,
    )

    # 5 standard errors of 20,000 squares.
    np.testing.assert_allclose(np.square(start).mean(), 16.0, rtol=5 * np.sqrt(2 / 20_000))


def test_the_end_is_the_clean_estimate_of_the_last_point():
    last = short_run(KEY, samplers.DDIM(), 4, False)
    clean = short_run(KEY, samplers.DDIM(), 4, True)

    np.testing.assert_allclose(clean, toy(last, 0.2), atol=1e-5)


def test_a_denoiser_that_is_always_there_does_not_know_frozen():
    true, frozen = (
        short_run(KEY, samplers.PredictorCorrector(2, frozen=frozen))
        for frozen in (False, True)
    )

    assert np.array_equal(true, frozen)


@pytest.mark.parametrize("start", [[[1, 2]] * 6, np.ones(SHAPE, np.float64)])
def test_a_start_may_have_any_real_type(start):
    assert traced(samplers.Heun(), start=start).dtype == np.float32


def test_in_float64_all_is_float64():
    with ENABLE_X64(True):
        samples = traced(samplers.EDM(), 4, start=jnp.ones(SHAPE, jnp.float32))

    assert samples.dtype == np.float64


def test_jit_changes_only_rounding():
    run = lambda key: de.sample(
        key, toy, SHORT, samplers.Heun(eta=0.5), SHAPE, num_levels=4
    )

    # Points of order 4 in float32, four levels.
    np.testing.assert_allclose(jax.jit(run)(KEY), run(KEY), atol=1e-5)


def test_keys_can_be_mapped():
    keys = jax.random.split(KEY, 3)

    mapped = jax.vmap(lambda key: short_run(key, samplers.DDIM()))(keys)

    alone = [short_run(key, samplers.DDIM()) for key in keys]
    np.testing.assert_allclose(mapped, np.stack(alone), atol=1e-5)  # as above


#: Of every sampler that has numbers two settings, with all of them different.
MAPPED = [
    (samplers.DDIM(0.0), samplers.DDIM(0.6)),
    (samplers.Ancestral(0.0), samplers.Ancestral(1.5)),
    (samplers.EulerMaruyama(0.0), samplers.EulerMaruyama(1.5)),
    (samplers.Optax(SGD, 0.0), samplers.Optax(SGD, 1.0)),
    (samplers.DPMSolver2M(0.0, 1.0), samplers.DPMSolver2M(1.0, 0.5)),
    (samplers.GHFilter(0.1, 0.0, 0.0), samplers.GHFilter(1.0, 0.9, 0.5)),
    (samplers.Heun(0.0), samplers.Heun(1.0)),
    (samplers.EDM(1.0, 0.0, 9.0, 1.0), samplers.EDM(2.0, 0.5, 2.0, 0.5)),
    (
        samplers.PredictorCorrector(step=0.01, eta=0.0),
        samplers.PredictorCorrector(step=1.0, eta=0.8),
    ),
    (samplers.AnnealedLangevin(step=0.01), samplers.AnnealedLangevin(step=1.0)),
]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(both, id=type(both[0]).__name__, marks=[pytest.mark.slow] * (i > 2))
        for i, both in enumerate(MAPPED)
    ],
)
def test_the_numbers_of_a_sampler_can_be_mapped(settings):
    run = lambda sampler: short_run(KEY, sampler)
    both = jax.tree.map(lambda *values: np.float32(values), *settings)

    mapped = jax.vmap(run)(both)

    alone = [run(jax.tree.map(np.float32, sampler)) for sampler in settings]
    np.testing.assert_allclose(mapped, np.stack(alone), atol=1e-5)  # as above
    assert not np.allclose(*alone, atol=1e-2)


def test_a_number_of_a_grid_can_be_mapped():
    run = lambda high: short_run(
        KEY, samplers.Heun(), grid=noise.VE(sigma_min=0.2, sigma_max=high)
    )

    mapped = jax.vmap(run)(np.float32([2.0, 8.0]))

    alone = [run(high) for high in np.float32([2.0, 8.0])]
    np.testing.assert_allclose(mapped, np.stack(alone), atol=1e-5)  # as above


# Errors and warnings


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"num_levels": 0}, ValueError, "num_levels: got 0, want an int >= 1"),
        ({"num_levels": 2.0}, TypeError, "num_levels: got 2.0"),
        (
            {"start": np.ones((6, 3))},
            ValueError,
            r"start: got shape \(6, 3\), want \(6, 2\)",
        ),
        ({"sampler": samplers.DDIM(2.0)}, ValueError, r"DDIM\.eta: got 2.0"),
        (
            {"sampler": samplers.DDIM(np.ones(3))},
            ValueError,
            r"DDIM\.eta: got shape \(3,\)",
        ),
        ({"grid": noise.VE(-1.0, 4.0)}, ValueError, r"VE\.sigma_min: got -1.0"),
        ({"grid": noise.Levels([2.0, 1.0])}, ValueError, "got 2 levels, but 3"),
        ({"grid": samplers.DDIM()}, TypeError, r"grid: got DDIM.*, want a Grid"),
        ({"sampler": samplers.DDIM}, TypeError, "sampler: got <class .* want a Sampler"),
        (
            {"denoise": lambda y, sigma: y[:, :1]},
            ValueError,
            r"denoise: got an answer of shape \(6, 1\), want \(6, 2\)",
        ),
        ({"key": jax.random.PRNGKey(0)}, TypeError, "key: got an array of uint32"),
    ],
)
def test_an_error_names_what_is_wrong(changes, kind, message):
    arguments = {
        "key": KEY,
        "denoise": lambda y, sigma: y,
        "grid": SHORT,
        "sampler": samplers.DDIM(),
        "shape": SHAPE,
        "num_levels": 3,
    }

    with pytest.raises(kind, match=message):
        de.sample(**(arguments | changes))


def test_answers_of_half_precision_make_samples_of_full_precision():
    arguments = SHORT, samplers.Heun(), list(SHAPE)

    samples = de.sample(
        KEY, lambda y, sigma: toy(y, sigma).astype(jnp.bfloat16), *arguments, num_levels=5
    )

    assert samples.dtype == jnp.float32
    want = de.sample(KEY, toy, *arguments, num_levels=5)
    np.testing.assert_allclose(samples, want, atol=0.05)  # of 8 bits


class Falling:
    """A grid of one's own, which is no pytree."""

    def sigmas(self, num_levels):
        return 2.0 ** jnp.arange(num_levels)[::-1]


def test_a_grid_need_not_be_a_pytree_for_sampling():
    samples = de.sample(KEY, toy, Falling(), samplers.DDIM(), SHAPE, num_levels=3)

    assert samples.shape == SHAPE


@pytest.mark.parametrize(("sampler", "answers"), [("DDIM", 5), ("Heun", 9)])
def test_a_path_has_every_question_and_answer_on_the_way_to_the_same_samples(
    sampler, answers
):
    arguments = KEY, toy, SHORT, getattr(samplers, sampler)(), SHAPE

    path = de.sample_path(*arguments, num_levels=5)

    assert path.points.shape == path.clean.shape == (answers, *SHAPE)
    assert (np.diff(path.sigmas) <= 0).all()
    assert path.sigmas[0] > path.sigmas[-1]
    asked = jax.vmap(toy)(path.points, path.sigmas)
    np.testing.assert_allclose(path.clean, asked, rtol=1e-5)  # another program
    np.testing.assert_array_equal(path.samples, path.clean[-1])
    same = de.sample(*arguments, num_levels=5)  # another program, rounded otherwise
    np.testing.assert_allclose(path.samples, same, rtol=1e-6)


@pytest.mark.parametrize("sampler", [samplers.EDM(), samplers.EulerMaruyama()])
def test_a_sampler_that_overshoots_on_the_grid_says_so(sampler):
    # sigma falls by 4.47 in each of two steps.
    with pytest.warns(UserWarning, match="overshoots where sigma falls"):
        traced(sampler, 3)


@pytest.mark.parametrize("sampler", [samplers.Heun(), samplers.DDIM()])
def test_exponential_samplers_have_nothing_to_say_of_a_coarse_grid(sampler):
    # Warnings are errors in these tests.
    traced(sampler, 3)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"denoise": de.denoisers.Population()}, TypeError, "denoise: got Population"),
        ({"shape": 4}, TypeError, r"shape: got 4, want a tuple of 2"),
        ({"shape": (4,)}, TypeError, r"shape: got \(4,\), want a tuple of 2"),
        ({"shape": (4.0, 2)}, TypeError, r"shape\[0\]: got 4.0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changed, error, message):
    arguments = {"denoise": target().denoise, "shape": (4, 2)} | changed
    with pytest.raises(error, match=message):
        de.sample(KEY, grid=GRID, sampler=samplers.DDIM(), num_levels=3, **arguments)

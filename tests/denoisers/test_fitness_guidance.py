"""Fitness guidance, against its theory (``docs/guidance.md``).

With the kernel k of variance v, points x_j, weights g_j: p_w = sum_j g_j k(., x_j) and
p_1 = sum_j k(., x_j) are densities of noisy points, m_w and m_1 their denoisers.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxprs import equations
from often import often

import diffevo_jax as de
from diffevo_jax import diffusion, flows
from diffevo_jax.attention import Guidance
from diffevo_jax.sweeps.settings import grouped, settings_of

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(40, 3)).astype(np.float32)
LOG_WEIGHT = RNG.normal(size=40).astype(np.float32)
QUERIES = (1.5 * RNG.normal(size=(12, 3))).astype(np.float32)
PLAIN = np.zeros(40, np.float32)


@jax.jit
def mean(
    queries: Any, points: Any, log_weight: Any, precision: Any, strength: Any, plain: Any
) -> de.Estimate:
    return de.denoisers.posterior_mean(
        queries,
        points,
        points,
        log_weight,
        precision,
        own=False,
        guidance=Guidance(strength, plain),
    )


def log_density(y: np.ndarray, log_weight: np.ndarray, precision: float) -> Any:
    """Of noisy points, in float64, up to a constant."""
    squares = ((y[:, None] - np.float64(POINTS)) ** 2).sum(axis=-1)
    return np.logaddexp.reduce(log_weight - precision * squares / 2, axis=1)


def slopes(function: Any, y: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The gradient at points (N, D), by central differences in float64."""
    y = np.float64(y)
    change = step * np.eye(y.shape[1])
    return np.stack(
        [(function(y + e) - function(y - e)) / (2 * step) for e in change], axis=1
    )


# What it is


@pytest.mark.parametrize("strength", [-1.0, 0.0, 1.0, 4.0])
def test_it_is_the_denoiser_of_the_ratio_of_the_densities(strength):
    # Tweedie: D(y) = y + v grad log p, for p = p_w^(1 + g) / p_1^g.
    precision = 0.7

    def log_ratio(y: np.ndarray) -> Any:
        weighted, plain = (log_density(y, w, precision) for w in (LOG_WEIGHT, PLAIN))
        return (1 + strength) * weighted - strength * plain

    want = QUERIES + slopes(log_ratio, QUERIES) / precision
    got = mean(QUERIES, POINTS, LOG_WEIGHT, precision, strength, PLAIN).clean
    np.testing.assert_allclose(got, want, atol=1e-5 * (1 + abs(strength)))


def test_what_it_adds_is_the_slope_of_the_smoothed_weights():
    # Between both means: v grad log of the mean weight that a kernel sees, of g itself.
    precision = 2.0

    def log_mean_weight(y: np.ndarray) -> Any:
        return log_density(y, LOG_WEIGHT, precision) - log_density(y, PLAIN, precision)

    answers = [
        np.asarray(mean(QUERIES, POINTS, LOG_WEIGHT, precision, g, PLAIN).clean)
        for g in (0.0, 1.0)
    ]
    want = slopes(log_mean_weight, QUERIES) / precision
    np.testing.assert_allclose(answers[1] - answers[0], want, atol=1e-5)


def test_it_is_the_classifier_free_guidance_of_denoisers():
    weighted, plain = (
        lambda y, sigma, w=w: mean(y, POINTS, w, 1 / sigma**2, 0.0, PLAIN)
        for w in (LOG_WEIGHT, PLAIN)
    )
    denoise = diffusion.classifier_free_guidance(weighted, plain, 1.5)
    got = mean(QUERIES, POINTS, LOG_WEIGHT, 1 / 0.9**2, 1.5, PLAIN).clean
    np.testing.assert_allclose(got, denoise(jnp.asarray(QUERIES), 0.9), atol=1e-5)


@pytest.mark.slow
def test_it_is_monoflows_drift_on_top_of_the_contraction():
    # m_1 + (1 + g) (m_w - m_1), and m_w - m_1 is what MonoFlow's particles follow.
    width, valid = 0.8, jnp.ones(len(POINTS), bool)
    ratio, _ = flows.KernelRatio(de.kernels.Gaussian()).estimate(
        jax.random.key(0), (), jnp.asarray(POINTS), LOG_WEIGHT, valid, width, 0.0
    )
    drift = ratio.width**2 * ratio.gradient
    plain, got = (
        mean(POINTS, POINTS, LOG_WEIGHT, 1 / width**2, g, PLAIN).clean for g in (-1.0, 2.0)
    )
    np.testing.assert_allclose(got, plain + 3.0 * drift, atol=2e-5)


def test_by_a_flat_kernel_it_is_the_step_of_an_evolution_strategy():
    # The mean moves by a learning rate of 1 + g towards the weighted mean; in it those
    # that are worse than the average count negatively.
    weight = np.exp(np.float64(LOG_WEIGHT))
    weight /= weight.sum()
    centre = np.float64(POINTS).mean(axis=0)
    got = mean(QUERIES, POINTS, LOG_WEIGHT, 0.0, 1.5, PLAIN).clean
    want = centre + 2.5 * (weight @ (POINTS - centre))
    np.testing.assert_allclose(got, np.broadcast_to(want, got.shape), atol=1e-5)
    signed = 2.5 * weight - 1.5 / len(weight)
    np.testing.assert_allclose(got[0], signed @ np.float64(POINTS), atol=1e-5)
    assert signed.min() < 0


# A Gaussian population with log-linear weights, without a sample's error: points on a
# fine grid, that count as a Gaussian of deviation s. Behind y a Gaussian of variance C.

GRID = np.linspace(-12.0, 12.0, 4001).astype(np.float32)[:, None]
DEVIATION, NOISE, SLOPE = 1.3, 0.7, 0.9
GAUSSIAN = (-(GRID[:, 0] ** 2) / (2 * DEVIATION**2)).astype(np.float32)
VARIANCE = 1 / (1 / DEVIATION**2 + 1 / NOISE**2)


@functools.cache
def behind(y: float, strength: float, temperature: float) -> tuple[float, float]:
    """A guided answer, and the effective sample size of its weights."""
    log_weight = GAUSSIAN + np.float32(SLOPE / temperature) * GRID[:, 0]
    query = np.full((1, 1), y, np.float32)
    got = mean(query, GRID, log_weight, 1 / NOISE**2, strength, GAUSSIAN)
    return float(got.clean[0, 0]), float(got.effective_sample_size[0])


@pytest.mark.parametrize("strength", [-0.5, 1.0, 3.0])
@pytest.mark.parametrize("y", [-1.0, 0.0, 2.0])
def test_of_a_gaussian_it_is_a_lower_temperature(y, strength):
    guided, colder = behind(y, strength, 1.0)[0], behind(y, 0.0, 1 / (1 + strength))[0]
    closed = VARIANCE * (y / NOISE**2 + (1 + strength) * SLOPE)
    assert guided == pytest.approx(colder, abs=1e-5)
    assert guided == pytest.approx(closed, abs=1e-5)


def test_of_a_gaussian_the_effective_sample_size_stays():
    # Of y = 0, weights exp(b x) leave a share exp(-b^2 (2 C' - C)) of it, with C' what C is
    # by the square of the kernel; a temperature of T / (1 + g) has (1 + g)^2 as much lost.
    levels = (np.arange(20_000) + 0.5) / 20_000
    x = np.asarray(DEVIATION * jax.scipy.stats.norm.ppf(levels))[:, None]
    none, query = np.zeros(len(x), np.float32), np.zeros((1, 1), np.float32)

    def size(strength: float, slope: float) -> float:
        weights = np.float32(slope) * x[:, 0]
        got = mean(query, x, weights, 1 / NOISE**2, strength, none)
        return float(got.effective_sample_size[0])

    all_of_it = size(0.0, 0.0)
    lost = SLOPE**2 * (2 / (1 / DEVIATION**2 + 2 / NOISE**2) - VARIANCE)
    assert size(1.0, SLOPE) == pytest.approx(size(0.0, SLOPE), rel=1e-5)
    assert size(1.0, SLOPE) / all_of_it == pytest.approx(np.exp(-lost), rel=1e-3)
    assert size(0.0, 2 * SLOPE) / all_of_it == pytest.approx(np.exp(-4 * lost), rel=1e-3)


@pytest.mark.parametrize("strength", often(1, [1.0, 0.5, 3.0]))
def test_it_has_less_variance_than_a_lower_temperature(strength):
    # n sum_j W_ij^2 of the signed weights W is 1 + (1 + g)^2 (n sum_j w_ij^2 - 1): for a
    # Gaussian e^s in place of the last sum, and e^((1 + g)^2 s) for the colder one.
    count, lost = 2000, SLOPE**2 * VARIANCE
    levels = (np.arange(count) + 0.5) / count
    x = np.asarray(VARIANCE**0.5 * jax.scipy.stats.norm.ppf(levels))[:, None]
    none = np.zeros(count, np.float32)

    @jax.jit
    def squares(strength: jax.Array, slope: jax.Array) -> jax.Array:
        # The answers with a unit vector as the value of each are the weights themselves.
        weights = de.denoisers.posterior_mean(
            none[:1, None],
            x,
            jnp.eye(count),
            slope * x[:, 0],
            jnp.array(0.0),
            own=False,
            guidance=Guidance(strength, none),
        )
        return count * jnp.sum(weights.clean**2)

    guided, bayes, colder = (
        float(squares(g, b * SLOPE))
        for g, b in ((strength, 1.0), (0.0, 1.0), (0.0, 1.0 + strength))
    )
    assert bayes == pytest.approx(np.exp(lost), rel=1e-2)  # of an even sample
    assert guided == pytest.approx(1 + (1 + strength) ** 2 * (bayes - 1), rel=1e-4)
    assert guided < colder


@pytest.mark.parametrize("diagonal", [False, True])
def test_of_a_gaussian_it_is_the_same_number_for_a_fit(diagonal):
    # A fit of a Gaussian is exact, and log-linear weights only move its mean.
    fit = de.denoisers.GaussianFit(guidance=2.0, diagonal=diagonal)
    state = fit.init(jax.random.key(0), jnp.asarray(GRID))
    state = de.pytree.replace(
        state,
        evidence=de.pytree.replace(state.evidence, points=jnp.asarray(GRID)),
        plain_log_weight=GAUSSIAN,
        log_weight=GAUSSIAN + np.float32(SLOPE) * GRID[:, 0],
    )
    y = jnp.array([[-1.0], [0.5]])
    want = VARIANCE * (np.asarray(y) / NOISE**2 + 3 * SLOPE)
    np.testing.assert_allclose(fit.denoise(state, y, NOISE).clean, want, atol=1e-5)


@pytest.mark.parametrize("diagonal", [False, True])
def test_a_fit_goes_beyond_by_its_own_two_means(diagonal):
    population = de.denoisers.GaussianFit(de.shaping.Boltzmann(1.0), diagonal=diagonal)
    fit = functools.partial(de.denoisers.gaussian_mean, QUERIES, POINTS, diagonal=diagonal)
    weighted, plain = (fit(jnp.asarray(w), 1.0).clean for w in (LOG_WEIGHT, PLAIN))
    for strength in (-1.0, 2.0):
        got = answer(de.replace(population, guidance=strength), evaluated(LOG_WEIGHT))
        want = weighted + strength * (weighted - plain)
        np.testing.assert_allclose(got, want, atol=1e-5)


# Where it must fail


def test_by_a_narrow_kernel_it_is_nothing():
    # Every point hears itself alone, and so does the plain mean.
    x = jnp.asarray(POINTS)
    got = mean(x, x, LOG_WEIGHT, 1e6, 5.0, PLAIN).clean
    np.testing.assert_allclose(got, x, atol=1e-5)


def test_with_the_weight_of_one_it_goes_past_the_best_one():
    # All that a temperature of next to nothing leaves is the best, and it is overshot by
    # its distance to the mean of all, whatever is there.
    log_weight = np.where(np.arange(40) == 7, 0.0, -1e4).astype(np.float32)
    got = mean(QUERIES, POINTS, log_weight, 0.0, 2.0, PLAIN).clean
    best, centre = POINTS[7], POINTS.mean(axis=0)
    want = np.broadcast_to(best + 2 * (best - centre), got.shape)
    np.testing.assert_allclose(got, want, atol=1e-5)


# Whom the plain mean knows


def evaluated(fitness: Any, points: Any = POINTS) -> de.Evaluated:
    return de.Evaluated(points, jnp.asarray(fitness), clean=points, sigma=1.0)


def answer(population: Any, what: de.Evaluated, y: Any = QUERIES) -> np.ndarray:
    key = jax.random.key(3)
    state = population.init(key, what.points)
    state = population.learn(key, state, what)
    return np.asarray(population.denoise(state, jnp.asarray(y), jnp.array(1.0)).clean)


def beyond(population: Any, what: de.Evaluated) -> np.ndarray:
    """m_w - m_1: what a guidance of 1 adds."""
    one, none = (de.replace(population, guidance=g) for g in (1.0, 0.0))
    return answer(one, what) - answer(none, what)


EXACT = de.denoisers.Population(de.kernels.Gaussian(), de.shaping.Boltzmann(1.0))
MEANS = {"population": EXACT, "fit": de.denoisers.GaussianFit(de.shaping.Boltzmann(1.0))}


@pytest.mark.parametrize("population", MEANS.values(), ids=MEANS)
def test_who_failed_is_in_neither_mean(population):
    # An evaluation that failed says nothing: as if it had never been there.
    fitness = LOG_WEIGHT.copy()
    fitness[::4] = np.nan
    rest = np.isfinite(fitness)
    got = beyond(population, evaluated(fitness))
    want = beyond(population, evaluated(fitness[rest], POINTS[rest]))
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(
    "support", often(1, [de.denoisers.Everyone(), de.denoisers.Best(2)])
)
def test_who_has_weight_zero_is_gone_away_from(support):
    # A weight of zero is an answer, unlike none: identity's of a fitness of 0.
    points = jnp.array([[1.0], [-1.0]])
    what = de.Evaluated(points, jnp.array([1.0, 0.0]), clean=points, sigma=1.0)
    flat = de.denoisers.Population(
        de.kernels.Gaussian(kappa=0.0),
        de.shaping.Identity(),
        support=support,
        guidance=2.0,
    )
    np.testing.assert_allclose(answer(flat, what, points), 3.0, rtol=1e-6)


def test_what_a_condition_wants_is_gone_towards():
    points = jnp.array([[1.0], [-1.0]])
    what = de.Evaluated(points, jnp.zeros(2), clean=points, sigma=1.0)
    right = de.conditions.Target(lambda x, measures: x[:, 0], 1.0, 0.01)
    flat = de.denoisers.Population(
        de.kernels.Gaussian(kappa=0.0), conditions=(right,), guidance=2.0
    )
    np.testing.assert_allclose(answer(flat, what, points), 3.0, rtol=1e-6)


def test_with_equal_fitness_there_is_nothing_beyond():
    got = beyond(de.denoisers.Population(), evaluated(np.full(40, 3.0, np.float32)))
    np.testing.assert_allclose(got, 0.0, atol=1e-6)


@pytest.mark.slow
def test_an_archives_correction_is_in_both_means():
    # It says how the points were drawn, and not what is wanted of them.
    memory = de.denoisers.Archive(1, correction=1.0)
    population = de.replace(EXACT, memory=memory, shaping=de.shaping.Boltzmann(1e6))
    what = evaluated(LOG_WEIGHT)
    np.testing.assert_allclose(beyond(population, what), 0.0, atol=1e-4)
    plain = de.replace(population, memory=de.denoisers.Latest())
    assert np.abs(answer(population, what) - answer(plain, what)).max() > 0.1


@pytest.mark.parametrize("count", often(1, [10, 40]))
def test_among_the_best_both_means_are_of_the_best(count):
    best = np.argsort(-LOG_WEIGHT)[:count]
    population = de.replace(EXACT, support=de.denoisers.Best(count))
    got = beyond(population, evaluated(LOG_WEIGHT))
    want = beyond(EXACT, evaluated(LOG_WEIGHT[best], POINTS[best]))
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.slow
def test_by_what_is_drawn_both_means_are_estimates_of_those_of_all():
    # Drawn by weight, who was drawn counts for the plain mean by one over the weight.
    population = de.replace(EXACT, support=de.denoisers.Drawn(40), guidance=1.0)
    what = evaluated(0.3 * LOG_WEIGHT)
    state = population.init(jax.random.key(0), what.points)

    @jax.jit
    @jax.vmap
    def draw(key: jax.Array) -> jax.Array:
        learnt = population.learn(key, state, what)
        return population.denoise(learnt, jnp.asarray(QUERIES), jnp.array(1.0)).clean

    drawn = np.asarray(draw(jax.random.split(jax.random.key(1), 4000)), np.float64)
    want = answer(de.replace(EXACT, guidance=1.0), what)
    # Self-normalised, its bias is of the order of one over the count, some 0.1.
    np.testing.assert_allclose(drawn.mean(axis=0), want, atol=0.1)


def test_a_local_shaping_is_in_the_weighted_mean_alone():
    # Where neighbours are compared, the plain mean is of the kernel, as of any shaping.
    local = de.replace(EXACT, shaping=de.shaping.Local(0.3))
    plain = answer(de.replace(EXACT, guidance=-1.0), evaluated(LOG_WEIGHT))
    got = answer(de.replace(local, guidance=-1.0), evaluated(LOG_WEIGHT))
    np.testing.assert_allclose(got, plain, atol=1e-5)


# A strategy


@pytest.mark.slow
@pytest.mark.parametrize("name", MEANS)
def test_it_is_a_number_that_is_swept_and_traced(name):
    strategy = de.DiffusionEvolution(3, MEANS[name])
    problem, key = de.problems.Landscape("beale"), jax.random.key(0)
    axes = {"guidance": [0.0, 1.0]}
    swept = de.sweep(key, strategy, problem, axes=axes, population_size=8)
    alone = [
        de.evolve(
            jax.random.fold_in(key, 0),
            de.replace(strategy, guidance=g),
            problem,
            population_size=8,
        )
        for g in axes["guidance"]
    ]
    got = swept.final_mean.values[:, 0]
    np.testing.assert_allclose(got, [run.fitness.mean() for run in alone], rtol=1e-4)


def test_an_attention_that_takes_no_guidance_is_refused():
    def before(queries, keys, values, log_weight, own, *, floor):
        return de.attention.attend(queries, keys, values, log_weight, own, floor=floor)

    strategy = de.DiffusionEvolution(3, de.denoisers.Population(attention=before))
    with pytest.raises(TypeError, match="floor and guidance among them"):
        de.init(strategy, jax.random.key(0), jnp.zeros((4, 2)))


def test_none_is_the_answer_at_0_to_the_bit_with_half_of_the_exponentials():
    key, points = jax.random.key(0), jnp.asarray(POINTS)
    evaluated = de.Evaluated(points, LOG_WEIGHT, points, 0.8)

    def answer(guidance):
        population = de.denoisers.Population(EXACT.kernel, guidance=guidance)
        state = population.learn(key, population.init(key, points), evaluated)
        return population.denoise(state, points, jnp.asarray(0.8))

    at_0 = jax.jit(answer)(0.0)
    assert de.equal(jax.jit(lambda: answer(None))(), at_0)
    plain, traced = jax.make_jaxpr(lambda: answer(None))(), jax.make_jaxpr(answer)(0.0)
    for program, pairs in ((plain, 1), (traced, 2)):
        of_pairs = [e for e in equations(program.jaxpr) if e.primitive.name == "exp"]
        assert sum(e.outvars[0].aval.shape == (40, 40) for e in of_pairs) == pairs


def test_settings_of_a_strategy_without_guidance_are_one_program():
    strategy, problem, size = de.published.landscape("two_peaks")
    axes = {"guidance": [0.0, 0.5, 1.0]}
    assert len(grouped(settings_of(strategy, problem, size, axes))) == 1


@pytest.mark.parametrize("guidance", [-1.5, float("nan"), 1e4])
def test_a_guidance_out_of_its_range_is_refused(guidance):
    strategy = de.DiffusionEvolution(3, de.denoisers.Population(guidance=guidance))
    with pytest.raises(ValueError, match="guidance"):
        de.init(strategy, jax.random.key(0), jnp.zeros((4, 2)))


@pytest.mark.parametrize(("fade", "sigma", "left"), [(0.0, 3.0, 2.0), (2.0, 1.5, 0.2)])
def test_guidance_fades_where_there_is_noise(fade, sigma, left):
    key, points = jax.random.key(0), jnp.asarray(POINTS)
    evaluated = de.Evaluated(points, -jnp.sum(points**2, axis=1), points, sigma)

    @jax.jit
    def answer(population):
        state = population.learn(key, population.init(key, points), evaluated)
        return population.denoise(state, points, jnp.asarray(sigma)).clean

    faded = answer(de.denoisers.Population(guidance=2.0, fade=fade))
    np.testing.assert_array_equal(faded, answer(de.denoisers.Population(guidance=left)))

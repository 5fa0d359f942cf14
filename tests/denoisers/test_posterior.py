"""The population's denoiser.

The oracles are the paper's equations in its own coordinates, in float64: with ``x`` the
population, ``alpha`` the signal rate and g the fitness weights,

    x0_hat_i = sum_j g_j N(x_i; sqrt(alpha) x_j, 1 - alpha) x_j / sum_j ...   (eqs. 8, 9)
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jaxprs import equations, largest_array

from diffevo_jax import denoisers
from diffevo_jax.denoisers import support as choices

FIXED = settings(derandomize=True, database=None, deadline=None, max_examples=60)
MEAN = jax.jit(denoisers.posterior_mean, static_argnames="floor")
WEIGHTS = jax.jit(denoisers.posterior_weights, static_argnames="floor")


def paper_log_kernel(x: np.ndarray, alpha: float) -> np.ndarray:
    """log N(x_i; sqrt(alpha) x_j, 1 - alpha), unnormalised, (N, N)."""
    difference = x[:, None, :] - np.sqrt(alpha) * x[None, :, :]
    return -(difference**2).sum(axis=-1) / (2 * (1 - alpha))


def paper_estimate(x: np.ndarray, log_g: np.ndarray, alpha: float) -> np.ndarray:
    logits = log_g + paper_log_kernel(x, alpha)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights @ x / weights.sum(axis=1, keepdims=True)


def ours(x, log_g, alpha: float, floor: float | None = None) -> np.ndarray:
    """The same by the library: y = x / sqrt(alpha), precision 1 / sigma²."""
    x = np.asarray(x, np.float32)
    sigma2 = (1 - alpha) / alpha
    y = (x * np.float32(1 / np.sqrt(alpha))).astype(np.float32)
    log_g = np.asarray(log_g, np.float32)
    answer = MEAN(y, x, x, log_g, np.float32(1 / sigma2), floor=floor)
    return np.asarray(answer.clean, np.float64)


def effective(x: np.ndarray, log_g: np.ndarray, alpha: float) -> float:
    logits = log_g + paper_log_kernel(x, alpha)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return float((1 / (weights**2).sum(axis=1)).mean())


# The published equations


@pytest.mark.parametrize("dim", [1, 2, 58])
@pytest.mark.parametrize("alpha", [1e-3, 0.3, 0.9])
def test_the_estimate_is_the_papers(dim, alpha):
    rng = np.random.default_rng(dim)
    x = rng.normal(size=(32, dim)).astype(np.float32).astype(np.float64)
    log_g = rng.normal(size=32).astype(np.float32)

    got = ours(x, log_g, alpha)

    np.testing.assert_allclose(got, paper_estimate(x, log_g, alpha), atol=2e-5)


@pytest.mark.parametrize("dim", [1, 2, 58])
def test_the_estimate_is_exact_late_in_a_run_away_from_the_origin(dim):
    # A tight population, 3 deviations of the prior away in every coordinate. Its spread is
    # such that a good part of it answers for one: everything else would be easy.
    rng, alpha = np.random.default_rng(dim), 0.9999
    spread = 0.01 / math.sqrt(dim)
    x = 3.0 + spread * rng.normal(size=(128, dim))
    x = x.astype(np.float32).astype(np.float64)
    log_g = rng.normal(size=128).astype(np.float32)

    error = np.abs(ours(x, log_g, alpha) - paper_estimate(x, log_g, alpha)).max()

    assert 5 < effective(x, log_g, alpha) < 120
    # 1e-4 of the spread, and the rounding of the answer itself: 2 ulp of 3.
    assert error <= 1e-4 * spread + 5e-7


def test_the_estimate_is_exact_late_in_a_run_with_several_modes():
    # Four modes at (+-1, +-1), at the last level of the cosine grid.
    rng, alpha = np.random.default_rng(4), 0.999
    spread = math.sqrt(1 - alpha)
    modes = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[rng.integers(0, 4, size=128)]
    x = (modes + spread * rng.normal(size=(128, 2))).astype(np.float32)
    x, log_g = x.astype(np.float64), rng.normal(size=128).astype(np.float32)

    error = np.abs(ours(x, log_g, alpha) - paper_estimate(x, log_g, alpha)).max()

    assert error <= 1e-4 * spread + 5e-7


def test_the_answer_is_exact_wherever_the_shared_centre_is():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(16, 3)).astype(np.float32)
    shift = np.float32(1024.0)  # x + 1024 is rounded: compare with the rounded points
    there = (x + shift).astype(np.float32)
    log_g, precision = np.zeros(16, np.float32), np.float32(4.0)

    moved = np.asarray(MEAN(there, there, there, log_g, precision).clean) - shift

    back = (there - shift).astype(np.float32)
    here = np.asarray(MEAN(back, back, back, log_g, precision).clean)
    np.testing.assert_allclose(moved, here, atol=3e-4)  # 2 ulp of 1024


# The published floors


def floored_estimate(x: np.ndarray, g: np.ndarray, alpha: float) -> np.ndarray:
    weights = (g + 1e-9) * (np.exp(paper_log_kernel(x, alpha)) + 1e-9)
    return weights @ x / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dim", [2, 58, 200])
@pytest.mark.parametrize("alpha", [1e-3, 0.5, 0.99])
def test_with_its_floors_the_estimate_is_that_of_the_published_code(dim, alpha):
    # In 200 dimensions all kernels but one's own are far below the floor.
    rng = np.random.default_rng(dim)
    x = rng.normal(size=(32, dim)).astype(np.float32).astype(np.float64)
    g = 10.0 ** rng.uniform(-12, 0, size=32)

    got = ours(x, np.log(g + 1e-9), alpha, floor=1e-9)  # g has its floor already

    # Terms of size D / sigma² cancel in the logarithm of the kernel, in float32.
    rounding = 4 * np.finfo(np.float32).eps * dim * alpha / (1 - alpha)
    want = floored_estimate(x, g, alpha)
    np.testing.assert_allclose(got, want, atol=2e-5 + rounding)


def test_a_floor_of_next_to_nothing_changes_nothing():
    x = np.random.default_rng(0).normal(size=(16, 2))
    log_g = np.linspace(-1, 0, 16)

    with_floor = ours(x, log_g, 0.5, floor=1e-30)

    np.testing.assert_allclose(with_floor, ours(x, log_g, 0.5), atol=1e-6)


def test_a_floor_does_not_revive_the_failed():
    x = np.array([[0.0], [1.0], [0.5]], np.float32)

    weights = WEIGHTS(x, x, np.float32([0.0, 0.0, -np.inf]), 1.0, floor=1e-9)

    assert weights[:, 2].tolist() == [0.0] * 3


# High dimension


@pytest.mark.parametrize("dim", [2, 128, 4096])
@pytest.mark.parametrize("sigma", [31.6, 1.0, 0.0316])
def test_the_weights_of_one_sum_to_one_in_any_dimension(dim, sigma):
    x = np.random.default_rng(dim).normal(size=(16, dim)).astype(np.float32)
    y = x * np.float32(math.sqrt(1 + sigma**2))

    weights = np.asarray(WEIGHTS(y, x, np.zeros(16, np.float32), np.float32(sigma**-2)))

    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-6)


def test_in_two_hundred_dimensions_the_estimate_does_not_shrink_to_the_origin():
    x = 5.0 + np.random.default_rng(0).normal(size=(64, 200))

    got = ours(x, np.zeros(64), alpha=1e-3)

    assert (np.abs(got - 5.0) < 5.0).all()  # among the population
    np.testing.assert_allclose(got.mean(), 5.0, atol=0.1)


# Limits


def test_a_flat_kernel_answers_with_the_weighted_mean():
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=(16, 3)), rng.uniform(0.1, 1.0, size=16)

    got = MEAN(x, x, x, np.log(g), 0.0).clean

    want = np.broadcast_to(g @ x / g.sum(), (16, 3))
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_a_sharp_kernel_answers_with_oneself():
    x = np.random.default_rng(2).normal(size=(16, 3)).astype(np.float32)

    answer = MEAN(x, x, x, np.zeros(16, np.float32), 1e12)

    np.testing.assert_allclose(answer.clean, x, atol=3e-7)
    np.testing.assert_array_equal(answer.self_weight, 1.0)
    np.testing.assert_array_equal(answer.effective_sample_size, 1.0)


def test_everyone_counts_under_a_flat_kernel():
    x = np.random.default_rng(2).normal(size=(16, 3)).astype(np.float32)

    answer = MEAN(x, x, x, np.zeros(16, np.float32), 0.0)

    np.testing.assert_allclose(answer.self_weight, 1 / 16, rtol=1e-6)
    np.testing.assert_allclose(answer.effective_sample_size, 16.0, rtol=1e-6)


def test_one_individual_is_its_own_answer():
    x = np.array([[0.3, -7.0]], np.float32)

    answer = MEAN(2 * x, x, x, np.array([-np.inf], np.float32), 1.0)

    assert answer.clean.tolist() == x.tolist()


def test_if_nobody_has_weight_all_count_the_same():
    x = np.random.default_rng(3).normal(size=(8, 2)).astype(np.float32)

    nobody = MEAN(x, x, x, np.full(8, -np.inf, np.float32), 1.0).clean

    assert np.array_equal(nobody, MEAN(x, x, x, np.zeros(8, np.float32), 1.0).clean)


def test_whoever_has_no_weight_is_not_heard():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(8, 2))
    log_g = np.where(np.arange(8) < 3, -np.inf, rng.normal(size=8))

    got = ours(x, log_g, 0.5)

    rest = paper_estimate(np.concatenate([x[:3], x]), np.r_[[-np.inf] * 3, log_g], 0.5)[3:]
    np.testing.assert_allclose(got, rest, atol=1e-5)
    alone = x[3:][None] - x[:, None] / np.sqrt(0.5)
    weights = np.exp(log_g[3:] - (alone**2).sum(axis=-1) / 2)
    np.testing.assert_allclose(
        got, weights @ x[3:] / weights.sum(axis=1, keepdims=True), atol=1e-5
    )


def test_the_weights_are_for_any_number_of_queries():
    keys = np.random.default_rng(6).normal(size=(5, 2)).astype(np.float32)

    weights = WEIGHTS(keys[:2], keys, np.zeros(5, np.float32), 1.0)

    assert weights.shape == (2, 5)


# Symmetry


@FIXED
@given(
    hnp.arrays(np.float32, (6, 2), elements=st.floats(-100, 100, width=32)),
    hnp.arrays(np.float32, 6, elements=st.floats(-50, 50, width=32)),
    st.floats(1e-6, 1e6),
)
def test_the_answer_lies_in_the_hull_of_the_population(x, log_g, precision):
    clean = np.asarray(MEAN(x, x, x, log_g, np.float32(precision)).clean)

    slack = 1e-6 * np.abs(x).max()  # float32 rounding
    assert (clean >= x.min(axis=0) - slack).all()
    assert (clean <= x.max(axis=0) + slack).all()


def test_permuting_the_population_permutes_the_answers():
    rng = np.random.default_rng(7)
    x, order = rng.normal(size=(32, 3)).astype(np.float32), rng.permutation(32)
    log_g = rng.normal(size=32).astype(np.float32)

    permuted = MEAN(1.5 * x[order], x[order], x[order], log_g[order], 2.0)

    plain = MEAN(1.5 * x, x, x, log_g, 2.0)
    for field in ("clean", "effective_sample_size", "self_weight"):
        np.testing.assert_allclose(  # sums in another order
            getattr(permuted, field), getattr(plain, field)[order], rtol=1e-5, atol=1e-6
        )


def test_twins_count_as_one_with_both_weights():
    rng = np.random.default_rng(8)
    x, g = rng.normal(size=(8, 2)), rng.uniform(0.5, 1.0, size=8)
    twins = np.concatenate([x, x[:1]])

    split = ours(twins, np.log(np.r_[g[0] / 3, g[1:], 2 * g[0] / 3]), 0.5)

    np.testing.assert_allclose(split[:8], ours(x, np.log(g), 0.5), atol=1e-6)
    np.testing.assert_allclose(split[8], split[0], atol=1e-6)


def test_a_population_of_clones_answers_with_the_clone():
    x = np.full((8, 2), 0.1, np.float32)

    assert MEAN(x, x, x, np.zeros(8, np.float32), 1e6).clean.tolist() == x.tolist()


# Theory


def gaussian_error(seed: int, count: int) -> np.ndarray:
    """Error of the estimate against the posterior mean in closed form, at five points.

    Individuals of N(0, 1) with weights N(x; m, s²) stand for the prior N(m v, s² v) with
    v = 1 / (1 + s²); its posterior mean at y is a precision-weighted mean.
    """
    m, s, sigma = 0.8, 0.7, 0.6
    x = np.random.default_rng(seed).normal(size=(count, 1)).astype(np.float32)
    y = np.linspace(-1, 2, 5, dtype=np.float32)[:, None]
    log_g = -((x[:, 0] - m) ** 2) / (2 * s**2)
    weights = np.asarray(WEIGHTS(y, x, log_g, np.float32(sigma**-2)), np.float64)
    prior_mean, prior_variance = m / (1 + s**2), s**2 / (1 + s**2)
    exact = (prior_mean / prior_variance + y / sigma**2) / (1 / prior_variance + sigma**-2)
    return (weights @ x - exact)[:, 0]


def test_a_gaussian_fitness_gives_the_posterior_mean_in_closed_form():
    # The standard error of a weighted mean with about N / 2 effective individuals and a
    # posterior deviation of 0.4; 5 of them.
    assert np.abs(gaussian_error(0, 100_000)).max() < 5 * 0.4 / math.sqrt(20_000)


def test_the_error_of_the_estimate_falls_as_the_root_of_the_population():
    counts = [100, 1600]
    small, large = (
        math.sqrt(np.mean([gaussian_error(seed, n) ** 2 for seed in range(100)]))
        for n in counts
    )

    order = math.log(small / large) / math.log(counts[1] / counts[0])

    assert 0.4 < order < 0.6  # 100 seeds give the order to about 0.04


def test_the_estimate_is_one_step_of_attention():
    rng = np.random.default_rng(9)
    y, x = rng.normal(size=(2, 16, 4)).astype(np.float32)
    log_g, precision = rng.normal(size=16).astype(np.float32), np.float32(1.7)

    # One head, no batch; the bias of a key is log g_j - precision |x_j|² / 2.
    bias = log_g - precision / 2 * (x**2).sum(axis=1)
    heads = [points[:, None] for points in (y, x, x)]
    attention = jax.jit(jax.nn.dot_product_attention)(
        *heads, bias=bias[None, None], scale=precision
    )

    clean = MEAN(y, x, x, log_g, precision).clean
    np.testing.assert_allclose(clean, attention[:, 0], atol=2e-6)


def test_with_keys_of_one_length_the_estimate_is_one_hopfield_update():
    rng, beta = np.random.default_rng(10), 3.0
    patterns = rng.normal(size=(16, 4))
    patterns /= np.linalg.norm(patterns, axis=1, keepdims=True)
    y = rng.normal(size=(16, 4))

    logits = beta * y @ patterns.T  # softmax(beta X q) X
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    update = weights @ patterns / weights.sum(axis=1, keepdims=True)

    clean = MEAN(y, patterns, patterns, np.zeros(16), beta).clean
    np.testing.assert_allclose(clean, update, atol=2e-6)


# Some of the population


POINTS = np.random.default_rng(11).normal(size=(64, 2)).astype(np.float32)
LOG_G = np.random.default_rng(12).normal(size=64).astype(np.float32)
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
SUPPORTED = jax.jit(
    lambda log_g, chosen: denoisers.posterior_mean(
        1.5 * POINTS, POINTS, POINTS, log_g, 1.0, chosen=chosen
    )
)


def posterior(log_g: np.ndarray) -> np.ndarray:
    """Weights of all individuals, for the queries of ``SUPPORTED``; float64, (N, N)."""
    distance = ((1.5 * POINTS[:, None] - POINTS[None]).astype(np.float64) ** 2).sum(axis=-1)
    logits = np.float64(log_g) - distance / 2
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def test_a_support_of_all_is_the_whole_population():
    some = SUPPORTED(LOG_G, choices.best(LOG_G, 64))

    every = SUPPORTED(LOG_G, None)
    for field in ("clean", "effective_sample_size", "self_weight"):
        np.testing.assert_allclose(  # sums in another order
            getattr(some, field), getattr(every, field), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("count", [1, 20])
def test_the_best_answer_as_if_the_others_had_weight_zero(count):
    others = np.argsort(-LOG_G)[count:]

    answer = SUPPORTED(LOG_G, choices.best(LOG_G, count))

    left = LOG_G.copy()
    left[others] = -np.inf
    weights = posterior(left)
    np.testing.assert_allclose(answer.clean, weights @ POINTS, atol=1e-5)
    np.testing.assert_allclose(answer.self_weight, np.diagonal(weights), atol=1e-6)
    np.testing.assert_allclose(
        answer.effective_sample_size, 1 / (weights**2).sum(axis=1), rtol=1e-5
    )
    assert (np.asarray(answer.self_weight)[others] == 0).all()


def test_the_best_answer_if_fewer_have_any_weight():
    few = np.where(np.arange(64) < 3, LOG_G, -np.inf).astype(np.float32)

    answer = SUPPORTED(few, choices.best(few, 8))

    np.testing.assert_allclose(answer.clean, posterior(few) @ POINTS, atol=1e-5)


def times_of(support, size: int) -> np.ndarray:
    """How often each individual is in a support, by its weights."""
    times = np.zeros(size)
    np.add.at(times, np.asarray(support.index), np.exp(np.asarray(support.log_weight)))
    return times


@pytest.mark.parametrize(
    "kind",
    [
        "best",
        "sample",
    ],
)
def test_if_nobody_has_weight_everyone_in_a_support_counts_the_same(kind):
    nobody = jnp.full(64, -jnp.inf)
    if kind == "best":
        support = choices.best(nobody, 8)
    else:
        support = choices.drawn(jax.random.key(0), nobody, 8)

    answer = SUPPORTED(nobody, support)

    with np.errstate(divide="ignore"):
        weights = posterior(np.log(times_of(support, 64)))
    np.testing.assert_allclose(answer.clean, weights @ POINTS, atol=1e-5)


def test_whoever_is_drawn_often_counts_as_often():
    support = choices.drawn(jax.random.key(1), LOG_G, 64)
    times = times_of(support, 64)
    assert times.max() > 2  # otherwise it would be easy
    assert times.min() == 0

    answer = SUPPORTED(LOG_G, support)

    with np.errstate(divide="ignore"):
        weights = posterior(np.log(times))
    np.testing.assert_allclose(answer.clean, weights @ POINTS, atol=1e-5)
    np.testing.assert_allclose(answer.self_weight, np.diagonal(weights), atol=1e-6)
    assert (np.asarray(answer.self_weight)[times == 0] == 0).all()


def test_copies_of_an_individual_are_one_individual():
    # given an individual that has all the weight
    log_g = np.where(np.arange(64) == 7, 0.0, -200.0).astype(np.float32)

    support = choices.drawn(jax.random.key(0), log_g, 16)

    assert support.index.tolist() == [7] * 16
    sizes = SUPPORTED(log_g, support).effective_sample_size
    np.testing.assert_allclose(sizes, 1.0, rtol=1e-5)


def test_individuals_are_drawn_as_often_as_their_weights_say():
    g = np.float32([0.1, 0.2, 0.0, 0.3, 0.4])
    count = 100_000

    with np.errstate(divide="ignore"):
        support = choices.drawn(jax.random.key(0), np.log(g), count)

    deviation = np.sqrt(count * g * (1 - g))  # of a binomial number; 5 of them
    times = times_of(support, 5)
    assert (np.abs(times - count * g) <= 5 * deviation).all()
    np.testing.assert_allclose(times.sum(), count, rtol=1e-5)  # of float32 logarithms


def test_many_of_many_are_drawn_in_two_steps_as_often_as_their_weights_say():
    # given a table of all draws and points that is too large, and rows that are not full
    size, count = 1030, 20_000
    assert size * count > choices._MOST_NUMBERS
    g = np.random.default_rng(0).gamma(0.5, size=size).astype(np.float32)
    g[100:300] = 0.0  # whole rows of nobody among them
    g /= g.sum()
    with np.errstate(divide="ignore"):
        log_g = np.log(g)

    support = jax.jit(choices.drawn, static_argnums=2)(jax.random.key(0), log_g, count)

    times, often = times_of(support, size), count * g >= 5
    excess = (times[often] - count * g[often]) ** 2 / (count * g[often])
    cells = often.sum()  # chi-squared, nearly: 4 deviations of it
    assert abs(excess.sum() - cells) <= 4 * np.sqrt(2 * cells)
    assert (times[g == 0] == 0).all()
    np.testing.assert_allclose(times.sum(), count, rtol=1e-5)


@pytest.fixture(scope="module")
def sampled_errors():
    """Errors of the means of 200 supports of each size, (200, N, 2)."""

    def answers(count: int) -> np.ndarray:
        def one(key):
            support = choices.drawn(key, LOG_G, count)
            return SUPPORTED(LOG_G, support).clean

        keys = jax.random.split(jax.random.key(count), 200)
        means = jax.jit(jax.vmap(one), compiler_options=QUICK)
        return np.asarray(means(keys), np.float64)

    whole = posterior(LOG_G) @ POINTS
    return {count: answers(count) - whole for count in (16, 256, 1024)}


def test_the_mean_over_samples_is_that_of_the_whole_population(sampled_errors):
    # The bias, of the order of a deviation over 1024, is small beside the standard error.
    errors = sampled_errors[1024]

    standard_error = errors.std(axis=0, ddof=1) / math.sqrt(200)

    assert (np.abs(errors.mean(axis=0)) < 4 * standard_error).all()


def test_the_error_of_a_sample_falls_as_the_root_of_its_size(sampled_errors):
    small, large = (np.sqrt((sampled_errors[count] ** 2).mean()) for count in (16, 256))

    # 4 in the limit; for 16 the terms of higher order add some 20 percent.
    assert 3.5 < small / large < 5.5


# What is compiled


@pytest.fixture(scope="module", params=[None, 1e-9], ids=["exact", "floor"])
def program(request):
    """The estimator of 31 individuals of 37 numbers."""
    x = jnp.zeros((31, 37))
    estimate = lambda y, x, log_g: denoisers.posterior_mean(
        y, x, x, log_g, jnp.ones(()), floor=request.param
    )
    return jax.make_jaxpr(estimate)(x, x, jnp.zeros(31)).jaxpr


def test_every_matrix_product_asks_for_full_precision(program):
    products = [e for e in equations(program) if e.primitive.name == "dot_general"]

    assert len(products) > 2
    for product in products:
        assert set(product.params["precision"]) == {jax.lax.Precision.HIGHEST}


def test_no_array_is_larger_than_the_weights_or_the_population(program):
    assert largest_array(program) <= 31 * (
        37 + 2 * 8
    )  # the population, and a column of ones


@pytest.mark.slow
def test_of_more_queries_than_keys_the_others_have_no_weight_of_their_own():
    x = np.float32([[0.0], [1.0]])

    answer = denoisers.posterior_mean(x[[0, 1, 1]], x, x, jnp.zeros(2), 1.0)

    weights = denoisers.posterior_weights(x[[0, 1, 1]], x, jnp.zeros(2), 1.0)
    np.testing.assert_allclose(answer.clean, weights @ x, rtol=1e-6)
    want = [weights[0, 0], weights[1, 1], 0.0]
    np.testing.assert_allclose(answer.self_weight, want, rtol=1e-6)

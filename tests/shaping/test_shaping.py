"""From fitness to log-weight. Weights matter up to a factor, so normalised ones count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diffevo_jax as de
from diffevo_jax import shaping

FIXED = settings(derandomize=True, database=None, deadline=None, max_examples=300)
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}
LOG_WEIGHT = jax.jit(shaping.log_weight, compiler_options=QUICK)
FITNESS = np.array([0.3, 2.0, 0.0, 1.5, 0.7])
RELATIVE = [shaping.Standardized(), shaping.Local(), shaping.TargetESS(), shaping.Rank()]
LARGEST = float(np.finfo(np.float32).max)


def weights(shape: de.Shaping, fitness: np.ndarray) -> np.ndarray:
    """Normalised weights, in float64."""
    log_weight = np.asarray(LOG_WEIGHT(shape, jnp.asarray(fitness)), np.float64)
    weight = np.exp(log_weight - log_weight.max())
    return weight / weight.sum()


# Closed forms


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_boltzmann_weights_are_exponential_in_fitness(temperature):
    got = weights(shaping.Boltzmann(temperature), FITNESS)

    want = np.exp(FITNESS / temperature)
    np.testing.assert_allclose(got, want / want.sum(), rtol=1e-5)  # float32 exponents


@pytest.mark.parametrize("exponent", [0.5, 1.0, 3.0])
def test_power_weights_are_powers_of_fitness(exponent):
    got = weights(shaping.Power(exponent), FITNESS)

    want = FITNESS**exponent
    np.testing.assert_allclose(got, want / want.sum(), rtol=1e-5)


def test_identity_weights_are_the_fitness():
    np.testing.assert_allclose(
        weights(shaping.Identity(), FITNESS), FITNESS / FITNESS.sum(), rtol=1e-5
    )


def test_the_best_has_log_weight_zero_under_boltzmann():
    assert float(LOG_WEIGHT(shaping.Boltzmann(), jnp.asarray(FITNESS)).max()) == 0.0


# Invariance and limits


def test_boltzmann_does_not_feel_a_constant():
    fitness = jnp.arange(5.0)  # whole numbers: the shift is exact

    here = LOG_WEIGHT(shaping.Boltzmann(2.0), fitness)
    there = LOG_WEIGHT(shaping.Boltzmann(2.0), fitness - 1000.0)

    assert jnp.array_equal(here, there)


def test_boltzmann_scales_with_its_temperature():
    fitness = jnp.asarray(FITNESS)

    hot = LOG_WEIGHT(shaping.Boltzmann(4.0), 4 * fitness)

    assert jnp.array_equal(hot, LOG_WEIGHT(shaping.Boltzmann(1.0), fitness))


@pytest.mark.parametrize("factor", [1e-9, 1e12])
def test_power_does_not_feel_a_factor(factor):
    np.testing.assert_allclose(
        weights(shaping.Power(2.0), factor * FITNESS),
        weights(shaping.Power(2.0), FITNESS),
        rtol=2e-5,  # logarithms near 25 keep 2e-6 in float32
    )


@pytest.mark.parametrize("temperature", [1e30, LARGEST])
def test_boltzmann_grows_uniform_with_temperature(temperature):
    np.testing.assert_array_equal(weights(shaping.Boltzmann(temperature), FITNESS), 0.2)


@pytest.mark.parametrize("temperature", [1e-4, 1e-30, 1e-44])
def test_boltzmann_grows_greedy_as_it_cools(temperature):
    assert weights(shaping.Boltzmann(temperature), FITNESS).tolist() == [0, 1, 0, 0, 0]


def test_a_traced_temperature_of_zero_is_greedy_not_nan():
    shapes = shaping.Boltzmann(jnp.zeros(()))

    assert weights(shapes, FITNESS).tolist() == [0, 1, 0, 0, 0]


def test_power_of_zero_counts_all_positive_the_same():
    assert weights(shaping.Power(0.0), FITNESS).tolist() == [0.25, 0.25, 0, 0.25, 0.25]


@pytest.mark.parametrize("exponent", [1e4, 1e30])
def test_power_grows_greedy_with_its_exponent(exponent):
    assert weights(shaping.Power(exponent), FITNESS).tolist() == [0, 1, 0, 0, 0]


def test_power_of_a_huge_exponent_stays_finite():
    fitness = jnp.array([200.0, 1.0, 0.0])

    log_weight = np.asarray(LOG_WEIGHT(shaping.Power(LARGEST), fitness))

    assert np.isfinite(log_weight[:2]).all()
    assert log_weight[0] > log_weight[1]


@pytest.mark.parametrize("shape", [shaping.Power(2.0), shaping.Identity()])
def test_fitness_of_zero_or_less_has_no_weight_as_a_density(shape):
    log_weight = LOG_WEIGHT(shape, jnp.array([-1.0, 0.0, -0.0, 1.0]))

    assert log_weight.tolist() == [-np.inf, -np.inf, -np.inf, 0.0]


@pytest.mark.parametrize(
    "component", [shaping.Boltzmann, shaping.Power], ids=["temperature", "exponent"]
)
def test_a_swept_number_gives_what_each_gives_alone(component):
    numbers = jnp.array([0.1, 1.0, 10.0])
    fitness = jnp.asarray(FITNESS)

    swept = jax.vmap(lambda n: shaping.log_weight(component(n), fitness))(numbers)

    alone = [LOG_WEIGHT(component(n), fitness) for n in numbers]
    np.testing.assert_allclose(swept, jnp.stack(alone), rtol=1e-6)


# Failed fitness

nasty = st.sampled_from(
    [np.nan, np.inf, -np.inf, LARGEST, -LARGEST, 1e-45, 1.2e-38, 0.0, -0.0, 1.0, -1.0]
) | st.floats(-1e4, 1e4, width=32)
shapings = st.one_of(
    st.builds(shaping.Boltzmann, st.sampled_from([1e-30, 1e-3, 1.0, 1e3, 1e30])),
    st.builds(shaping.Power, st.sampled_from([0.0, 0.5, 1.0, 10.0, 1e30])),
    st.just(shaping.Identity()),
    st.builds(shaping.Standardized, st.sampled_from([1e-30, 0.3, 1e30])),
    st.builds(shaping.Local, st.sampled_from([1e-30, 0.3, 1e30])),
    st.builds(shaping.TargetESS, st.sampled_from([1e-3, 0.5, 1.0])),
    st.builds(shaping.Rank, st.sampled_from([1e-30, 0.1, 1e30])),
)
populations = st.lists(nasty, min_size=6, max_size=6).map(np.float32)


@FIXED
@given(shapings, populations)
def test_log_weights_are_finite_or_weight_zero(shape, fitness):
    log_weight = np.asarray(LOG_WEIGHT(shape, fitness))

    assert (np.isfinite(log_weight) | (log_weight == -np.inf)).all()


@FIXED
@given(shapings, populations)
def test_the_failed_have_weight_zero(shape, fitness):
    log_weight = np.asarray(LOG_WEIGHT(shape, fitness))

    assert (log_weight[~np.isfinite(fitness)] == -np.inf).all()


@FIXED
@given(st.sampled_from([1e-30, 1.0, 1e30]), populations)
def test_whoever_succeeded_has_weight_under_boltzmann(temperature, fitness):
    log_weight = np.asarray(LOG_WEIGHT(shaping.Boltzmann(temperature), fitness))

    assert np.isfinite(log_weight[np.isfinite(fitness)]).all()


@FIXED
@given(shapings, populations, st.sampled_from([np.nan, np.inf, -np.inf]))
def test_the_others_have_the_same_bits_whatever_the_failure_was(shape, fitness, failure):
    replaced = np.where(np.isfinite(fitness), fitness, np.float32(failure))

    before, after = LOG_WEIGHT(shape, fitness), LOG_WEIGHT(shape, replaced)

    assert np.asarray(before).tobytes() == np.asarray(after).tobytes()


@FIXED
@given(shapings, populations)
def test_equal_fitness_has_equal_weight(shape, fitness):
    fitness[3] = fitness[0]

    log_weight = LOG_WEIGHT(shape, fitness)

    assert log_weight[3] == log_weight[0]


@FIXED
@given(shapings, populations)
def test_better_fitness_never_has_less_weight(shape, fitness):
    valid = fitness[np.isfinite(fitness)]

    log_weight = np.asarray(LOG_WEIGHT(shape, fitness))[np.isfinite(fitness)]

    ordered = log_weight[np.argsort(valid, kind="stable")]
    assert (ordered[1:] >= ordered[:-1]).all()


@pytest.mark.parametrize("shape", [shaping.Boltzmann(), shaping.Power(2.0), *RELATIVE])
def test_if_all_failed_nobody_has_weight(shape):
    log_weight = LOG_WEIGHT(shape, jnp.array([jnp.nan, jnp.inf, -jnp.inf]))

    assert log_weight.tolist() == [-np.inf] * 3


@pytest.mark.parametrize("shape", [shaping.Boltzmann(), *RELATIVE])
def test_the_failed_do_not_move_the_weights_of_the_rest(shape):
    whole = LOG_WEIGHT(shape, jnp.array([1.0, 2.0, 4.0]))
    some = LOG_WEIGHT(shape, jnp.array([1.0, jnp.nan, 2.0, jnp.inf, 4.0]))

    # sums in another order: rounding, of a temperature that is found by bisection too
    np.testing.assert_allclose(some[jnp.array([0, 2, 4])], whole, rtol=1e-5)


# The published floor


def test_a_floor_is_added_to_every_weight_but_those_of_the_failed():
    fitness = jnp.array([0.5, 0.0, 1e-9, jnp.nan])

    got = shaping.log_weight(shaping.Identity(floor=1e-9), fitness)

    np.testing.assert_allclose(np.exp(got), [0.5, 1e-9, 2e-9, 0.0], rtol=1e-5)


# Shapings that compare


def spread_out(size: int = 100) -> np.ndarray:
    return np.random.default_rng(3).normal(size=size).astype(np.float32)


@pytest.mark.parametrize("shape", RELATIVE)
@pytest.mark.parametrize("power", [-20, -1, 1, 20])
def test_a_power_of_two_as_factor_changes_no_bit(power, shape):
    plain, scaled = (
        LOG_WEIGHT(shape, f * spread_out()) for f in (1, np.float32(2.0**power))
    )

    assert jnp.array_equal(plain, scaled)


@pytest.mark.parametrize("shape", RELATIVE)
@pytest.mark.parametrize("equal", [0.0, 0.1, -7e3, 3e38, -1e-38])
def test_of_equal_values_none_is_preferred(equal, shape):
    assert len(set(LOG_WEIGHT(shape, np.full(100, equal, np.float32)).tolist())) == 1


@pytest.mark.parametrize("shape", RELATIVE)
def test_one_individual_has_a_weight(shape):
    assert np.isfinite(LOG_WEIGHT(shape, jnp.array([4.0]))).all()


@pytest.mark.parametrize("shape", RELATIVE)
@pytest.mark.parametrize("size", [1e38, LARGEST / 4, 1e-36])
def test_fitness_may_be_huge_or_tiny(size, shape):
    values = np.array([-4.0, -1.0, 0.0, 2.0, 3.5])

    got = LOG_WEIGHT(shape, np.float32(values * (size / 4)))

    np.testing.assert_allclose(got, LOG_WEIGHT(shape, np.float32(values)), rtol=1e-5)


@pytest.mark.parametrize("shape", RELATIVE)
def test_the_whole_range_of_floats_is_no_overflow(shape):
    log_weight = LOG_WEIGHT(shape, np.float32([-LARGEST, LARGEST, -LARGEST, -LARGEST]))

    assert np.isfinite(log_weight).all()
    assert int(jnp.argmax(log_weight)) == 1


def test_standard_scores_are_those_of_the_valid():
    fitness, valid = spread_out(), np.arange(100) % 4 > 0

    got = shaping.standard_scores(jnp.asarray(fitness), jnp.asarray(valid))[valid]

    some = np.float64(fitness[valid])
    np.testing.assert_allclose(got, (some - some.mean()) / some.std(), atol=1e-5)


def test_standard_scores_are_exact_far_from_zero():
    # given 4,096 values whose spread is a ten-thousandth of their size
    fitness = np.float32(1e4 + np.random.default_rng(4).normal(size=4096))

    got = jax.jit(shaping.standard_scores)(fitness)

    wide = np.float64(fitness)
    np.testing.assert_allclose(got, (wide - wide.mean()) / wide.std(), atol=1e-4)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_standardized_is_boltzmann_in_deviations(temperature):
    got = weights(shaping.Standardized(temperature), spread_out())

    want = np.exp(np.float64(spread_out()) / (np.float64(spread_out()).std() * temperature))
    np.testing.assert_allclose(got, want / want.sum(), rtol=1e-4)  # exponents up to 50


@pytest.mark.parametrize("shape", RELATIVE)
@pytest.mark.parametrize(("factor", "offset"), [(0.1, 9.0), (3.0, -10.0), (10.0, 10.0)])
def test_a_generation_does_not_feel_the_unit_of_fitness(factor, offset, shape):
    # given an offset in deviations of the fitness
    x = np.random.default_rng(5).normal(size=(24, 2)).astype(np.float32)
    fitness = -np.sum((x - 0.7) ** 2, axis=1)
    strategy = de.DiffusionEvolution(10, denoiser=de.denoisers.Population(shaping=shape))
    state = strategy.init(jax.random.key(0), x)
    tell = jax.jit(de.tell, compiler_options=QUICK)

    told = lambda values: tell(strategy, jax.random.key(1), state, x, values)[0].population
    plain, other = told(fitness), told(factor * (fitness + offset * fitness.std()))

    np.testing.assert_allclose(other, plain, atol=1e-5 * x.std())


@pytest.mark.parametrize("share", [0.03, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("scale", [1.0, 1e12])
def test_so_large_a_share_of_individuals_counts(scale, share):
    weight = weights(shaping.TargetESS(share), np.float32(scale) * spread_out())

    np.testing.assert_allclose(1 / (weight**2).sum(), 100 * share, rtol=1e-3)


def test_a_share_is_one_of_those_who_did_not_fail():
    fitness = spread_out()
    fitness[::2] = np.nan

    weight = weights(shaping.TargetESS(0.5), fitness)

    np.testing.assert_allclose(1 / (weight**2).sum(), 25, rtol=1e-3)


def test_a_share_of_less_than_one_individual_is_the_best():
    assert weights(shaping.TargetESS(0.1), FITNESS).tolist() == [0, 1, 0, 0, 0]


# Ranks

orders = st.lists(st.integers(0, 20), min_size=6, max_size=6).map(np.array)
tables = st.sets(st.integers(-(10**6), 10**6), min_size=21, max_size=21).map(sorted)


@FIXED
@given(orders, tables, st.sampled_from([1e-30, 1.0, 1e30]))
def test_any_map_that_keeps_order_and_ties_keeps_every_bit_of_ranks(order, table, unit):
    mapped = np.float32(unit * np.array(table)[order])

    before, after = (LOG_WEIGHT(shaping.Rank(), f) for f in (np.float32(order), mapped))

    assert np.asarray(before).tobytes() == np.asarray(after).tobytes()


@pytest.mark.parametrize("rises", [np.exp, np.arctan, lambda f: f**3])
def test_a_map_that_rises_keeps_every_bit_of_ranks(rises):
    before, after = (LOG_WEIGHT(shaping.Rank(), f) for f in (FITNESS, rises(FITNESS)))

    assert jnp.array_equal(before, after)


def test_values_that_tie_share_the_mean_of_their_ranks():
    log_weight = LOG_WEIGHT(shaping.Rank(1.0), np.float32([5, 7, 7, 1, 7]))

    # ranks 1, 3, 3, 0 and 3 of 4
    np.testing.assert_allclose(log_weight, [-0.75, -0.25, -0.25, -1.0, -0.25], rtol=1e-6)


# Each in its own neighbourhood


def local(shape, fitness, log_kernel) -> np.ndarray:
    rows = jax.jit(shaping.Local.row_log_weight, compiler_options=QUICK)
    return np.asarray(rows(shape, np.float32(fitness), np.float32(log_kernel)), np.float64)


def log_kernel(seed: int = 6) -> np.ndarray:
    """Of 5 individuals with 12 neighbours, one of whom has no weight."""
    rows = -4.0 * np.random.default_rng(seed).random((5, 12))
    rows[:, 3] = -np.inf
    return rows


@pytest.mark.parametrize(("temperature", "limit"), [(0.5, 3.0), (2.0, 1.0)])
def test_scores_are_those_of_the_neighbourhood(temperature, limit):
    fitness = np.float64(spread_out(12))

    got = local(shaping.Local(temperature, limit), fitness, log_kernel())

    weight = np.exp(log_kernel())
    weight /= weight.sum(axis=1, keepdims=True)
    mean = weight @ fitness
    deviation = np.sqrt((weight * (fitness - mean[:, None]) ** 2).sum(axis=1))
    scores = np.clip((fitness - mean[:, None]) / deviation[:, None], -limit, limit)
    np.testing.assert_allclose(got, scores / temperature, atol=2e-5)


@pytest.mark.parametrize("power", [-20, 20])
def test_a_power_of_two_as_factor_changes_no_bit_of_a_row(power):
    plain = local(shaping.Local(), spread_out(12), log_kernel())

    scaled = local(shaping.Local(), np.float32(2.0**power) * spread_out(12), log_kernel())

    np.testing.assert_array_equal(plain, scaled)


@pytest.mark.parametrize("size", [1e38, LARGEST / 4, 1e-36])
def test_fitness_of_a_row_may_be_huge_or_tiny(size):
    values = spread_out(12)
    values /= np.abs(values).max()

    got = local(shaping.Local(), size * np.float64(values), log_kernel())

    np.testing.assert_allclose(
        got, local(shaping.Local(), values, log_kernel()), atol=2e-5, rtol=1e-5
    )


def test_a_neighbourhood_without_spread_prefers_nobody():
    # given a neighbourhood of three equals, and somebody far away who is better
    fitness = np.array([1.0, 1.0, 1.0, 9.0])

    got = local(shaping.Local(), fitness, [[0.0, -1.0, -2.0, -200.0]])

    assert got.tolist() == [[0.0] * 4]


@pytest.mark.parametrize("limit", [0.5, 3.0])
def test_scores_are_clipped_on_both_sides(limit):
    # given two neighbours who are alike, the far best and the far worst
    fitness = np.array([0.0, 0.1, 1e6, -1e6])

    got = local(shaping.Local(1.0, limit), fitness, [[0.0, 0.0, -20.0, -20.0]])

    assert got[0, 2:].tolist() == [limit, -limit]


@pytest.mark.parametrize("distance", [10.0, 20.0, 40.0, 80.0])
def test_who_is_isolated_is_not_handed_the_global_best(distance):
    # given oneself, and others that the kernel puts far away
    fitness, kernel = np.array([0.0, 1.0, 100.0]), np.array([[0.0, -distance, -distance]])

    logits = kernel + local(shaping.Local(), fitness, kernel)

    # the limit of 3 deviations at temperature 0.5 is 6 nats, of which oneself is the zero
    others = np.exp(logits[0, 1:] - logits[0, 0]).sum()
    assert others <= 2 * np.exp(6.1 - distance)


def test_a_low_peak_selects_as_hard_as_a_high_one():
    # given two groups of one shape, out of each other's sight, the second one higher
    shape = np.float64(spread_out(6))
    fitness = np.concatenate([shape, shape + 50.0])
    near = -2.0 * np.random.default_rng(7).random((6, 6))
    far = np.full((6, 6), -100.0)
    kernel = np.block([[near, far], [far, near]])

    got = local(shaping.Local(), fitness, kernel)

    # scores of a range of which a group has a thirtieth
    np.testing.assert_allclose(got[:6, :6], got[6:, 6:], atol=1e-3)
    assert np.ptp(got[:6, :6]) > 2.0

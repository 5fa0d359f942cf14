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
LOG_WEIGHT = jax.jit(shaping.log_weight)
FITNESS = np.array([0.3, 2.0, 0.0, 1.5, 0.7])
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


@pytest.mark.parametrize("shape", [shaping.Boltzmann(), shaping.Power(2.0)])
def test_if_all_failed_nobody_has_weight(shape):
    log_weight = LOG_WEIGHT(shape, jnp.array([jnp.nan, jnp.inf, -jnp.inf]))

    assert log_weight.tolist() == [-np.inf] * 3


def test_the_failed_do_not_move_the_weights_of_the_rest():
    whole = LOG_WEIGHT(shaping.Boltzmann(), jnp.array([1.0, 2.0, 3.0]))
    some = LOG_WEIGHT(shaping.Boltzmann(), jnp.array([1.0, jnp.nan, 2.0, 3.0]))

    assert some[jnp.array([0, 2, 3])].tolist() == whole.tolist()


# The published floor


def test_a_floor_is_added_to_every_weight_but_those_of_the_failed():
    fitness = jnp.array([0.5, 0.0, 1e-9, jnp.nan])

    got = shaping.log_weight(shaping.Identity(), fitness, floor=1e-9)

    np.testing.assert_allclose(np.exp(got), [0.5, 1e-9, 2e-9, 0.0], rtol=1e-5)

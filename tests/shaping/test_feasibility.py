"""Feasibility first: the formula, its limits, and what it must not feel."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax.shaping import feasibility

N = 20
DRAW = np.random.default_rng(0)
FITNESS = DRAW.normal(size=N).astype(np.float32)
VIOLATION = np.where(np.arange(N) % 6, DRAW.exponential(size=N), 0.0).astype(np.float32)
LARGEST = float(np.finfo(np.float32).max)


def by_hand(fitness, violation):
    """The formula of the file's head, float64."""
    fitness, violation = np.float64(fitness), np.float64(violation)
    near = violation <= max(np.sort(violation)[math.ceil(0.3 * len(violation)) - 1], 0)
    counted = fitness[violation <= 0] if (violation <= 0).any() else fitness[near]
    below = counted.min() - counted.std() * violation / (violation[near].max() or 1.0)
    return np.where(violation <= 0, fitness, np.where(near, below, -np.inf))


@pytest.mark.parametrize("least", [-0.3, 0.0, 1.0], ids=["many feasible", "some", "none"])
def test_the_infeasible_are_below_the_feasible_by_their_violation(least):
    violation = VIOLATION + np.float32(least)

    got = feasibility.seen(FITNESS, violation)

    np.testing.assert_allclose(got, by_hand(FITNESS, np.maximum(violation, 0)), atol=1e-6)


def test_if_all_are_feasible_fitness_keeps_its_bits():
    got = feasibility.seen(jnp.asarray(FITNESS), -VIOLATION)

    np.testing.assert_array_equal(got, FITNESS)


def test_feasible_first_for_any_numbers():
    # a thousand populations, numbers of any scale, some of them failed
    draw = np.random.default_rng(1)
    shape = (1000, N)
    scale = lambda: 10.0 ** draw.uniform(-20, 20, size=(1000, 1))
    fitness = (scale() * (draw.normal(size=shape) + 10 * draw.normal())).astype(np.float32)
    fitness = np.where(draw.random(shape) < 0.1, np.nan, fitness)
    violation = (scale() * draw.normal(size=shape)).astype(np.float32)

    got = np.asarray(jax.jit(jax.vmap(feasibility.seen))(fitness, violation))

    failed = np.isnan(fitness)
    assert not np.isfinite(got[failed]).any()
    feasible = ~failed & (violation <= 0)
    np.testing.assert_array_equal(got[feasible], fitness[feasible])
    best = np.where(~failed & (violation > 0), got, -np.inf).max(axis=1)
    assert (best <= np.where(feasible, got, np.inf).min(axis=1)).all()
    # three tenths teach, or as many as have not failed
    teaching = np.isfinite(got).sum(axis=1)
    assert (teaching >= np.minimum(math.ceil(0.3 * N), (~failed).sum(axis=1))).all()


def test_less_violated_is_higher_whatever_its_fitness():
    nearest = np.argsort(VIOLATION)[(VIOLATION <= 0).sum() : math.ceil(0.3 * N)]

    got = np.asarray(feasibility.seen(FITNESS, VIOLATION))

    assert (np.diff(got[nearest]) < 0).all()
    assert np.isfinite(got[nearest]).all()
    assert len(nearest) > 1


def test_with_enough_feasible_ones_the_infeasible_teach_nothing():
    violation = np.where(np.arange(N) < 0.3 * N, -1.0, 1e-6).astype(np.float32)

    got = feasibility.seen(FITNESS, violation)

    np.testing.assert_array_equal(got, np.where(violation <= 0, FITNESS, -np.inf))


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_unit_of_a_violation_does_not_matter(factor):
    got = feasibility.seen(FITNESS, np.float32(factor) * VIOLATION)

    np.testing.assert_allclose(got, feasibility.seen(FITNESS, VIOLATION), atol=1e-5)


def test_the_unit_of_fitness_is_kept():
    got = feasibility.seen(4.0 * FITNESS, VIOLATION, VIOLATION)

    np.testing.assert_array_equal(
        got, 4.0 * feasibility.seen(FITNESS, VIOLATION, VIOLATION)
    )


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_a_violation_that_is_not_known_counts_as_failed(unknown):
    violation, failed = VIOLATION.copy(), FITNESS.copy()
    violation[4], failed[4] = unknown, np.nan

    got = np.asarray(feasibility.seen(FITNESS, violation))

    assert got[4] == -np.inf
    np.testing.assert_array_equal(got, feasibility.seen(failed, VIOLATION))


@pytest.mark.parametrize("value", [0.0, 3.0, -1e8, LARGEST, -LARGEST])
def test_equal_fitness_leaves_the_violations(value):
    # of the worst float nothing is below, but nothing breaks
    got = np.asarray(feasibility.seen(np.full(10, value, np.float32), np.arange(10.0)))

    assert np.isfinite(got[:3]).all()
    assert got[0] == np.float32(value)
    if value > -LARGEST:
        assert (np.diff(got[:3]) < 0).all()


def test_a_penalty_is_in_deviations_of_the_feasible():
    penalty = np.where(np.arange(N) < 2, [0.5] * N, 0.0).astype(np.float32)

    got = feasibility.seen(FITNESS, penalty=penalty)

    want = np.float64(FITNESS) - penalty * np.float64(FITNESS).std()
    np.testing.assert_allclose(got, want, atol=1e-6)
    feasible = VIOLATION <= 0
    got = np.asarray(feasibility.seen(FITNESS, VIOLATION, penalty))[feasible]
    want = FITNESS[feasible] - penalty[feasible] * FITNESS[feasible].std()
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_no_penalty_keeps_every_bit():
    got = feasibility.seen(FITNESS, penalty=np.zeros(N, np.float32))

    np.testing.assert_array_equal(got, FITNESS)


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_a_penalty_that_is_not_known_counts_as_failed(unknown):
    penalty = np.zeros(N, np.float32)
    penalty[3] = unknown

    got = np.asarray(feasibility.seen(FITNESS, penalty=penalty))

    assert got[3] == -np.inf
    np.testing.assert_array_equal(np.delete(got, 3), np.delete(FITNESS, 3))


def test_derivatives_are_finite():
    def total(fitness, violation):
        return feasibility.seen(fitness, violation, violation).sum()

    gradients_at = jax.jit(jax.grad(total, (0, 1)))
    for violation in (VIOLATION, 0 * VIOLATION):
        gradients = gradients_at(jnp.asarray(FITNESS), jnp.asarray(violation))
        assert all(np.isfinite(one).all() for one in gradients)

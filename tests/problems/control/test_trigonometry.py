"""Sines and cosines as polynomials, and the switch that takes them."""

import jax
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.problems.control import trigonometry

FUNCTIONS = [(trigonometry.sine, np.sin), (trigonometry.cosine, np.cos)]


def numbers(largest: float) -> np.ndarray:
    """Random ones, and those next to multiples of a quarter turn, where it is hardest."""
    turns = np.arange(-(largest // 1.6), largest // 1.6) * np.pi / 2
    random = np.random.default_rng(0).uniform(-largest, largest, 200_000)
    return np.concatenate([random, turns]).astype(np.float32)


@pytest.mark.parametrize(("ours", "exact"), FUNCTIONS)
@pytest.mark.parametrize(("largest", "units"), [(10.0, 2.0), (3e3, 2.0), (3e4, 3.0)])
def test_polynomials_are_right_to_a_few_units_in_the_last_place(
    ours, exact, largest, units
) -> None:
    x = numbers(largest)
    wanted = exact(x.astype(np.float64))
    got = np.asarray(jax.jit(ours)(x), np.float64)
    unit = np.spacing(np.abs(wanted).astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(got - wanted) / unit) < units


@pytest.mark.parametrize(("ours", "exact"), FUNCTIONS)
def test_too_many_turns_are_a_sine_of_something(ours, exact) -> None:
    x = np.float32([1e9, -3e20, np.finfo(np.float32).max, np.inf, -np.inf, np.nan])
    got = np.asarray(jax.jit(ours)(x))
    assert (np.abs(got[:3]) <= 1.0).all()
    assert np.isnan(got[3:]).all()


def test_parts_of_a_quarter_turn_add_up_to_it() -> None:
    parts = trigonometry._parts()
    assert sum(map(float, parts)) == pytest.approx(np.pi / 2, abs=1e-16)


# The switch


def problem(**changes) -> de.problems.Control:
    policy = de.problems.MLP((4,), "tanh")
    return de.problems.Control("Pendulum-v1", policy=policy, max_steps=8, **changes)


def rewards(problem: de.problems.Control, key: jax.Array) -> jax.Array:
    weights = problem.space.decode(problem.space.sample(key, 64))
    return problem.evaluate(key, (), weights)[0].measures.total_reward


def functions(problem: de.problems.Control, key: jax.Array) -> int:
    """How often a program takes a sine or a cosine of XLA's."""
    text = jax.jit(rewards).lower(problem, key).as_text()
    return text.count("stablehlo.sine") + text.count("stablehlo.cosine")


def test_fast_trigonometry_takes_steps_without_functions_of_a_library(key) -> None:
    # a reset draws an angle, and takes its sine and cosine
    assert 0 < functions(problem(fast_trigonometry=True), key) < functions(problem(), key)


def test_episodes_of_fast_trigonometry_are_the_same_to_rounding(key) -> None:
    got, want = rewards(problem(fast_trigonometry=True), key), rewards(problem(), key)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)  # of eight steps
    assert (got != want).any()


def test_fast_trigonometry_wants_programs_that_may_be_rewritten() -> None:
    with pytest.raises(ValueError, match="fast_trigonometry: got True with rewrite=False"):
        problem(fast_trigonometry=True, rewrite=False).check()

"""Results that come late, in any order, or not at all."""

import re

import chex
import jax
import numpy as np
import pytest

import diffevo_jax as de

STRATEGY = de.DiffusionEvolution(5)
SPACE = de.problems.Space(np.zeros(2), lower=-2.0, upper=2.0)
N = 12
_ask, _tell = jax.jit(de.ask), jax.jit(de.tell)


def sphere(solution: np.ndarray) -> float:
    return -float(np.sum((solution - 0.5) ** 2))


def evolved(key: jax.Array, deliver) -> tuple:
    """A run by hand whose results are delivered as somebody likes; state, last info."""
    _, key_population, key_strategy = de.setup_keys(key)
    state = de.init(STRATEGY, key_strategy, SPACE.sample(key_population, N))
    for generation in range(STRATEGY.num_generations):
        key_ask, _, key_tell = de.generation_keys(key, generation)
        candidates, state = _ask(STRATEGY, key_ask, state)
        batch = de.Batch(SPACE.repair(candidates), SPACE)
        deliver(batch, np.random.default_rng(generation))
        state, info = _tell(
            STRATEGY, key_tell, state, batch.candidates, batch.fitness, batch.measures
        )
    return state, info


def in_order(batch: de.Batch, rng: np.random.Generator) -> None:
    for number in range(N):
        batch.put(number, sphere(batch.solution(number)), {"number": number})


def shuffled(batch: de.Batch, rng: np.random.Generator) -> None:
    for number in rng.permutation(N):
        batch.put(number, sphere(batch.solution(number)), {"number": number})


def in_parts(batch: de.Batch, rng: np.random.Generator) -> None:
    for numbers in np.split(rng.permutation(N), [3, 4, 9]):
        fitness = [sphere(batch.solution(number)) for number in numbers]
        batch.put(numbers, fitness, {"number": numbers})


@pytest.mark.parametrize("deliver", [shuffled, in_parts], ids=["shuffled", "in_parts"])
def test_the_order_of_results_does_not_change_a_bit(deliver, key) -> None:
    chex.assert_trees_all_equal(evolved(key, deliver), evolved(key, in_order))


def test_what_is_missing_is_what_has_failed(key) -> None:
    gone = {2, 7}

    def with_gaps(batch, rng) -> None:
        for number in rng.permutation(N):
            if number not in gone:
                batch.put(number, sphere(batch.solution(number)), {"number": number})
        assert set(batch.missing) == gone

    def failing(batch, rng) -> None:
        for number in range(N):
            fitness = np.nan if number in gone else sphere(batch.solution(number))
            batch.put(number, fitness, {"number": number})
        assert batch.missing.size == 0

    missing, failed = evolved(key, with_gaps), evolved(key, failing)
    chex.assert_trees_all_equal(missing, failed)
    assert int(missing[1].num_failed) == 2


def test_the_loop_by_hand_is_the_run(key) -> None:
    problem = de.problems.External(lambda x: np.array([sphere(one) for one in x]), SPACE)
    result = de.run(key, STRATEGY, problem, population_size=N)
    state, _ = evolved(key, in_order)
    np.testing.assert_allclose(result.state.population, state.population, atol=1e-4)


def test_solutions_are_decoded() -> None:
    space = de.problems.Space({"a": np.zeros(1, np.float32), "n": np.int32(0)}, scale=2.0)
    batch = de.Batch([[1.0, 1.4]], space)
    assert batch.solution(0)["a"].tolist() == [2.0]
    assert int(batch.solution(0)["n"]) == 3
    assert de.Batch([[1.0, 1.4]]).solution(0).tolist() == np.float32([1.0, 1.4]).tolist()


def test_violation_and_measures_have_gaps_where_results_are_missing() -> None:
    batch = de.Batch(np.zeros((3, 1)))
    assert (batch.measures, batch.violation) == ((), None)
    batch.put(1, 2.0, (np.float32(3.0), np.arange(2)), violation=-1.0)
    np.testing.assert_array_equal(batch.fitness, [np.nan, 2.0, np.nan])
    np.testing.assert_array_equal(batch.violation, [np.nan, -1.0, np.nan])
    np.testing.assert_array_equal(batch.measures[0], [np.nan, 3.0, np.nan])
    np.testing.assert_array_equal(batch.measures[1], [[0, 0], [0, 1], [0, 0]])
    assert len(batch) == 3


def test_measures_are_as_wide_as_the_widest() -> None:
    batch = de.Batch(np.zeros((3, 1)))
    batch.put(0, 1.0, {"length": 3})
    batch.put(2, 1.0, {"length": 2.5})
    np.testing.assert_array_equal(batch.measures["length"], [3.0, np.nan, 2.5])


@pytest.mark.parametrize(
    ("index", "fitness", "options", "message"),
    [
        (3, 1.0, {}, "index: got 3, want one in [0, 2]"),
        (-1, 1.0, {}, "index: got -1, want an int >= 0"),
        (0, 1.0, {}, "index: got 0 twice, want each result once"),
        ([1, 1], [1.0, 1.0], {}, "index: got 1 twice"),
        ([1, 2], 1.0, {}, "fitness: got shape (), want (2,)"),
        (1, [1.0], {}, "fitness: got shape (1,), want ()"),
        (1, "good", {}, "fitness: got 'good'"),
        (1.5, 1.0, {}, "index: got 1.5"),
        (1, 1.0, {"measures": 2.0}, "measures: got shape (), want none as of the others"),
        (1, 1.0, {"violation": 0.0}, "violation: got shape (), want none as of the others"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    index, fitness, options, message
) -> None:
    batch = de.Batch(np.zeros((3, 1)))
    batch.put(0, 5.0)
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        batch.put(index, fitness, **options)
    np.testing.assert_array_equal(batch.fitness, [5.0, np.nan, np.nan])

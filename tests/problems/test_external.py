"""Evaluators of the host: what a run does with them, and what it refuses."""

import functools
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax.problems import External, Function, Space, external
from diffevo_jax.problems.external import Memory

SPACE = Space(np.zeros(2))
STRATEGY = de.DiffusionEvolution(4)
OPTIONS = {"population_size": 8, "record": ("population", "fitness")}


def sphere(solutions: np.ndarray) -> np.ndarray:
    return -np.sum((solutions - 0.5) ** 2, axis=1)


def noisy_sphere(solutions: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    noise = [np.random.default_rng(seed).normal() for seed in seeds]
    return sphere(solutions) + 0.1 * np.array(noise)


def far(solutions: np.ndarray) -> np.ndarray:
    return np.abs(solutions).max(axis=1) > 1.0


# A run


def test_a_run_agrees_with_that_of_the_same_function_inside(key) -> None:
    inside = Function(lambda x: -jnp.sum((x - 0.5) ** 2), dim=2)
    ours = de.run(key, STRATEGY, External(sphere, SPACE), **OPTIONS).recorded["population"]
    theirs = de.run(key, STRATEGY, inside, **OPTIONS).recorded["population"]
    chex.assert_trees_all_equal(ours[0], theirs[0])
    np.testing.assert_allclose(ours[:2], theirs[:2], atol=1e-5)


def test_chunks_of_any_length_give_the_same_bits(key) -> None:
    problem = External(sphere, SPACE)
    whole = de.run(key, STRATEGY, problem, chunk_size=4, **OPTIONS)
    chex.assert_trees_all_equal(de.run(key, STRATEGY, problem, **OPTIONS), whole)
    three = de.run(key, STRATEGY, problem, chunk_size=3, **OPTIONS)
    chex.assert_trees_all_equal(three, whole)


@pytest.mark.slow
def test_many_runs_are_one_call_a_generation_and_agree_with_those_alone(key) -> None:
    calls = []

    def counted(solutions):
        calls.append(len(solutions))
        return sphere(solutions)

    keys = jax.random.split(key, 3)
    together = de.run(keys, STRATEGY, External(counted, SPACE), **OPTIONS)
    assert calls == [24] * 4
    assert together.problem_state.num_evaluated.tolist() == [32] * 3
    alone = de.run(keys[1], STRATEGY, External(counted, SPACE), **OPTIONS)
    np.testing.assert_allclose(
        together.recorded["population"][1, :2], alone.recorded["population"][:2], atol=1e-5
    )


def test_every_generation_can_be_looked_at(key) -> None:
    results = de.iterate(key, STRATEGY, External(sphere, SPACE), chunk_size=3, **OPTIONS)
    assert [len(result.history.done) for result in results] == [3, 4]


def test_solutions_are_decoded_arrays_of_the_host_that_may_be_changed(key) -> None:
    space = Space({"w": np.zeros((2, 2), np.float32), "n": np.int32(0)}, lower=-3, upper=3)

    def evaluate(solutions):
        assert {type(leaf) for leaf in solutions.values()} == {np.ndarray}
        assert (solutions["w"].shape, solutions["n"].dtype) == ((8, 2, 2), np.int32)
        solutions["w"] *= 0.0
        return -np.abs(solutions["n"]).astype(float)

    result = de.run(key, STRATEGY, External(evaluate, space), **OPTIONS)
    assert int(result.best_solution["n"]) == 0
    assert float(jnp.abs(result.population).max()) > 0


def test_noise_follows_from_the_key(key) -> None:
    problem = External(noisy_sphere, SPACE, noisy=True)
    first, again = (de.run(key, STRATEGY, problem, **OPTIONS) for _ in range(2))
    chex.assert_trees_all_equal(first, again)
    exact = sphere(np.asarray(first.recorded["population"][0]))
    assert len(np.unique(np.asarray(first.recorded["fitness"][0] - exact))) == 8


def test_measures_and_violation_reach_the_result(key) -> None:
    def evaluate(solutions):
        size = np.abs(solutions).max(axis=1)
        return de.Evaluation(sphere(solutions), {"size": size}, size - 0.4)

    problem = External(evaluate, SPACE, measures={"size": 0.0}, constrained=True)
    result = de.run(key, STRATEGY, problem, **OPTIONS)
    np.testing.assert_allclose(
        result.measures["size"], np.abs(result.population).max(axis=1), rtol=1e-6
    )
    assert float(jnp.abs(result.best_solution).max()) <= 0.4


# Failed, rejected, known


def test_a_failed_evaluation_is_none_and_the_rest_count(key) -> None:
    fails = lambda x: np.where(x[:, 0] > 0, np.nan, sphere(x))
    result = de.run(key, STRATEGY, External(fails, SPACE), **OPTIONS)
    failed = np.sum(np.asarray(result.recorded["population"])[..., 0] > 0, axis=1)
    np.testing.assert_array_equal(result.history.num_failed, failed)
    assert float(result.best_solution[0]) <= 0


def test_what_is_rejected_is_not_evaluated_and_has_failed(key) -> None:
    seen = []

    def evaluate(solutions):
        seen.append(solutions)
        return sphere(solutions)

    result = de.run(key, STRATEGY, External(evaluate, SPACE, reject=far), **OPTIONS)
    rejected = far(np.asarray(result.recorded["population"]).reshape(-1, 2)).sum()
    assert 0 < rejected < 32
    assert not far(np.concatenate(seen)).any()
    assert int(result.history.num_failed.sum()) == rejected
    assert int(result.problem_state.num_rejected) == rejected
    assert int(result.problem_state.num_evaluated) == 32 - rejected


def test_a_generation_that_is_rejected_whole_calls_nobody(key) -> None:
    def nobody(solutions):
        raise AssertionError("called")

    problem = External(
        nobody, SPACE, reject=lambda x: np.ones(len(x), bool), measures={"n": 1}
    )
    result = de.run(key, STRATEGY, problem, **OPTIONS)
    assert result.history.num_failed.tolist() == [8] * 4
    assert result.measures["n"].tolist() == [0] * 8


def test_equal_solutions_are_evaluated_once(key) -> None:
    space = Space(np.int32(0), lower=-2, upper=2)
    seen = []

    def evaluate(solutions):
        seen.extend(solutions.tolist())
        return -np.abs(solutions - 1.0)

    plain = de.run(key, STRATEGY, External(evaluate, space), **OPTIONS)
    seen.clear()
    problem = External(evaluate, space, remember=True)
    result = de.run(key, STRATEGY, problem, **OPTIONS)
    assert len(seen) == len(set(seen)) <= 5
    chex.assert_trees_all_equal(result.recorded, plain.recorded)
    counts = result.problem_state
    assert int(counts.num_evaluated) == len(seen) == len(counts.memory)
    assert int(counts.num_cached) == 32 - len(seen)


def test_what_failed_is_not_remembered(key) -> None:
    space, memory = Space(np.int32(0), lower=-2, upper=2), Memory()
    fails = lambda x: np.where(x == 0, np.nan, 1.0 * x)
    de.run(key, STRATEGY, External(fails, space, remember=memory), **OPTIONS)
    assert np.int32(0).tobytes() not in memory.known
    assert 0 < len(memory) <= 4


def used(memory: Memory, fn=sphere, space: Space = SPACE) -> de.problems.external.Counts:
    problem, key = External(fn, space, remember=memory), jax.random.key(0)
    solutions = space.decode(space.sample(key, 4))
    return problem.evaluate(key, problem.init(key), solutions)[1]


def test_a_memory_that_was_pickled_serves_its_function() -> None:
    memory = Memory()
    used(memory)
    again = pickle.loads(pickle.dumps(memory))
    assert int(used(again).num_cached) == len(again) == 4


def of_one(solution: np.ndarray, scale: float = 1.0) -> float:
    return scale * float(np.sum(solution))


def test_a_memory_knows_a_function_whatever_runs_it() -> None:
    memory = Memory()
    for threads in (1, 2):
        with external.each(of_one, ThreadPoolExecutor(threads)) as evaluate:
            counts = used(memory, evaluate)
    assert int(counts.num_cached) == 4


@pytest.mark.parametrize(
    ("first", "other", "named"),
    [
        (sphere, far, ("test_external.sphere", "test_external.far")),
        (external.each(of_one), sphere, ("test_external.of_one", "test_external.sphere")),
        (
            functools.partial(of_one, scale=1.0),
            functools.partial(of_one, scale=2.0),
            ("{'scale': 1.0}", "{'scale': 2.0}"),
        ),
    ],
)
def test_a_memory_refuses_another_function(first, other, named) -> None:
    memory, solutions = Memory(), np.zeros((1, 2))
    memory.use_with(first, solutions)
    want = ".* got the Memory of .*{} of .* want one of .*{} of"
    with pytest.raises(ValueError, match=want.format(*map(re.escape, named))):
        memory.use_with(other, solutions)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (Space(np.zeros(3)), r"float32\(3,\)"),
        (Space(np.zeros(2, np.int32), lower=0, upper=9), r"int32\(2,\)"),
        (Space({"x": np.zeros(2)}), r"{'x': 'float32\(2,\)'}"),
    ],
)
def test_a_memory_refuses_other_solutions(other, named) -> None:
    memory = Memory()
    used(memory)
    sum_of = lambda solutions: np.zeros(4)
    sum_of.__module__, sum_of.__qualname__ = sphere.__module__, sphere.__qualname__
    with pytest.raises(ValueError, match=rf"of float32\(2,\), want one of .* of {named}"):
        used(memory, sum_of, other)


def test_many_runs_share_what_they_know(key) -> None:
    problem = External(lambda x: x[:, 0] * 0.0, SPACE, remember=True)
    start = jax.random.normal(key, (8, 2))
    result = de.run(
        jax.random.split(key, 3), de.DiffusionEvolution(1), problem, population=start
    )
    assert result.problem_state.num_evaluated.tolist() == [8, 0, 0]
    assert result.problem_state.num_cached.tolist() == [0, 8, 8]


# Inside of a program


@pytest.mark.parametrize("name", ["evolve", "sweep", "vmap", "evolve_on", "spread"])
def test_what_compiles_a_whole_run_names_run(name, key) -> None:
    problem = External(sphere, SPACE)
    evolve = lambda key: de.evolve(key, STRATEGY, problem, population_size=4)
    calls = {
        "evolve": lambda: evolve(key),
        "sweep": lambda: de.sweep(key, STRATEGY, problem, population_size=4),
        "vmap": lambda: jax.vmap(evolve)(key[None]),
        "evolve_on": lambda: de.evolve_on(
            de.make_mesh(), key, STRATEGY, External(sphere, SPACE), population_size=4
        ),
        "spread": lambda: de.spread(evolve)(key[None]),
    }
    with pytest.raises((TypeError, ValueError), match="External"):
        calls[name]()


def test_a_callback_agrees_with_the_run_between_programs(key) -> None:
    problem = External(noisy_sphere, SPACE, noisy=True, callback=True, reject=far)
    inside = de.evolve(key, STRATEGY, problem, **OPTIONS)
    between = de.run(key, STRATEGY, problem, **OPTIONS)
    recorded = (one.recorded["population"][:2] for one in (inside, between))
    np.testing.assert_allclose(*recorded, atol=1e-5)
    assert inside.problem_state.num_rejected == between.problem_state.num_rejected


def test_under_vmap_a_callback_has_the_solutions_of_all_runs(key) -> None:
    calls = []

    def counted(solutions):
        calls.append(len(solutions))
        return sphere(solutions), {"first": solutions[:, 0]}

    problem = External(counted, SPACE, callback=True, measures={"first": 0.0})
    evolve = lambda key: de.evolve(key, STRATEGY, problem, population_size=8)
    result = jax.vmap(evolve)(jax.random.split(key, 3))
    assert calls == [24] * 4
    assert result.problem_state.num_evaluated.tolist() == [32] * 3
    np.testing.assert_array_equal(result.measures["first"], result.population[..., 0])


def test_evaluated_by_hand_it_is_the_function(key) -> None:
    problem, solutions = External(sphere, SPACE), jax.random.normal(key, (5, 2))
    evaluation, state = problem.evaluate(key, problem.init(key), solutions)
    np.testing.assert_allclose(evaluation.fitness, sphere(np.asarray(solutions)), rtol=1e-6)
    assert int(state.num_evaluated) == 5


# What is refused


@pytest.mark.parametrize(
    ("fn", "options", "message"),
    [
        (lambda x: x, {}, "fitness: got shape (8, 2), want (8,), one number for each"),
        (lambda x: x[0, 0], {}, "fitness: got shape (), want (8,)"),
        (lambda x: "good", {}, "fitness: got 'good', want real numbers"),
        (lambda x: x[:, 0] > 0, {}, "fitness: got truth values, want real numbers"),
        (lambda x: None, {}, "fitness: got None, want real numbers"),
        (lambda x: (1, 2, 3), {}, "fn: got a tuple of 3, want fitness"),
        (lambda x: (x[:, 0], x[:3]), {}, "measures: got shape (3, 2), want (8, ...)"),
        (
            lambda x: (x[:, 0], x),
            {},
            "fn: got measures: shape (2,), want none; what they are",
        ),
        (lambda x: x[:, 0], {"measures": 0.0}, "fn: got measures: none, want shape ()"),
        (
            lambda x: (x[:, 0], x[:, 0]),
            {"measures": 3},
            "fn: got measures of float32, want int32 as in External(..., measures=)",
        ),
        (
            lambda x: (x[:, 0], {"n": np.full(8, 2**40)}),
            {"measures": {"n": 0}},
            "fn: got 1.09951e+12 in its measures, out of the range of int32, want -2147",
        ),
        (
            lambda x: (x[:, 0], np.arange(8, dtype=np.int32) - 130),
            {"measures": np.int8(0)},
            "fn: got -130 in its measures, out of the range of int8, want -128 to 127",
        ),
        (
            lambda x: x[:, 0],
            {"constrained": True},
            "fn: got violation: none, want shape ()",
        ),
        (lambda x: x[:, 0], {"reject": lambda x: x}, "reject: got float32, want truth"),
        (
            lambda x: x[:, 0],
            {"reject": lambda x: x > 0},
            "reject: got shape (8, 2), want (8,)",
        ),
        (
            lambda x: x[:, 0],
            {"remember": True, "noisy": True},
            "External.remember: got it with noisy=True, want one of them",
        ),
        (
            lambda x: x[:, 0],
            {"remember": True, "callback": True},
            "External.remember: got it with callback=True",
        ),
        (3, {}, "External.fn: got 3"),
    ],
)
def test_what_is_wrong_is_named(fn, options, message, key) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        de.run(key, STRATEGY, External(fn, SPACE, **options), **OPTIONS)


def test_what_the_function_raises_is_raised(key) -> None:
    def mistaken(solutions):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        de.run(key, STRATEGY, External(mistaken, SPACE), **OPTIONS)


def test_devices_are_refused(key) -> None:
    keys, devices = jax.random.split(key, 2), jax.devices()[:1]
    with pytest.raises(ValueError, match="devices: got 1 for a External"):
        de.run(keys, STRATEGY, External(sphere, SPACE), population_size=8, devices=devices)

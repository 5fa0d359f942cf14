"""A run that starts from a population whose fitness is known."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de

SPACE = de.problems.Space(jnp.zeros(2), lower=-3.0, upper=3.0)
STRATEGY = de.DiffusionEvolution(4)
RECORD = ("population", "fitness")


def sphere(x: jax.Array) -> jax.Array:
    return -jnp.sum((x - 0.5) ** 2)


PROBLEM = de.problems.Function(sphere, space=SPACE)


@pytest.fixture(scope="module")
def whole():
    """A run that evaluates everything."""
    options = {"population_size": 8, "record": RECORD}
    return de.run(jax.random.key(0), STRATEGY, PROBLEM, **options)


def first_of(result: de.Result) -> dict:
    recorded = result.recorded
    return {"population": recorded["population"][0], "fitness": recorded["fitness"][0]}


def test_evolve_goes_on_as_if_it_had_evaluated_it(whole, key) -> None:
    result = de.evolve(key, STRATEGY, PROBLEM, **first_of(whole), record=RECORD)
    chex.assert_trees_all_equal(first_of(result), first_of(whole))
    np.testing.assert_allclose(
        result.recorded["population"][1], whole.recorded["population"][1], atol=1e-5
    )
    assert result.history.done.tolist() == [False] * 3 + [True]


def test_a_run_goes_on_as_if_it_had_evaluated_it(whole, key) -> None:
    results = [
        de.run(
            key, STRATEGY, PROBLEM, **first_of(whole), record=RECORD, chunk_size=chunk_size
        )
        for chunk_size in (1, 3)
    ]
    chex.assert_trees_all_equal(*results)
    np.testing.assert_allclose(
        results[0].recorded["population"][1], whole.recorded["population"][1], atol=1e-5
    )


@pytest.mark.slow
def test_many_runs_share_what_is_known(whole, key) -> None:
    keys = jax.random.split(key, 2)
    result = de.run(keys, STRATEGY, PROBLEM, **first_of(whole), record=RECORD)
    expected = jnp.stack([whole.recorded["fitness"][0]] * 2)
    chex.assert_trees_all_equal(result.recorded["fitness"][:, 0], expected)
    assert result.history.done.shape == (2, 4)


def test_what_is_known_is_not_evaluated_and_the_state_stays(whole, key) -> None:
    calls = []

    def evaluate(x: np.ndarray) -> np.ndarray:
        calls.append(len(x))
        return -np.sum((x - 0.5) ** 2, axis=1)

    problem = de.problems.External(evaluate, SPACE)
    options = {"population_size": 8, "record": RECORD}
    asked = de.run(key, STRATEGY, problem, **options)
    calls.clear()
    result = de.run(key, STRATEGY, problem, **first_of(asked), record=RECORD, chunk_size=3)
    assert calls == [8] * 3
    assert int(result.problem_state.num_evaluated) == 24
    chex.assert_trees_all_equal(result.recorded, asked.recorded)


def test_one_generation_of_which_all_is_known_evaluates_nothing(key) -> None:
    def nobody(x: np.ndarray) -> np.ndarray:
        raise AssertionError("called")

    population, fitness = jnp.eye(2), jnp.array([1.0, jnp.nan])
    for run, problem in (
        (de.run, de.problems.External(nobody, SPACE)),
        (de.evolve, PROBLEM),
    ):
        result = run(
            key,
            de.DiffusionEvolution(1),
            problem,
            population=population,
            fitness=fitness,
        )
        assert float(result.best_fitness) == 1.0
        assert result.history.num_failed.tolist() == [1]


@de.pytree.dataclass
class Measured:
    """A problem with measures and a violation."""

    space: de.problems.Space

    def init(self, key):
        return ()

    def evaluate(self, key, problem_state, solutions):
        fitness = jax.vmap(sphere)(solutions)
        return de.Evaluation(fitness, {"x": solutions}, solutions[:, 0]), problem_state


@pytest.mark.slow
def test_measures_and_violation_come_in_an_evaluation(key) -> None:
    population = jnp.array([[1.0, 1.0], [-1.0, 0.0]])
    evaluation, _ = Measured(SPACE).evaluate(key, (), SPACE.decode(population))
    strategy, given = de.DiffusionEvolution(1), {"population": population}
    result = de.evolve(key, strategy, Measured(SPACE), **given, fitness=evaluation)
    chex.assert_trees_all_equal(result.measures, evaluation.measures)
    assert float(result.best_fitness) == float(evaluation.fitness[1])  # feasible


@pytest.mark.parametrize("run", [de.evolve, de.run])
@pytest.mark.parametrize(
    ("problem", "options", "message"),
    [
        (PROBLEM, {"population_size": 2}, "fitness: got it without population"),
        (PROBLEM, {"population": jnp.eye(2)[:1]}, "fitness: got shape (2,), want (1,)"),
        (
            Measured(SPACE),
            {"population": jnp.eye(2)},
            "fitness: got measures: none, want shape {'x': (2, 2)} for this problem, in an "
            "Evaluation",
        ),
        (
            PROBLEM,
            {
                "population": jnp.eye(2),
                "fitness": de.Evaluation(jnp.ones(2), violation=jnp.ones(2)),
            },
            "fitness: got violation: shape (2,), want none for this problem",
        ),
    ],
)
def test_what_does_not_fit_is_refused(run, problem, options, message, key) -> None:
    options = {"fitness": jnp.ones(2)} | options
    with pytest.raises(ValueError, match=re.escape(message)):
        run(key, STRATEGY, problem, **options)

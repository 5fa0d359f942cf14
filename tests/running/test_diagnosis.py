"""What is wrong with a run is said in sentences, and nothing where nothing is."""

import re

import jax
import numpy as np
import pytest
from made_results import TOTAL, made

import diffevo_jax as de
from diffevo_jax.running import diagnosis


def history(**changes) -> de.Info:
    """Of two runs of eight generations that went well."""
    rows = np.ones((2, 8))
    fields = {
        "best_fitness": rows,
        "mean_fitness": rows * np.arange(8),
        "sigma": rows * np.geomspace(4, 0.01, 8),
        "effective_sample_size": 20 * rows,
        "self_weight": 0.05 * rows,
        "num_failed": 0 * rows,
        "num_weightless": 0 * rows,
        "num_diverged": 0 * rows,
        "num_clipped": 0 * rows,
        "done": rows > 1,
    }
    return de.Info(**(fields | changes))


def at(*generations, value=1.0, low=0.0):
    """(2, 8): one value in these generations, from 1, and another in the rest."""
    return np.where(np.isin(np.arange(1, 9), generations), value, low) * np.ones((2, 1))


def test_all_is_well():
    assert de.diagnose(history()) == ("all well",)
    assert de.diagnose(jax.tree.map(lambda leaf: leaf[0], history())) == ("all well",)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"self_weight": at(*range(3, 9), value=0.95)},
            "self weight is near 1 from generation 3 on: neighbours are not heard",
        ),
        ({"self_weight": at(*range(1, 9))}, "self weight is near 1 from generation 1 on"),
        (
            {"effective_sample_size": at(8, value=9.0, low=1.0)},
            "effective sample size is near 1 while self weight is small: all follow",
        ),
        ({"num_failed": at(2, value=3), "num_weightless": at(2, value=3)}, "6 evaluations"),
        (
            {"mean_fitness": at(1, value=-np.inf)},
            "every evaluation failed in 1 generation: NaN or infinite fitness",
        ),
        (
            {"num_weightless": at(4, 8, value=5)},
            "10 individuals have no weight in the last quarter: they are infeasible",
        ),
        (
            {"num_diverged": at(3)},
            "2 steps diverged and were undone, first in generation 3",
        ),
        (
            {"num_clipped": at(1)},
            "2 numbers were out of their range and were clipped, first",
        ),
        (
            {"mean_fitness": -history().mean_fitness},
            "mean fitness has not risen: from 0 to -7",
        ),
    ],
)
def test_each_thing_that_is_wrong_has_its_sentence(changes, sentence):
    said = de.diagnose(history(**changes))
    assert len(said) == 1
    assert said[0].startswith(sentence)


@pytest.mark.parametrize(
    "changes",
    [
        # at the end noise is gone, and a point may well hear itself
        {"self_weight": at(7, 8)},
        {"self_weight": at(2, 3, 4, 5)},
        # of a first generation one point is much the best, where peaks are narrow
        {"effective_sample_size": at(5, 6, 7, 8, value=9.0, low=1.0)},
        # far from a peak, the fitness of some underflows
        {"num_weightless": at(1, 2, value=100)},
        # a run among several that was unlucky
        {"self_weight": np.array([[0.05] * 8, [0.2] * 8])},
    ],
)
def test_what_is_usual_is_not_wrong(changes):
    assert de.diagnose(history(**changes)) == ("all well",)


def test_one_that_hears_itself_alone_is_not_greedy():
    lonely = {"effective_sample_size": at(low=1.0), "self_weight": at(low=0.95)}
    (said,) = de.diagnose(history(**lonely))
    assert said.startswith("self weight is near 1 from generation 1 on")


def test_the_gravest_is_said_first():
    said = de.diagnose(
        history(num_failed=at(2), num_weightless=at(2, 8), self_weight=at(low=1))
    )
    assert [sentence.split()[1] for sentence in said] == [
        "evaluations",
        "individuals",
        "weight",
    ]


@pytest.mark.parametrize(("effective", "count"), [([90.0] * 8, 1), ([90.0, 10.0] * 4, 0)])
def test_all_count_alike_if_that_begins_so(effective, count):
    assert len(list(diagnosis.indifferent(np.array(effective), 100))) == count


def test_a_history_of_another_shape_is_refused():
    wrong = jax.tree.map(lambda leaf: leaf[None], history())
    with pytest.raises(ValueError, match=re.escape("history: got shape (1, 2, 8), want")):
        de.diagnose(wrong)


@pytest.mark.slow
def test_runs_that_go_wrong_are_told_from_one_that_goes_well():
    """An exact kernel and a temperature of 0.001 in 64 dimensions, beside the default."""
    problem = de.problems.Function(lambda x: -((x - 1.0) ** 2).sum(), dim=64)
    exact = de.denoisers.Population(kernel=de.kernels.Gaussian(), guidance=0.0)
    run = lambda strategy: de.evolve(
        jax.random.key(0), strategy, problem, population_size=64
    )
    default = de.DiffusionEvolution(12)
    assert de.diagnose(run(default)) == ("all well",)
    assert de.diagnose(run(de.DiffusionEvolution(12, exact)))[0].startswith("self weight")
    for temperature, words in ((0.001, "too low"), (30.0, "too high")):
        (said,) = de.diagnose(run(de.replace(default, temperature=temperature)))
        assert words in said


def test_what_a_stopped_run_counted_last_is_counted_once() -> None:
    # rows after its end repeat its last one
    result = made(2, 8, 2)
    failed = np.zeros((2, TOTAL), np.int32)
    failed[0, 2:] = 5
    result = de.replace(
        result,
        history=de.replace(result.history, num_failed=failed),
        state=de.replace(result.state, generation=np.array([3, TOTAL], np.int32)),
    )
    assert de.diagnose(result)[0].startswith("5 evaluations failed, 0.069 of all")  # 8 * 9


@pytest.mark.parametrize(
    ("violation", "said"),
    [
        ([2.0, 0.5], "nothing feasible was found: the smallest violation is 0.5"),
        (1.0, "nothing feasible was found: the smallest violation is 1"),
        ([0.0, 0.5], None),
        ([np.inf], None),
    ],
)
def test_a_run_without_a_feasible_individual_is_told(violation, said):
    assert next(diagnosis.infeasible(violation), None) == said

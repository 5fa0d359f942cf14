"""What a class of one's own must be, to be a problem."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de

SPACE = de.problems.Space(np.zeros(2))
STRATEGY = de.DiffusionEvolution(2)
TRACES: list[int] = []


class Plain:
    """No dataclass at all."""

    def __init__(self, centre: float = 0.5) -> None:
        self.centre = centre

    @property
    def space(self) -> de.problems.Space:
        return SPACE

    def init(self, key):
        return ()

    def evaluate(self, key, problem_state, solutions):
        TRACES.append(1)
        fitness = -jnp.sum((solutions - self.centre) ** 2, axis=1)
        return de.Evaluation(fitness), problem_state


@dataclasses.dataclass(frozen=True)
class Frozen(Plain):
    centre: float = 0.5


@de.pytree.dataclass
class Component(Plain):
    centre: de.pytree.Number = de.pytree.number(default=0.5)


@dataclasses.dataclass
class Changing(Plain):
    centre: float = 0.5


@pytest.mark.parametrize("kind", [Plain, Frozen, Component])
def test_a_class_of_any_kind_is_evolved(kind, key) -> None:
    result = de.evolve(key, STRATEGY, kind(), population_size=5)
    expected = -((result.population - 0.5) ** 2).sum(axis=1)
    np.testing.assert_allclose(result.fitness, expected, rtol=1e-5)


def is_as_evaluated(run, key) -> None:
    start = jax.random.normal(key, (5, 2))
    result = run(key, de.DiffusionEvolution(1), Plain(), population=start)
    expected = -((start - 0.5) ** 2).sum(axis=1)
    np.testing.assert_allclose(result.fitness, expected, rtol=1e-5)


def test_a_plain_class_is_run(key) -> None:
    is_as_evaluated(de.run, key)


@pytest.mark.slow
def test_a_plain_class_runs_everywhere(key) -> None:
    once = de.DiffusionEvolution(1)
    is_as_evaluated(functools.partial(de.evolve_on, de.make_mesh()), key)
    swept = de.sweep(key, once, Plain(), population_size=5)
    assert np.isfinite(swept.final_best.values).all()


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        (Frozen(0.5), Frozen(0.5), True),
        (Frozen(0.5), Frozen(0.7), False),
        (Component(0.5), Component(0.7), True),
        (Plain(0.5), Plain(0.5), False),
    ],
)
def test_objects_share_a_program_as_documented(first, second, share, key) -> None:
    de.evolve(key, STRATEGY, first, population_size=5)
    before = len(TRACES)
    de.evolve(key, STRATEGY, second, population_size=5)
    assert (len(TRACES) == before) is share


def test_one_that_cannot_be_hashed_says_what_to_do(key) -> None:
    for problem in (Changing(), Frozen(jnp.ones(2))):
        with pytest.raises(TypeError, match=r"problem: got \w+, which cannot be hashed"):
            de.evolve(key, STRATEGY, problem, population_size=4)


class OnHost(Plain):
    """A class of one's own that evaluates on the host."""

    on_host = True

    def evaluate_on_host(self, key, problem_state, solutions):
        assert key.shape == (len(solutions),)
        fitness = -np.sum((solutions - self.centre) ** 2, axis=2)
        return de.Evaluation(fitness), problem_state


def test_one_that_evaluates_on_the_host_is_called_between_programs(key) -> None:
    before = len(TRACES)
    result = de.run(key, STRATEGY, OnHost(), population_size=5)
    assert len(TRACES) == before
    expected = -((result.population - 0.5) ** 2).sum(axis=1)
    np.testing.assert_allclose(result.fitness, expected, rtol=1e-5)


def test_measures_that_change_are_refused(key) -> None:
    class Changes(OnHost):
        calls = 0

        def evaluate_on_host(self, key, problem_state, solutions):
            self.calls += 1
            fitness = np.zeros(solutions.shape[:2])
            return de.Evaluation(fitness, (fitness,) * self.calls), problem_state

    with pytest.raises(ValueError, match=r"measures: got .* as in the generation before"):
        de.run(key, STRATEGY, Changes(), population_size=5)

"""What a class of one's own must be, to be a problem."""

import dataclasses

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
def test_a_class_of_any_kind_runs_everywhere(kind, key) -> None:
    function = de.problems.Function(lambda x: -jnp.sum((x - 0.5) ** 2), space=SPACE)
    expected = de.evolve(key, STRATEGY, function, population_size=6).fitness
    for run in (de.evolve, de.run):
        fitness = run(key, STRATEGY, kind(), population_size=6).fitness
        np.testing.assert_allclose(fitness, expected, atol=1e-5)
    swept = de.sweep(key, STRATEGY, kind(), population_size=6, num_seeds=2)
    assert np.isfinite(swept.final_best.values).all()
    mesh = de.make_mesh()
    assert de.evolve_on(mesh, key, STRATEGY, kind(), population_size=8).fitness.shape == (8,)


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

    def evaluate_on_host(self, key, problem_state, solutions):
        assert key.shape == (len(solutions),)
        fitness = -np.sum((solutions - self.centre) ** 2, axis=2)
        return de.Evaluation(fitness), problem_state


def test_one_that_evaluates_on_the_host_is_called_between_programs(key) -> None:
    before = len(TRACES)
    ours = de.run(key, STRATEGY, OnHost(), population_size=6)
    many = de.run(jax.random.split(key, 2), STRATEGY, OnHost(), population_size=6)
    assert len(TRACES) == before
    assert many.fitness.shape == (2, 6)
    theirs = de.run(key, STRATEGY, Plain(), population_size=6)
    np.testing.assert_allclose(ours.fitness, theirs.fitness, atol=1e-5)


def test_measures_that_change_are_refused(key) -> None:
    class Changes(OnHost):
        calls = 0

        def evaluate_on_host(self, key, problem_state, solutions):
            self.calls += 1
            fitness = np.zeros(solutions.shape[:2])
            return de.Evaluation(fitness, (fitness,) * self.calls), problem_state

    with pytest.raises(ValueError, match="measures: got .* as in the generation before"):
        de.run(key, STRATEGY, Changes(), population_size=4)

"""The options of the compiler keep results; programs leave where there is no room."""

import jax
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import compilation
from diffevo_jax.diffusion.training import trainer
from diffevo_jax.sweeps import batches


@pytest.mark.parametrize("quick", [False, True])
def test_options_are_for_a_cpu_only(quick: bool) -> None:
    assert de.compiler_options("cpu", quick)
    assert de.compiler_options("gpu", quick) == {}
    assert de.compiler_options("tpu", quick) == {}


def test_a_switch_that_the_compiler_does_not_know_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the one of ``quick`` where JAX has dropped it."""
    monkeypatch.setattr(de.compilation, "_EMITTERS", "xla_cpu_of_another_release")

    assert de.compiler_options("cpu", quick=True) == de.compiler_options("cpu")


def test_quick_options_agree_to_rounding() -> None:
    """A generation compiled quickly agrees to float32 rounding; numbers are up to 4."""
    strategy, problem = de.DiffusionEvolution(1), de.problems.Landscape("himmelblau")

    def evolve(key: jax.Array) -> jax.Array:
        return de.evolve(key, strategy, problem, population_size=32).population

    quick = jax.jit(evolve, compiler_options=de.compiler_options("cpu", quick=True))
    key = jax.random.key(0)
    np.testing.assert_allclose(quick(key), jax.jit(evolve)(key), atol=2e-5)


# Room


class Compiled(Exception):
    """What would be compiled now is not, as it takes seconds."""


def evolve() -> None:
    jax.eval_shape(lambda: de.evolve(*SMALL, population_size=4))


def iterate() -> None:
    de.iterate(*SMALL, population_size=4)


def sweep() -> None:
    batches._jitted.cache_clear()
    with pytest.raises(Compiled):
        de.sweep(*SMALL, population_size=4)


def train() -> None:
    data, network = np.array([[-1.0], [1.0]]), de.diffusion.MLP((2,))
    with pytest.raises(Compiled):
        de.diffusion.train(jax.random.key(0), data, network, de.diffusion.Recipe())


SMALL = (jax.random.key(0), de.DiffusionEvolution(2), de.problems.Landscape("beale"))


@pytest.fixture
def witness():
    """A compiled function, and how often it has been traced."""
    traced = []

    @jax.jit
    def function(x: jax.Array) -> jax.Array:
        traced.append(x)
        return x + 1

    def call() -> int:
        function(np.float32(0))
        return len(traced)

    de.make_room()  # from here on programs are counted
    assert call() == 1
    return call


@pytest.mark.parametrize("entrance", [de.make_room, evolve, iterate, sweep, train])
def test_programs_are_forgotten_where_there_is_no_room_for_more(
    monkeypatch: pytest.MonkeyPatch, witness, entrance
) -> None:
    """By all that compiles for a new structure."""

    def stop(*_: object) -> None:
        raise Compiled

    monkeypatch.setattr(batches, "_runs", stop)
    monkeypatch.setattr(trainer, "_programs", stop)
    monkeypatch.setattr(compilation, "_BETWEEN_LOOKS", 0)
    entrance()
    assert witness() == 1  # there is room

    monkeypatch.setattr(compilation, "_FULL", 0.0)
    entrance()
    assert witness() == 2


def test_the_maps_are_counted_after_some_new_programs_only(
    monkeypatch: pytest.MonkeyPatch, witness
) -> None:
    looks = []
    monkeypatch.setattr(compilation, "_share_of_maps", lambda: looks.append(1) or 0.0)
    monkeypatch.setattr(compilation, "_BETWEEN_LOOKS", 3)
    compilation._new_programs().clear()
    for number, seen in enumerate([0, 0, 1, 1, 1, 2], start=1):
        jax.jit(lambda x, number=number: x + number).lower(0.0).compile()
        de.make_room()
        assert len(looks) == seen
    assert witness() == 1


def test_where_no_one_counts_maps_programs_are_counted(
    monkeypatch: pytest.MonkeyPatch, witness, tmp_path
) -> None:
    monkeypatch.setattr(compilation, "_MOST_MAPS", tmp_path / "absent")
    monkeypatch.setattr(compilation, "_BETWEEN_LOOKS", 1)
    compilation._new_programs().clear()
    for number, most in ((1, 2), (2, 1)):
        monkeypatch.setattr(compilation, "_MOST", most)
        jax.jit(lambda x, number=number: x * number).lower(0.0).compile()
        de.make_room()
        assert witness() == number

"""The options of the compiler keep results, and are empty where they do not belong."""

import jax
import numpy as np
import pytest

import diffevo_jax as de


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

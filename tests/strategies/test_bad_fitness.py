"""No fitness poisons a population: what fails, is tied, tiny or huge, in any mixture."""

import functools
from operator import attrgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import STRATEGIES, Case

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.testing.agreement import D, N

#: Cases in a program, and how many there are by default and in all.
BATCH, FEW, MANY = 500, 500, 10_000
#: Those of the default run; the others have their turn in `make slow`.
DEFAULT = ("default", "gaussian_fit")
LARGEST = float(np.finfo(np.float32).max)
BAD = (np.nan, np.inf, -np.inf, LARGEST, -LARGEST, 1e-45, -1e-45, 0.0, -0.0, 1e30, -1e30)
#: It is mostly compile time that these tests cost.
QUICK = {"xla_backend_optimization_level": 0}


def fitness(seed: int, generations: int) -> np.ndarray:
    """Fitness (BATCH, generations, N): numbers of any scale, of which many are bad."""
    draw = np.random.default_rng(seed)
    shape = (BATCH, generations, N)
    scale = 10.0 ** draw.uniform(-6.0, 3.0, size=(BATCH, generations, 1))
    numbers = scale * draw.normal(size=shape)
    tied = draw.random((BATCH, generations, 1)) < 0.2
    numbers = np.where(tied, np.round(numbers / scale) * scale, numbers)
    share = draw.choice([0.0, 0.1, 0.5, 0.9, 1.0], size=(BATCH, generations, 1))
    bad = draw.choice(BAD, size=shape)
    same = draw.random((BATCH, generations, 1)) < 0.3
    bad = np.where(same, bad[..., :1], bad)
    with np.errstate(over="ignore"):
        return np.where(draw.random(shape) < share, bad, numbers).astype(np.float32)


@functools.partial(jax.jit, compiler_options=QUICK)
def told(strategy: Any, keys: jax.Array, given: jax.Array) -> Any:
    """States and infos after each generation, of a run for each case."""

    def run(key: jax.Array, rows: jax.Array) -> Any:
        start = jax.random.normal(key, (N, D))
        state = strategy.init(key, start)

        def generation(state: Any, row: jax.Array) -> Any:
            ask, _, tell = de.generation_keys(key, state.generation)
            candidates, state = strategy.ask(ask, state)
            state, info = strategy.tell(tell, state, candidates, row)
            return state, (state.population, state.best_solution, info)

        return jax.lax.scan(generation, state, rows)[1]

    return jax.vmap(run)(keys, given)


@pytest.mark.parametrize(
    ("case", "count"),
    [
        *((case, FEW) for case in STRATEGIES if case.name in DEFAULT),
        *(pytest.param(case, MANY, marks=pytest.mark.slow) for case in STRATEGIES),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else f"{value:,}",
)
def test_no_fitness_poisons_a_population(case: Case, count: int) -> None:
    strategy = pytree.strong(case.part)
    for number in range(count // BATCH):
        given = fitness(number, strategy.num_generations)
        keys = jax.random.split(jax.random.key(number), BATCH)
        population, best, info = told(strategy, keys, given)
        assert bool(jnp.isfinite(population).all())
        assert bool(jnp.isfinite(best).all())
        for name in ("sigma", "effective_sample_size", "self_weight"):
            assert bool(jnp.isfinite(attrgetter(name)(info)).all()), name
        # what is said of the fitness is NaN for none, and right
        finite = np.isfinite(given)
        highest = np.where(finite, given, -np.inf).max(axis=2)
        # a processor takes what is below the normal floats for 0
        np.testing.assert_allclose(info.best_fitness, highest, rtol=0, atol=1e-38)
        np.testing.assert_array_equal(info.num_failed, (~finite).sum(axis=2))
        mean = np.asarray(info.mean_fitness)
        assert np.isfinite(mean[finite.any(axis=2)]).all()

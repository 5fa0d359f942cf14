"""Large populations: memory of the order of N, in one generation and in a whole process."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from peaks import PRINT_PEAK, needs_linux

import diffevo_jax as de

QUICK = {"xla_backend_optimization_level": 0}
DENOISERS = {
    "all pairs": de.denoisers.Population(),
    "the best answer": de.denoisers.Population(support=de.denoisers.Best(1024)),
    "who is drawn answers": de.denoisers.Population(
        support=de.denoisers.Drawn(1024), guidance=0.0
    ),
}


def extra_memory(denoiser: de.Denoiser, size: int) -> int:
    """Bytes of one ``tell`` beside its arguments and results, which is not run."""
    strategy = de.DiffusionEvolution(10, denoiser)
    population = jax.ShapeDtypeStruct((size, 2), jnp.float32)
    fitness = jax.ShapeDtypeStruct((size,), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(strategy.init, key, population)
    tell = jax.jit(de.tell, compiler_options=QUICK)
    program = tell.lower(strategy, key, state, population, fitness).compile()
    return program.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("denoiser", DENOISERS.values(), ids=DENOISERS)
def test_a_generation_takes_memory_of_the_order_of_the_population(denoiser) -> None:
    size = 262_144
    fewer, more = extra_memory(denoiser, size), extra_memory(denoiser, 2 * size)
    # twice as much, of what grows; a table of all draws would have 2^29 numbers
    assert more < 2.2 * fewer
    assert more < 256 * 2**20


MILLION = """
import jax, jax.numpy as jnp, diffevo_jax as de
population = de.denoisers.Population(support=de.denoisers.Drawn(4096), guidance=0.0)
problem = de.problems.Function(lambda x: -jnp.sum(x**2), dim=2)
strategy = de.DiffusionEvolution(2, population)
result = de.evolve(jax.random.key(0), strategy, problem, population_size=1_000_000)
assert result.history.mean_fitness[1] > result.history.mean_fitness[0]
"""

#: The default answers with all pairs, which are 4.3e9. Of the peak the compiler takes two
#: thirds, 450 MB, whatever N is.
PAIRS = """
import jax, jax.numpy as jnp, diffevo_jax as de
population = jax.random.normal(jax.random.key(0), (65_536, 58))
strategy, key = de.DiffusionEvolution(10), jax.random.key(1)
fitness = -jnp.mean(population**2, axis=1)
state = de.init(strategy, key, population)
tell = jax.jit(de.tell, compiler_options=de.compiler_options())
state, info = tell(strategy, key, state, population, fitness)
assert jnp.isfinite(state.population).all()
"""


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize(
    ("program", "megabytes"),
    [(MILLION, 1024), (PAIRS, 768)],
    ids=["10^6 individuals", "all pairs of 65,536"],
)
def test_a_process_of_many_individuals_stays_small(program, megabytes) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program + PRINT_PEAK],
        stdout=subprocess.PIPE,
        env=os.environ | {"XLA_FLAGS": ""},
        text=True,
        check=True,
    )
    assert int(done.stdout.split()[-1]) < megabytes * 2**20

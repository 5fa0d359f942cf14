"""A whole evolution as one pure function."""

import functools
import os
import re
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify
from made_results import made

import diffevo_jax as de
from diffevo_jax.running.evolution import best_run

TRACES: list[int] = []


def parabola(x: jax.Array) -> jax.Array:
    TRACES.append(1)
    return -jnp.sum((x - 1.0) ** 2)


PROBLEM = de.problems.Function(parabola, dim=2)
STRATEGY = de.DiffusionEvolution(
    5, denoiser=de.denoisers.Population(shaping=de.shaping.Boltzmann(0.5))
)
BOXED = de.problems.Function(
    parabola, space=de.problems.Space(jnp.zeros(2), lower=-0.5, upper=0.5)
)


@functools.partial(jax.jit, static_argnames="generations")
def by_hand(key: jax.Array, problem: de.Problem, generations: int) -> jax.Array:
    """The documented loop, with the documented keys."""
    key_problem, key_population, key_strategy = de.setup_keys(key)
    problem_state = problem.init(key_problem)
    population = problem.space.sample(key_population, 16)
    state = de.init(STRATEGY, key_strategy, population)
    for generation in range(generations):
        key_ask, key_evaluate, key_tell = de.generation_keys(key, generation)
        candidates, state = de.ask(STRATEGY, key_ask, state)
        candidates = problem.space.repair(candidates)
        solutions = problem.space.decode(candidates)
        evaluation, problem_state = problem.evaluate(key_evaluate, problem_state, solutions)
        state, _ = de.tell(STRATEGY, key_tell, state, candidates, evaluation.fitness)
    return state.population


@pytest.mark.parametrize("problem", [PROBLEM, BOXED], ids=["unbounded", "boxed"])
def test_ask_and_tell_by_hand_agree_with_evolve(problem, key) -> None:
    # given two generations, of which the second is evaluated after one move
    result = de.evolve(key, STRATEGY, problem, population_size=16, record=("population",))
    ours = result.recorded["population"][1]
    hand = problem.space.repair(by_hand(key, problem, generations=1))
    # then they agree to 1e-5 of the spread: float32 rounding of one generation
    assert float(jnp.abs(hand - ours).max()) < 1e-5 * float(jnp.std(ours))


def test_numbers_of_any_kind_share_one_program(key) -> None:
    def run(temperature) -> None:
        strategy = de.replace(STRATEGY, shaping=de.shaping.Boltzmann(temperature))
        de.evolve(key, strategy, PROBLEM, population_size=6)

    run(1.5)
    before = len(TRACES)
    for number in (2, 3.0, np.float32(2), np.int64(3), jnp.float32(1), jnp.ones((), int)):
        run(number)
    assert len(TRACES) == before


def test_equal_problems_share_one_program(key) -> None:
    def run() -> None:
        problem = de.problems.Function(parabola, dim=2)
        de.evolve(key, STRATEGY, problem, population_size=7)

    run()
    before = len(TRACES)
    run()
    assert len(TRACES) == before


def test_vmap_over_keys_is_many_runs(key) -> None:
    keys = jax.random.split(key, 3)
    run = lambda key: de.evolve(key, STRATEGY, PROBLEM, population_size=16).history
    together = jax.vmap(run)(keys)
    alone = run(keys[1])
    # one generation of rounding; later ones amplify it
    np.testing.assert_allclose(
        together.mean_fitness[1, :2], alone.mean_fitness[:2], rtol=1e-5
    )
    assert together.mean_fitness.shape == (3, 5)


def test_vmap_over_a_number_is_a_sweep(key) -> None:
    def final(temperature: jax.Array) -> jax.Array:
        strategy = de.replace(STRATEGY, shaping=de.shaping.Boltzmann(temperature))
        history = de.evolve(key, strategy, PROBLEM, population_size=16).history
        return history.effective_sample_size[0]

    swept = jax.vmap(final)(jnp.array([1e-3, 1.0, 1e3]))
    assert swept[0] < swept[1] < swept[2]


def test_a_population_of_ones_own_is_the_first_generation(key) -> None:
    own = jax.random.normal(jax.random.key(5), (9, 2))
    result = de.evolve(key, STRATEGY, PROBLEM, population=own, record=("population",))
    chex.assert_trees_all_equal(result.recorded["population"][0], own)


def test_the_result_is_the_last_evaluated_generation(key) -> None:
    result = de.evolve(key, STRATEGY, PROBLEM, population_size=16, record=("population",))
    chex.assert_trees_all_equal(result.population, result.recorded["population"][-1])
    again = jax.vmap(parabola)(PROBLEM.space.decode(result.population))
    np.testing.assert_allclose(result.fitness, again, rtol=1e-6)


def test_the_best_solution_is_decoded_and_has_the_best_fitness(key) -> None:
    space = de.problems.Space({"a": jnp.zeros(2), "b": jnp.zeros((), jnp.bfloat16)})
    total = lambda s: -jnp.sum((s["a"] - 1) ** 2) - (s["b"].astype(float) + 1) ** 2
    problem = de.problems.Function(total, space=space)
    result = de.evolve(key, STRATEGY, problem, population_size=16)
    best = result.best_solution
    assert best["a"].shape == (2,)
    assert best["b"].dtype == jnp.bfloat16
    np.testing.assert_allclose(total(best), result.best_fitness, rtol=1e-6)
    assert float(result.best_fitness) == float(jnp.max(result.history.best_fitness))


def test_recording_gives_every_generation(key) -> None:
    names = ("population", "fitness", "measures", "clean_estimate")
    result = de.evolve(key, STRATEGY, PROBLEM, population_size=16, record=names)
    recorded = result.recorded
    assert set(recorded) == set(names)
    assert recorded["population"].shape == recorded["clean_estimate"].shape == (5, 16, 2)
    assert recorded["fitness"].shape == (5, 16)
    np.testing.assert_allclose(
        recorded["fitness"].mean(axis=1), result.history.mean_fitness, rtol=1e-5
    )


def test_candidates_of_a_box_stay_in_it(key) -> None:
    result = de.evolve(key, STRATEGY, BOXED, population_size=16, record=("population",))
    solutions = jax.vmap(BOXED.space.decode)(result.recorded["population"])
    assert float(jnp.abs(solutions).max()) <= 0.5


def test_a_swept_key_is_refused(key) -> None:
    with pytest.raises(ValueError, match=re.escape("key: got shape (2,), want ()")):
        de.evolve(jax.random.split(key), STRATEGY, PROBLEM, population_size=4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"population_size": 0}, ValueError, "population_size: got 0, want an int >= 1"),
        ({"population_size": 2.5}, TypeError, "population_size: got 2.5 (float)"),
        ({}, ValueError, "population_size, population: got neither, want one of them"),
        ({"population": jnp.ones((4, 3))}, ValueError, "population: got 3 numbers"),
        (
            {"population": jnp.ones(4)},
            ValueError,
            "population: got shape (4,), want (N, D)",
        ),
        ({"population": jnp.ones((0, 2))}, ValueError, "population: got shape (0, 2)"),
        ({"population": "many"}, TypeError, "population: got 'many' (str)"),
        (
            {"population_size": 4, "record": ("weights",)},
            ValueError,
            "record: got 'weights'",
        ),
        ({"population_size": 4, "record": "fitness"}, TypeError, "record: got 'fitness'"),
    ],
)
def test_bad_arguments_are_named(options, error, message, key) -> None:
    with pytest.raises(error, match=re.escape(message)):
        de.evolve(key, STRATEGY, PROBLEM, **options)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"num_generations": 0}, ValueError, "num_generations: got 0, want an int >= 1"),
        (
            {"kernel": de.kernels.Gaussian(floor=-1.0)},
            ValueError,
            "Gaussian.floor: got -1.0, want None or > 0",
        ),
        (
            {"sampler": de.samplers.DDIM(1.5)},
            ValueError,
            "DDIM.eta: got 1.5, want a number",
        ),
        (
            {"shaping": de.shaping.Boltzmann(0.0)},
            ValueError,
            "Boltzmann.temperature: got 0.0, want a number > 0",
        ),
        (
            {"shaping": de.shaping.Boltzmann("hot")},
            TypeError,
            "Boltzmann.temperature: got 'hot' (str), want a number",
        ),
        (
            {"kernel": de.kernels.Gaussian(jnp.ones(3))},
            ValueError,
            "Gaussian.kappa: got shape (3,), want ()",
        ),
        (
            {"kernel": de.kernels.RandomProjection(0)},
            ValueError,
            "RandomProjection.dim: got 0",
        ),
    ],
)
def test_bad_settings_are_named(changes, error, message, key) -> None:
    strategy = de.replace(STRATEGY, **changes)
    with pytest.raises(error, match=re.escape(message)):
        de.evolve(key, strategy, PROBLEM, population_size=4)


def test_a_raw_key_is_refused() -> None:
    with pytest.raises(TypeError, match="key: got an array of uint32, want a typed key"):
        de.evolve(jax.random.PRNGKey(0), STRATEGY, PROBLEM, population_size=4)


def test_a_fitness_of_the_wrong_shape_is_refused(key) -> None:
    problem = de.problems.Function(lambda x: x, dim=2)
    message = re.escape("fitness: got shape (4, 2), want (4,)")
    with pytest.raises(ValueError, match=message):
        de.evolve(key, STRATEGY, problem, population_size=4)


def test_checkify_finds_no_float_error(key) -> None:
    run = lambda key: de.evolve(key, STRATEGY, PROBLEM, population_size=8).population
    error, _ = checkify.checkify(jax.jit(run), errors=checkify.float_checks)(key)
    assert error.get() is None


def test_no_tracer_leaks_and_no_key_is_used_twice(key) -> None:
    with jax.checking_leaks(), jax.debug_key_reuse(True):
        result = de.evolve(key, STRATEGY, PROBLEM, population_size=5)
    assert bool(result.state.done)


def test_float64_is_kept_when_enabled() -> None:
    program = (
        "import jax; jax.config.update('jax_enable_x64', True)\n"
        "import diffevo_jax as de\n"
        "problem = de.problems.Function(lambda x: -(x**2).sum(), dim=2)\n"
        "result = de.evolve(jax.random.key(0), de.DiffusionEvolution(3), problem,"
        " population_size=4)\n"
        "print(result.population.dtype, result.history.sigma.dtype)"
    )
    out = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},  # it is mostly compiling
        capture_output=True,
        text=True,
    )
    assert out.stdout.split() == ["float64", "float64"], out.stderr


def test_import_is_light() -> None:
    # Seconds of the processor, beside those of JAX, which pip has compiled to bytecode; so
    # the package is imported once before it is timed. On a busy machine too it is 0.3.
    program = (
        "import sys, time; begin = time.process_time(); import jax\n"
        "middle = time.process_time(); import diffevo_jax\n"
        "print((time.process_time() - middle) / (middle - begin))\n"
        "heavy = {'gymnax', 'matplotlib', 'pandas', 'flax', 'optax', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(command, env=environment, capture_output=True, check=True)
    out = subprocess.run(command, env=environment, capture_output=True, text=True)
    share, heavy = out.stdout.splitlines()
    assert heavy == "[]"
    assert float(share) < 0.45


def test_a_result_prints_in_a_line(key) -> None:
    result = de.evolve(key, STRATEGY, PROBLEM, population_size=5)
    text = repr(result)
    assert text.startswith("Result(best_fitness=")
    assert text.endswith("population=f32[5,2], fitness=f32[5], generations=5)")
    assert len(text) < 200
    many = repr(jax.vmap(lambda _: result)(jnp.arange(3)))
    assert many.startswith("Result(best_fitness=[")
    assert "population=f32[3,5,2]" in many


def test_the_feasible_run_is_taken_before_the_fittest() -> None:
    result = made(4, 8, 2)
    result = de.replace(
        result,
        best_violation=np.array([0.0, 1.0, 0.0, np.inf]),
        best_fitness=np.array([1.0, 9.0, 2.0, -np.inf]),
    )
    assert best_run(result) == 2

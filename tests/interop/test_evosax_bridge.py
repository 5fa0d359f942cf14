"""evosax both ways: equal results on the same keys, the promises, and evosax's API."""

import dataclasses

import evosax.algorithms
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evosax.problems import BBOBProblem

import diffevo_jax as de
from diffevo_jax.interop import evosax as bridge

KEY = jax.random.key(0)
N, D, GENERATIONS = 8, 3, 4
PROBLEM = de.problems.Function(lambda x: -((x - 0.5) ** 2).sum(), dim=D)
QUICK = ("Open_ES", "SimpleGA")


def make(name):
    """An evosax algorithm for N solutions of D numbers."""
    options = {}
    if name == "RandomSearch":
        options["sampling_fn"] = lambda key: jax.random.normal(key, (D,))
    if name.startswith("SV_"):
        options["num_populations"] = 2
    size = N // options.get("num_populations", 1)
    cls = evosax.algorithms.algorithms[name]
    return cls(population_size=size, solution=jnp.zeros(D), **options)


# evosax's PGPE clips with a function of optax that has got another name.
@pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in evosax.algorithms.algorithms
    ],
)
def test_every_algorithm_runs_and_keeps_its_best(name):
    strategy = bridge.from_algorithm(make(name), GENERATIONS)
    result = de.evolve(KEY, strategy, PROBLEM, population_size=N, record=("fitness",))
    assert bool(result.state.done)
    assert float(result.best_fitness) == float(result.recorded["fitness"].max())


@pytest.mark.parametrize("name", ["CMA_ES", "SimpleGA"])
def test_a_run_is_that_of_evosax_on_the_same_keys(name):
    algorithm = make(name)
    params = algorithm.default_params
    strategy = bridge.from_algorithm(algorithm, GENERATIONS)
    result = de.evolve(KEY, strategy, PROBLEM, population_size=N, record=("population",))
    cost = jax.vmap(lambda x: ((x - 0.5) ** 2).sum())
    population = result.recorded["population"][0]
    if name == "CMA_ES":
        key = de.setup_keys(KEY)[2]
        state = algorithm.init(key, population.mean(axis=0), params)
    else:
        key = de.generation_keys(KEY, 0)[2]
        state = algorithm.init(key, population, cost(population), params)
    for generation in range(1, GENERATIONS):
        key_ask, _, key_tell = de.generation_keys(KEY, generation)
        population, state = algorithm.ask(key_ask, state, params)
        state, _ = algorithm.tell(key_tell, population, cost(population), state, params)
        # Two programs of the same operations.
        np.testing.assert_allclose(
            result.recorded["population"][generation], population, atol=1e-5
        )


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_failure_counts_as_the_worst_and_poisons_nothing(bad):
    strategy = bridge.from_algorithm(make("SimpleGA"), GENERATIONS)
    population = PROBLEM.space.sample(KEY, N)
    fitness = jnp.arange(1.0, N + 1)
    told = []
    for value in (bad, 2.0):  # 2 is the lowest of the others
        state = strategy.init(KEY, population)
        state, _ = strategy.tell(KEY, state, population, fitness.at[0].set(value))
        told.append(state)
    same = jax.tree.map(np.array_equal, told[0].inner, told[1].inner)
    assert all(jax.tree.leaves(same))


def test_if_all_fail_the_same_individuals_are_asked_for_again():
    strategy = bridge.from_algorithm(make("Open_ES"), GENERATIONS)
    population = PROBLEM.space.sample(KEY, N)
    state = strategy.init(KEY, population)
    state, _ = strategy.tell(KEY, state, population, jnp.ones(N))
    candidates, state = strategy.ask(KEY, state)
    state, info = strategy.tell(KEY, state, candidates, jnp.full(N, jnp.nan))
    again, _ = strategy.ask(jax.random.key(5), state)
    np.testing.assert_array_equal(candidates, again)
    assert int(info.num_failed) == N


def test_what_failed_without_a_place_is_asked_for_again_where_it_was():
    strategy = bridge.from_algorithm(make("SimpleGA"), GENERATIONS)
    population = PROBLEM.space.sample(KEY, N)
    state = strategy.init(KEY, population)
    lost = population.at[0].set(jnp.nan)
    state, _ = strategy.tell(KEY, state, lost, jnp.full(N, jnp.nan))
    again, _ = strategy.ask(KEY, state)
    np.testing.assert_array_equal(again, population)


def test_an_algorithm_that_diverges_is_undone_and_counted():
    # given one whose matrix is NaN from its first tell on, as 8 > 2 * 3
    strategy = bridge.from_algorithm(make("LM_MA_ES"), GENERATIONS)

    # when the origin, where it never was, is the best there is
    origin = de.problems.Function(lambda x: -(x**2).sum(), dim=D)
    record = ("population", "fitness")
    result = de.evolve(KEY, strategy, origin, population_size=N, record=record)

    # then nobody moves, what is told is what was evaluated, and the best was proposed
    assert result.history.num_diverged.tolist() == [0, 0, 1, 1]
    assert result.history.num_failed.tolist() == [0] * GENERATIONS
    population, fitness = (np.asarray(result.recorded[name]) for name in record)
    np.testing.assert_array_equal(population[2], population[1])
    np.testing.assert_array_equal(population[3], population[1])
    np.testing.assert_array_equal(fitness[3], fitness[1])
    assert float(result.best_fitness) == fitness[:2].max()


def test_an_algorithm_sees_the_feasible_first():
    # given a feasible half away from where it starts, which the optimum is not in
    beyond = de.problems.Constraint(lambda x: 1.5 - x[0])
    problem = de.problems.Constrained(PROBLEM, (beyond,))
    strategy = bridge.from_algorithm(make("CMA_ES"), 60)

    result = de.evolve(KEY, strategy, problem, population_size=N)

    # then it goes there, and its best is feasible, near the boundary
    assert float(result.best_violation) == 0.0
    np.testing.assert_allclose(result.best_solution, [1.5, 0.5, 0.5], atol=0.05)
    assert float(result.best_fitness) <= -1.0


def test_a_step_that_diverged_is_not_told_and_the_next_one_may_be_sound():
    # given an algorithm whose mean is lost for one generation
    strategy = bridge.from_algorithm(make("Open_ES"), GENERATIONS)
    population = PROBLEM.space.sample(KEY, N)
    state = strategy.init(KEY, population)
    state, _ = strategy.tell(KEY, state, population, jnp.ones(N))
    lost = state.inner.replace(mean=jnp.full(D, jnp.nan))
    candidates, asked = strategy.ask(KEY, dataclasses.replace(state, inner=lost))

    # when it is told the fitness of those before, which are asked for again
    np.testing.assert_array_equal(candidates, population)
    told, info = strategy.tell(KEY, asked, candidates, jnp.arange(float(N)))

    # then it has learned nothing, also if they fail, and the best is known
    assert (int(info.num_diverged), int(info.num_failed)) == (1, 0)
    assert all(jax.tree.leaves(jax.tree.map(same_bits, told.inner, lost)))
    assert float(told.best_fitness) == N - 1
    failed, _ = strategy.tell(KEY, asked, candidates, jnp.full(N, jnp.nan))
    assert not bool(failed.repeat)
    _, info = strategy.tell(KEY, told, candidates, jnp.arange(float(N)))
    assert int(info.num_diverged) == 0


def same_bits(first, second):
    return np.array_equal(first, second, equal_nan=True)


def test_a_population_of_another_shape_is_an_error():
    strategy = bridge.from_algorithm(make("Open_ES"), GENERATIONS)
    with pytest.raises(ValueError, match=r"want \(8, 3\) for this Open_ES"):
        de.evolve(KEY, strategy, PROBLEM, population_size=N + 2)


# Our strategies in evosax.


def test_our_strategy_there_is_our_strategy_here():
    strategy = de.DiffusionEvolution(GENERATIONS)
    algorithm = bridge.Algorithm(N, jnp.zeros(D), strategy, scale=2.0)
    params = algorithm.default_params
    cost = jax.vmap(lambda x: ((x - 0.5) ** 2).sum())
    points = jax.random.normal(KEY, (N, D))
    theirs = algorithm.init(KEY, 2 * points, cost(2 * points), params)
    key_init, key_tell = jax.random.split(KEY)
    ask, tell = jax.jit(de.ask), jax.jit(de.tell)
    ours = de.init(strategy, key_init, points)
    ours, _ = tell(strategy, key_tell, ours, points, -cost(2 * points))
    for generation in range(1, GENERATIONS):
        key_ask, _, key_tell = de.generation_keys(KEY, generation)
        candidates, ours = ask(strategy, key_ask, ours)
        population, theirs = algorithm.ask(key_ask, theirs, params)
        # Two programs of the same operations.
        np.testing.assert_allclose(population, 2 * candidates, atol=1e-4)
        ours, _ = tell(strategy, key_tell, ours, candidates, -cost(2 * candidates))
        theirs, metrics = algorithm.tell(
            key_tell, population, cost(population), theirs, params
        )
    np.testing.assert_allclose(metrics["best_fitness"], -ours.best_fitness, atol=1e-5)


def test_solutions_may_be_pytrees():
    solution = {"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
    algorithm = bridge.DiffusionEvolution(N, solution, num_generations=GENERATIONS)
    population = jax.tree.map(lambda leaf: jnp.ones((N, *leaf.shape)), solution)
    params = algorithm.default_params
    state = algorithm.init(KEY, population, jnp.arange(float(N)), params)
    asked, _ = algorithm.ask(KEY, state, params)
    assert jax.tree.map(jnp.shape, asked) == {"w": (N, 2, 2), "b": (N, 2)}


def test_parameters_change_under_both_names():
    params = bridge.DiffusionEvolution(N, jnp.zeros(D), 5).default_params
    assert params.replace(std_m=0.25).strategy.sampler.eta == 0.25
    assert params.replace(**{"sampler.eta": 0.25}).std_m == 0.25
    assert params.replace(scale_factor=3.0).scale == 3.0
    changed = params.replace(**{"shaping.temperature": 0.7, "dimension": 3.0}).strategy
    assert changed.denoiser.shaping.temperature == 0.7
    assert changed.denoiser.kernel.dimension == 3.0
    with pytest.raises(ValueError, match=r"closest: sampler\.eta"):
        params.replace(**{"sampler.etta": 0.25})


def test_its_fitness_mapping_is_a_shaping():
    mapping = evosax.algorithms.population_based.diffusion_evolution.fitness_mapping_energy
    shaping = bridge.DiffusionEvolution(
        N, jnp.zeros(D), 5, fitness_mapping=mapping
    ).default_params.strategy.denoiser.shaping
    fitness = jnp.array([0.0, 1.0, 3.0])
    weights = shaping.log_weight(fitness)
    np.testing.assert_allclose(weights - weights[-1], fitness - 3.0, atol=1e-5)


def test_a_problem_of_evosax_has_its_bounds_and_the_other_sign():
    theirs = BBOBProblem("rastrigin", num_dims=2)
    problem = bridge.from_problem(theirs)
    solutions = problem.space.decode(10 * problem.space.sample(KEY, N))
    assert float(jnp.abs(solutions).max()) <= 5.0
    evaluation, _ = problem.evaluate(KEY, problem.init(KEY), solutions)
    cost, _, _ = theirs.eval(KEY, solutions, theirs.init(KEY))
    np.testing.assert_allclose(evaluation.fitness, -cost, rtol=1e-6)


def test_the_frame_of_a_population_is_its_mean_and_deviation():
    population = jax.random.uniform(KEY, (64, 3), minval=-5.0, maxval=5.0) * 2.0 + 7.0
    frame = bridge.algorithms.frame_of(population)
    np.testing.assert_allclose(frame.centre, population.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(frame.scale, population.std(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("population", "centre", "scale"),
    [
        ([[3.0, 1e6]], [3.0, 1e6], [1.0, 1.0]),  # one individual
        ([[3.0, 0.1], [3.0, 0.1]], [3.0, 0.1], [1.0, 1.0]),  # all equal
        ([[0.0, 2.0], [0.0, 6.0]], [0.0, 4.0], [2.0, 2.0]),  # one coordinate is constant
        ([[1.0, 1.0], [3.0, 5.0], [jnp.nan, 0.0]], [2.0, 3.0], [1.0, 2.0]),
        ([[jnp.inf, 1.0]], [0.0, 0.0], [1.0, 1.0]),
    ],
)
def test_a_frame_is_finite_whatever_the_population(population, centre, scale):
    frame = bridge.algorithms.frame_of(jnp.array(population))
    np.testing.assert_allclose(frame.centre, centre, rtol=1e-6)
    np.testing.assert_allclose(frame.scale, scale, rtol=1e-6)


def test_where_a_population_starts_does_not_matter():
    # given the same population twice, elsewhere and at another scale the second time
    es = bridge.DiffusionEvolution(16, jnp.zeros(2), num_generations=6)
    start = jax.random.normal(KEY, (16, 2))
    told = []
    for centre, scale in ((0.0, 1.0), (40.0, 8.0)):
        cost = lambda x, c=centre, s=scale: (((x - c) / s - 1.0) ** 2).sum(axis=1)
        population = centre + scale * start
        state = es.init(KEY, population, cost(population), es.default_params)
        for key in jax.random.split(KEY, 5):
            population, state = es.ask(key, state, es.default_params)
            state, _ = es.tell(key, population, cost(population), state, es.default_params)
        told.append((population - centre) / scale)
    # then it ends at the same place in these units, to rounding
    np.testing.assert_allclose(told[1], told[0], atol=1e-3)


def test_a_scale_that_is_given_is_around_the_origin():
    es = bridge.DiffusionEvolution(16, jnp.zeros(2), num_generations=6)
    params = es.default_params.replace(scale_factor=3.0)
    population = jax.random.normal(KEY, (16, 2)) + 5.0
    state = es.init(KEY, population, population.sum(axis=1), params)
    assert state.frame.centre.tolist() == [0.0, 0.0]
    assert state.frame.scale.tolist() == [3.0, 3.0]


def test_a_class_in_the_place_of_an_object_is_refused() -> None:
    whole = evosax.algorithms.CMA_ES
    for wrong, message in ((whole, "the class CMA_ES"), ("CMA_ES", "'CMA_ES'")):
        with pytest.raises(TypeError, match=f"algorithm: got {message}, want an algorithm"):
            bridge.from_algorithm(wrong, 3)
    with pytest.raises(TypeError, match="problem: got the class BBOBProblem, want"):
        bridge.from_problem(BBOBProblem)

"""What ``init``, ``ask`` and ``tell`` refuse: at once, by the argument's name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de

STRATEGY = de.DiffusionEvolution(num_generations=3)


class Echo:
    """A strategy that tells what it was told."""

    num_generations = 3

    def init(self, key, population):
        return ()

    def ask(self, key, state):
        return jnp.ones((8, 2)), state

    def tell(self, key, state, candidates, fitness, measures, violation):
        return fitness


@pytest.fixture(scope="module")
def state():
    """The state of 8 individuals of 2 numbers."""
    return de.init(STRATEGY, jax.random.key(0), jnp.ones((8, 2)))


# What is accepted


@pytest.mark.parametrize(
    "population",
    [
        [[1.0, 2.0], [3.0, 4.0]],
        np.array([[1.0, 2.0], [3.0, 4.0]]),
        np.array([[1, 2], [3, 4]]),
        jnp.array([[1, 2], [3, 4]], jnp.bfloat16),
    ],
    ids=["list", "float64", "int", "bfloat16"],
)
def test_any_two_dimensional_array_of_numbers_is_a_population(population):
    state = de.init(STRATEGY, jax.random.key(0), population)

    assert state.population.dtype == jnp.asarray(1.0).dtype
    assert state.population.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("fitness", [[1.0] * 8, np.ones(8), np.ones(8, int), jnp.ones(8)])
def test_any_vector_of_numbers_is_a_fitness(fitness):
    told = de.tell(Echo(), jax.random.key(0), (), jnp.ones((8, 2)), fitness)

    assert told.dtype == jnp.asarray(1.0).dtype
    assert told.tolist() == [1.0] * 8


# Keys

NO_KEYS = [
    (0, "int"),
    (None, "NoneType"),
    (jnp.zeros(2, jnp.uint32), "an array of uint32"),
    (np.zeros(2, np.uint32), "an array of uint32"),
]


@pytest.mark.parametrize(("key", "got"), NO_KEYS)
def test_every_function_refuses_what_is_not_a_typed_key(state, key, got):
    calls = [
        lambda: de.init(STRATEGY, key, jnp.ones((8, 2))),
        lambda: de.ask(STRATEGY, key, state),
        lambda: de.tell(STRATEGY, key, state, jnp.ones((8, 2)), jnp.ones(8)),
    ]

    for call in calls:
        with pytest.raises(TypeError, match=f"key: got {got}, want a typed key"):
            call()


def test_every_function_refuses_more_than_one_key(state):
    keys = jax.random.split(jax.random.key(0), 3)
    calls = [
        lambda: de.init(STRATEGY, keys, jnp.ones((8, 2))),
        lambda: de.ask(STRATEGY, keys, state),
        lambda: de.tell(STRATEGY, keys, state, jnp.ones((8, 2)), jnp.ones(8)),
    ]

    for call in calls:
        with pytest.raises((TypeError, ValueError), match="key: got"):
            call()


def test_the_keys_of_a_generation_differ_from_each_other_and_from_the_next():
    key = jax.random.key(0)

    drawn = [*de.generation_keys(key, 0), *de.generation_keys(key, 1), *de.setup_keys(key)]

    assert len({tuple(jax.random.key_data(one).tolist()) for one in drawn}) == 9


def test_the_keys_of_a_generation_may_be_asked_for_in_a_loop_or_traced():
    key = jax.random.key(0)

    traced = jax.jit(de.generation_keys)(key, jnp.uint32(5))

    assert de.equal(traced, de.generation_keys(key, 5))


# Populations


@pytest.mark.parametrize("shape", [(8,), (), (0, 2), (8, 0), (2, 4, 2)])
def test_init_refuses_a_population_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"population: got shape .* want \(N, D\)"):
        de.init(STRATEGY, jax.random.key(0), jnp.ones(shape))


@pytest.mark.parametrize(
    "population",
    [
        None,
        "population",
        [[1.0], [1.0, 2.0]],
        {"x": jnp.ones((8, 2))},
        jnp.ones((8, 2), bool),
        jnp.ones((8, 2), complex),
    ],
    ids=["none", "string", "ragged", "dict", "bool", "complex"],
)
def test_init_refuses_a_population_that_is_not_of_real_numbers(population):
    with pytest.raises(TypeError, match="population: got"):
        de.init(STRATEGY, jax.random.key(0), population)


def test_init_refuses_a_number_of_the_strategy_out_of_range():
    strategy = de.replace(STRATEGY, sampler=de.samplers.DDIM(eta=2.0))

    with pytest.raises(ValueError, match=r"DDIM\.eta: got 2\.0"):
        de.init(strategy, jax.random.key(0), jnp.ones((8, 2)))


@pytest.mark.parametrize("num_generations", [0, -1])
def test_init_refuses_a_run_without_generations(num_generations):
    strategy = de.DiffusionEvolution(num_generations)

    with pytest.raises(ValueError, match=r"DiffusionEvolution\.num_generations: got"):
        de.init(strategy, jax.random.key(0), jnp.ones((8, 2)))


@pytest.mark.parametrize("num_generations", [2.0, True, None, "3"])
def test_init_refuses_a_number_of_generations_that_is_not_an_int(num_generations):
    strategy = de.DiffusionEvolution(num_generations)

    with pytest.raises(TypeError, match=r"DiffusionEvolution\.num_generations: got"):
        de.init(strategy, jax.random.key(0), jnp.ones((8, 2)))


# Candidates and fitness


@pytest.mark.parametrize("shape", [(8,), (4, 2), (8, 1), (1, 2), (8, 3), (16, 2)])
def test_tell_refuses_candidates_of_another_shape_than_the_population(state, shape):
    with pytest.raises(ValueError, match="candidates: got"):
        de.tell(STRATEGY, jax.random.key(0), state, jnp.ones(shape), jnp.ones(shape[0]))


@pytest.mark.parametrize("shape", [(), (1,), (7,), (8, 1), (1, 8), (9,)])
def test_tell_refuses_fitness_of_another_shape(state, shape):
    with pytest.raises(ValueError, match=r"fitness: got shape .* want \(8,\)"):
        de.tell(STRATEGY, jax.random.key(0), state, jnp.ones((8, 2)), jnp.ones(shape))


@pytest.mark.parametrize(
    "fitness",
    [None, "fitness", jnp.ones(8, complex)],
    ids=["none", "string", "complex"],
)
def test_tell_refuses_fitness_that_is_not_of_real_numbers(state, fitness):
    with pytest.raises(TypeError, match="fitness: got"):
        de.tell(STRATEGY, jax.random.key(0), state, jnp.ones((8, 2)), fitness)

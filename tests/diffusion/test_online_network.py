"""A network that learns while it evolves."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion
from diffevo_jax.shaping import conditions

KEY = jax.random.key(0)
POINTS = jax.random.normal(jax.random.key(1), (16, 2))
#: As small as a network can be, and as few steps.
SMALL = diffusion.OnlineNetwork(diffusion.MLP((4,), embedding=2), num_steps=2, batch_size=4)


def first(candidates: jax.Array, measures: Any) -> jax.Array:
    return candidates[:, 0]


def _learnt(denoiser: Any, points: jax.Array, fitness: jax.Array) -> Any:
    state = denoiser.init(KEY, points)
    evaluated = de.Evaluated(points, fitness, points, 1.0)
    return state, denoiser.learn(KEY, state, evaluated)


#: One program for all numbers.
LEARN = jax.jit(_learnt)


def learn(denoiser: Any, fitness: jax.Array, points: jax.Array = POINTS) -> Any:
    """The state after one generation."""
    return LEARN(de.pytree.strong(denoiser), points, fitness)[1]


def untrained(denoiser: Any, points: jax.Array = POINTS) -> Any:
    """The state of a network that answers 0, and knows points of one fitness."""
    state = denoiser.init(KEY, points)
    mean, deviation = points.mean(axis=0), points.std(axis=0)
    return de.pytree.replace(
        state,
        mean=mean,
        deviation=jnp.sqrt(jnp.mean(deviation**2)),
        plain_mean=mean,
    )


# The answer


@pytest.mark.parametrize("dimension", [1.0, 9.0])
@pytest.mark.parametrize("sigma", [0.05, 1.5, 30.0])
def test_the_answer_is_that_of_the_equations(sigma, dimension) -> None:
    # given a network of random weights
    denoiser = de.replace(SMALL, dimension=dimension, guidance=0.5)
    state = untrained(denoiser)
    weights = jax.tree.map(lambda leaf: leaf + 0.3, state.weights)
    shift = jnp.array([0.2, -0.1])
    state = de.pytree.replace(state, weights=weights, plain_mean=state.mean - shift)
    y = 2.0 * POINTS
    # when it answers, then as in double precision
    m, s, v = np.asarray(state.mean, np.float64), float(state.deviation), np.asarray(y)
    level = sigma / np.sqrt(min(1.0, dimension / 2)) / s
    z, r = (v - m) / s, np.hypot(level, 1.0)
    output = denoiser.network.apply(
        weights, jnp.asarray(z / r, float), jnp.full(16, np.log(level) / 4)
    )
    share = np.clip(np.log(denoiser.sigma_max / level) / np.log(2.0), 0.0, 1.0)
    clean = m + s * (z / r**2 + share * level / r * np.asarray(output))
    clean += 0.5 * (1 - 1 / r**2) * np.asarray(shift)
    got = denoiser.denoise(state, y, jnp.asarray(sigma)).clean
    np.testing.assert_allclose(got, clean, rtol=1e-4, atol=1e-4)


def test_at_much_noise_the_weighted_mean_answers() -> None:
    fitness = POINTS[:, 0]
    denoiser = de.replace(SMALL, guidance=0.0)
    state = learn(denoiser, fitness)
    weight = jax.nn.softmax(de.shaping.log_weight(denoiser.shaping, fitness))
    got = denoiser.denoise(state, 1e4 * POINTS, jnp.asarray(1e4)).clean
    np.testing.assert_allclose(got, jnp.tile(weight @ POINTS, (16, 1)), atol=1e-2)


def test_a_training_of_one_place_is_undone_by_nothing() -> None:
    # given points that are all the same
    same = jnp.ones((16, 2))
    state = learn(SMALL, jnp.zeros(16), same)
    # then they are the answer, and nothing diverged
    got = SMALL.denoise(state, same, jnp.asarray(0.1)).clean
    np.testing.assert_allclose(got, same, atol=1e-4)
    assert int(state.num_diverged) == 0


# Learning


def test_a_training_that_diverges_keeps_the_weights_and_is_counted() -> None:
    wild = de.pytree.strong(de.replace(SMALL, learning_rate=1e30))
    before, state = LEARN(wild, POINTS, POINTS[:, 0])
    chex.assert_trees_all_close(state.weights, before.weights, rtol=1e-6)
    assert int(state.num_diverged) == 1
    answer = SMALL.denoise(state, POINTS, jnp.asarray(1.0))
    assert int(answer.num_diverged) == 1
    chex.assert_tree_all_finite(answer.clean)


def test_failures_alone_teach_nothing() -> None:
    before, state = LEARN(de.pytree.strong(SMALL), POINTS, jnp.full(16, jnp.nan))
    chex.assert_trees_all_close(state.weights, before.weights, rtol=1e-6)
    assert int(state.num_diverged) == 0


@pytest.mark.slow
def test_it_learns_what_the_population_would_answer() -> None:
    # given points at two places, four deviations of the places apart
    places = jnp.sign(POINTS[:, :1]) + 0.1 * POINTS
    denoiser = diffusion.OnlineNetwork(
        shaping=de.shaping.Boltzmann(), num_steps=600, guidance=0.0
    )
    state = learn(denoiser, jnp.zeros(16), places)
    exact = de.denoisers.Population(
        de.kernels.Gaussian(), de.shaping.Boltzmann(), guidance=0.0
    )
    known = learn(exact, jnp.zeros(16), places)
    for sigma in (0.3, 1.0):
        y = places + sigma * jax.random.normal(KEY, places.shape)
        want = exact.denoise(known, y, jnp.asarray(sigma)).clean
        error = denoiser.denoise(state, y, jnp.asarray(sigma)).clean - want
        # then it answers as they do, to a seventh of their spread
        assert float(jnp.sqrt(jnp.mean(error**2))) < 0.15 * float(places.std())


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "least"), [(2, 0.97), (8, 0.95)])
def test_a_network_learns_while_it_evolves(dim, least) -> None:
    # given a bowl of fitness 1 at its optimum, half a deviation from 0 in every coordinate
    problem = de.problems.Function(lambda x: 1 - jnp.mean((x - 0.5) ** 2), dim=dim)
    strategy = de.DiffusionEvolution(25, diffusion.OnlineNetwork())
    evolve = lambda key: de.evolve(key, strategy, problem, population_size=128)
    result = jax.jit(jax.vmap(evolve))(jax.random.split(jax.random.key(1), 4))
    final = np.asarray(result.history.mean_fitness)
    # then the last generation is near it, in each of four runs
    assert final[:, 0].max() < 0
    assert final[:, -1].min() > least
    assert int(result.history.num_diverged.sum()) == 0


# Conditions as labels


TOLD = de.replace(SMALL, conditions=(conditions.Target(first, 0.25, 0.1),))


def test_a_label_that_is_wanted_is_in_the_units_of_the_training() -> None:
    state = learn(TOLD, jnp.zeros(16))
    want = (0.25 - POINTS[:, 0].mean()) / POINTS[:, 0].std()
    np.testing.assert_allclose(state.wanted, [want], rtol=1e-4)


def test_a_label_that_nobody_has_is_the_nearest_that_is_known() -> None:
    far = conditions.Target(first, 99.0, 0.1)
    state = learn(de.pytree.replace(TOLD, conditions=(far,)), jnp.zeros(16))
    want = (POINTS[:, 0].max() - POINTS[:, 0].mean()) / POINTS[:, 0].std()
    np.testing.assert_allclose(state.wanted, [want], rtol=1e-4)


@pytest.mark.slow
def test_a_measure_that_fails_is_no_label() -> None:
    # given a measure that is not known of some
    holes = conditions.Target(lambda x, m: jnp.where(x[:, 0] < 0, x[:, 0], jnp.inf), 9.0)
    state = learn(de.replace(SMALL, conditions=(holes,)), jnp.zeros(16))
    known = POINTS[:, 0][POINTS[:, 0] < 0]
    np.testing.assert_allclose(
        state.wanted, [(known.max() - known.mean()) / known.std()], rtol=1e-4
    )
    chex.assert_tree_all_finite(state.weights)


def test_labels_have_as_many_numbers_as_they_say() -> None:
    both = conditions.Target(lambda x, m: x, 0.25)  # one value for two numbers
    with pytest.raises(
        ValueError, match=r"Target\.value: got 1 numbers for a label, want 2"
    ):
        learn(de.replace(SMALL, conditions=(both,)), jnp.zeros(16))


@pytest.mark.slow
def test_answers_go_where_the_label_says() -> None:
    # given a training on points everywhere, with their first coordinate as the label
    points = jax.random.normal(jax.random.key(3), (256, 2))
    denoiser = de.replace(
        diffusion.OnlineNetwork(num_steps=500, guidance=0.0),
        shaping=de.shaping.Boltzmann(),
        conditions=(conditions.Target(first, 1.0, 0.1),),
    )
    state = learn(denoiser, jnp.zeros(256), points)
    drawn = de.sample(
        KEY,
        de.denoisers.bind(denoiser, state),
        de.noise.VE(0.02, 4.0),
        de.samplers.DDIM(eta=0.5),
        (256, 2),
        num_levels=25,
    )
    # then samples are there, and everywhere in the other coordinate
    np.testing.assert_allclose(drawn[:, 0].mean(), 1.0, atol=0.2)
    assert float(drawn[:, 0].std()) < 0.35
    assert 0.7 < float(drawn[:, 1].std()) < 1.3


# Arguments


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, r"OnlineNetwork\.num_steps: got 0"),
        ({"batch_size": 0}, r"OnlineNetwork\.batch_size: got 0"),
        ({"sigma_max": 0.01}, r"OnlineNetwork\.sigma_max: got 0\.01, want above"),
        ({"shaping": de.shaping.Local()}, r"OnlineNetwork\.shaping: got Local"),
    ],
)
def test_settings_that_make_no_sense_raise(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        de.pytree.validate(de.pytree.replace(SMALL, **changes))


# Through every entry point


PROBLEM = de.problems.Function(lambda x: -jnp.sum((x - 0.5) ** 2), dim=2)


@pytest.mark.slow
def test_it_is_swept_resumed_and_divided(tmp_path) -> None:
    strategy = de.DiffusionEvolution(6, SMALL)
    swept = de.sweep(
        KEY,
        strategy,
        PROBLEM,
        axes={"learning_rate": [1e-3, 1e-2]},
        num_seeds=2,
        population_size=16,
    )
    assert dict(swept.sizes)["setting"] == 2
    # when a run is cut, and goes on from its folder
    run = lambda **how: de.run(KEY, strategy, PROBLEM, population_size=16, **how)
    whole = run()
    run(folder=tmp_path, stop=de.stops.Evaluations(48), chunk_size=3)
    resumed = run(folder=tmp_path, chunk_size=3)
    chex.assert_trees_all_equal(resumed.population, whole.population)
    # and where it is divided over devices
    mesh = de.make_mesh()
    divided = de.evolve_on(mesh, KEY, strategy, PROBLEM, population_size=16)
    np.testing.assert_allclose(divided.population, whole.population, atol=1e-3)

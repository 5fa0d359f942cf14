"""Many lanes on the ladder play the same episodes as each alone."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

import diffevo_jax as de
from diffevo_jax.problems.control import episode, rollout


def remember(weights, observation, carry):
    """A recurrent policy: the action follows a leaky sum of what it has seen."""
    carry = 0.9 * carry + observation
    return weights @ carry, carry


RECURRENT = de.problems.FunctionPolicy(
    init=lambda key, observation: jnp.zeros((2, observation.size)),
    apply=remember,
    initial_carry=lambda: jnp.zeros(4),
)
PROBLEMS = {
    "cartpole": de.problems.Control("CartPole-v1", max_steps=60),
    "recurrent": de.problems.Control("CartPole-v1", policy=RECURRENT, max_steps=60),
    "random steps": de.problems.Control("Catch-bsuite", max_steps=30),
}


@pytest.fixture(autouse=True)
def small_ladder(monkeypatch) -> None:
    """At most 64 lanes together, then 16, then 4."""
    ladder = rollout.Ladder(width=64, cache=2**30, shrink=4, smallest=4, block=3)
    monkeypatch.setattr(rollout, "CPU", ladder)


def weights_of(problem: de.problems.Control, count: int):
    return problem.space.decode(problem.space.sample(jax.random.key(1), count))


def alone(problem: de.problems.Control, key, weights):
    """Each lane by itself: the definition."""
    spec, context = problem._spec(), problem._context(())
    one = lambda weights, keys: episode.play(spec, context, weights, keys).episode
    keys = jax.random.split(key, (len(jax.tree.leaves(weights)[0]), 2))
    return jax.jit(jax.vmap(one))(weights, keys)


def together(problem: de.problems.Control, key, weights):
    return problem.evaluate(key, (), weights)[0].measures


def assert_same(lanes, definition) -> None:
    chex.assert_trees_all_equal(*(jax.tree.map(jnp.ravel, x) for x in (lanes, definition)))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        pytest.param(name, count, id=f"{size}-{name}", marks=marks)
        for name in PROBLEMS
        for size, count in {"one": 1, "a chunk": 64, "rounds": 150}.items()
        # One problem of every size is seen each time.
        for marks in [() if name == "cartpole" else pytest.mark.slow]
    ],
)
def test_lanes_play_what_each_plays_alone(name, count, key) -> None:
    problem, weights = PROBLEMS[name], weights_of(PROBLEMS[name], count)
    lanes = jax.jit(functools.partial(together, problem))(key, weights)
    assert_same(lanes, alone(problem, key, weights))


@pytest.mark.parametrize("count", [7, 150])
@pytest.mark.parametrize(
    "name", ["cartpole", pytest.param("random steps", marks=pytest.mark.slow)]
)
def test_an_accelerators_lanes_play_the_same(monkeypatch, name, count, key) -> None:
    # given arrays of their own, and steps that are written out, not all of a block's
    ladder = rollout.CPU._replace(packed=False, unroll=3, block=7)
    monkeypatch.setattr(rollout, "CPU", ladder)
    problem, weights = PROBLEMS[name], weights_of(PROBLEMS[name], count)
    lanes = jax.jit(functools.partial(together, problem))(key, weights)
    definition = alone(problem, key, weights)
    # then a compiler may join a product and a sum otherwise, and no episode is another one
    np.testing.assert_array_equal(lanes.length.ravel(), definition.length)
    np.testing.assert_array_equal(lanes.terminated.ravel(), definition.terminated)
    np.testing.assert_allclose(lanes.total_reward.ravel(), definition.total_reward)


def test_lanes_play_the_same_in_rounds_of_one_program(monkeypatch, key) -> None:
    monkeypatch.setattr(rollout, "CPU", rollout.CPU._replace(width=8, single=True))
    problem, weights = PROBLEMS["cartpole"], weights_of(PROBLEMS["cartpole"], 37)
    lanes = jax.jit(functools.partial(together, problem))(key, weights)
    assert_same(lanes, alone(problem, key, weights))


@pytest.mark.slow
def test_runs_under_vmap_are_more_lanes(key) -> None:
    problem, keys = PROBLEMS["cartpole"], jax.random.split(key, 5)
    weights = weights_of(problem, 20)
    # given one population that five runs share, so that only the keys have a run axis
    lanes = jax.jit(jax.vmap(lambda key: together(problem, key, weights)))(keys)
    for run, run_key in enumerate(keys):
        mine = jax.tree.map(lambda leaf, run=run: leaf[run], lanes)
        assert_same(mine, alone(problem, run_key, weights))


def test_every_run_can_have_an_environment_of_its_own(key) -> None:
    defaults = de.problems.control.environment("CartPole-v1")[1]
    weights = weights_of(PROBLEMS["cartpole"], 20)

    def played(gravity, player):
        params = defaults.replace(gravity=gravity)
        problem = de.replace(PROBLEMS["cartpole"], env_params=params)
        return player(problem, key, weights)

    gravities = jnp.array([1.0, 9.8, 50.0])
    lanes = jax.jit(jax.vmap(functools.partial(played, player=together)))(gravities)
    for run, gravity in enumerate(gravities):
        mine = jax.tree.map(lambda leaf, run=run: leaf[run], lanes)
        assert_same(mine, played(gravity, alone))
    assert len(set(lanes.length.sum(axis=(1, 2)).tolist())) == 3


def test_nested_vmap_is_more_lanes_still(key) -> None:
    problem, keys = PROBLEMS["cartpole"], jax.random.split(key, (2, 3))
    weights = weights_of(problem, 10)
    play = lambda key: together(problem, key, weights).length
    lanes = jax.jit(jax.vmap(jax.vmap(play)))(keys)
    one = alone(problem, keys[1, 2], weights).length
    np.testing.assert_array_equal(lanes[1, 2].ravel(), one)


NARROW, WIDE = de.problems.MLP((8,)), de.problems.MLP((64,))


@pytest.mark.parametrize(
    ("name", "policy", "steps"),
    [
        pytest.param("CartPole-v1", NARROW, 3, id="few numbers"),
        pytest.param("CartPole-v1", RECURRENT, 3, id="a small product"),
        pytest.param("CartPole-v1", WIDE, 1, id="products that are kernels"),
        pytest.param(
            "CartPole-v1",
            de.problems.LowRankPolicy(WIDE, rank=2),
            1,
            id="few numbers that change a large policy",
        ),
        pytest.param("Acrobot-v1", NARROW, 1, id="a long step"),
    ],
)
def test_only_short_steps_of_arithmetic_are_written_out(
    monkeypatch, name, policy, steps, key
) -> None:
    ladder = rollout.CPU._replace(packed=False, unroll=3, block=7)
    monkeypatch.setattr(rollout, "CPU", ladder)
    found = []
    original = rollout._steps_in_a_row
    seen = lambda *arguments: found.append(original(*arguments)) or found[-1]
    monkeypatch.setattr(rollout, "_steps_in_a_row", seen)
    problem = de.problems.Control(name, policy=policy, max_steps=5)
    jax.eval_shape(functools.partial(together, problem), key, weights_of(problem, 9))
    assert set(found) == {steps}


def test_the_ladder_gets_smaller_and_stops() -> None:
    ladder = rollout.Ladder(width=100, cache=10_000, shrink=4, smallest=4, block=8)
    assert ladder.rungs(64, 8) == [64, 16, 4]
    assert ladder.rungs(10_000, 8) == [100, 25, 6]
    assert ladder.rungs(3, 8) == [3]
    assert ladder.rungs(10_000, 1_000) == [10]
    assert ladder.rungs(10_000, 100_000) == [4]


def test_a_single_program_has_even_rounds_of_a_quarter_of_few_lanes() -> None:
    ladder = rollout.Ladder(
        width=128, cache=10_000, shrink=4, smallest=4, block=8, single=True
    )
    rungs = functools.partial(ladder.rungs, matrices=False)
    assert rungs(10_000, 8) == [127]  # 79 rounds
    assert rungs(400, 8) == [100]
    assert rungs(200, 8) == [50]  # four rounds, and not of 64
    assert rungs(64, 8) == [64]
    assert rungs(3, 8) == [3]
    assert rungs(400, 1_000) == [10]
    assert ladder.rungs(400, 8, matrices=True) == [100, 25, 6]  # even rounds too


@pytest.mark.slow
def test_nothing_leaks_and_no_key_is_used_twice(key) -> None:
    problem, strategy = PROBLEMS["cartpole"], de.DiffusionEvolution(2)
    with jax.checking_leaks(), jax.debug_key_reuse(True):
        result = de.evolve(key, strategy, problem, population_size=9)
    assert bool(result.state.done)


def test_checkify_sees_no_float_error(key) -> None:
    problem, strategy = PROBLEMS["cartpole"], de.DiffusionEvolution(2)
    run = lambda key: de.evolve(key, strategy, problem, population_size=9).fitness
    error, _ = checkify.checkify(jax.jit(run), errors=checkify.float_checks)(key)
    assert error.get() is None


def test_a_simulation_that_breaks_down_has_failed(key) -> None:
    # given a gravity that makes the observations infinite
    params = de.problems.control.environment("CartPole-v1")[1].replace(gravity=3e38)
    problem = de.replace(PROBLEMS["cartpole"], env_params=params)
    weights = weights_of(problem, 8)
    fitness = problem.evaluate(key, (), weights)[0].fitness
    assert not np.isfinite(fitness).all()


def test_parameters_that_are_not_finite_are_refused(key) -> None:
    params = de.problems.control.environment("CartPole-v1")[1].replace(gravity=np.nan)
    problem = de.replace(PROBLEMS["cartpole"], env_params=params)
    with pytest.raises(ValueError, match=r"env_params: got nan, want finite"):
        de.evolve(key, de.DiffusionEvolution(2), problem, population_size=4)

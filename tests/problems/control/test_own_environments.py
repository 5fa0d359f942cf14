"""Environments of a user's own, as objects."""

import functools

import chex
import gymnasium
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import test_util  # counts compilations
from often import often
from own_environments import Nav, NavParams, Pull, Rooms

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.problems import Control
from diffevo_jax.pytree.digests import program_digest
from diffevo_jax.sweeps import settings

KEY = jax.random.key(3)
STRATEGY = de.DiffusionEvolution(3)
QUICK = {"xla_backend_optimization_level": 0}


def evaluate(problem: Control, count: int = 6) -> np.ndarray:
    """Fitness of some policies, by a program that is shared."""
    weights = problem.space.sample(jax.random.key(0), count)
    state = problem.init(jax.random.key(1))
    solutions = problem.space.decode(weights)
    return np.asarray(EVALUATE(problem, KEY, state, solutions).fitness)


EVALUATE = jax.jit(
    lambda problem, key, state, w: problem.evaluate(key, state, w)[0],
    compiler_options=QUICK,
)


def by_hand(problem: Control, steps: int) -> float:
    """The total reward of the first policy's first episode, stepped without the library."""
    env, params = problem.env, problem.env.default_params
    keys = jax.random.split(KEY, (6, 2))[0]
    weights = problem.space.decode(problem.space.sample(jax.random.key(0), 6))
    act = problem.controller(jax.tree.map(lambda leaf: leaf[0], weights))
    seen, state = env.reset_env(keys[0], params)
    total = 0.0
    for step in range(steps):
        action, _ = act(seen, ())
        key = jax.random.fold_in(keys[1], step)
        seen, state, reward, end, _ = env.step_env(key, state, action, params)
        total += float(reward)
        if end:
            break
    return total


# It plays


@pytest.mark.parametrize(
    ("env", "steps"),
    [(Nav(), 30), (Rooms(), 7), (Pull(), 20)],
    ids=["dict", "discrete", "box"],
)
def test_an_own_environment_of_each_kind_plays_as_by_hand(env, steps):
    limit = None if isinstance(env, Nav | Pull) else steps
    problem = Control(env=env, max_steps=limit)
    pytree.validate(problem)
    assert problem.episode_limit == steps
    np.testing.assert_allclose(evaluate(problem)[0], by_hand(problem, steps), rtol=1e-4)


@pytest.mark.parametrize("env", [Nav(), Pull()], ids=["dict", "tuple"])
def test_running_normalisation_has_the_structure_of_the_observation(env):
    problem = Control(env=env, observation="running")
    state = problem.init(KEY)
    solutions = problem.space.decode(problem.space.sample(KEY, 4))
    _, state = jax.jit(problem.evaluate, compiler_options=QUICK)(KEY, state, solutions)
    seen, _ = env.reset_env(KEY, env.default_params)
    chex.assert_trees_all_equal_structs(state.mean, seen)
    assert all(float(jnp.max(jnp.abs(mean))) > 0 for mean in jax.tree.leaves(state.mean))


def test_it_evolves_towards_the_goal():
    problem = Control(env=Nav(), num_episodes=3, observation="running")
    result = de.evolve(KEY, de.DiffusionEvolution(10), problem, population_size=64)
    assert result.history.mean_fitness[-1] > 0.5 * result.history.mean_fitness[0]


def test_parameters_of_an_own_environment_are_numbers_of_the_problem():
    swift = Control(env=Nav(), env_params=NavParams(speed=0.4))
    assert (evaluate(swift) != evaluate(Control(env=Nav()))).any()
    spread = pytree.replace(Control(env=Nav()).with_env_params(), speed=0.4)
    np.testing.assert_array_equal(evaluate(swift), evaluate(spread))


# Equal objects, and changed ones


def test_equal_objects_share_one_program():
    @functools.partial(jax.jit, compiler_options=QUICK)
    @chex.assert_max_traces(n=1)
    def fitness(problem, key, solutions):
        return problem.evaluate(key, (), solutions)[0].fitness

    problem = Control(env=Nav(wind=(0.0, 0.1)))
    solutions = problem.space.decode(problem.space.sample(KEY, 2))
    first = fitness(problem, KEY, solutions)
    again = fitness(Control(env=Nav(wind=(0.0, 0.1))), KEY, solutions)
    np.testing.assert_array_equal(first, again)


def test_evolve_compiles_nothing_for_an_equal_object():
    run = lambda env: de.evolve(KEY, STRATEGY, Control(env=env), population_size=8)
    first = run(Nav(1.5))
    with test_util.count_jit_compilation_cache_miss() as count:
        again = run(Nav(1.5))
    assert count() == 0
    np.testing.assert_array_equal(first.fitness, again.fitness)


def test_objects_that_differ_play_otherwise():
    fitness = [evaluate(Control(env=env)) for env in (Nav(), Nav(2.0), Nav(wind=(0.1, 0)))]
    assert (fitness[0] != fitness[1]).any()
    assert (fitness[0] != fitness[2]).any()


def test_an_object_that_is_changed_never_meets_its_old_programs():
    env = Nav()
    problem = Control(env=env)
    before = evaluate(problem)
    env.wind = jnp.array([0.1, 0.0])
    changed = evaluate(problem)
    np.testing.assert_array_equal(changed, evaluate(Control(env=Nav(wind=(0.1, 0.0)))))
    assert (changed != before).any()
    env.wind = jnp.array([0.0, 0.0])
    np.testing.assert_array_equal(evaluate(problem), before)
    env.wind = np.array([0.1, 0.0], np.float32)
    held = evaluate(problem)
    env.wind[0] = 0.0  # in its place
    assert (evaluate(problem) != held).any()


def test_what_an_object_was_is_kept_where_new_shapes_are_traced():
    env, twin = Nav(1.25), Nav(1.25)
    evaluate(Control(env=env))
    env.size = 3.0  # of which the twin knows nothing, though they shared a program
    alone = Control(env=twin)
    weights = alone.space.decode(alone.space.sample(jax.random.key(0), 5))
    fitness = EVALUATE(alone, KEY, (), weights).fitness
    other = Control(env=twin, rewrite=False)
    np.testing.assert_allclose(
        fitness, EVALUATE(other, KEY, (), weights).fitness, rtol=1e-4
    )


def test_sweeps_tell_environments_apart_by_their_programs():
    def digest(env):
        problem = Control(env=env)
        weights = problem.space.decode(problem.space.sample(KEY, 2))
        return program_digest(EVALUATE.trace(problem, KEY, (), weights))

    assert digest(Nav(1.75)) == digest(Nav(1.75))
    assert len({digest(env) for env in (Nav(1.75), Nav(2.75), Nav(1.75, (0.1, 0)))}) == 3


def test_swept_environments_are_settings_that_differ():
    axes = {"problem.env": [Rooms(4), Rooms(4), Rooms(5)]}
    problem = Control(env=Rooms(), max_steps=5)
    chosen = settings.settings_of(STRATEGY, problem, 8, axes)
    names = [setting.values["problem.env"] for setting in chosen]
    assert names == [f"Rooms(rooms={rooms}, prize=1.0)" for rooms in (4, 4, 5)]
    structures = [jax.tree.structure(setting.problem) for setting in chosen]
    assert structures[0] == structures[1] != structures[2]


def test_an_object_prints_without_an_address():
    assert "env=Rooms(rooms=4, prize=1.0)" in repr(Control(env=Rooms()))


# Names


def test_short_names_are_the_problem_of_the_full_name():
    assert pytree.equal(Control("cartpole"), Control("CartPole-v1"))
    assert Control("mountain car").env_name == "MountainCar-v0"


def test_a_registered_environment_has_a_name():
    if "OwnNav-v0" not in gymnax.registered_envs:
        gymnax.register("OwnNav-v0", Nav)
    problem = Control("ownnav")
    assert problem.env_name == "OwnNav-v0"
    np.testing.assert_array_equal(evaluate(problem), evaluate(Control(env=Nav())))


# Errors


def test_one_of_a_name_and_an_object_is_wanted():
    with pytest.raises(ValueError, match="got neither env_name nor env"):
        pytree.validate(Control())
    with pytest.raises(ValueError, match="got both env_name and env"):
        pytree.validate(Control("cartpole", env=Nav()))


def test_missing_members_are_named():
    class Half:
        def reset_env(self, key, params):
            return jnp.zeros(2), ()

    with pytest.raises(TypeError, match=r"no 'default_params', 'step_env', 'observation_"):
        Control(env=Half())
    with pytest.raises(TypeError, match=r"Control\.env: got <class .* it is a class"):
        Control(env=Nav)


class Misspelt(Rooms):
    def observation_space(self, params):
        return self.spcae


class NoSpace(Rooms):
    observation_space = None


class Unready(Rooms):
    @property
    def default_params(self):
        return self.parameters


class Keyless(Rooms):
    def reset_env(self, params):
        return jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)


class GymnasiumSeen(Rooms):
    def observation_space(self, params):
        return gymnasium.spaces.Dict({"room": gymnasium.spaces.Discrete(4)})


class GymnasiumTaken(Rooms):
    def action_space(self, params):
        return gymnasium.spaces.Discrete(2, start=1)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (Misspelt(), r"env\.observation_space: AttributeError: .* attribute 'spcae'"),
        (NoSpace(), r"env\.observation_space: TypeError: 'NoneType'"),
        (Unready(), r"env\.default_params: AttributeError: .* attribute 'parameters'"),
        (Keyless(), r"env\.reset_env: TypeError: .*takes 2 positional arguments"),
        (GymnasiumSeen(), r"observation_space: .*\(of gymnasium\), want .*gymnax\.envir"),
        (GymnasiumTaken(), r"action_space: .*\(of gymnasium\), want .*gymnax\.environme"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_member_is_not_a_missing_space(env, message):
    problem = Control(env=env, max_steps=5)
    with pytest.raises(ValueError, match=message):
        de.evolve(KEY, de.DiffusionEvolution(2), problem, population_size=4)
    with pytest.raises(ValueError, match=message):
        _ = problem.space


def test_an_environment_without_a_limit_needs_one():
    with pytest.raises(ValueError, match=r"max_steps: got None, want an int.*Rooms"):
        pytree.validate(Control(env=Rooms()))


class Broken(Nav):
    def __init__(self, **wrong):
        super().__init__()
        self.wrong = wrong

    def reset_env(self, key, params):
        seen, state = super().reset_env(key, params)
        return self.wrong.get("seen", seen), state

    def step_env(self, key, state, action, params):
        if "raises" in self.wrong:
            return float(action[0])
        seen, state, reward, end, info = super().step_env(key, state, action, params)
        return (
            self.wrong.get("seen", seen),
            self.wrong.get("state", state),
            self.wrong.get("reward", reward),
            end,
            info,
        )

    def observation_space(self, params):
        return self.wrong.get("space", super().observation_space(params))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"raises": True}, r"env.step_env: ConcretizationTypeError"),
        (
            {"state": ()},
            r"env.step_env: got a state like \(\), want one like that of reset",
        ),
        ({"reward": np.zeros(2)}, r"env.step_env: got a reward .*want one number"),
        ({"seen": {"place": np.zeros(2)}}, r"env\.(reset_env|observation_space)"),
        (
            {"seen": {"place": np.zeros(3), "to_goal": np.zeros(2)}},
            r"env.reset_env: got an",
        ),
        ({"space": (2,)}, r"env.observation_space: got \(2,\), want a Discrete or a Box"),
    ],
    ids=["raises", "state", "reward", "lacks", "shape", "space"],
)
def test_what_an_environment_does_wrong_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        pytree.validate(Control(env=Broken(**wrong)))


def test_a_traced_attribute_is_refused():
    def fitness(size):
        return EVALUATE(Control(env=Nav(size)), KEY, (), [])

    with pytest.raises(TypeError, match=r"env\.size: got a traced array"):
        jax.make_jaxpr(fitness)(1.0)


# Whole episodes


@pytest.mark.parametrize(
    "env", often(1, [Nav(), Pull(), Rooms()]), ids=["dict", "tuple", "discrete"]
)
def test_a_recorded_episode_is_the_episode_that_is_played(env):
    problem = Control(env=env, max_steps=15)
    weights = jax.tree.map(
        lambda leaf: leaf[0], problem.space.decode(problem.space.sample(KEY, 1))
    )
    played = problem.play(KEY, weights, record=True)
    episode = problem.play(KEY, weights)
    length = int(played.length)
    assert length == int(episode.length)
    np.testing.assert_allclose(played.episode.total_reward, episode.total_reward, rtol=1e-5)
    np.testing.assert_allclose(played.rewards.sum(), episode.total_reward, rtol=1e-5)
    assert played.valid.sum() == length
    assert all(len(leaf) == 15 for leaf in jax.tree.leaves(played.states))
    # each row follows from the one before
    params = problem.env.default_params
    keys = jax.random.split(KEY)[1]
    row = lambda tree, step: jax.tree.map(lambda leaf: leaf[step], tree)
    for step in range(length - 1):
        key = jax.random.fold_in(keys, step)
        seen, state, reward, _, _ = env.step_env(
            key, row(played.states, step), played.actions[step], params
        )
        for got, want in ((played.observations, seen), (played.states, state)):
            chex.assert_trees_all_close(row(got, step + 1), want, atol=1e-5)
        np.testing.assert_allclose(played.rewards[step], reward, atol=1e-5)


def test_after_the_end_rewards_are_zero_and_the_last_step_stays():
    problem = Control(env=Rooms(), max_steps=10, policy=_rightwards())
    played = problem.play(KEY, jnp.zeros(()), record=True)
    assert int(played.length) == 3
    np.testing.assert_array_equal(played.observations, [0, 1, 2] + [2] * 7)
    np.testing.assert_array_equal(played.rewards, [0, 0, 1] + [0] * 7)
    assert int(played.final_observation) == 3
    assert bool(played.episode.terminated)


def _rightwards():
    return de.problems.FunctionPolicy(
        init=lambda key, seen: jnp.zeros(()),
        apply=lambda weight, seen, carry: (jnp.array([0.0, 1.0]) + weight, carry),
    )


def test_recorded_episodes_of_one_problem_share_a_program():
    problem = Control(env=Pull())
    weights = problem.space.decode(problem.space.sample(KEY, 2))
    problem.play(KEY, jax.tree.map(lambda leaf: leaf[0], weights), record=True)
    other = jax.tree.map(lambda leaf: leaf[1], weights)
    with test_util.count_jit_compilation_cache_miss() as count:
        problem.play(KEY, other, record=True)
    assert count() == 0

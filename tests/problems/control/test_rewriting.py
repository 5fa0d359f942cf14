"""Programs that are rewritten, against the programs themselves."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import chex
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import diffevo_jax as de
from diffevo_jax.problems.control import environments, episode
from diffevo_jax.problems.control.rewriting import (
    compute_once,
    compute_trigonometry_once,
    observation_from_state,
)

#: Older releases of JAX have it in another place.
ENABLE_X64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

# The observation that the state has: environments of gymnax

SEEN = ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "FrozenLake-misc"]


@pytest.mark.parametrize("name", SEEN)
def test_the_observation_has_the_bits_of_the_reset_and_of_the_step(name) -> None:
    environment, env_params = gymnax.make(name)
    observe = jax.vmap(observation_from_state(environment, env_params), (0, None))
    reset = jax.vmap(environment.reset_env, (0, None))
    step = jax.vmap(environment.step_env, (0, 0, 0, None))

    @jax.jit
    def seen(keys: jax.Array) -> tuple[Any, Any]:
        first, env_state = reset(keys, env_params)
        actions = jax.vmap(environment.action_space(env_params).sample)(keys)
        second, env_state_2, *_ = step(keys, env_state, actions, env_params)
        return (first, env_state), (second, env_state_2)

    look = jax.jit(observe)
    for observation, env_state in seen(jax.random.split(jax.random.key(0), 256)):
        again = look(env_state, env_params)
        np.testing.assert_array_equal(again, observation)
        assert again.dtype == observation.dtype


# The observation that the state has: environments of our own


@struct.dataclass
class Params:
    gain: float = 2.0
    offset: float = 1.0


@struct.dataclass
class State:
    place: jax.Array
    speed: jax.Array


class Seen:
    """Moves a point; ``see(env_state, env_params, key, action, before)`` is what it shows.

    Args:
        see: after a step.
        first: after a reset; None is the same.
    """

    def __init__(self, see: Callable[..., Any], first: Callable[..., Any] | None = None):
        self.see, self.first = see, first or see

    def reset_env(self, key, env_params):
        env_state = State(jax.random.uniform(key, (3,)), jnp.ones(3))
        return self.first(env_state, env_params, key, 0, env_state), env_state

    def step_env(self, key, before, action, env_params):
        speed = 0.9 * before.speed + env_params.gain * action
        env_state = State(before.place + speed, speed)
        observation = self.see(env_state, env_params, key, action, before)
        return observation, env_state, jnp.zeros(()), jnp.zeros((), bool), {}

    def action_space(self, env_params):
        return gymnax.environments.spaces.Discrete(3)


def place(env_state, env_params, key, action, before):
    return env_params.offset + env_params.gain * env_state.place


def state() -> State:
    return State(jnp.arange(3.0), -jnp.arange(3.0))


OPEN: dict[str, Callable[..., Any]] = {
    "key": lambda s, p, key, a, b: s.place + jax.random.normal(key, (3,)),
    "action": lambda s, p, k, action, b: s.place + action,
    "state before": lambda s, p, k, a, before: s.place - before.place,
    "part on the key": lambda s, p, key, a, b: {
        "place": s.place,
        "noise": jax.random.normal(key),
    },
}


@pytest.mark.parametrize("see", OPEN.values(), ids=OPEN)
def test_what_depends_on_more_than_the_state_is_not_cut_out(see) -> None:
    assert observation_from_state(Seen(see), Params()) is None


FIRST: dict[str, Callable[..., Any]] = {
    "number": lambda s, p, *_: p.offset + p.gain * s.place + 1,
    "constant": lambda s, p, *_: p.offset + 1.5 * s.place,
    "zeros": lambda s, p, *_: jnp.zeros(3),
    "other field": lambda s, p, *_: p.offset + p.gain * s.speed,
    "other parameter": lambda s, p, *_: p.gain + p.offset * s.place,
    "key": lambda s, p, key, *_: p.offset + p.gain * jax.random.uniform(key, (3,)),
}


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_a_reset_that_shows_something_else_forbids_it(first) -> None:
    assert (
        observation_from_state(Seen(place), Params()) is not None
    )  # so that it is the reset
    assert observation_from_state(Seen(place, first), Params()) is None


def test_a_reset_with_another_constant_in_an_inner_program_forbids_it() -> None:
    def scaled(table: list[float]) -> Callable[..., Any]:
        inner = jax.jit(lambda place: place * np.float32(table))
        return lambda env_state, *_: inner(env_state.place)

    environment = Seen(scaled([1.0, 2.0, 3.0]), scaled([1.0, 2.0, 4.0]))
    assert observation_from_state(environment, Params()) is None


def test_a_zero_of_the_other_sign_in_a_constant_forbids_it() -> None:
    scaled = lambda zero: lambda env_state, *_: env_state.place * zero
    assert observation_from_state(Seen(scaled(0.0)), Params()) is not None
    assert observation_from_state(Seen(scaled(0.0), scaled(-0.0)), Params()) is None


def test_a_rule_of_differentiation_does_not_matter() -> None:
    # given an observation with a derivative of its own, which each trace makes anew
    see = lambda env_state, *_: jax.nn.relu(env_state.place - 1)
    observe = observation_from_state(Seen(see), Params())
    assert observe(state(), Params()).tolist() == [0.0, 0.0, 1.0]


def test_a_loop_in_an_observation_is_compared_by_what_it_does() -> None:
    def see(step: float) -> Callable[..., Any]:
        return lambda env_state, *_: jax.lax.fori_loop(
            0, 3, lambda i, place: place + step, env_state.place
        )

    assert observation_from_state(Seen(see(1.0), see(2.0)), Params()) is None
    observe = observation_from_state(Seen(see(1.0), see(1.0)), Params())
    assert observe(state(), Params()).tolist() == [3.0, 4.0, 5.0]


def test_the_observation_follows_the_parameters_it_is_given() -> None:
    observe = observation_from_state(Seen(place), Params())
    seen = jax.jit(observe)(state(), Params(gain=3.0, offset=-1.0))
    assert seen.tolist() == [-1.0, 2.0, 5.0]


@pytest.mark.parametrize("gain", [3, np.int32(3), np.float32(3), jnp.asarray(3)], ids=type)
def test_a_parameter_may_be_any_kind_of_number(gain) -> None:
    observe = observation_from_state(Seen(place), Params())
    assert jax.jit(observe)(state(), Params(gain=gain)).tolist() == [1.0, 4.0, 7.0]


def test_the_observation_may_be_a_tree() -> None:
    see = lambda s, p, *_: {"place": s.place, "both": (s.speed, p.gain * s.speed)}
    seen = observation_from_state(Seen(see), Params())(state(), Params())
    want = see(state(), Params())
    chex.assert_trees_all_equal(seen, want)


def test_copies_and_stopped_gradients_do_not_matter() -> None:
    see = lambda s, *_: jax.lax.stop_gradient(2 * s.place)
    observe = observation_from_state(
        Seen(see, lambda s, *_: jnp.copy(2 * s.place)), Params()
    )
    assert observe(state(), Params()).tolist() == [0.0, 2.0, 4.0]


def test_fields_that_share_an_array_keep_their_places() -> None:
    # given a step whose state has the same array in both fields
    class Twins(Seen):
        def step_env(self, key, before, action, env_params):
            env_state = State(before.place + action, before.place + action)
            return self.see(env_state, env_params), env_state, 0.0, False, {}

    for name in ("place", "speed"):
        see = lambda s, *_, name=name: 2 * getattr(s, name)
        observe = observation_from_state(Twins(see), Params())
        # then what is seen is the right field, or it is not cut out
        if observe is not None:
            want = [0.0, 2.0, 4.0] if name == "place" else [0.0, -2.0, -4.0]
            assert observe(state(), Params()).tolist() == want


def test_many_states_are_seen_at_once() -> None:
    observe = functools.partial(
        observation_from_state(Seen(place), Params()), env_params=Params()
    )
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), state())
    assert jax.vmap(observe)(states).tolist() == [[1.0, 3.0, 5.0], [1.0, 5.0, 9.0]]


# Results that are computed once


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int32, jnp.int8, jnp.uint8])
def test_what_is_kept_has_the_same_bits(dtype) -> None:
    result = jnp.array([0, 1, 2, 100, 127], dtype)
    kept = jax.jit(compute_once)(result, jnp.array([-5.0, 0.0, 1e30, -1e-30, 7.0]))
    assert kept.dtype == dtype
    np.testing.assert_array_equal(kept, result)


def test_signs_of_zero_and_the_ends_of_the_range_are_kept() -> None:
    result = np.array([-0.0, 0.0, 1.2e-38, -3e38], np.float32)
    kept = np.asarray(jax.jit(compute_once)(result, jnp.ones(4)))
    np.testing.assert_array_equal(kept.view(np.uint32), result.view(np.uint32))


def wave(x, scale=2.0):
    return {"a": jnp.sin(x) * jnp.cos(x + scale), "b": (jnp.tan(x), x)}


def test_a_function_keeps_its_values_and_their_structure() -> None:
    x = jnp.linspace(-3.0, 3.0, 50)
    got, wanted = jax.jit(compute_trigonometry_once(wave))(x), jax.jit(wave)(x)
    chex.assert_trees_all_equal(got, wanted)


def test_a_function_keeps_its_constants() -> None:
    table, x = np.float32([1.0, 2.0, 3.0]), jnp.array([0.1, 0.2, 0.3])
    function = lambda x: jnp.sin(x * table) + jax.jit(lambda x: x + table)(x)
    got, wanted = jax.jit(compute_trigonometry_once(function))(x), jax.jit(function)(x)
    chex.assert_trees_all_equal(got, wanted)


def test_infinities_give_nan_as_sine_does() -> None:
    assert np.isnan(compute_trigonometry_once(jnp.sin)(jnp.inf))


def test_every_sine_and_cosine_is_followed_by_one_division() -> None:
    equations = jax.make_jaxpr(compute_trigonometry_once(wave))(jnp.ones(3)).jaxpr.eqns
    names = [equation.primitive.name for equation in equations]
    assert names.count("div") == 3 == sum(name in ("sin", "cos", "tan") for name in names)


def test_it_can_be_mapped_and_differentiated() -> None:
    x = jnp.linspace(-1.0, 1.0, 5)
    np.testing.assert_array_equal(
        jax.vmap(compute_trigonometry_once(jnp.sin))(x), jnp.sin(x)
    )
    slope = jax.grad(lambda x: compute_trigonometry_once(jnp.sin)(x))(0.3)
    np.testing.assert_allclose(slope, np.cos(0.3), rtol=1e-6)


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"])
def test_an_environment_takes_the_same_steps(name, key) -> None:
    env, params = gymnax.make(name)
    _, state = env.reset_env(key, params)
    action = env.action_space(params).sample(key)
    move = lambda key, state, action: env.step_env(key, state, action, params)[:4]
    got = jax.jit(compute_trigonometry_once(move))(key, state, action)
    wanted = jax.jit(move)(key, state, action)
    chex.assert_trees_all_equal(got, wanted)


# The switch


def problem(max_steps: int = 8, **changes: Any) -> de.problems.Control:
    policy = de.problems.MLP((4,), "tanh")
    changes |= {"policy": policy, "max_steps": max_steps}
    return de.problems.Control("Pendulum-v1", **changes)


@jax.jit
def rewards(problem: de.problems.Control, key: jax.Array) -> jax.Array:
    weights = problem.space.decode(problem.space.sample(key, 64))
    return problem.evaluate(key, (), weights)[0].measures.total_reward


def test_without_rewriting_the_results_are_the_same_to_rounding(key) -> None:
    got, want = rewards(problem(rewrite=False), key), rewards(problem(), key)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_without_rewriting_nothing_is_rewritten() -> None:
    spec = problem(rewrite=False)._spec()
    assert spec.observe is None
    assert not spec.once


@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu"])
def test_results_are_computed_once_on_a_cpu_alone(backend, monkeypatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    spec = environments.episode_spec("Pendulum-v1", "space", 8, rewrite=True)
    assert spec.once == (backend == "cpu")
    assert spec.observe is not None


def test_a_lane_keeps_no_action_that_nothing_needs(key) -> None:
    spec = dataclasses.replace(problem()._spec(), once=False)
    lane = jax.eval_shape(
        lambda key: episode.begin(
            spec,
            problem()._context(()),
            jax.tree.map(lambda leaf: leaf[0], problem().space.decode(jnp.zeros((1, 21)))),
            jax.random.split(key),
        ),
        key,
    )
    assert lane.action is None


def test_without_the_division_the_episodes_are_the_same_to_rounding(
    key, monkeypatch
) -> None:
    want = rewards(problem(max_steps=9), key)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    again = jax.jit(lambda *arguments: rewards.__wrapped__(*arguments))  # traced anew
    got = again(problem(max_steps=9), key)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_traced_program_is_not_kept_for_other_dtypes() -> None:
    spec = functools.partial(environments.episode_spec, "CartPole-v1", "space", 9, True)
    assert spec() is spec()
    with ENABLE_X64(True):
        wide = spec()
        assert wide is spec()
    assert wide is not spec()

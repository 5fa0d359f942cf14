"""The observation that is cut out of a step, against the step itself."""

import functools
from collections.abc import Callable
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from diffevo_jax.problems.control.observing import observer

# Environments of gymnax

SEEN = ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "FrozenLake-misc"]


@pytest.mark.parametrize("name", SEEN)
def test_the_observation_has_the_bits_of_the_reset_and_of_the_step(name) -> None:
    environment, env_params = gymnax.make(name)
    observe = jax.vmap(observer(environment, env_params), (0, None))
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


# Environments of our own


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
    assert observer(Seen(see), Params()) is None


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
    assert observer(Seen(place), Params()) is not None  # so that it is the reset
    assert observer(Seen(place, first), Params()) is None


def test_a_reset_with_another_constant_in_an_inner_program_forbids_it() -> None:
    def scaled(table: list[float]) -> Callable[..., Any]:
        inner = jax.jit(lambda place: place * np.float32(table))
        return lambda env_state, *_: inner(env_state.place)

    environment = Seen(scaled([1.0, 2.0, 3.0]), scaled([1.0, 2.0, 4.0]))
    assert observer(environment, Params()) is None


def test_the_observation_follows_the_parameters_it_is_given() -> None:
    observe = observer(Seen(place), Params())
    seen = jax.jit(observe)(state(), Params(gain=3.0, offset=-1.0))
    assert seen.tolist() == [-1.0, 2.0, 5.0]


@pytest.mark.parametrize("gain", [3, np.int32(3), np.float32(3), jnp.asarray(3)], ids=type)
def test_a_parameter_may_be_any_kind_of_number(gain) -> None:
    observe = observer(Seen(place), Params())
    assert jax.jit(observe)(state(), Params(gain=gain)).tolist() == [1.0, 4.0, 7.0]


def test_the_observation_may_be_a_tree() -> None:
    see = lambda s, p, *_: {"place": s.place, "both": (s.speed, p.gain * s.speed)}
    seen = observer(Seen(see), Params())(state(), Params())
    want = see(state(), Params())
    jax.tree.map(np.testing.assert_array_equal, seen, want)
    assert jax.tree.structure(seen) == jax.tree.structure(want)


def test_copies_and_stopped_gradients_do_not_matter() -> None:
    see = lambda s, *_: jax.lax.stop_gradient(2 * s.place)
    observe = observer(Seen(see, lambda s, *_: jnp.copy(2 * s.place)), Params())
    assert observe(state(), Params()).tolist() == [0.0, 2.0, 4.0]


def test_fields_that_share_an_array_keep_their_places() -> None:
    # given a step whose state has the same array in both fields
    class Twins(Seen):
        def step_env(self, key, before, action, env_params):
            env_state = State(before.place + action, before.place + action)
            return self.see(env_state, env_params), env_state, 0.0, False, {}

    for name in ("place", "speed"):
        see = lambda s, *_, name=name: 2 * getattr(s, name)
        observe = observer(Twins(see), Params())
        # then what is seen is the right field, or it is not cut out
        if observe is not None:
            want = [0.0, 2.0, 4.0] if name == "place" else [0.0, -2.0, -4.0]
            assert observe(state(), Params()).tolist() == want


def test_many_states_are_seen_at_once() -> None:
    observe = functools.partial(observer(Seen(place), Params()), env_params=Params())
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), state())
    assert jax.vmap(observe)(states).tolist() == [[1.0, 3.0, 5.0], [1.0, 5.0, 9.0]]

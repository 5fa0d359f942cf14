"""Environments of our own, of different kinds, and of no class of gymnax but one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment as base
from gymnax.environments import spaces


@struct.dataclass
class NavState:
    place: jax.Array
    goal: jax.Array
    time: int


@struct.dataclass
class NavParams:
    max_steps_in_episode: int = 30
    speed: float = 0.2


class Nav(base.Environment):
    """Walk to a goal in the plane: an observation with names, continuous actions."""

    def __init__(self, size=1.0, wind=(0.0, 0.0)):
        super().__init__()
        self.size = size
        self.wind = jnp.asarray(wind)

    @property
    def default_params(self):
        return NavParams()

    def _seen(self, state):
        return {"to_goal": state.goal - state.place, "place": state.place}

    def reset_env(self, key, params):
        place, goal = jax.random.uniform(key, (2, 2), minval=-self.size, maxval=self.size)
        state = NavState(place, goal, 0)
        return self._seen(state), state

    def step_env(self, key, state, action, params):
        place = state.place + params.speed * action + self.wind
        state = NavState(place, state.goal, state.time + 1)
        distance = jnp.linalg.norm(state.goal - place)
        return self._seen(state), state, -distance, distance < 0.1, {}

    def observation_space(self, params):
        box = spaces.Box(-2 * self.size, 2 * self.size, (2,))
        return spaces.Dict({"place": box, "to_goal": box})

    def action_space(self, params):
        return spaces.Box(-1.0, 1.0, (2,))


class Rooms:
    """A corridor of rooms, of no base class: discrete in and out, no time limit."""

    def __init__(self, rooms=4, prize=1.0):
        self.rooms, self.prize = rooms, prize

    default_params: Any = ()

    def reset_env(self, key, params):
        return jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)

    def step_env(self, key, room, action, params):
        room = jnp.clip(room + 2 * action - 1, 0, self.rooms - 1)
        end = room == self.rooms - 1
        return room, room, jnp.where(end, self.prize, 0.0), end, {}

    def observation_space(self, params):
        return spaces.Discrete(self.rooms)

    def action_space(self, params):
        return spaces.Discrete(2)


class Spring(NamedTuple):
    x: jax.Array
    v: jax.Array


class Pull:
    """Hold a spring at rest: one continuous action; a tuple is seen, and noise is in it."""

    def __init__(self, stiffness=1.0):
        self.stiffness = stiffness
        self.steps = 20

    @property
    def default_params(self):
        return {"max_steps_in_episode": self.steps, "mass": 1.0}

    def reset_env(self, key, params):
        state = Spring(jax.random.uniform(key, (), minval=-1.0), jnp.zeros(()))
        return (state.x, state.v), state

    def step_env(self, key, state, action, params):
        force = action - self.stiffness * state.x + 0.01 * jax.random.normal(key)
        v = state.v + 0.1 * force / params["mass"]
        state = Spring(state.x + 0.1 * v, v)
        return (state.x, state.v), state, -(state.x**2), False, {}

    def observation_space(self, params):
        return spaces.Tuple((spaces.Box(-2.0, 2.0, ()), spaces.Box(-9.0, 9.0, ())))

    def action_space(self, params):
        return spaces.Box(-1.0, 1.0, ())

"""Episodes: one policy in one environment, until it ends."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree


@pytree.dataclass
class Episode:
    """What an episode came to.

    Attributes:
        total_reward: () sum of rewards until the end.
        length: () int32, steps taken.
        terminated: () bool, whether the environment ended it, not the time limit.
    """

    total_reward: jax.Array
    length: jax.Array
    terminated: jax.Array


def play(
    environment: Any,
    env_params: PyTree,
    act: Callable[[PyTree, PyTree], tuple[jax.Array, PyTree]],
    carry: PyTree,
    key: jax.Array,
    max_steps: int,
) -> Episode:
    """Play one episode with gymnax's own ``step_env``, which never resets by itself.

    Rewards after the end do not exist: the loop stops there, and under ``vmap`` a lane that
    has ended keeps what it had, even if its pole swings back up. The program stops when the
    last lane has ended.

    Args:
        environment: a gymnax environment.
        env_params: its parameters.
        act: ``act(observation, carry) -> (action, carry)``.
        carry: what ``act`` gets at first.
        key: a typed key: resets, and each step, get their own.
        max_steps: longest episode; a time limit of ``env_params`` also holds.
    """
    key_reset, key_steps = jax.random.split(key)
    observation, env_state = environment.reset_env(key_reset, env_params)
    zero = Episode(jnp.zeros((), float), jnp.zeros((), jnp.int32), jnp.zeros((), bool))

    def step(loop: PyTree) -> PyTree:
        observation, env_state, carry, episode, _ = loop
        action, carry = act(observation, carry)
        observation, env_state, reward, terminated, _ = environment.step_env(
            jax.random.fold_in(key_steps, episode.length), env_state, action, env_params
        )
        episode = Episode(
            total_reward=episode.total_reward + reward,
            length=episode.length + 1,
            terminated=jnp.asarray(terminated, bool),
        )
        over = episode.terminated | environment.is_truncated(env_state, env_params)
        return (
            observation,
            env_state,
            carry,
            episode,
            over | (episode.length >= max_steps),
        )

    start = (observation, env_state, carry, zero, jnp.zeros((), bool))
    start = _like(start, jax.eval_shape(step, start))
    return jax.lax.while_loop(lambda loop: ~loop[-1], step, start)[3]


def _like(tree: PyTree, shapes: PyTree) -> PyTree:
    """Cast leaves to given dtypes: resets and steps of some environments disagree."""
    return jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), tree, shapes)

"""brax environments, for :class:`diffevo_jax.problems.Control`, which knows them by name.

Needs the extra ``brax``. The name is ``"brax:"`` and brax's own, for example
``"brax:hopper"``; a second colon names the physics, as in ``"brax:hopper:spring"``, else
brax chooses. Rollouts, measures and policies are those of every other environment:

    problem = de.problems.Control("brax:inverted_pendulum", observation="running")

Observations have no bounds, so ``observation="running"`` is the scaling to take. An episode
ends where brax says that it is done, or after 1000 steps.
"""

from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax.base import PyTree
from diffevo_jax.pytree.records import extra

PREFIX = "brax:"
#: Longest episode where ``max_steps`` does not say less, as in brax's own training.
MAX_STEPS = 1000


class BraxEnvironment:
    """A brax environment with the members of a gymnax one that rollouts need.

    Args:
        environment: a brax environment without wrappers.
    """

    def __init__(self, environment: Any) -> None:
        from gymnax.environments import spaces

        size, actions = environment.observation_size, environment.action_size
        self.inner = environment
        self._observations = spaces.Box(-jnp.inf, jnp.inf, (size,))
        self._actions = spaces.Box(-1.0, 1.0, (actions,))

    @property
    def default_params(self) -> Any:
        """The time limit."""
        from gymnax.environments import environment as base

        return base.EnvParams(max_steps_in_episode=MAX_STEPS)

    def reset_env(self, key: jax.Array, env_params: PyTree) -> tuple[PyTree, PyTree]:
        """The first observation, and the state."""
        state = self.inner.reset(key)
        return state.obs, state

    def step_env(
        self, key: jax.Array, env_state: PyTree, action: jax.Array, env_params: PyTree
    ) -> tuple[PyTree, PyTree, jax.Array, jax.Array, dict[str, Any]]:
        """Observation, state, reward, whether it is done; nothing is random."""
        state = self.inner.step(env_state, action)
        return state.obs, state, state.reward, state.done > 0.5, {}

    def is_truncated(self, env_state: PyTree, env_params: PyTree) -> jax.Array:
        """False: the limit of the episode is that of the problem."""
        return jnp.zeros((), bool)

    def observation_space(self, env_params: PyTree) -> Any:
        """Numbers without bounds."""
        return self._observations

    def action_space(self, env_params: PyTree) -> Any:
        """Numbers in [-1, 1]."""
        return self._actions


def make(env_name: str) -> tuple[BraxEnvironment, Any]:
    """Build an environment and its parameters, of which there is only the time limit.

    Args:
        env_name: with its prefix.

    Raises:
        ImportError: brax is not installed.
        ValueError: brax has no such environment, or no such physics.
    """
    try:
        from brax import envs
    except ImportError as error:
        raise ImportError(f"env_name: {env_name} needs brax: {extra('brax')}") from error
    name, _, backend = env_name.removeprefix(PREFIX).partition(":")
    options = {"backend": backend} if backend else {}
    try:
        inner = envs.get_environment(name, **options)
    except KeyError as error:
        raise ValueError(
            f"env_name: got {env_name!r}, want a name that brax has"
        ) from error
    made = BraxEnvironment(inner)
    return made, made.default_params

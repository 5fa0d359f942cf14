"""Policies in gymnax environments: the reward of an episode is the fitness."""

import dataclasses
import difflib
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Evaluation, Policy, PyTree
from diffevo_jax.problems.policies import MLP
from diffevo_jax.problems.rollout import Episode, play
from diffevo_jax.problems.space import Space
from diffevo_jax.pytree import Number

OBSERVATIONS = ("space", "none")
#: Bounds beyond this count as +-1 when observations are normalised, as in the paper.
_UNBOUNDED = 1e3


@pytree.dataclass
class Control:
    """Maximise the mean total reward of a policy in a gymnax environment.

    The solutions are the policy's weights. Every individual plays ``num_episodes`` episodes
    from starts of its own, drawn afresh in every generation.

    Discrete actions are the argmax of the policy's output; continuous ones are ``tanh`` of
    it, stretched to the bounds of the action space (the output itself where there are no
    bounds).

    Args:
        env_name: a registered gymnax name, for example ``"CartPole-v1"``; static.
        policy: a policy: :class:`MLP`, or :class:`Policy` with functions of your own.
        env_params: parameters of the environment, a pytree; None takes its defaults.
        max_steps: longest episode; None takes the environment's default limit; static.
        num_episodes: episodes an individual plays in a generation, >= 1; static.
        observation: ``"space"`` normalises by the bounds of the observation space to zero
            mean and unit variance, ``sqrt(3) (2 (o - low) / (high - low) - 1)``, where
            bounds beyond 1000 count as 1; ``"none"`` leaves observations alone; static.
        scale: weights per unit deviation: the policies start as N(0, scale^2 I).

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Control("CartPole-v1", policy=de.problems.MLP((8,)))
        >>> problem.space.dim
        58
        >>> weights = problem.space.decode(problem.space.sample(jax.random.key(0), 4))
        >>> evaluation, _ = problem.evaluate(jax.random.key(1), (), weights)
        >>> evaluation.fitness.shape, evaluation.measures.length.shape
        ((4,), (4, 1))

    References:
        Lange, "gymnax", 2022; normalisation and settings: Zhang et al., 2024,
        arXiv:2410.02543, section 4.2.
    """

    env_name: str = pytree.static()
    policy: Policy = dataclasses.field(default_factory=MLP)
    env_params: PyTree = None
    max_steps: int | None = pytree.static(default=None)
    num_episodes: int = pytree.static(default=1)
    observation: str = pytree.static(default="space")
    scale: Number = pytree.number(default=1.0, above=0.0)

    @property
    def space(self) -> Space:
        """The space of the policy's weights, unbounded."""
        return Space(self._weights(), scale=self.scale)

    @property
    def episode_limit(self) -> int:
        """Longest episode, in steps."""
        if self.max_steps is not None:
            return self.max_steps
        return int(environment(self.env_name)[1].max_steps_in_episode)

    def check(self) -> None:
        """Raise if there is no such environment, or the policy does not fit it."""
        environment(self.env_name)
        pytree.check_count("Control.num_episodes", self.num_episodes)
        if self.observation not in OBSERVATIONS:
            raise ValueError(
                f"Control.observation: got {self.observation!r}, want one of {OBSERVATIONS}"
            )
        if self.max_steps is not None:
            pytree.check_count("Control.max_steps", self.max_steps)
        elif self.env_params is not None:
            limit = pytree.concrete(self.env_params.max_steps_in_episode)
            if limit is not None and limit > self.episode_limit:
                raise ValueError(
                    f"Control.max_steps: got None with a limit of {limit} in env_params, "
                    f"want max_steps={limit} (the loop is compiled for a fixed limit)"
                )
        self._check_policy()

    def init(self, key: jax.Array) -> tuple[()]:
        """No state."""
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: tuple[()], solutions: PyTree
    ) -> tuple[Evaluation, tuple[()]]:
        """Play N policies; measures are the episodes, :class:`Episode` of (N, E) arrays."""
        num_solutions = len(jax.tree.leaves(solutions)[0])
        keys = jax.random.split(key, (num_solutions, self.num_episodes))
        over_episodes = jax.vmap(self.play, in_axes=(0, None))
        episodes = jax.vmap(over_episodes)(keys, solutions)
        fitness = jnp.mean(episodes.total_reward, axis=1)
        return Evaluation(fitness=fitness, measures=episodes), problem_state

    def play(self, key: jax.Array, policy_params: PyTree) -> Episode:
        """Play one episode with one policy's weights."""
        env, _ = environment(self.env_name)
        env_params, policy = self._env_params(), self._policy()

        def act(observation: PyTree, carry: PyTree) -> tuple[jax.Array, PyTree]:
            output, carry = policy.apply(policy_params, self._normalise(observation), carry)
            return _to_action(output, env.action_space(env_params)), carry

        carry = policy.initial_carry()
        return play(env, env_params, act, carry, key, self.episode_limit)

    def _env_params(self) -> PyTree:
        return environment(self.env_name)[1] if self.env_params is None else self.env_params

    def _policy(self) -> Policy:
        """The policy; an MLP without a width of its own takes the environment's."""
        if isinstance(self.policy, MLP) and self.policy.num_outputs is None:
            env, _ = environment(self.env_name)
            shape = _output_shape(env.action_space(self._env_params()))
            return pytree.replace(self.policy, num_outputs=math.prod(shape))
        return self.policy

    def _observe(self, key: jax.Array) -> PyTree:
        env, _ = environment(self.env_name)
        return self._normalise(env.reset_env(key, self._env_params())[0])

    def _weights(self) -> PyTree:
        def init(key: jax.Array) -> PyTree:
            return self._policy().init(key, self._observe(key))

        return jax.eval_shape(init, jax.random.key(0))

    def _normalise(self, observation: PyTree) -> PyTree:
        if self.observation == "none":
            return observation
        env, _ = environment(self.env_name)
        return normalise(observation, env.observation_space(self._env_params()))

    def _check_policy(self) -> None:
        env, _ = environment(self.env_name)
        space = env.action_space(self._env_params())
        want = _output_shape(space)

        def output(key: jax.Array, weights: PyTree) -> Any:
            carry = self._policy().initial_carry()
            return self._policy().apply(weights, self._observe(key), carry)

        got, carry = jax.eval_shape(output, jax.random.key(0), self._weights())
        initial = jax.eval_shape(self._policy().initial_carry)
        if carry != initial:
            raise ValueError(f"Control.policy: got a carry of {carry}, want {initial}")
        shape = getattr(got, "shape", None)
        if shape is None or (shape != want and shape != (math.prod(want),)):
            raise ValueError(
                f"Control.policy: got an output of shape {shape}, want {want} "
                f"for {self.env_name}, whose actions are {space!r}"
            )


@functools.lru_cache
def environment(env_name: str) -> tuple[Any, Any]:
    """Build a gymnax environment once: the object and its default parameters.

    Raises:
        ValueError: the name is not registered (the message has the closest ones), or the
            environment cannot be built.
    """
    import gymnax  # here, not above: it pulls in pandas and seaborn

    if env_name not in gymnax.registered_envs:
        close = difflib.get_close_matches(env_name, gymnax.registered_envs, 3, 0.3)
        raise ValueError(
            f"env_name: got {env_name!r}, want a registered gymnax environment, "
            f"for example {', '.join(close or gymnax.registered_envs[:3])}"
        )
    try:
        with jax.ensure_compile_time_eval():
            return gymnax.make(env_name)
    except Exception as error:
        raise ValueError(
            f"env_name: {env_name} cannot be built here: {type(error).__name__}: {error}"
        ) from error


def normalise(observation: PyTree, space: Any) -> PyTree:
    """Scale observations by the bounds of their space to zero mean and unit variance.

    A uniform variable on the bounds gets unit variance. Bounds beyond 1000 count as +-1;
    where the bounds are equal the result is 0. Discrete observations become one-hot.

    Args:
        observation: as the environment gives it.
        space: its gymnax space: Box, Discrete, or Dict and Tuple of them.

    Returns:
        A pytree of float arrays.
    """
    children = getattr(space, "spaces", None)
    if isinstance(children, dict):
        return {name: normalise(observation[name], children[name]) for name in children}
    if children is not None:
        return tuple(map(normalise, observation, children))
    if hasattr(space, "n"):
        return jax.nn.one_hot(observation, space.n, dtype=float)
    low, high = (jnp.asarray(bound, dtype=float) for bound in (space.low, space.high))
    low = jnp.where(low < -_UNBOUNDED, -1.0, low)
    high = jnp.where(high > _UNBOUNDED, 1.0, high)
    width = jnp.where(high > low, high - low, 1.0)
    share = 2 * (jnp.asarray(observation, dtype=float) - low) / width - 1
    return jnp.where(high > low, math.sqrt(3) * share, 0.0)


def _output_shape(space: Any) -> tuple[int, ...]:
    """What a policy must put out for actions of this space."""
    if hasattr(space, "n"):
        return (int(space.n),)
    if hasattr(space, "spaces"):
        raise ValueError(f"env_name: got actions of {space!r}, want a Discrete or a Box")
    return tuple(space.shape)


def _to_action(output: jax.Array, space: Any) -> jax.Array:
    """Turn a policy's output into an action of the space."""
    if hasattr(space, "n"):
        return jnp.argmax(jnp.ravel(output)).astype(space.dtype)
    output = jnp.reshape(output, space.shape)
    low, high = (jnp.asarray(bound, dtype=float) for bound in (space.low, space.high))
    bounded = (low > -_UNBOUNDED) & (high < _UNBOUNDED)
    stretched = 0.5 * (low + high) + 0.5 * (high - low) * jnp.tanh(output)
    return jnp.where(bounded, stretched, output)

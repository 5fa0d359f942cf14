"""An episode: one policy plays in one environment until the end."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import Policy, PyTree
from diffevo_jax.problems.control import statistics
from diffevo_jax.problems.control.once import keep, once
from diffevo_jax.problems.control.statistics import Moments

#: Observations of at most so many numbers are checked one number at a time.
_UNROLLED = 32


@pytree.dataclass
class Episode:
    """What an episode came to.

    Attributes:
        total_reward: () sum of rewards until the end; NaN if an observation was not finite.
        length: () int32, steps taken.
        terminated: () bool, whether the environment ended it, not the time limit.
    """

    total_reward: jax.Array
    length: jax.Array
    terminated: jax.Array


#: The policy, the parameters of the environment (None for its defaults), and the moments
#: of the observations so far (None if nobody wants them).
Shared = tuple[Policy, PyTree, Moments | None]


@dataclasses.dataclass(frozen=True, eq=False)
class Game:
    """The rules of an episode; nothing in it is traced, and only itself is equal to it.

    Attributes:
        environment: a gymnax environment; its ``step_env`` never resets by itself.
        defaults: its default parameters, constants of the program.
        act: ``act(shared, policy_params, observation, carry) -> (action, carry)``.
        max_steps: longest episode; a time limit of the environment's parameters also holds.
        floats: ``floats(env_params, observation)``, the observation as moments are taken.
        observe: ``observe(env_state, env_params) -> observation`` if the state has all of
            it, so that it need not be kept; else None.
    """

    environment: Any
    defaults: PyTree
    act: Callable[[Shared, PyTree, PyTree, PyTree], tuple[jax.Array, PyTree]]
    max_steps: int
    floats: Callable[[PyTree, PyTree], PyTree] = lambda env_params, observation: observation
    observe: Callable[[PyTree, PyTree], PyTree] | None = None

    def resolve(self, shared: Shared) -> Shared:
        """Parameters that are not None."""
        policy, env_params, moments = shared
        return policy, self.defaults if env_params is None else env_params, moments


@pytree.dataclass
class Lane:
    """An episode under way.

    Attributes:
        observation: what the policy sees next; () if the state has it.
        env_state: state of the environment.
        carry: what the policy remembers.
        action: the last one taken.
        episode: what it has come to so far.
        over: () bool; from then on nothing else changes.
        moments: of the observations that the policy has seen; None if nobody wants them.
    """

    observation: PyTree
    env_state: PyTree
    carry: PyTree
    action: jax.Array
    episode: Episode
    over: jax.Array
    moments: Moments | None


def begin(game: Game, shared: Shared, policy_params: PyTree, keys: jax.Array) -> Lane:
    """Reset the environment; ``keys`` (2,) are for the reset and for the steps."""
    policy, env_params, moments = game.resolve(shared)
    observation, env_state = game.environment.reset_env(keys[0], env_params)
    carry = policy.initial_carry()
    rules = (policy, env_params, moments)
    action, _ = jax.eval_shape(game.act, rules, policy_params, observation, carry)
    if moments is not None:
        moments = statistics.nothing(game.floats(env_params, observation))
    lane = Lane(
        observation=observation if game.observe is None else (),
        env_state=env_state,
        carry=carry,
        action=jnp.zeros(action.shape, action.dtype),
        episode=Episode(
            jnp.zeros((), float), jnp.zeros((), jnp.int32), jnp.zeros((), bool)
        ),
        over=jnp.zeros((), bool),
        moments=moments,
    )
    # Numbers of a type of their own, as steps return them: one trace of step serves all.
    lane = jax.tree.map(_strong, lane)
    after = jax.eval_shape(
        functools.partial(step, game), shared, policy_params, keys[1], lane
    )
    if jax.tree.leaves(jax.eval_shape(lambda: lane)) != jax.tree.leaves(after):
        # Resets and steps of some environments disagree about dtypes, also of actions.
        follow = functools.partial(_next, game, shared, policy_params, keys[1])
        cast = lambda leaf, like: jnp.asarray(leaf, like.dtype)
        lane = jax.tree.map(cast, lane, jax.eval_shape(follow, lane))
        lane = jax.tree.map(cast, lane, jax.eval_shape(follow, lane))
    return lane


def _strong(leaf: Any) -> jax.Array:
    """With a dtype of its own, where a Python number takes that of its company."""
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf
    return jax.lax.convert_element_type(leaf, leaf.dtype)


@functools.partial(jax.jit, static_argnums=0)  # traced once for any number of lanes
def step(
    game: Game, shared: Shared, policy_params: PyTree, key: jax.Array, lane: Lane
) -> Lane:
    """Take one step of an episode; one that is over stays as it is.

    Args:
        game: the rules.
        shared: policy, parameters of the environment, moments of the observations.
        policy_params: weights of the policy.
        key: () of all steps; each folds in its number.
        lane: the episode under way.
    """
    after = _next(game, shared, policy_params, key, lane)
    return pytree.replace(pytree.select(lane.over, lane, after), action=after.action)


def _next(
    game: Game, shared: Shared, policy_params: PyTree, key: jax.Array, lane: Lane
) -> Lane:
    policy, env_params, moments = game.resolve(shared)
    seen = _observation(game, shared, lane)
    action, carry = game.act((policy, env_params, moments), policy_params, seen, lane.carry)
    action = keep(action, lane.action)
    key = jax.random.fold_in(key, lane.episode.length)
    move = lambda *state: game.environment.step_env(*state, env_params)
    observation, env_state, reward, terminated, _ = once(move)(key, lane.env_state, action)
    episode = Episode(
        # A simulation that breaks down never ends in most environments: it has failed.
        lane.episode.total_reward + jnp.where(_sound(seen), reward, jnp.nan),
        lane.episode.length + 1,
        jnp.asarray(terminated, bool),
    )
    over = episode.terminated | game.environment.is_truncated(env_state, env_params)
    if lane.moments is not None:
        moments = statistics.add(lane.moments, game.floats(env_params, seen))
    return Lane(
        observation=observation if game.observe is None else (),
        env_state=env_state,
        carry=carry,
        action=action,
        episode=episode,
        over=over | (episode.length >= game.max_steps),
        moments=moments,
    )


def end(game: Game, shared: Shared, lane: Lane) -> tuple[Episode, Moments | None]:
    """What the episode came to, which also depends on the last observation."""
    sound = _sound(_observation(game, shared, lane))
    total_reward = jnp.where(sound, lane.episode.total_reward, jnp.nan)
    return pytree.replace(lane.episode, total_reward=total_reward), lane.moments


def play(
    game: Game, shared: Shared, policy_params: PyTree, keys: jax.Array
) -> tuple[Episode, Moments | None]:
    """Play one episode: the definition.

    Rewards after the end do not exist: the loop stops there, and under ``vmap`` a lane that
    has ended keeps what it had, even if its pole swings back up.

    Args:
        game: the rules.
        shared: policy, parameters of the environment, moments of earlier observations.
        policy_params: weights of the policy.
        keys: (2,) typed keys, for the reset and for the steps.

    Returns:
        The episode, and the moments of its own observations, None if ``shared`` has none.
    """
    lane = jax.lax.while_loop(
        lambda lane: ~lane.over,
        lambda lane: step(game, shared, policy_params, keys[1], lane),
        begin(game, shared, policy_params, keys),
    )
    return end(game, shared, lane)


def _observation(game: Game, shared: Shared, lane: Lane) -> PyTree:
    if game.observe is None:
        return lane.observation
    return game.observe(lane.env_state, game.resolve(shared)[1])


def _sound(observation: PyTree) -> jax.Array:
    """Whether all numbers are finite."""
    sound = []
    for leaf in map(jnp.ravel, jax.tree.leaves(observation)):
        small = len(leaf) <= _UNROLLED  # small reductions do not fuse with what follows
        numbers = [leaf[i] for i in range(len(leaf))] if small else [leaf]
        sound += [jnp.all(jnp.isfinite(number)) for number in numbers]
    return functools.reduce(jnp.logical_and, sound)

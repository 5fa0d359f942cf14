"""An episode: one policy plays in one environment until the end."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from diffevo_jax import pytree
from diffevo_jax.base import Policy, PyTree
from diffevo_jax.compilation import arithmetic_of_others
from diffevo_jax.problems.control import statistics
from diffevo_jax.problems.control.spaces import UNROLLED, PlayedEnvironment
from diffevo_jax.problems.control.statistics import Moments


@pytree.dataclass
class Episode:
    """What an episode came to.

    Attributes:
        total_reward: () sum of rewards until the end; -inf if an observation is not finite.
        length: () int32, steps taken.
        terminated: () bool, whether the environment ended it, not the time limit.
    """

    total_reward: jax.Array
    length: jax.Array
    terminated: jax.Array


@pytree.dataclass
class Trajectory:
    """A whole episode, a step a row; T is the longest episode that the rules allow.

    After the end states, observations and actions stay those of the last step, and rewards
    are 0, so that pictures and sums need not ask.

    Attributes:
        states: leaves (T, ...): the environment's state before each step.
        observations: leaves (T, ...): of these states, as the environment gives them.
        actions: (T, ...) taken there, as the environment takes them.
        rewards: (T,) what they were worth.
        valid: (T,) bool, which rows are steps that were taken.
        final_state: the state after the last step.
        final_observation: of the final state.
        episode: what it came to; ``episode.length`` is how many rows are valid.
    """

    states: PyTree
    observations: PyTree
    actions: jax.Array
    rewards: jax.Array
    valid: jax.Array
    final_state: PyTree
    final_observation: PyTree
    episode: Episode

    @property
    def length(self) -> jax.Array:
        """() int32, steps taken."""
        return self.episode.length


class Rollout(NamedTuple):
    """An episode, and what was seen in it.

    Attributes:
        episode: what it came to.
        moments: of its observations; None if nobody wants them.
    """

    episode: Episode
    moments: Moments | None


class Context(NamedTuple):
    """What the episodes of a population have in common.

    Attributes:
        policy: who acts.
        env_params: parameters of the environment; None for its defaults.
        moments: of the observations of earlier generations; None if nobody wants them.
    """

    policy: Policy
    env_params: PyTree
    moments: Moments | None


@dataclasses.dataclass(frozen=True, eq=False)
class EpisodeSpec:
    """The rules of an episode; nothing in it is traced, and only itself is equal to it.

    Attributes:
        environment: a gymnax environment; its ``step_env`` never resets by itself.
        defaults: its default parameters, constants of the program.
        act: ``act(context, policy_params, observation, carry) -> (action, carry)``.
        max_steps: longest episode; a time limit of the environment's parameters also holds.
        floats: ``floats(env_params, observation)``, the observation as moments are taken.
        observe: ``observe(env_state, env_params) -> observation`` if the state has all of
            it, so that it need not be kept; else None.
        once: whether actions, sines and cosines are computed once, as pays on a CPU.
        fast: whether sines and cosines are polynomials then.
        draw: ``draw(key)``, the key that the environment gets: one that draws the same.
    """

    environment: PlayedEnvironment
    defaults: PyTree
    act: Callable[[Context, PyTree, PyTree, PyTree], tuple[jax.Array, PyTree]]
    max_steps: int
    floats: Callable[[PyTree, PyTree], PyTree] = lambda env_params, observation: observation
    observe: Callable[[PyTree, PyTree], PyTree] | None = None
    once: bool = False
    fast: bool = False
    draw: Callable[[jax.Array], jax.Array] = lambda key: key

    def resolve(self, context: Context) -> Context:
        """The context with parameters that are not None."""
        if context.env_params is not None:
            return context
        return context._replace(env_params=self.defaults)


@pytree.dataclass
class Lane:
    """An episode under way.

    Attributes:
        observation: what the policy sees next; () if the state has it.
        env_state: state of the environment.
        carry: what the policy remembers.
        action: the last one taken, as floats at hand, if ``spec.once``; else None.
        episode: what it has come to so far.
        done: () bool; from then on nothing else changes.
        moments: of the observations that the policy has seen; None if nobody wants them.
    """

    observation: PyTree
    env_state: PyTree
    carry: PyTree
    action: PyTree
    episode: Episode
    done: jax.Array
    moments: Moments | None


def begin(
    spec: EpisodeSpec, context: Context, policy_params: PyTree, keys: jax.Array
) -> Lane:
    """Reset the environment; ``keys`` (2,) are for the reset and for the steps."""
    resolved = spec.resolve(context)
    policy, env_params, moments = resolved
    observation, env_state = spec.environment.reset_env(spec.draw(keys[0]), env_params)
    carry, action = policy.initial_carry(), None
    if spec.once:
        like, _ = jax.eval_shape(spec.act, resolved, policy_params, observation, carry)
        action = jnp.zeros(like.shape, float)
    if moments is not None:
        moments = statistics.nothing(spec.floats(env_params, observation))
    lane = Lane(
        observation=observation if spec.observe is None else (),
        env_state=env_state,
        carry=carry,
        action=action,
        episode=Episode(
            jnp.zeros((), float), jnp.zeros((), jnp.int32), jnp.zeros((), bool)
        ),
        done=jnp.zeros((), bool),
        moments=moments,
    )
    # Numbers of a type of their own, as steps return them: one trace of step serves all.
    lane = jax.tree.map(_strong, lane)
    with arithmetic_of_others():  # before and after may have different dtypes
        after = jax.eval_shape(
            functools.partial(step, spec), context, policy_params, keys[1], lane
        )
    if jax.tree.leaves(jax.eval_shape(lambda: lane)) != jax.tree.leaves(after):
        # Resets and steps of some environments disagree about dtypes, also of actions.
        follow = functools.partial(_next, spec, context, policy_params, keys[1])
        cast = lambda leaf, like: jnp.asarray(leaf, like.dtype)
        lane = jax.tree.map(cast, lane, jax.eval_shape(follow, lane))
        lane = jax.tree.map(cast, lane, jax.eval_shape(follow, lane))
    return lane


def _strong(leaf: ArrayLike) -> jax.Array:
    """With a dtype of its own, where a Python number takes that of its company."""
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf
    return jax.lax.convert_element_type(leaf, leaf.dtype)


@functools.partial(jax.jit, static_argnums=0)  # traced once for any number of lanes
def step(
    spec: EpisodeSpec, context: Context, policy_params: PyTree, key: jax.Array, lane: Lane
) -> Lane:
    """Take one step of an episode; one that is done stays as it is.

    Args:
        spec: the rules.
        context: policy, parameters of the environment, moments of the observations.
        policy_params: weights of the policy.
        key: () of all steps; each folds in its number.
        lane: the episode under way.
    """
    after = _next(spec, context, policy_params, key, lane)
    return pytree.replace(pytree.select(lane.done, lane, after), action=after.action)


def _next(
    spec: EpisodeSpec, context: Context, policy_params: PyTree, key: jax.Array, lane: Lane
) -> Lane:
    return _moved(spec, context, policy_params, key, lane)[0]


def _moved(
    spec: EpisodeSpec, context: Context, policy_params: PyTree, key: jax.Array, lane: Lane
) -> tuple[Lane, jax.Array, jax.Array]:
    """The lane after a step, the action that was taken, and its reward."""
    resolved = spec.resolve(context)
    _, env_params, moments = resolved
    seen = _observation(spec, context, lane)
    action, carry = spec.act(resolved, policy_params, seen, lane.carry)
    move = lambda key, env_state, action: spec.environment.step_env(
        key, env_state, action, env_params
    )
    if spec.once:
        # Here, not above: it reads programs by what brings Pallas.
        from diffevo_jax.problems.control.rewriting import (
            compute_trigonometry_once,
            divided,
        )

        taken = divided(action, lane.action)
        move = compute_trigonometry_once(move, spec.fast)
        action = taken.astype(action.dtype)
    key = jax.random.fold_in(spec.draw(key), lane.episode.length)
    observation, env_state, reward, terminated, _ = move(key, lane.env_state, action)
    reward = jnp.asarray(reward, float)
    episode = Episode(
        # A simulation that breaks down never ends in most environments: it has failed.
        lane.episode.total_reward + jnp.where(_all_finite(seen), reward, -jnp.inf),
        lane.episode.length + 1,
        jnp.asarray(terminated, bool),
    )
    done = episode.terminated | spec.environment.is_truncated(env_state, env_params)
    if lane.moments is not None:
        moments = statistics.add(lane.moments, spec.floats(env_params, seen))
    after = Lane(
        observation=observation if spec.observe is None else (),
        env_state=env_state,
        carry=carry,
        action=taken if spec.once else None,
        episode=episode,
        done=done | (episode.length >= spec.max_steps),
        moments=moments,
    )
    return after, action, reward


def end(spec: EpisodeSpec, context: Context, lane: Lane) -> Rollout:
    """What the episode came to, which also depends on the last observation."""
    finite = _all_finite(_observation(spec, context, lane))
    total_reward = jnp.where(finite, lane.episode.total_reward, -jnp.inf)
    return Rollout(pytree.replace(lane.episode, total_reward=total_reward), lane.moments)


def play(
    spec: EpisodeSpec, context: Context, policy_params: PyTree, keys: jax.Array
) -> Rollout:
    """Play one episode: the definition.

    Rewards after the end do not exist: the loop stops there, and under ``vmap`` a lane that
    has ended keeps what it had, even if its pole swings back up.

    Args:
        spec: the rules.
        context: policy, parameters of the environment, moments of earlier observations.
        policy_params: weights of the policy.
        keys: (2,) typed keys, for the reset and for the steps.

    Returns:
        The episode, and the moments of its own observations, None if ``context`` has none.
    """
    lane = jax.lax.while_loop(
        lambda lane: ~lane.done,
        lambda lane: step(spec, context, policy_params, keys[1], lane),
        begin(spec, context, policy_params, keys),
    )
    return end(spec, context, lane)


@functools.partial(jax.jit, static_argnums=0)
def play_recorded(
    spec: EpisodeSpec, context: Context, policy_params: PyTree, keys: jax.Array
) -> Trajectory:
    """Play one episode as :func:`play` does, and keep what happens in it.

    Args:
        spec: the rules.
        context: policy, parameters of the environment, moments of earlier observations.
        policy_params: weights of the policy.
        keys: (2,) typed keys, for the reset and for the steps.
    """

    def one(lane: Lane) -> tuple[Lane, PyTree]:
        seen = _observation(spec, context, lane)
        after, action, reward = _moved(spec, context, policy_params, keys[1], lane)
        return after, (lane.env_state, seen, action, reward)

    def keep(now: tuple[Lane, PyTree]) -> tuple[Lane, PyTree]:
        lane, kept = now
        after, row = one(lane)
        put = lambda rows, row: rows.at[lane.episode.length].set(row)
        return after, jax.tree.map(put, kept, row)

    start = begin(spec, context, policy_params, keys)
    _, row = one(start)  # for its shapes; keys have no zeros
    rows = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (spec.max_steps, *jnp.shape(leaf))), row
    )
    lane, kept = jax.lax.while_loop(lambda now: ~now[0].done, keep, (start, rows))
    steps, length = jnp.arange(spec.max_steps), lane.episode.length
    last = jnp.minimum(steps, length - 1)
    states, observations, actions, rewards = jax.tree.map(lambda rows: rows[last], kept)
    return Trajectory(
        states=states,
        observations=observations,
        actions=actions,
        rewards=jnp.where(steps < length, rewards, 0.0),
        valid=steps < length,
        final_state=lane.env_state,
        final_observation=_observation(spec, context, lane),
        episode=end(spec, context, lane).episode,
    )


def _observation(spec: EpisodeSpec, context: Context, lane: Lane) -> PyTree:
    if spec.observe is None:
        return lane.observation
    return spec.observe(lane.env_state, spec.resolve(context)[1])


def _all_finite(observation: PyTree) -> jax.Array:
    """Whether all numbers are finite."""
    finite = []
    for leaf in map(jnp.ravel, jax.tree.leaves(observation)):
        small = len(leaf) <= UNROLLED  # small reductions do not fuse with what follows
        numbers = [leaf[i] for i in range(len(leaf))] if small else [leaf]
        finite += [jnp.all(jnp.isfinite(number)) for number in numbers]
    return functools.reduce(jnp.logical_and, finite)

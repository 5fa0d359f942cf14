"""Episodes: one policy in one environment is a lane, and lanes step together.

:func:`play` defines an episode. :func:`play_lanes` plays many with the same results: the
lanes that still live are gathered into ever smaller programs of fixed size, so that a
population of which most fall early costs little more than the steps that are taken. Under
``vmap`` over runs the run axis joins the lanes, so that nothing is lost there.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from diffevo_jax import pytree
from diffevo_jax.base import Policy, PyTree

#: Lanes that a CPU plays together, in its cache; accelerators take all.
CPU_LANES = 1024
#: Each program of the ladder has so many times fewer lanes than the one before ...
SHRINK = 8
#: ... and the smallest at least so many.
SMALLEST = 32


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


#: The policy and the parameters of the environment, None for its defaults.
Shared = tuple[Policy, PyTree]


class Game(NamedTuple):
    """The rules of an episode; nothing in it is traced.

    Attributes:
        environment: a gymnax environment; its ``step_env`` never resets by itself.
        defaults: its default parameters, constants of the program.
        act: ``act(shared, policy_params, observation, carry) -> (action, carry)``.
        max_steps: longest episode; a time limit of the environment's parameters also holds.
    """

    environment: Any
    defaults: PyTree
    act: Callable[[Shared, PyTree, PyTree, PyTree], tuple[jax.Array, PyTree]]
    max_steps: int

    def resolve(self, shared: Shared) -> Shared:
        """The policy, and parameters that are not None."""
        policy, env_params = shared
        return policy, self.defaults if env_params is None else env_params


@pytree.dataclass
class Lane:
    """An episode under way.

    Attributes:
        observation: what the policy sees next.
        env_state: state of the environment.
        carry: what the policy remembers.
        key: () of the steps; each step folds in its number.
        episode: what it has come to so far.
        over: () bool.
    """

    observation: PyTree
    env_state: PyTree
    carry: PyTree
    key: jax.Array
    episode: Episode
    over: jax.Array


def begin(game: Game, shared: Shared, policy_params: PyTree, keys: jax.Array) -> Lane:
    """Reset the environment."""
    policy, env_params = game.resolve(shared)
    key_reset, key_steps = keys
    observation, env_state = game.environment.reset_env(key_reset, env_params)
    carry = policy.initial_carry()
    nothing = Episode(jnp.zeros((), float), jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    lane = Lane(observation, env_state, carry, key_steps, nothing, jnp.zeros((), bool))
    after = jax.eval_shape(lambda: step(game, shared, policy_params, lane))
    # Resets and steps of some environments disagree about dtypes.
    return jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), lane, after)


def step(game: Game, shared: Shared, policy_params: PyTree, lane: Lane) -> Lane:
    """Take one step of an episode; one that is over keeps what it came to."""
    environment, episode = game.environment, lane.episode
    policy, env_params = game.resolve(shared)
    action, carry = game.act(
        (policy, env_params), policy_params, lane.observation, lane.carry
    )
    observation, env_state, reward, terminated, _ = environment.step_env(
        jax.random.fold_in(lane.key, episode.length), lane.env_state, action, env_params
    )
    # A simulation that breaks down never ends in most environments: it has failed.
    sound = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(observation)]
    reward = jnp.where(functools.reduce(jnp.logical_and, sound), reward, jnp.nan)
    after = Episode(
        total_reward=episode.total_reward + reward,
        length=episode.length + 1,
        terminated=jnp.asarray(terminated, bool),
    )
    over = after.terminated | environment.is_truncated(env_state, env_params)
    over |= after.length >= game.max_steps
    after = pytree.select(lane.over, episode, after)
    return Lane(observation, env_state, carry, lane.key, after, over | lane.over)


def play(game: Game, shared: Shared, policy_params: PyTree, keys: jax.Array) -> Episode:
    """Play one episode: the definition.

    Rewards after the end do not exist: the loop stops there, and under ``vmap`` a lane that
    has ended keeps what it had, even if its pole swings back up.

    Args:
        game: the rules.
        shared: the policy and the parameters of the environment.
        policy_params: weights of the policy.
        keys: (2,) typed keys, for the reset and for the steps.
    """
    lane = jax.lax.while_loop(
        lambda lane: ~lane.over,
        lambda lane: step(game, shared, policy_params, lane),
        begin(game, shared, policy_params, keys),
    )
    return lane.episode


def play_lanes(
    game: Game, shared: Shared, policy_params: PyTree, keys: jax.Array
) -> Episode:
    """Play many episodes: the same as ``vmap`` of :func:`play`, faster.

    Args:
        game: the rules.
        shared: the policy and the parameters of the environment.
        policy_params: weights; leaves (L, ...), one policy a lane.
        keys: (L, 2) typed keys.

    Returns:
        Episodes, leaves (L,).
    """
    return _lanes(game, None)(shared, policy_params, keys)


def _lanes(game: Game, axis: int | None) -> Callable[..., Episode]:
    """:func:`_play_chunks`, which under ``vmap`` takes the new axis into the lanes.

    Args:
        game: the rules.
        axis: 0 if every lane has a shared part of its own, None if all have the same.
    """

    @custom_vmap
    def lanes(shared: Shared, policy_params: PyTree, keys: jax.Array) -> Episode:
        return _play_chunks(game, axis, shared, policy_params, keys)

    @lanes.def_vmap
    def over_runs(runs: int, batched: Any, *args: Any) -> tuple[Episode, Episode]:
        num_lanes = args[2].shape[-2]
        own = axis == 0 or any(jax.tree.leaves(batched[0]))
        lacks = [axis is None, False, False]  # arguments without a lane axis

        def flat(leaf: jax.Array, has_runs: bool, lacks_lanes: bool) -> jax.Array:
            leaf = leaf if has_runs else jnp.broadcast_to(leaf, (runs, *jnp.shape(leaf)))
            if lacks_lanes:
                leaf = jnp.repeat(leaf[:, None], num_lanes, axis=1)
            return leaf.reshape(runs * num_lanes, *leaf.shape[2:])

        flattened = [
            jax.tree.map(lambda leaf, has, lack=lack: flat(leaf, has, lack), arg, has)
            for arg, has, lack in zip(args, batched, lacks, strict=True)
        ]
        shared = flattened[0] if own else args[0]
        episodes = _lanes(game, 0 if own else None)(shared, *flattened[1:])
        split = lambda leaf: leaf.reshape(runs, num_lanes)
        return jax.tree.map(split, episodes), jax.tree.map(lambda _: True, episodes)

    return lanes


def _play_chunks(
    game: Game, axis: int | None, shared: Shared, policy_params: PyTree, keys: Any
) -> Episode:
    """Play lanes in chunks that fit the cache of a CPU, or all together elsewhere."""
    num_lanes = len(keys)
    limit = CPU_LANES if jax.default_backend() == "cpu" else num_lanes
    chunks = math.ceil(num_lanes / limit)
    size = math.ceil(num_lanes / chunks)
    if chunks == 1:
        return _climb(game, axis, shared, policy_params, keys)
    # The last chunk is filled up with repetitions of the last lane.
    index = jnp.minimum(jnp.arange(chunks * size), num_lanes - 1).reshape(chunks, size)

    def chunk(rows: jax.Array) -> Episode:
        take = lambda tree: jax.tree.map(lambda leaf: leaf[rows], tree)
        own = shared if axis is None else take(shared)
        return _climb(game, axis, own, take(policy_params), keys[rows])

    episodes = jax.lax.map(chunk, index)
    return jax.tree.map(lambda leaf: leaf.reshape(-1)[:num_lanes], episodes)


def _climb(
    game: Game, axis: int | None, shared: Shared, policy_params: PyTree, keys: Any
) -> Episode:
    """Step lanes together; when few are left, go on with these in a smaller program."""
    start = jax.vmap(functools.partial(begin, game), in_axes=(axis, 0, 0))
    advance = jax.vmap(functools.partial(step, game), in_axes=(axis, 0, 0))
    lanes, index = start(shared, policy_params, keys), jnp.arange(len(keys))
    final = lanes.episode
    for smaller in (*_rungs(len(keys)), 0):
        lanes = jax.lax.while_loop(
            functools.partial(_more_live_than, smaller),
            functools.partial(advance, shared, policy_params),
            lanes,
        )
        final = jax.tree.map(lambda f, row, i=index: f.at[i].set(row), final, lanes.episode)
        living = jnp.argsort(lanes.over, stable=True)[:smaller]
        take = lambda tree, i=living: jax.tree.map(lambda leaf: leaf[i], tree)
        lanes, policy_params, index = take((lanes, policy_params, index))
        shared = shared if axis is None else take(shared)
    return final


def _more_live_than(count: int, lanes: Lane) -> jax.Array:
    return jnp.sum(~lanes.over) > count


def _rungs(num_lanes: int) -> list[int]:
    """Sizes of the smaller programs."""
    sizes = itertools.accumulate(
        itertools.repeat(SHRINK), lambda n, k: n // k, initial=num_lanes
    )
    return list(itertools.takewhile(lambda size: size >= SMALLEST, sizes))[1:]

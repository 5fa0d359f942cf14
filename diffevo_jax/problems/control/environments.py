"""gymnax environments as games: built once, observations scaled, outputs made actions."""

import difflib
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.problems.control import brax, statistics
from diffevo_jax.problems.control.episode import Game, Shared
from diffevo_jax.problems.control.observing import observer

#: Bounds beyond this count as +-1 when observations are normalised, as in the paper.
_UNBOUNDED = 1e3
#: The largest of at most so many outputs is found by comparing one after the other.
_UNROLLED = 32


@functools.lru_cache
def environment(env_name: str) -> tuple[Any, Any]:
    """Build an environment once: the object and its default parameters.

    Args:
        env_name: a gymnax name; or one of brax, see :mod:`diffevo_jax.interop.brax`.

    Raises:
        ImportError: it is one of brax, which is not installed.
        ValueError: the name is not registered (the message has the closest ones), or the
            environment cannot be built.
    """
    if env_name.startswith(brax.PREFIX):
        with jax.ensure_compile_time_eval():
            return brax.make(env_name)
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


def game(env_name: str, scaling: str, max_steps: int) -> Game:
    """The rules of an episode; one object for one set of rules, so that it traces once.

    Args:
        env_name: a gymnax name.
        scaling: of the observations; see :class:`Control`.
        max_steps: longest episode.
    """
    # The game holds a traced program, and a trace belongs to the mesh it was made for.
    return _game(env_name, scaling, max_steps, jax.sharding.get_abstract_mesh())


@functools.cache
def _game(env_name: str, scaling: str, max_steps: int, mesh: Any) -> Game:
    env, defaults = environment(env_name)

    def floats(env_params: PyTree, observation: PyTree) -> PyTree:
        return as_floats(observation, env.observation_space(env_params))

    def act(
        shared: Shared, policy_params: PyTree, observation: PyTree, carry: PyTree
    ) -> tuple[jax.Array, PyTree]:
        policy, env_params, moments = shared
        if scaling == "space":
            observation = normalise(observation, env.observation_space(env_params))
        elif moments is not None:
            observation = statistics.standardise(moments, floats(env_params, observation))
        output, carry = policy.apply(policy_params, observation, carry)
        return to_action(output, env.action_space(env_params)), carry

    return Game(env, defaults, act, max_steps, floats, observer(env, defaults))


def check_params(env_name: str, params: PyTree | None, max_steps: int | None) -> None:
    """Raise if parameters are not those of the environment, or fit no step limit.

    Args:
        env_name: a gymnax name.
        params: all of its parameters; None for the defaults.
        max_steps: longest episode; None for the default limit.
    """
    _, defaults = environment(env_name)
    used = defaults if params is None else params
    structures: list[Any] = [jax.tree.structure(each) for each in (used, defaults)]
    if structures[0] != structures[1]:
        raise TypeError(
            f"Control.env_params: got {structures[0]}, want {structures[1]}, for "
            "example the default parameters with .replace(...)"
        )
    for leaf in map(pytree.concrete, jax.tree.leaves(params)):
        if leaf is not None and not np.isfinite(leaf).all():
            raise ValueError(f"Control.env_params: got {leaf}, want finite numbers")
    limit = pytree.concrete(used.max_steps_in_episode)
    if limit is None:
        return
    if max_steps is None and limit > defaults.max_steps_in_episode:
        raise ValueError(
            f"Control.max_steps: got None with a limit of {limit} in env_params, "
            f"want max_steps={limit} (the loop is compiled for a fixed limit)"
        )
    if max_steps is not None and max_steps > limit:
        raise ValueError(
            f"Control.max_steps: got {max_steps}, want at most {limit}, the limit "
            f"of {env_name}; more needs env_params with max_steps_in_episode"
        )


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
    return _map_boxes(_by_bounds, observation, space)


def as_floats(observation: PyTree, space: Any) -> PyTree:
    """Observations as float arrays, discrete ones one-hot; see :func:`normalise`."""
    return _map_boxes(lambda box, _: jnp.asarray(box, dtype=float), observation, space)


def _map_boxes(
    function: Callable[[jax.Array, Any], jax.Array], observation: PyTree, space: Any
) -> PyTree:
    children = getattr(space, "spaces", None)
    each = functools.partial(_map_boxes, function)
    if isinstance(children, dict):
        return {name: each(observation[name], children[name]) for name in children}
    if children is not None:
        return tuple(map(each, observation, children))
    if hasattr(space, "n"):
        return jax.nn.one_hot(observation, space.n, dtype=float)
    return function(observation, space)


def _by_bounds(box: jax.Array, space: Any) -> jax.Array:
    low, high = (jnp.asarray(bound, dtype=float) for bound in (space.low, space.high))
    low = jnp.where(low < -_UNBOUNDED, -1.0, low)
    high = jnp.where(high > _UNBOUNDED, 1.0, high)
    low, high = jnp.broadcast_to(low, box.shape), jnp.broadcast_to(high, box.shape)

    def scale(number: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        width = jnp.where(high > low, high - low, 1.0)
        share = 2 * (number - low) / width - 1
        return jnp.where(high > low, math.sqrt(3) * share, 0.0)

    return written_out(scale, jnp.asarray(box, dtype=float), low, high)


def written_out(function: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """Apply an elementwise function, to each number by itself where there are few.

    XLA takes numbers out of a vector that has been put together of them, and so joins what
    makes them and what uses them into one kernel.
    """
    if not 0 < arrays[0].size <= _UNROLLED:
        return function(*arrays)
    numbers = zip(*(jnp.ravel(array) for array in arrays), strict=True)
    return jnp.stack([function(*each) for each in numbers]).reshape(arrays[0].shape)


def output_shape(space: Any) -> tuple[int, ...]:
    """What a policy must put out for actions of this space."""
    if hasattr(space, "n"):
        return (int(space.n),)
    if hasattr(space, "spaces"):
        raise ValueError(f"env_name: got actions of {space!r}, want a Discrete or a Box")
    return tuple(space.shape)


def to_action(output: jax.Array, space: Any) -> jax.Array:
    """Turn a policy's output into an action of the space."""
    if hasattr(space, "n"):
        return _argmax(jnp.ravel(output)).astype(space.dtype)
    output = jnp.reshape(output, space.shape)
    low, high = (jnp.asarray(bound, dtype=float) for bound in (space.low, space.high))
    bounded = (low > -_UNBOUNDED) & (high < _UNBOUNDED)
    stretched = 0.5 * (low + high) + 0.5 * (high - low) * jnp.tanh(output)
    return jnp.where(bounded, stretched, output)


def _argmax(output: jax.Array) -> jax.Array:
    """Index of the first largest number; a few are written out, so that they fuse."""
    if len(output) > _UNROLLED:
        return jnp.argmax(output)
    index, largest = jnp.zeros((), jnp.int32), output[0]
    for i in range(1, len(output)):
        index = jnp.where(output[i] > largest, i, index)
        largest = jnp.maximum(largest, output[i])
    return index

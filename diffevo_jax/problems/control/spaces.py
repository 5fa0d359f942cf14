"""What an environment shows and takes: its members, its spaces, and a policy's numbers.

Observations are scaled by the bounds of their space (:func:`normalise`), and the outputs of
a policy become actions of another (:func:`to_action`).
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.dtypes import canonicalize_dtype
from jax.typing import ArrayLike, DTypeLike

from diffevo_jax.base import PyTree
from diffevo_jax.problems.layout import as_dtype
from diffevo_jax.pytree.annotations import checked

#: Bounds beyond this count as +-1 when observations are normalised, as in the paper.
_UNBOUNDED = 1e3
#: Bounds beyond this are no bounds, such as the largest float and infinity.
_ENDLESS = 1e30
#: Arrays of at most so many numbers are computed one number at a time, so that XLA joins
#: what makes the numbers and what uses them into one kernel.
UNROLLED = 32


@runtime_checkable
class Discrete(Protocol):
    """The numbers 0 to ``n - 1``."""

    n: int
    dtype: type[np.integer] | np.dtype

    def sample(self, key: jax.Array, /) -> jax.Array:
        """Draw one."""
        ...


@runtime_checkable
class Box(Protocol):
    """Arrays of one shape and dtype, between bounds that broadcast to the shape."""

    low: ArrayLike
    high: ArrayLike
    shape: tuple[int, ...]
    dtype: DTypeLike

    def sample(self, key: jax.Array, /) -> jax.Array:
        """Draw one."""
        ...


@runtime_checkable
class Compound(Protocol):
    """A dictionary or a tuple of spaces."""

    spaces: "Mapping[str, EnvSpace] | Sequence[EnvSpace]"

    def sample(self, key: jax.Array, /) -> PyTree:
        """Draw one."""
        ...


#: The spaces of gymnax, by what they have.
EnvSpace = Discrete | Box | Compound


@runtime_checkable
class Environment(Protocol):
    """What an environment must have: gymnax's interface, without what resets by itself.

    ``is_truncated(env_state, env_params)``, whether the time limit of the parameters is
    reached, is asked for if it is there.
    """

    @property
    def default_params(self) -> PyTree:
        """Its parameters, a pytree of numbers; () if there are none."""
        ...

    def reset_env(self, key: jax.Array, env_params: PyTree, /) -> tuple[PyTree, PyTree]:
        """The first observation, and the state."""
        ...

    def step_env(
        self, key: jax.Array, env_state: PyTree, action: PyTree, env_params: PyTree, /
    ) -> tuple[PyTree, PyTree, jax.Array, jax.Array, dict[str, Any]]:
        """Observation, state, reward, whether it is terminated, and what else there is."""
        ...

    def observation_space(self, env_params: PyTree, /) -> EnvSpace:
        """The space of observations."""
        ...

    def action_space(self, env_params: PyTree, /) -> EnvSpace:
        """The space of actions."""
        ...


class PlayedEnvironment(Environment, Protocol):
    """What rollouts need; see :func:`diffevo_jax.problems.control.environment`."""

    def is_truncated(self, env_state: PyTree, env_params: PyTree, /) -> jax.Array:
        """Whether the time limit of the parameters is reached."""
        ...


@checked
def normalise(observation: PyTree, space: EnvSpace) -> PyTree:
    """Scale observations by the bounds of their space to zero mean and unit variance.

    A uniform variable on the bounds gets unit variance. Bounds beyond 1000 count as +-1,
    as long as that leaves an interval of 1 or more; where it does not, as in [100, 5000],
    they count as they are, and an end that there is not is one beyond the other, as 2 in
    [1, inf). Where the bounds are equal the result is 0. Discrete observations become
    one-hot.

    Args:
        observation: as the environment gives it.
        space: its gymnax space: Box, Discrete, or Dict and Tuple of them.

    Returns:
        A pytree of float arrays.

    Example:
        >>> import jax.numpy as jnp
        >>> from gymnax.environments.spaces import Box, Discrete
        >>> from diffevo_jax.problems import control
        >>> control.normalise(1, Discrete(3)).tolist()
        [0.0, 1.0, 0.0]
        >>> ends = control.normalise(jnp.array([-2.0, 2.0]), Box(-2.0, 2.0, (2,)))
        >>> [f"{end:.3f}" for end in ends]  # sqrt(3) from the middle
        ['-1.732', '1.732']
    """
    return _map_boxes(_by_bounds, observation, space)


def as_floats(observation: PyTree, space: EnvSpace) -> PyTree:
    """Observations as float arrays, discrete ones one-hot; see :func:`normalise`."""
    return _map_boxes(lambda box, _: jnp.asarray(box, dtype=float), observation, space)


def _map_boxes(
    function: Callable[[jax.Array, Box], jax.Array], observation: PyTree, space: EnvSpace
) -> PyTree:
    if isinstance(space, Compound):
        children = space.spaces
        each = functools.partial(_map_boxes, function)
        if isinstance(children, Mapping):
            return {name: each(observation[name], children[name]) for name in children}
        return tuple(map(each, observation, children))
    if isinstance(space, Discrete):
        return jax.nn.one_hot(observation, space.n, dtype=float)
    return function(observation, space)


def _by_bounds(box: jax.Array, space: Box) -> jax.Array:
    low, high = (jnp.broadcast_to(end, box.shape) for end in _interval(space))

    def scale(number: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        width = jnp.where(high > low, high - low, 1.0)
        scaled = 2 * (number - low) / width - 1
        return jnp.where(high > low, math.sqrt(3) * scaled, 0.0)

    return _unrolled(scale, jnp.asarray(box, dtype=float), low, high)


def _interval(space: Box) -> tuple[jax.Array, jax.Array]:
    """The ends of what observations are scaled by."""
    low, high = (jnp.asarray(bound, dtype=float) for bound in (space.low, space.high))
    near_low = jnp.where(low < -_UNBOUNDED, -1.0, low)
    near_high = jnp.where(high > _UNBOUNDED, 1.0, high)
    moved = (near_low != low) | (near_high != high)
    narrow = moved & (near_high - near_low < 1.0) & (low < high)
    below = jnp.where(low < -_ENDLESS, high - 1.0, low)
    above = jnp.where(high > _ENDLESS, low + 1.0, high)
    return jnp.where(narrow, below, near_low), jnp.where(narrow, above, near_high)


def _unrolled(function: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """Apply an elementwise function, to each number by itself where there are few."""
    if not 0 < arrays[0].size <= UNROLLED:
        return function(*arrays)
    numbers = zip(*(jnp.ravel(array) for array in arrays), strict=True)
    return jnp.stack([function(*each) for each in numbers]).reshape(arrays[0].shape)


def leaves_of(space: EnvSpace) -> list[Discrete | Box]:
    """The spaces that a space is made of, in the order of its observations' leaves.

    Raises:
        ValueError: one of them is of another kind.
    """
    if isinstance(space, Compound):
        children = space.spaces
        if isinstance(children, Mapping):
            children = [children[name] for name in sorted(children)]
        return [leaf for child in children for leaf in leaves_of(child)]
    if isinstance(space, Discrete | Box) and not is_gymnasium(space):
        return [space]
    of = " (of gymnasium)" if is_gymnasium(space) else ""
    raise ValueError(
        f"env.observation_space: got {space!r}{of}, want a Discrete or a Box of gymnax, or "
        "a Dict or Tuple of them, gymnax.environments.spaces"
    )


def is_gymnasium(space: object) -> bool:
    """Whether a space is of gymnasium: it draws by a state of its own, not by keys.

    Example:
        >>> import gymnasium
        >>> from diffevo_jax.problems.control.spaces import is_gymnasium
        >>> is_gymnasium(gymnasium.spaces.Discrete(2))
        True
    """
    modules = [kind.__module__.partition(".")[0] for kind in type(space).__mro__]
    return "gymnasium" in modules or "gym" in modules


def output_shape(space: EnvSpace) -> tuple[int, ...]:
    """What a policy must put out for actions of this space."""
    if isinstance(space, Discrete):
        return (int(space.n),)
    return tuple(_box(space).shape)


def to_action(output: jax.Array, space: EnvSpace) -> jax.Array:
    """Turn a policy's output into an action of the space, in its bounds and its dtype.

    A number between two bounds is ``tanh`` of the output, stretched to them; with one bound
    alone it is ``softplus`` of the output away from it. If [-1000, 1000] is within the
    bounds it is the output itself, at most as far as they go.
    """
    if isinstance(space, Discrete):
        return _argmax(jnp.ravel(output)).astype(space.dtype)
    box = _box(space)
    output = jnp.reshape(output, box.shape)
    low, high = (jnp.asarray(bound, dtype=float) for bound in (box.low, box.high))
    free = (low <= -_UNBOUNDED) & (high >= _UNBOUNDED)
    stretched = 0.5 * (low + high) + 0.5 * (high - low) * jnp.tanh(output)
    action = jnp.where(free, output, stretched)
    action = jnp.where(~free & (high > _ENDLESS), low + jax.nn.softplus(output), action)
    action = jnp.where(~free & (low < -_ENDLESS), high - jax.nn.softplus(-output), action)
    return as_dtype(jnp.clip(action, low, high), str(canonicalize_dtype(box.dtype)))


def _box(space: EnvSpace) -> Box:
    """The space of actions that are not discrete."""
    if not isinstance(space, Box):
        raise ValueError(f"environment: got actions of {space!r}, want a Discrete or a Box")
    return space


def _argmax(output: jax.Array) -> jax.Array:
    """Index of the first largest number, of a few by comparing one after the other."""
    if len(output) > UNROLLED:
        return jnp.argmax(output)
    index, largest = jnp.zeros((), jnp.int32), output[0]
    for i in range(1, len(output)):
        index = jnp.where(output[i] > largest, i, index)
        largest = jnp.maximum(largest, output[i])
    return index

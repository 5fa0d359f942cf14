"""Rollouts: many episodes, and only the steps that are taken.

An episode is a lane. Lanes step together, and from time to time those that still live are
gathered into smaller programs, so that a population of which most fall early costs little
more than its steps. Every lane plays what :func:`diffevo_jax.problems.episode.play` says.
Under ``vmap`` over runs the run axis joins the lanes, so that nothing is lost there.
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
from diffevo_jax.base import PyTree
from diffevo_jax.problems.control import rows
from diffevo_jax.problems.control.episode import (
    Episode,
    Game,
    Lane,
    Shared,
    begin,
    end,
    step,
)
from diffevo_jax.problems.control.policies import UNROLLED
from diffevo_jax.problems.control.statistics import Moments


class Ladder(NamedTuple):
    """How lanes step together on a kind of device.

    Attributes:
        width: so many lanes step together at most ...
        cache: ... and so many that their weights take at most so many bytes.
        shrink: each smaller program has so many times fewer lanes ...
        smallest: ... and at least so many.
        block: steps between looks at who still lives.
    """

    width: int
    cache: int
    shrink: int
    smallest: int
    block: int

    def rungs(self, num_lanes: int, lane_bytes: int) -> list[int]:
        """Widths of the programs for lanes with so many bytes each, from the widest."""
        fit = max(self.cache // max(lane_bytes, 1), self.smallest)
        top = min(num_lanes, self.width, fit)
        smaller = itertools.accumulate(
            itertools.repeat(self.shrink), lambda n, k: n // k, initial=top // self.shrink
        )
        return [top, *itertools.takewhile(lambda n: n >= self.smallest, smaller)]


#: A CPU plays what fits its cache; a power of two would map all rows to the same lines.
CPU = Ladder(width=528, cache=2**22, shrink=6, smallest=16, block=8)
#: Other devices play all lanes together, and a few thousand cost them no more than one.
ACCELERATOR = Ladder(width=2**30, cache=2**60, shrink=8, smallest=4096, block=16)

#: The rows of the lanes, and those of their last actions.
Packed = tuple[rows.Packed, rows.Packed]
#: What an episode came to, and the moments of its observations, None if nobody wants them.
Outcome = tuple[Episode, Moments | None]


@functools.partial(jax.jit, static_argnums=0)  # traced once, also for its shapes
def play_lanes(
    game: Game, shared: Shared, policy_params: PyTree, keys: jax.Array
) -> Outcome:
    """Play many episodes: the same as ``vmap`` of ``episode.play``, faster.

    Args:
        game: the rules.
        shared: policy, parameters of the environment, moments of earlier observations.
        policy_params: weights; leaves (L, ...), one policy a lane.
        keys: (L, 2) typed keys.

    Returns:
        Episodes, and the moments of the observations of each; leaves (L, ...).
    """
    return _lanes(game, None)(shared, policy_params, keys)


def _lanes(game: Game, axis: int | None) -> Callable[..., Outcome]:
    """:func:`_play`, which under ``vmap`` takes the new axis into the lanes.

    Args:
        game: the rules.
        axis: 0 if every lane has a shared part of its own, None if all have the same.
    """

    @custom_vmap
    def lanes(shared: Shared, policy_params: PyTree, keys: jax.Array) -> Outcome:
        return _play(game, axis, shared, policy_params, keys)

    @lanes.def_vmap
    def over_runs(runs: int, batched: Any, *args: Any) -> tuple[Outcome, Any]:
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
        outcome = _lanes(game, 0 if own else None)(shared, *flattened[1:])
        split = lambda leaf: leaf.reshape(runs, num_lanes, *leaf.shape[1:])
        return jax.tree.map(split, outcome), jax.tree.map(lambda _: True, outcome)

    return lanes


def _play(
    game: Game, axis: int | None, shared: Shared, policy_params: PyTree, keys: jax.Array
) -> Outcome:
    """Play lanes to their ends."""
    ladder = CPU if jax.default_backend() == "cpu" else ACCELERATOR
    begins = jax.vmap(functools.partial(begin, game), (axis, 0, 0), out_axes=-1)
    lanes = begins(shared, policy_params, keys)
    lane = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[:-1], x.dtype), lanes)
    table = _Table(game, axis, shared, policy_params, keys[:, 1], lane, ladder.block)
    packed = _pack(lanes)
    lane_bytes = sum(leaf[0].nbytes for leaf in jax.tree.leaves(policy_params))
    widest, *smaller = ladder.rungs(len(keys), lane_bytes)
    stops = [*smaller, 0]
    if len(keys) > widest:
        packed = _rounds(table, packed, widest, stops[0])
    else:
        packed = _advance(table, packed, jnp.arange(len(keys)), stops[0])
    for size, stop in zip(smaller, stops[1:], strict=True):
        packed = _advance(table, packed, _living_lanes(table, packed, size), stop)
    ends = jax.vmap(functools.partial(end, game), in_axes=(axis, -1))
    return ends(shared, _unpack(packed, lane))


class _Table(NamedTuple):
    """What the lanes need to step.

    Attributes:
        game: the rules.
        axis: 0 if every lane has a shared part of its own, None if all have the same.
        shared: the shared part; leaves (L, ...) if ``axis`` is 0.
        policy_params: leaves (L, ...).
        keys: (L,) of the steps.
        lane: shapes of a single lane.
        block: steps between looks at who still lives.
    """

    game: Game
    axis: int | None
    shared: Shared
    policy_params: PyTree
    keys: jax.Array
    lane: PyTree
    block: int


def _rounds(table: _Table, packed: Packed, width: int, stop: int) -> Packed:
    """Step more lanes than fit one program until at most ``stop`` of them live.

    In every round the living play in as many chunks as they fill, each until half of its
    lanes are left, so that programs are well filled, whatever the lengths of episodes.
    """
    size = width * math.ceil(len(table.keys) / width)

    def one(packed: Packed) -> Packed:
        count = jnp.sum(_living(table, packed))
        order = _living_lanes(table, packed, size)
        limit = jnp.where(count > width, width // 2, stop)

        def chunk(number: jax.Array, packed: Packed) -> Packed:
            index = jax.lax.dynamic_slice(order, (number * width,), (width,))
            return _advance(table, packed, index, limit)

        return jax.lax.fori_loop(0, (count + width - 1) // width, chunk, packed)

    return jax.lax.while_loop(
        lambda packed: jnp.sum(_living(table, packed)) > stop, one, packed
    )


def _advance(table: _Table, packed: Packed, index: jax.Array, limit: Any) -> Packed:
    """Step some lanes until at most ``limit`` of them live.

    Args:
        table: what the lanes need.
        packed: (S, L) all lanes.
        index: (K,) which of them; out of bounds is nobody.
        limit: () int.
    """
    take = lambda leaf: leaf.at[index].get(mode="clip")
    inputs = jax.tree.map(take, (table.policy_params, table.keys))
    shared = table.shared if table.axis is None else jax.tree.map(take, table.shared)
    # With the lanes last, one number of all policies is a vector; matrices stay whole.
    axes = jax.tree.map(lambda leaf: -1 if leaf[0].size <= UNROLLED else 0, inputs)
    policy_params, keys = jax.tree.map(
        lambda x, axis: jnp.moveaxis(x, 0, axis), inputs, axes
    )
    steps = jax.vmap(
        functools.partial(step, table.game), (table.axis, *axes, -1), out_axes=-1
    )

    def one(_: jax.Array, part: Packed) -> Packed:
        lanes = _unpack(part, table.lane)
        return _pack(steps(shared, policy_params, keys, lanes))

    def goes_on(part: Packed) -> jax.Array:
        return jnp.sum(_living(table, part) & (index < len(table.keys))) > limit

    part = jax.lax.while_loop(
        goes_on,
        lambda part: jax.lax.fori_loop(0, table.block, one, part),
        jax.tree.map(lambda array: array.at[:, index].get(mode="clip"), packed),
    )
    write = lambda array, columns: array.at[:, index].set(columns, mode="drop")
    return jax.tree.map(write, packed, part)


def _pack(lanes: Lane) -> Packed:
    """As rows; the actions apart, so that they are computed apart."""
    rest = rows.pack(pytree.replace(lanes, action=None))
    return rest, rows.pack(lanes.action)


def _unpack(packed: Packed, lane: PyTree) -> Lane:
    rest: Lane = rows.unpack(packed[0], pytree.replace(lane, action=None))
    return pytree.replace(rest, action=rows.unpack(packed[1], lane.action))


def _living(table: _Table, packed: Packed) -> jax.Array:
    """(L,) bool, who has not come to an end."""
    return ~_unpack(packed, table.lane).over


def _living_lanes(table: _Table, packed: Packed, size: int) -> jax.Array:
    """(size,) the first lanes that live; out of bounds if there are fewer."""
    living = _living(table, packed)
    first = jax.lax.top_k(living.astype(jnp.float32), min(size, len(living)))[1]
    places = jnp.arange(size)
    first = jnp.pad(first, (0, size - len(first)))
    return jnp.where(places < jnp.sum(living), first, len(living))

"""Rollouts: many episodes, and only the steps that are taken.

An episode is a lane. Lanes step together, and from time to time those that are not done are
gathered: into smaller programs or, on a CPU and if they are few, into fewer rounds of one.
So a population of which most fall early costs little more than its steps. Every lane plays
what :func:`diffevo_jax.problems.control.episode.play` says. Under ``vmap`` over runs the
run axis joins the lanes, so that nothing is lost there.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.typing import ArrayLike

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.problems.control import packing
from diffevo_jax.problems.control.episode import (
    Context,
    EpisodeSpec,
    Lane,
    Rollout,
    begin,
    end,
    step,
)
from diffevo_jax.problems.control.policies import UNROLLED_WEIGHTS


class Ladder(NamedTuple):
    """How lanes step together on a kind of device.

    Attributes:
        width: so many lanes step together at most ...
        cache: ... and so many that their weights take at most so many bytes, if those of
            ``smallest`` do.
        shrink: each smaller program has so many times fewer lanes ...
        smallest: ... and at least so many.
        block: steps between looks at who is done.
        packed: whether lanes are rows of few arrays; else every leaf is an array.
        unroll: so many steps are written out one after the other, where a step is short.
        single: whether there is only one program where the policy has no matrices.
    """

    width: int
    cache: int
    shrink: int
    smallest: int
    block: int
    packed: bool = True
    unroll: int = 1
    single: bool = False

    def rungs(self, num_lanes: int, lane_bytes: int, matrices: bool = True) -> list[int]:
        """Widths of the programs for lanes with so many bytes each, from the widest."""
        fit = max(self.cache // max(lane_bytes, 1), self.smallest)
        top = min(num_lanes, self.width, fit)
        single = self.single and not matrices
        if single:
            top = min(top, max(math.ceil(num_lanes / 4), FEW))
        top = math.ceil(num_lanes / math.ceil(num_lanes / top))  # or the last is half empty
        smaller = itertools.accumulate(
            itertools.repeat(self.shrink), lambda n, k: n // k, initial=top // self.shrink
        )
        few = itertools.takewhile(lambda n: n >= self.smallest, smaller)
        return [top] if single else [top, *few]


#: A CPU plays what fits the caches of a core, in rounds. A smaller program for the last few
#: lanes saves products of matrices; without them it saves less than it takes to compile.
CPU = Ladder(width=128, cache=2**20, shrink=4, smallest=16, block=8, single=True)
#: A single program has at least so many lanes, if there are as many; of few a quarter.
FEW = 64
#: On other devices a start of a kernel costs more than a step of some thousand lanes. So
#: lanes play together, and several steps of arithmetic alone become one kernel, which reads
#: and writes its lanes, and their weights, only once. Of many more lanes than these XLA
#: gives a thread four, whose weights do not fit its registers.
ACCELERATOR = Ladder(
    width=2**17, cache=2**60, shrink=8, smallest=4096, block=64, packed=False, unroll=8
)
#: Equations of a step; a longer one is several kernels by itself, and slow to compile.
SHORT = 800

#: The words of the lanes, and those of their last actions; or the lanes, (..., L).
PackedLanes = PyTree


@functools.partial(jax.jit, static_argnums=0)  # traced once, also for its shapes
def play_lanes(
    spec: EpisodeSpec, context: Context, policy_params: PyTree, keys: jax.Array
) -> Rollout:
    """Play many episodes: the same as ``vmap`` of ``episode.play``, faster.

    Args:
        spec: the rules.
        context: policy, parameters of the environment, moments of earlier observations.
        policy_params: weights; leaves (L, ...), one policy a lane.
        keys: (L, 2) typed keys.

    Returns:
        Episodes, and the moments of the observations of each; leaves (L, ...).
    """
    return _lanes(spec, None)(context, policy_params, keys)


def _lanes(spec: EpisodeSpec, axis: int | None) -> Callable[..., Rollout]:
    """:func:`_play`, which under ``vmap`` takes the new axis into the lanes.

    Args:
        spec: the rules.
        axis: 0 if every lane has a context of its own, None if all have the same.
    """

    @custom_vmap
    def lanes(context: Context, policy_params: PyTree, keys: jax.Array) -> Rollout:
        return _play(spec, axis, context, policy_params, keys)

    @lanes.def_vmap
    def over_runs(runs: int, batched: PyTree, *args: PyTree) -> tuple[Rollout, PyTree]:
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
            if own or arg is not args[0]  # a large policy is not copied unless it must be
            else arg
            for arg, has, lack in zip(args, batched, lacks, strict=True)
        ]
        rollouts = _lanes(spec, 0 if own else None)(*flattened)
        split = lambda leaf: leaf.reshape(runs, num_lanes, *leaf.shape[1:])
        return jax.tree.map(split, rollouts), jax.tree.map(lambda _: True, rollouts)

    return lanes


def _play(
    spec: EpisodeSpec,
    axis: int | None,
    context: Context,
    policy_params: PyTree,
    keys: jax.Array,
) -> Rollout:
    """Play lanes to their ends."""
    ladder = CPU if jax.default_backend() == "cpu" else ACCELERATOR
    begins = jax.vmap(functools.partial(begin, spec), (axis, 0, 0), out_axes=-1)
    lanes = begins(context, policy_params, keys)
    # With the lanes last, one number of all policies is a vector; matrices stay whole.
    numbers = jax.tree.map(
        lambda x: jnp.moveaxis(x, 0, -1), _parts(policy_params, few=True)
    )
    in_rows = numbers, keys[:, 1]
    constants = _Constants(
        spec=spec,
        axis=axis,
        context=context,
        rows=packing.pack(in_rows),
        row=_of_one_lane(in_rows),
        matrices=_parts(policy_params, few=False),
        lane=_of_one_lane(lanes),
        ladder=ladder,
        num_lanes=len(keys),
    )
    packed = _pack(constants, lanes)
    lane_bytes = sum(leaf[0].nbytes for leaf in jax.tree.leaves(policy_params))
    matrices = bool(jax.tree.leaves(constants.matrices))
    widest, *smaller = ladder.rungs(len(keys), lane_bytes, matrices)
    stops = [*smaller, 0]
    if len(keys) > widest:
        packed = _rounds(constants, packed, widest, stops[0])
    else:
        packed = _advance(constants, packed, None, stops[0])
    for size, stop in zip(smaller, stops[1:], strict=True):
        packed = _advance(constants, packed, _active_lanes(constants, packed, size), stop)
    ends = jax.vmap(functools.partial(end, spec), in_axes=(axis, -1))
    return ends(context, _unpack(constants, packed))


class _Constants(NamedTuple):
    """What the lanes need to step, and no step changes.

    Attributes:
        spec: the rules.
        axis: 0 if every lane has a context of its own, None if all have the same.
        context: what episodes have in common; leaves (L, ...) if ``axis`` is 0.
        rows: (S, L) weights of leaves of few numbers, and the keys of the steps.
        row: shapes of those of a single lane.
        matrices: the other leaves, (L, ...).
        lane: shapes of a single lane.
        ladder: how lanes step together.
        num_lanes: L.
    """

    spec: EpisodeSpec
    axis: int | None
    context: Context
    rows: packing.Words
    row: PyTree
    matrices: PyTree
    lane: PyTree
    ladder: Ladder
    num_lanes: int


def _rounds(
    constants: _Constants, packed: PackedLanes, width: int, stop: int
) -> PackedLanes:
    """Step more lanes than fit one program until at most ``stop`` of them are active.

    In every round the active lanes play in as many chunks as they fill, each until half of
    its lanes are left, so that programs are well filled, whatever the lengths of episodes.
    """
    size = width * math.ceil(constants.num_lanes / width)

    def one(packed: PackedLanes) -> PackedLanes:
        count = jnp.sum(_active(constants, packed))
        order = _active_lanes(constants, packed, size)
        limit = jnp.where(count > width, width // 2, stop)

        def chunk(number: jax.Array, packed: PackedLanes) -> PackedLanes:
            index = jax.lax.dynamic_slice(order, (number * width,), (width,))
            return _advance(constants, packed, index, limit)

        return jax.lax.fori_loop(0, (count + width - 1) // width, chunk, packed)

    return jax.lax.while_loop(
        lambda packed: jnp.sum(_active(constants, packed)) > stop, one, packed
    )


def _advance(
    constants: _Constants, packed: PackedLanes, index: jax.Array | None, limit: ArrayLike
) -> PackedLanes:
    """Step some lanes until at most ``limit`` of them are active.

    Args:
        constants: what the lanes need.
        packed: (..., L) all lanes.
        index: (K,) which of them, out of bounds is nobody; None for all.
        limit: () int.
    """
    if index is None:
        return _stepped(constants, packed, jnp.ones(constants.num_lanes, bool), limit)
    take = lambda leaf: leaf.at[index].get(mode="clip")
    columns = lambda array: array.at[..., index].get(mode="clip")
    context = constants.context
    if constants.axis is not None:
        context = jax.tree.map(take, context)
    some = constants._replace(
        context=context,
        rows=jax.tree.map(columns, constants.rows),
        matrices=jax.tree.map(take, constants.matrices),
    )
    part = _stepped(some, jax.tree.map(columns, packed), index < constants.num_lanes, limit)
    write = lambda array, columns: array.at[..., index].set(columns, mode="drop")
    return jax.tree.map(write, packed, part)


def _stepped(
    constants: _Constants, packed: PackedLanes, real: jax.Array, limit: ArrayLike
) -> PackedLanes:
    """Step all lanes of these constants until at most ``limit`` real ones are active."""
    numbers, keys = packing.unpack(constants.rows, constants.row)
    matrices, spec = constants.matrices, constants.spec
    axes = _whole(_everywhere(-1, numbers), _everywhere(0, matrices))
    steps = jax.vmap(
        functools.partial(step, spec), (constants.axis, axes, -1, -1), out_axes=-1
    )
    policy_params = _whole(numbers, matrices)

    def one(_: ArrayLike, packed: PackedLanes) -> PackedLanes:
        lanes = _unpack(constants, packed)
        return _pack(constants, steps(constants.context, policy_params, keys, lanes))

    def goes_on(packed: PackedLanes) -> jax.Array:
        return jnp.sum(_active(constants, packed) & real) > limit

    block, unroll = constants.ladder.block, _steps_in_a_row(constants, one, packed)
    some = lambda packed: jax.lax.fori_loop(0, block, one, packed, unroll=unroll)
    return jax.lax.while_loop(goes_on, some, packed)


def _steps_in_a_row(
    constants: _Constants,
    one: Callable[[int, PackedLanes], PackedLanes],
    packed: PackedLanes,
) -> int:
    """How many steps are written out: several if they are arithmetic, and short.

    A product of matrices is a kernel by itself, also if only one of them is a lane's, as of
    a policy of few numbers that changes a large one.
    """
    unroll = constants.ladder.unroll
    if unroll == 1 or jax.tree.leaves(constants.matrices):
        return 1
    # Here, not above: it reads programs by what brings Pallas.
    from diffevo_jax.problems.control.rewriting import size_of

    num_equations, multiplications = size_of(one, 0, packed)
    num_lanes = jax.tree.leaves(constants.rows)[0].shape[-1]
    few = multiplications <= UNROLLED_WEIGHTS * num_lanes
    return unroll if few and num_equations <= SHORT else 1


def _parts(policy_params: PyTree, few: bool) -> PyTree:
    """The leaves (L, ...) of few numbers a lane, or the others; None for the rest."""

    def has_few(leaf: jax.Array) -> bool:
        real = not jnp.issubdtype(leaf.dtype, jnp.complexfloating)
        return real and leaf[0].size <= UNROLLED_WEIGHTS

    return jax.tree.map(lambda leaf: leaf if has_few(leaf) == few else None, policy_params)


def _whole(numbers: PyTree, matrices: PyTree) -> PyTree:
    """Both parts of :func:`_parts` together."""
    either = lambda one, other: other if one is None else one
    return jax.tree.map(either, numbers, matrices, is_leaf=lambda leaf: leaf is None)


def _everywhere(value: int, tree: PyTree) -> PyTree:
    """A pytree of the same structure with one value."""
    return jax.tree.map(lambda _: value, tree)


def _of_one_lane(lanes: PyTree) -> PyTree:
    """Shapes of a single lane of leaves (..., L)."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[:-1], x.dtype), lanes)


def _pack(constants: _Constants, lanes: Lane) -> PackedLanes:
    """As rows; the actions apart, so that they are computed apart."""
    if not constants.ladder.packed:
        return lanes
    rest = packing.pack(pytree.replace(lanes, action=None))
    return rest, packing.pack(lanes.action)


def _unpack(constants: _Constants, packed: PackedLanes) -> Lane:
    if not constants.ladder.packed:
        lanes: Lane = packed
        return lanes
    lane = constants.lane
    rest: Lane = packing.unpack(packed[0], pytree.replace(lane, action=None))
    return pytree.replace(rest, action=packing.unpack(packed[1], lane.action))


def _active(constants: _Constants, packed: PackedLanes) -> jax.Array:
    """(L,) bool, who is not done."""
    return ~_unpack(constants, packed).done


def _active_lanes(constants: _Constants, packed: PackedLanes, size: int) -> jax.Array:
    """(size,) the first lanes that are active; out of bounds if there are fewer."""
    active = _active(constants, packed)
    first = jax.lax.top_k(active.astype(jnp.float32), min(size, len(active)))[1]
    places = jnp.arange(size)
    first = jnp.pad(first, (0, size - len(first)))
    return jnp.where(places < jnp.sum(active), first, len(active))

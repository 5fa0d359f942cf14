"""How work is divided into blocks, and many populations into groups.

A block of queries meets a block of keys at a time. Under ``vmap`` as many populations are
computed together as have the pairs of one block, which the caches of a CPU keep; on other
devices as many as leave room in the memory.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero
from jax.dtypes import float0
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

from diffevo_jax.base import PyTree
from diffevo_jax.pytree.annotations import checked


class Blocks(NamedTuple):
    """At most so many queries and keys meet at once. The bits of a result depend on it.

    Attributes:
        queries: whose answers are computed together.
        keys: what each of them meets at a time.

    Example:
        >>> from diffevo_jax.attention import usual_blocks
        >>> usual_blocks()  # of a CPU
        Blocks(queries=2048, keys=1024)
    """

    queries: int
    keys: int


#: On a CPU. Threads of larger blocks wait less often for each other, those of smaller ones
#: find more in their caches.
CPU_BLOCKS = Blocks(queries=2048, keys=1024)
#: So many pairs are in a block, and in a group of runs on a device.
CPU_PAIRS = CPU_BLOCKS.queries * CPU_BLOCKS.keys
#: On other devices, to which more work at once costs less; half as much is half as fast.
ACCELERATOR_BLOCKS = Blocks(queries=2048, keys=2048)
#: Beside each other in a group of runs: a gigabyte of logits. That is enough work for a
#: device, and leaves room on it.
ACCELERATOR_PAIRS = 2**28
#: A loop over groups counts no further.
_COUNTABLE = 2**31
#: Blocks are multiples of it, so that rows begin where vectors do.
_EVEN = 16


@checked
def usual_blocks() -> Blocks:
    """The largest blocks on the default device.

    Example:
        >>> from diffevo_jax.attention import usual_blocks
        >>> usual_blocks().queries
        2048
    """
    return CPU_BLOCKS if jax.default_backend() == "cpu" else ACCELERATOR_BLOCKS


def runs_at_once(pairs: int, most: int) -> int:
    """How many runs meet at once under ``vmap`` on the default device, at least one.

    Args:
        pairs: of a block of one run.
        most: that meet at once on a CPU.

    Example:
        >>> from diffevo_jax.attention.blocks import runs_at_once
        >>> runs_at_once(256 * 256, most=2**21)
        32
    """
    room = most if jax.default_backend() == "cpu" else ACCELERATOR_PAIRS
    return max(1, room // pairs)


def even_size(count: int, most: int) -> int:
    """How many of so many are in a block: as few blocks as can be, as even as can be.

    Example:
        >>> from diffevo_jax.attention.blocks import even_size
        >>> even_size(2500, 2048), even_size(2500, 1024), even_size(300, 1024)
        (1264, 848, 300)
    """
    blocks = -(-count // most)
    if blocks <= 1:
        return count
    return min(most, -(-count // (blocks * _EVEN)) * _EVEN)


def as_blocks(array: jax.Array, size: int, fill: float = 0.0) -> jax.Array:
    """Split the first axis into blocks, the last of them filled up."""
    size = min(size, len(array))
    missing = -len(array) % size
    if missing:
        padding = [(0, missing), *[(0, 0)] * (array.ndim - 1)]
        array = jnp.pad(array, padding, constant_values=fill)
    return array.reshape(-1, size, *array.shape[1:])


def map_blocks(function: Callable[[PyTree], PyTree], blocks: PyTree) -> PyTree:
    """Apply a function block by block; a single one is no loop."""
    if len(jax.tree.leaves(blocks)[0]) > 1:
        return jax.lax.map(function, blocks)
    answer = function(jax.tree.map(lambda leaf: leaf[0], blocks))
    return jax.tree.map(lambda leaf: leaf[None], answer)


def in_groups(function: Callable[..., PyTree], most: int) -> Callable[..., PyTree]:
    """The function; its ``vmap`` is a loop over groups of at most ``most`` calls.

    As ``jax.lax.map`` with a ``batch_size``, for whoever calls ``vmap``.

    What is computed at once and does not fit the caches is fetched from memory again by
    every kernel: two to three times as slow. Nested ``vmap``s together have at most so many
    calls at once. Derivatives are those of the function, and their ``vmap`` has no groups.

    Args:
        function: of arrays, or of pytrees of them, without ``axis_name``. It may close
            over what is traced, such as the numbers of a kernel. One that branches
            (:func:`jax.lax.cond`) is left as it is.
        most: calls at once on a device, >= 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax.attention.blocks import in_groups
        >>> double = in_groups(lambda x: 2 * x, 3)
        >>> jax.vmap(double)(jnp.arange(5)).tolist()
        [0, 2, 4, 6, 8]
        >>> "scan" in str(jax.make_jaxpr(jax.vmap(double))(jnp.arange(5)))
        True
    """

    @functools.wraps(function)
    def grouped(*arguments: PyTree) -> PyTree:
        # What is closed over is mapped and derived as arguments are.
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        if _has_branches(closed.jaxpr):
            return function(*arguments)
        leaves, jaxpr = jax.tree.leaves(arguments), closed.jaxpr

        def program(constants: list[jax.Array], leaves: list[jax.Array]) -> list[jax.Array]:
            return jaxpr_as_fun(ClosedJaxpr(jaxpr, constants))(*leaves)

        answers = _in_groups(program, most * _num_devices())(closed.consts, leaves)
        return jax.tree.unflatten(jax.tree.structure(shapes), answers)

    return grouped


def _in_groups(function: Callable[..., PyTree], most: int) -> Callable[..., PyTree]:
    """As :func:`in_groups`, of a function that closes over nothing."""
    call = custom_vmap(function)

    @call.def_vmap
    def batched(size: int, mapped: PyTree, *arguments: PyTree) -> tuple[PyTree, PyTree]:
        answers = _grouped(function, most, size, mapped, arguments)
        return answers, jax.tree.map(lambda _: True, answers)

    # What has a vmap of its own cannot be transposed; the function itself can.
    differentiable = jax.custom_jvp(call)

    def derivative(primals: PyTree, tangents: PyTree) -> tuple[PyTree, PyTree]:
        nonzero = [not isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(tangents)]
        leaves, with_others = _chosen(primals, nonzero)
        moved = lambda few: function(*with_others(few))
        answers = jax.jvp(moved, (leaves,), (_chosen(tangents, nonzero)[0],))
        # A program that is derived later expects axes of runs where the call has them.
        any_run = functools.reduce(jnp.logical_or, map(_is_any, jax.tree.leaves(primals)))
        same = lambda leaf: leaf if leaf.dtype == float0 else jnp.where(any_run, leaf, leaf)
        return jax.tree.map(same, answers)

    differentiable.defjvp(derivative, symbolic_zeros=True)
    return differentiable


def _grouped(
    function: Callable[..., PyTree],
    most: int,
    size: int,
    mapped: PyTree,
    arguments: tuple[PyTree, ...],
) -> PyTree:
    """So many calls, group by group, of arguments whose mapped leaves have a first axis."""
    axes = jax.tree.map(lambda leaf: 0 if leaf else None, mapped)
    if not 0 < size < _COUNTABLE:  # nothing to do, or what no memory holds
        return jax.vmap(function, axes, axis_size=size)(*arguments)
    leaves, with_others = _chosen(arguments, jax.tree.leaves(mapped))
    groups = _num_groups(size, most, _num_devices())
    if groups == size:  # no axis of one, which products would have to carry
        one = _in_groups(function, most)
        return jax.lax.map(lambda few: one(*with_others(few)), leaves)
    group = _in_groups(jax.vmap(function, axes), max(1, most // -(-size // groups)))
    # A group has some of each device's runs.
    dealt = [as_blocks(leaf, groups).swapaxes(0, 1) for leaf in leaves]
    answers = map_blocks(lambda few: group(*with_others(few)), dealt)
    flat = lambda leaf: leaf.swapaxes(0, 1).reshape(-1, *leaf.shape[2:])[:size]
    return jax.tree.map(flat, answers)


def _num_devices() -> int:
    """Over how many devices the compiler may divide runs; a part of a mesh is on one."""
    by_hand = jax.sharding.get_abstract_mesh().manual_axes
    return 1 if by_hand else jax.local_device_count()


def _num_groups(size: int, most: int, devices: int) -> int:
    """How many groups of at most so many; of as many on each device, if few more do it.

    Example:
        >>> from diffevo_jax.attention.blocks import _num_groups
        >>> _num_groups(20, 6, devices=1), _num_groups(20, 6, devices=2)
        (4, 5)
    """
    least = -(-size // most)
    if devices == 1:
        return least
    even = (groups for groups in range(least, 2 * least) if size % (groups * devices) == 0)
    return next(even, least)


def _is_any(array: jax.Array) -> jax.Array:
    """() bool with the axes of runs that the array has, whatever it holds."""
    return jnp.any(jnp.ravel(array)[:1] != 0)


def _has_branches(program: Jaxpr) -> bool:
    """Whether a program branches. What has a derivative rule of its own may not.

    A branch that each run takes by itself becomes both, and a derivative by such a rule
    cannot be transposed through it.
    """
    if any(equation.primitive.name == "cond" for equation in program.eqns):
        return True
    within = jax.tree.leaves([list(equation.params.values()) for equation in program.eqns])
    # Programs within are leaves, closed ones over a program of their own.
    programs = [getattr(part, "jaxpr", part) for part in within]
    return any(_has_branches(part) for part in programs if isinstance(part, Jaxpr))


def _chosen(
    tree: PyTree, where: list[bool]
) -> tuple[list[jax.Array], Callable[[list[jax.Array]], PyTree]]:
    """Some leaves of a tree, and what gives the tree with others in their place."""
    leaves, structure = jax.tree.flatten(tree)

    def with_others(others: list[jax.Array]) -> PyTree:
        rest = iter(others)
        whole = [next(rest) if it else leaf for leaf, it in zip(leaves, where, strict=True)]
        return jax.tree.unflatten(structure, whole)

    return [leaf for leaf, it in zip(leaves, where, strict=True) if it], with_others

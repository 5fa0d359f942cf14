"""Rows of arrays, cut into blocks that devices share.

The rows are cut into a fixed number of blocks, and a device takes one after the other in a
loop whose body is the same program for any number of devices. So the bits depend on the
number of blocks and not on that of the devices: there is no sum over devices whose order
could matter.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import Attention
from diffevo_jax.base import Estimate, Evaluation, Problem, PyTree


def in_blocks(
    function: Callable[..., PyTree], axis: str, num_blocks: int, *arrays: PyTree
) -> PyTree:
    """Call a function for blocks of rows, each on one device of a mesh's axis.

    Args:
        function: ``function(number (), *rows (B, ...)) -> rows (B, ...)``.
        axis: name of the axis, whose devices all hold the same arrays.
        num_blocks: into so many, of equal size, the last ones filled up with zeros.
        *arrays: leaves with a leading axis N.

    Returns:
        (N, ...) on every device.
    """
    count = len(jax.tree.leaves(arrays)[0])
    size = -(-count // num_blocks)
    devices = jax.lax.psum(1, axis)
    share = -(-num_blocks // devices)
    padding = devices * share * size - count
    padded = jax.tree.map(
        lambda leaf: jnp.pad(leaf, ((0, padding), *[(0, 0)] * (leaf.ndim - 1))), arrays
    )
    first = jax.lax.axis_index(axis) * share
    # The compiler must not know how many there are, or one block would be a special case.
    mine = jax.lax.optimization_barrier(jnp.clip(-(-count // size) - first, 0, share))

    def block(number: jax.Array) -> PyTree:
        cut = lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, number * size, size)
        return function(number, *jax.tree.map(cut, padded))

    blank = jax.tree.map(
        lambda shape: jnp.zeros((share, *shape.shape), shape.dtype),
        jax.eval_shape(block, first),
    )

    def body(index: jax.Array, rows: PyTree) -> PyTree:
        answer = block(first + index)
        return jax.tree.map(lambda rows, row: rows.at[index].set(row), rows, answer)

    rows = jax.lax.fori_loop(0, mine, body, blank)
    everything = jax.lax.optimization_barrier(jax.lax.all_gather(rows, axis, tiled=True))
    join = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count]
    return jax.tree.map(join, everything)


@dataclasses.dataclass(frozen=True)
class DividedAttention:
    """Attention whose queries are divided over the devices of an axis.

    Attributes:
        whole: what computes a block.
        axis: name of the mesh's axis.
        num_blocks: of queries.
    """

    whole: Attention
    axis: str
    num_blocks: int

    def of(self, attention: Attention) -> "DividedAttention":
        """The same division of another attention."""
        return dataclasses.replace(self, whole=attention)

    def __call__(
        self,
        queries: jax.Array,
        keys: jax.Array,
        values: jax.Array,
        log_weight: jax.Array,
        own: jax.Array,
        **options: Any,
    ) -> Estimate:
        """Attend as :func:`diffevo_jax.attention.attend` does."""

        def block(number: jax.Array, queries: jax.Array, own: jax.Array) -> PyTree:
            few = self.whole(queries, keys, values, log_weight, own, **options)
            return few.clean, few.effective_sample_size, few.self_weight

        return Estimate(*in_blocks(block, self.axis, self.num_blocks, queries, own))


@pytree.dataclass
class DividedProblem:
    """A problem whose solutions are divided over the devices of an axis.

    Attributes:
        problem: without a state; each block of its solutions gets a key of its own.
        axis: name of the mesh's axis, static.
        num_blocks: of solutions, static.
    """

    problem: Problem
    axis: str = pytree.static()
    num_blocks: int = pytree.static()

    @property
    def space(self) -> Any:
        """The problem's own."""
        return self.problem.space

    def init(self, key: jax.Array) -> PyTree:
        """The problem's own, which has to be empty."""
        state = self.problem.init(key)
        if jax.tree.leaves(state):
            raise ValueError(
                f"problem: got {type(self.problem).__name__} with a state, which depends "
                "on the whole population; want one without, to divide its population"
            )
        return state

    def evaluate(
        self, key: jax.Array, problem_state: PyTree, solutions: PyTree
    ) -> tuple[Evaluation, PyTree]:
        """Evaluate blocks of solutions."""

        def block(number: jax.Array, few: PyTree) -> Evaluation:
            own = jax.random.fold_in(key, number)
            return self.problem.evaluate(own, problem_state, few)[0]

        return in_blocks(block, self.axis, self.num_blocks, solutions), problem_state

"""Runs that have ended, among runs that go on in the same program, stay as they are."""

import jax
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.running.evolution import RunState


def frozen(
    stopped: np.ndarray, before: RunState, after: RunState, on_host: bool
) -> RunState:
    """The state after a chunk; of runs that have ended, the one before it.

    Args:
        stopped: (R,) which these are.
        before: of R runs.
        after: of R runs.
        on_host: whether the problem's state is the host's; then that of runs that are not
            evaluated has stayed by itself.
    """
    if not on_host:
        kept: RunState = _selected(stopped, before, after)
        return kept
    bare = [pytree.replace(state, problem_state=()) for state in (before, after)]
    kept = _selected(stopped, *bare)
    return pytree.replace(kept, problem_state=after.problem_state)


@jax.jit
def _selected(stopped: jax.Array, before: PyTree, after: PyTree) -> PyTree:
    return jax.vmap(pytree.select)(stopped, before, after)


def repeated(stopped: np.ndarray, before: PyTree, rows: PyTree) -> PyTree:
    """Rows ``(R, n, ...)``; of runs that are ``stopped`` (R,) the last row before them."""

    def of_leaf(before: np.ndarray, rows: np.ndarray) -> np.ndarray:
        rows = rows.copy()
        rows[stopped] = before[stopped, -1:]
        return rows

    return jax.tree.map(of_leaf, before, rows)

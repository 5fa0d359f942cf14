"""What has been evaluated before, by the bytes of the solutions."""

import jax
import numpy as np

from diffevo_jax.base import PyTree


class Memory:
    """Solutions that need not be evaluated again, and what they came to.

    It belongs to the host and is changed where it is. Failed evaluations are not in it, and
    are tried again. It can be pickled, so that a run that was lost need not pay twice.

    Attributes:
        known: of the bytes of each solution, the leaves of its row of the evaluation.

    Example:
        >>> import jax, numpy as np, diffevo_jax as de
        >>> memory = de.problems.external.Memory()
        >>> problem = de.problems.External(
        ...     lambda x: -(x**2).sum(axis=1), de.problems.Space(np.zeros(2)),
        ...     remember=memory)
        >>> run = lambda: de.run(jax.random.key(0), de.DiffusionEvolution(3), problem,
        ...                      population_size=8)
        >>> first, again = run(), run()
        >>> int(again.problem_state.num_evaluated), len(memory)
        (0, 24)
    """

    def __init__(self) -> None:
        """Nothing is known."""
        self.known: dict[bytes, list[np.ndarray]] = {}

    def __len__(self) -> int:
        """How many solutions are known."""
        return len(self.known)


def names_of(solutions: PyTree) -> list[bytes]:
    """The bytes of each of N solutions: equal if and only if all their numbers are."""
    leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(solutions)]
    return [
        b"".join(leaf[row].tobytes() for leaf in leaves) for row in range(len(leaves[0]))
    ]

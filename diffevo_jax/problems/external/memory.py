"""What has been evaluated before, by the bytes of the solutions."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from diffevo_jax.base import PyTree
from diffevo_jax.pytree.kept import words


class Memory:
    """Solutions that need not be evaluated again, and what they came to.

    It belongs to the host and is changed where it is. Failed evaluations are not in it, and
    are tried again. It can be pickled, so that a run that was lost need not pay twice.

    It is of the function and the layout of solutions that it is used with first, and raises
    ValueError with others. A function is known by its module and its name, and a
    ``functools.partial`` by its arguments too: to two functions of the same name, such as
    two lambdas in one place, give two memories.

    Attributes:
        used_with: the function and the layout, in words; None before the first use, and to
            take over what is known after a change of name.
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
        self.used_with: str | None = None
        self.known: dict[bytes, list[np.ndarray]] = {}

    def __repr__(self) -> str:
        """The same whatever it knows, which is nothing of what a run in a folder is."""
        return "Memory()"

    def __len__(self) -> int:
        """How many solutions are known."""
        return len(self.known)

    def use_with(self, fn: Callable[..., Any], solutions: PyTree) -> None:
        """Say what it is used with.

        Args:
            fn: what evaluates.
            solutions: leaves with leading axis N.

        Raises:
            ValueError: it was used with something else before.
        """
        layout = jax.tree.map(lambda leaf: f"{leaf.dtype}{leaf.shape[1:]}", solutions)
        words = f"{title_of(fn)} of {layout}"
        if self.used_with not in (None, words):
            raise ValueError(
                f"External.remember: got the Memory of {self.used_with}, want one of "
                f"{words}"
            )
        self.used_with = words

    def as_arrays(self, count: int) -> list[np.ndarray]:
        """The first ``count`` that were known: their bytes (K, B), then leaves (K, ...)."""
        names = list(self.known)[:count]
        if not names:
            return []
        content = np.frombuffer(b"".join(names), np.uint8).reshape(len(names), -1)
        return [content, *map(np.stack, zip(*map(self.known.get, names), strict=True))]

    def take_arrays(self, arrays: Sequence[np.ndarray]) -> None:
        """Know what another memory knew; see :meth:`as_arrays`."""
        for name, *leaves in zip(*arrays, strict=True):
            self.known[name.tobytes()] = leaves


def title_of(fn: Callable[..., Any]) -> str:
    """The module and the name of a function, whatever runs it."""
    fn = inspect.unwrap(fn)
    if isinstance(fn, functools.partial):
        # Alike in every process, and with all of an array.
        told = lambda part: repr(part) if isinstance(part, str) else str(words(part))
        named = [f"{name!r}: {told(part)}" for name, part in fn.keywords.items()]
        given = f"({', '.join(map(told, fn.args))}), {{{', '.join(named)}}}"
        return f"{title_of(fn.func)} with {given}"
    known = fn if hasattr(fn, "__qualname__") else type(fn)
    return f"{known.__module__}.{known.__qualname__}"


def names_of(solutions: PyTree) -> list[bytes]:
    """The bytes of each of N solutions: equal if and only if all their numbers are."""
    leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(solutions)]
    return [
        b"".join(leaf[row].tobytes() for leaf in leaves) for row in range(len(leaves[0]))
    ]

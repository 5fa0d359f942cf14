"""What is wrong with a command line, in one line."""

import difflib
from collections.abc import Collection

#: What development versions called otherwise: the last word of a key or a flag, and what to
#: write now.
_BEFORE = {
    "archive": "memory = archive, with memory.generations",
    "archive_correction": "memory.correction of memory = archive",
    "floor": "kernel.floor and shaping.floor",
    "num_support": "support = best or drawn, with support.count",
    "self_conditioned": "kernel = self-conditioned",
}


class UsageError(ValueError):
    """The command line asks for what cannot be."""


def hint_at(given: str, known: Collection[str]) -> str:
    """A hint at the known word that is most like the given one; empty if none is.

    A word of before a renaming is said in the words of now.

    Example:
        >>> from diffevo_jax.cli import errors
        >>> errors.hint_at("sede", ["seed", "mode"])
        '; closest: seed'
        >>> errors.hint_at("--floor", [])
        '; it is now kernel.floor and shaping.floor'
    """
    before = given.lstrip("-").replace("-", "_").rpartition(".")[2]
    if before in _BEFORE and given not in known:
        return f"; it is now {_BEFORE[before]}"
    close = difflib.get_close_matches(given, list(known), 1)
    return f"; closest: {close[0]}" if close else ""

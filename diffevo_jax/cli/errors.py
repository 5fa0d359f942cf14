"""What is wrong with a command line, in one line."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """The command line asks for what cannot be."""


def hint_at(given: str, known: Iterable[str]) -> str:
    """A hint at the known word that is most like the given one; empty if none is.

    Example:
        >>> from diffevo_jax.cli import errors
        >>> errors.hint_at("sede", ["seed", "mode"])
        '; closest: seed'
    """
    close = difflib.get_close_matches(given, list(known), 1)
    return f"; closest: {close[0]}" if close else ""

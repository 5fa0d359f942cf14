"""Values of fields, from the words of a command line and from what TOML has."""

import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from diffevo_jax import pytree
from diffevo_jax.base import PyTree

_TRUTH = {"true": True, "false": False}
_WANTED = {bool: "true or false", int: "an int", float: "a number", Path: "a path"}


class Kind(NamedTuple):
    """What a field holds.

    Attributes:
        base: bool, int, float, str or Path.
        many: whether it holds any number of them.
        optional: whether it may be None.
        choices: the strings that it may be; empty for all.
    """

    base: type
    many: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()

    @property
    def wanted(self) -> str:
        """What to write, in words."""
        said = _WANTED.get(self.base, "a word")
        if self.choices:
            said = f"one of {', '.join(map(repr, self.choices))}"
        if self.many:
            said += ", or some separated by spaces"
        return said + " or None" * self.optional

    @property
    def placeholder(self) -> str:
        """What stands for a value in a help."""
        named = {bool: "BOOL", int: "INT", float: "FLOAT", Path: "PATH"}
        return named.get(self.base, "WORD") + " ..." * self.many


def kind_of(hint: PyTree) -> Kind:
    """The kind that a type is.

    Args:
        hint: bool, int, float, str, Path, a Literal of strings, ``tuple[int, ...]`` or the
            like, or a union of one of them with None.

    Example:
        >>> from diffevo_jax.cli import values
        >>> values.kind_of(tuple[int, ...]).wanted, values.kind_of(float | None).wanted
        ('an int, or some separated by spaces', 'a number or None')
    """
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return Kind(str, choices=inner)
    if types.NoneType in inner:
        (one,) = (each for each in inner if each is not types.NoneType)
        return kind_of(one)._replace(optional=True)
    return Kind(inner[0], many=True) if inner else Kind(hint)


def of_words(kind: Kind, words: Sequence[str]) -> PyTree:
    """The value that words say; a flag alone is true.

    Raises:
        ValueError: they say none.

    Example:
        >>> from diffevo_jax.cli import values
        >>> values.of_words(values.Kind(int, many=True), ["8", "4"])
        (8, 4)
        >>> values.of_words(values.Kind(float), ["wide"])
        Traceback (most recent call last):
        ValueError: got 'wide', want a number
    """
    if kind.base is bool and not words:
        return True
    if not kind.many and len(words) != 1:
        got = " ".join(words)
        raise ValueError(f"got {got!r}, want {kind.wanted}" if words else _none(kind))
    if kind.optional and list(words) == ["None"]:
        return None
    found = tuple(_of_word(kind, word) for word in words)
    return found if kind.many else found[0]


def _none(kind: Kind) -> str:
    return f"got no value, want {kind.wanted}"


def _of_word(kind: Kind, word: str) -> PyTree:
    try:
        if kind.base is bool:
            return _TRUTH[word.lower()]
        if kind.base is Path and not word:  # as of a variable that is not set
            raise ValueError
        if kind.choices and word not in kind.choices:
            raise ValueError
        return kind.base(word)
    except (KeyError, ValueError):
        raise ValueError(f"got {word!r}, want {kind.wanted}") from None


def of_toml(kind: Kind, value: PyTree) -> PyTree:
    """The value that stands in a file, if its type is right; "None" is None.

    Raises:
        ValueError: it is not.

    Example:
        >>> from diffevo_jax.cli import values
        >>> values.of_toml(values.Kind(float), 2)
        2.0
        >>> values.of_toml(values.Kind(int), 2.0)
        Traceback (most recent call last):
        ValueError: got 2.0, want an int
    """
    if kind.optional and value == "None":
        return None
    want = kind.wanted
    if kind.many:
        if isinstance(value, list):
            return tuple(of_toml(kind._replace(many=False), each) for each in value)
        want = f"a list, each {kind._replace(many=False).wanted}"
    elif isinstance(value, str) and kind.base in (str, Path):
        return _of_word(kind, value)
    elif type(value) is kind.base and not kind.choices:
        return value
    elif kind.base is float and type(value) is int and abs(value) < 2**63:
        return float(value)
    got = pytree.short(value) if isinstance(value, list | dict) else repr(value)
    raise ValueError(f"got {got}, want {want}")

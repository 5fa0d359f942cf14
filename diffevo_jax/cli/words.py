"""Words of a command line as names and what they are given.

A flag is a word that begins with ``--``; what follows up to the next one is its value. A
key of a file is given the same way, with a value of TOML.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from diffevo_jax.base import PyTree
from diffevo_jax.cli.errors import UsageError

#: A word that is a flag, and no negative number.
_FLAG = re.compile(r"--|-(?!inf|nan)[A-Za-z]")
#: Flags of every command, which are no fields.
HELP = ("help", "help-all")


class Given(NamedTuple):
    """A name and what it is given.

    Attributes:
        name: of a flag or a key, or an ending of one.
        value: words of a command line; or what TOML has.
        where: how an error calls it.
        typed: whether it is of TOML.
    """

    name: str
    value: PyTree
    where: str
    typed: bool = False


def read(args: Sequence[str]) -> list[Given]:
    """The flags among words, each with the words after it.

    Raises:
        UsageError: there is a word before the first.

    Example:
        >>> from diffevo_jax.cli import words
        >>> [one[:2] for one in words.read(["--hidden", "8", "4", "--eta=-1"])]
        [('hidden', ['8', '4']), ('eta', ['-1'])]
    """
    found: list[Given] = []
    for arg in args:
        if _FLAG.match(arg):
            word, mark, value = arg.partition("=")
            name = "help" if word == "-h" else word.removeprefix("--")
            found.append(Given(name, [value] if mark else [], word))
        elif found:
            found[-1].value.append(arg)
        else:
            raise UsageError(f"got {arg!r}, want a flag, such as --seeds 3")
    return found

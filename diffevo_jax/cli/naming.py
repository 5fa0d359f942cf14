"""Errors in the words of who typed: the name of a field becomes its flag, or its key."""

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from diffevo_jax.cli import flags
from diffevo_jax.cli.errors import UsageError
from diffevo_jax.pytree import paths
from diffevo_jax.sweeps.fields import Whole

#: How an error of a sweep begins that is about its axes, or the values of one setting.
_OF_AXES = re.compile(r"axes: |(?=setting \d+ \([^)])")


class Names(NamedTuple):
    """What a command line calls the fields that it fills.

    Attributes:
        options: names of the command's own.
        whole: with all other fields.
        typed: what was typed for paths of them: a flag, or a key of a file.
        axes: what stands for the axes of a sweep, likewise.
    """

    options: Collection[str]
    whole: Whole
    typed: Mapping[str, str]
    axes: str = "--axis"


@contextlib.contextmanager
def said_by(names: Names) -> Iterator[None]:
    """Say errors of what was asked for in the words that asked for it.

    Raises:
        UsageError: in the place of an error.
    """
    try:
        yield
    except (ImportError, TypeError, ValueError) as error:
        raise UsageError(in_words(str(error), names)) from error


def in_words(message: str, names: Names) -> str:
    """An error, which begins with a name, in the words that were typed.

    What nobody typed is called by its flag. What is no name of a field stays as it is.
    """
    if _OF_AXES.match(message):
        return f"{names.axes}: {_OF_AXES.sub('', message, count=1)}"
    name, mark, text = message.partition(": ")
    found = list(_paths(name, names))
    said = [names.typed[path] for path in found if path in names.typed]
    if not said and len(found) == 1:
        said = [_flag(found[0], names)]
    return f"{', '.join(said)}{mark}{text}" if mark and said else message


def _paths(name: str, names: Names) -> Iterator[str]:
    """Paths of the fields that an error may mean by ``field`` or ``Class.field``."""
    owner, _, field = name.rpartition(".")
    if not owner and field in names.options:
        yield field
        return
    for flag in flags.of_whole(names.whole).values():
        words = flag.path.split(".")
        for place, word in enumerate(words[1:], start=1):
            above = paths.get(names.whole, ".".join(words[:place]))
            if word == field and owner in ("", type(above).__name__):
                yield flag.path
                break


def _flag(path: str, names: Names) -> str:
    known = flags.of_whole(names.whole)
    full = (name for name, flag in known.items() if flag.path == path)
    return flags.written(next(full, path))

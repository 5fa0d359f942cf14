"""A sweep in a TOML file: the same words as the flags, in tables.

The file becomes flags, and those of the command line come after them. ``name`` and the
options stand above the tables ``[strategy]``, ``[problem]`` and ``[axes]``.
"""

import contextlib
import dataclasses
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffevo_jax import pytree
from diffevo_jax.cli import axes, flags, parts
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.pytree import paths
from diffevo_jax.running.published import Experiment
from diffevo_jax.sweeps.fields import Whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: Of a file at most: it is read by people.
_MOST_BYTES = 2**20
#: Tables and lists inside each other at most; a parameter of a part of a part has seven.
_MOST_DEPTH = 32
#: Dots of a key at most: it takes the parser memory, and time, as their square.
_MOST_DOTS, _PARTS = 100, re.compile(rb"[=,{\[\n]")
_TOO_DEEP = f"got values more than {_MOST_DEPTH} deep, want no more"
#: What is a flag on the command line, and not a number.
_FLAG = re.compile(r"-[^\d.]")
_TABLES = ("strategy", "problem", "axes")


def load(path: str) -> dict[str, Any]:
    """The content of a file, with a name, and a table for each of the tables.

    Raises:
        UsageError: it cannot be read, is no TOML, too large or too deep, or has no name.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            read = file.read(_MOST_BYTES + 1)
        if len(read) > _MOST_BYTES:
            raise ValueError(f"got more than {_MOST_BYTES:,} bytes, want no more")
        if any(part.count(b".") > _MOST_DOTS for part in _PARTS.split(read)):
            raise ValueError(_TOO_DEEP)
        content = tomllib.loads(read.decode("utf-8-sig"))
        _check_depth(content)
    except RecursionError as error:
        raise UsageError(f"{path}: {_TOO_DEEP}") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (RuntimeError, ValueError) as error:  # the first: nobody has such a home
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(content.get("name"), str):
        raise UsageError(f"{path}: got no name, want name = '...'; see 'diffevo list'")
    for table in _TABLES:
        if not isinstance(content.setdefault(table, {}), dict):
            raise UsageError(f"{path}: got a value for {table}, want a table [{table}]")
    return content


def _check_depth(content: dict[str, Any]) -> None:
    """Raise unless nothing is deeper than all that follows can go."""
    level: list[Any] = [content]
    for _ in range(_MOST_DEPTH):
        parts = [part.values() if isinstance(part, dict) else part for part in level]
        level = [each for part in parts for each in part if isinstance(each, dict | list)]
    if level:
        raise ValueError(_TOO_DEEP)


def arguments(
    path: str,
    content: dict[str, Any],
    options: "DataclassInstance",
    experiment: Experiment,
    args: list[str],
) -> list[str]:
    """The flags of a file and of the command line, which counts where both say something.

    A part whose class the command line names is taken from there with its numbers, and so
    are axes of the same fields.

    Args:
        path: of the file, for errors.
        content: of :func:`load`.
        options: a dataclass of other flags.
        experiment: of the name.
        args: flags of the command line.

    Raises:
        UsageError: a key is none of its table.
    """
    known = [each.name for each in dataclasses.fields(options) if each.name != "axis"]
    plain = {key: content[key] for key in content if key not in ("name", *_TABLES)}
    for key in _flat(plain):
        if key not in known:
            hint = hint_at(key, ["name", *_TABLES, *known])
            raise UsageError(f"{path}: got {key!r}{hint}")
    found = [word for key, value in _flat(plain).items() for word in _flag(key, value)]
    found += _parts(path, content, experiment, flags.values(args))
    given = [axes.fields_of(text) for text in _axis_flags(args)]
    for key, value in _flat(content["axes"]).items():
        text = f"{key}={_axis(value, ':' if ',' in key else ' ')}"
        if axes.fields_of(text) not in given:
            found.append(f"--axis={text}")
    return [*found, *args]


def _parts(
    path: str, content: dict[str, Any], experiment: Experiment, words: dict[str, str]
) -> Iterator[str]:
    """The flags of the strategy's and the problem's tables, without what words replace."""
    start = flags.start(experiment)
    said = {
        (table, key): value
        for table in ("strategy", "problem")
        for key, value in _flat(content[table]).items()
    }
    name_of = lambda table, key: table if key == "class" else f"{table}.{key}"
    ours = {name_of(*where): str(value) for where, value in said.items()}
    known = flags.flags_of(flags.choose(start, ours))
    replaced = _replaced(start, words)
    for (table, key), value in said.items():
        try:
            flag = flags.find_flag(known, name_of(table, key))
        except ValueError as error:
            raise UsageError(f"{path}: [{table}] {error}") from None
        if flag is None:
            names = [name for name, full in known.items() if full.startswith(f"{table}.")]
            raise UsageError(f"{path}: [{table}] got {key!r}{hint_at(key, names)}")
        if not replaced(known[flag]):
            yield from _flag(flag, value)


def _replaced(start: Whole, words: dict[str, str]) -> Callable[[str], bool]:
    """Whether a path is of a part whose class the command line names."""
    whole = flags.choose(start, words)
    known, named, kept = flags.flags_of(whole), [], []
    for word in words:
        with contextlib.suppress(ValueError):  # which is said when they are parsed
            part = known.get(flags.find_flag(known, word) or "", "")
            if part and pytree.is_component(paths.get(whole, part)):
                named.append(part)
                needed = parts.required(type(paths.get(whole, part)))
                kept += [f"{part}.{name}" for name in needed]
    return lambda path: (
        path not in kept and any(f"{path}.".startswith(f"{part}.") for part in named)
    )


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted names; the ``class`` of a part is its own name."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = prefix.removesuffix(".") if prefix and key == "class" else prefix + key
        if isinstance(value, dict):
            found |= _flat(value, f"{name}.")
        else:
            found[name.replace("-", "_")] = value
    return found


def _flag(key: str, value: object) -> Iterator[str]:
    path, dot, name = key.replace("_", "-").rpartition(".")
    if isinstance(value, bool):
        yield f"--{path}{dot}{'' if value else 'no-'}{name}"
    elif isinstance(value, list):
        yield f"--{path}{dot}{name}"
        for word in map(str, value):
            if _FLAG.match(word):  # it would be one of its own
                raise UsageError(f"{key}: got {word!r}, want no flag")
            yield word
    else:
        yield f"--{path}{dot}{name}={value}"


def _axis_flags(args: Sequence[str]) -> Iterator[str]:
    for number, word in enumerate(args):
        if word == "--axis":
            yield from args[number + 1 : number + 2]
        elif word.startswith("--axis="):
            yield word.removeprefix("--axis=")


def _axis(value: object, mark: str) -> str:
    """The values of an axis as words; ``mark`` joins what belongs to one of them."""
    rows = value if isinstance(value, list) else [value]
    return ",".join(
        mark.join(_axis(each, " ") if isinstance(each, list) else str(each) for each in row)
        if isinstance(row, list)
        else str(row)
        for row in rows
    )

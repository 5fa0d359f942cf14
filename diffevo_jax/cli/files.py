"""A sweep in a TOML file: the same words as the flags, in tables.

The file becomes flags, and those of the command line come after them. ``name`` and the
options stand above the tables ``[strategy]``, ``[problem]`` and ``[axes]``.
"""

import dataclasses
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diffevo_jax.cli import axes, flags, parts
from diffevo_jax.cli.errors import UsageError, closest
from diffevo_jax.running.published import Protocol

_TABLES = ("strategy", "problem", "axes")


def load(path: str) -> dict[str, Any]:
    """The content of a file, with a name, and a table for each of the tables.

    Raises:
        UsageError: it is no TOML, or has no name.
        OSError: it cannot be read.
    """
    try:
        content = tomllib.loads(Path(path).read_text())
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(content.get("name"), str):
        raise UsageError(f"{path}: got no name, want name = '...'; see 'diffevo list'")
    for table in _TABLES:
        if not isinstance(content.setdefault(table, {}), dict):
            raise UsageError(f"{path}: got a value for {table}, want a table [{table}]")
    return content


def arguments(
    path: str, content: dict[str, Any], options: Any, protocol: Protocol, args: list[str]
) -> list[str]:
    """The flags of a file and of the command line, which counts where both say something.

    A part whose class the command line names is taken from there with its numbers, and so
    are axes of the same fields.

    Args:
        path: of the file, for errors.
        content: of :func:`load`.
        options: a dataclass of other flags.
        protocol: of the name.
        args: flags of the command line.

    Raises:
        UsageError: a key is none of its table.
    """
    known = [each.name for each in dataclasses.fields(options) if each.name != "axis"]
    plain = {key: content[key] for key in content if key not in ("name", *_TABLES)}
    found = _flags(path, "", _flat(plain), ["name", *_TABLES, *known])
    words = flags.values(args)
    problem: Any = protocol.problem
    if hasattr(problem, "with_env_params"):
        problem = problem.with_env_params()
    for table, component in (("strategy", protocol.strategy), ("problem", problem)):
        flat = {
            key: value
            for key, value in _flat(content[table]).items()
            if f"--{key.partition('.')[0]}" not in words
        }
        chosen = {f"--{key}": str(value) for key, value in flat.items()}
        names = flags.names(parts.choose(component, words | chosen))
        found += _flags(path, f"[{table}] ", flat, list(names))
    given = [axes.fields_of(text) for text in _axis_flags(args)]
    for key, value in _flat(content["axes"]).items():
        text = f"{key}={_axis(value, ':' if ',' in key else ' ')}"
        if axes.fields_of(text) not in given:
            found.append(f"--axis={text}")
    return [*found, *args]


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted names; a part's ``class`` is its own name."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = prefix.removesuffix(".") if prefix and key == "class" else prefix + key
        if isinstance(value, dict):
            found |= _flat(value, f"{name}.")
        else:
            found[name.replace("-", "_")] = value
    return found


def _flags(path: str, where: str, flat: dict[str, Any], known: Sequence[str]) -> list[str]:
    for key in flat:
        if key not in known:
            raise UsageError(f"{path}: {where}got {key!r}{closest(key, known)}")
    return [word for key, value in flat.items() for word in _flag(key, value)]


def _flag(key: str, value: Any) -> Iterator[str]:
    path, dot, name = key.replace("_", "-").rpartition(".")
    if isinstance(value, bool):
        yield f"--{path}{dot}{'' if value else 'no-'}{name}"
    elif isinstance(value, list):
        yield f"--{path}{dot}{name}"
        yield from map(str, value)
    else:
        yield f"--{path}{dot}{name}={value}"


def _axis_flags(args: Sequence[str]) -> Iterator[str]:
    for number, word in enumerate(args):
        if word == "--axis":
            yield from args[number + 1 : number + 2]
        elif word.startswith("--axis="):
            yield word.removeprefix("--axis=")


def _axis(value: Any, mark: str) -> str:
    """The values of an axis as words; ``mark`` joins what belongs to one of them."""
    rows = value if isinstance(value, list) else [value]
    return ",".join(
        mark.join(_axis(each, " ") if isinstance(each, list) else str(each) for each in row)
        if isinstance(row, list)
        else str(row)
        for row in rows
    )

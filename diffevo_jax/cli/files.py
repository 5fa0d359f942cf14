"""What to run in a TOML file: the names of the flags, in tables; read, and written.

``name`` and the options stand above the tables ``[strategy]``, ``[problem]``, ``[axes]``.
"""

import dataclasses
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffevo_jax.base import PyTree
from diffevo_jax.cli import flags, parts
from diffevo_jax.cli.axes import Axis, is_value
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.cli.request import Request
from diffevo_jax.cli.words import Given

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: Of a file at most: it is read by people.
_MOST_BYTES = 2**20
#: Tables and lists inside each other at most; a parameter of a part of a part has seven.
_MOST_DEPTH = 32
#: Dots of a key at most: it takes the parser memory, and time, as their square.
_MOST_DOTS, _PARTS = 100, re.compile(rb"[=,{\[\n]")
_TOO_DEEP = f"got values more than {_MOST_DEPTH} deep, want no more"
_TABLES = ("strategy", "problem", "axes")
#: Options that say where a file is, or are said in a table of their own.
NOT_IN_FILES = ("axis", "config", "print_config")


def load(path: str) -> dict[str, Any]:
    """The content of a file, with a table for each of the tables.

    Raises:
        UsageError: it cannot be read, is no TOML, or too large or too deep.
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
    if not isinstance(content.get("name", ""), str):
        raise UsageError(f"{path}: name: got {content['name']!r}, want a word")
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


def keys(path: str, content: dict[str, Any], options: "DataclassInstance") -> list[Given]:
    """What a file gives to options, strategy and problem.

    Args:
        path: of the file, for errors.
        content: of :func:`load`.
        options: a dataclass of other flags.

    Raises:
        UsageError: a key is none of the file's first ones.
    """
    own = [field.name for field in dataclasses.fields(options)]
    known = [name for name in own if name not in NOT_IN_FILES]
    found = []
    for key, value in content.items():
        name = key.replace("-", "_")
        if name in known:
            found.append(Given(name, value, f"{path}: {name}", typed=True))
        elif key not in ("name", *_TABLES):
            hint = hint_at(key, ["name", *_TABLES, *known])
            want = "want name, an option, [strategy], [problem] or [axes]"
            raise UsageError(f"{path}: got {key!r}{hint or f', {want}'}")
    if content["axes"] and "axis" not in own:
        raise UsageError(f"{path}: got [axes], which are for diffevo sweep")
    for table in ("strategy", "problem"):
        for key, value in _flat(content[table]):
            name = table if key == "class" else f"{table}.{key}"
            found.append(Given(name, value, f"{path}: {name}", typed=True))
    return found


def axes(path: str, content: dict[str, Any]) -> list[Axis]:
    """The axes of a file."""
    return [
        Axis(tuple(name.strip() for name in key.split(",")), value, f"{path}: [axes]")
        for key, value in _flat(content["axes"], is_value)
    ]


def _flat(
    table: dict[str, Any],
    is_whole: Callable[[dict[str, PyTree]], bool] = lambda _: False,
    prefix: str = "",
) -> Iterator[tuple[str, PyTree]]:
    """Nested tables as dotted names; the ``class`` of a part is its own name.

    A table that is empty, or that a ``class`` is, is a value, which nothing takes: so that
    it is said.
    """
    for key, value in table.items():
        name = prefix.removesuffix(".") if prefix and key == "class" else prefix + key
        is_table = isinstance(value, dict) and key != "class"
        if value and is_table and not is_whole(value):
            yield from _flat(value, is_whole, f"{name}.")
        else:
            yield name.replace("-", "_"), value


def written(name: str, request: Request, axes: Iterable[Axis] = ()) -> str:
    """A file from which the same is run.

    Args:
        name: as on the command line.
        request: whose numbers are written, all of them; options where they are not the
            default.
        axes: of a sweep.
    """
    lines = [f"name = {value_of(name)}"]
    for field in dataclasses.fields(request.options):
        value = vars(request.options)[field.name]
        if field.name not in NOT_IN_FILES and value != field.default:
            lines.append(f"{field.name} = {value_of(value)}")
    whole = flags.start_of(request.strategy, request.problem)
    tables: dict[str, list[str]] = {"strategy": [], "problem": []}
    for flag in flags.of_whole(whole).values():
        table, _, key = flag.path.partition(".")
        if flag.kind is None:
            if (chosen := parts.kebab(flag.value)) in flags.classes(whole, flag.path):
                tables[table].append(f"{key + '.' * bool(key)}class = {value_of(chosen)}")
        elif (value := flags.plain(flag.value)) is not ...:
            tables[table].append(f"{key} = {value_of(value)}")
    tables["axes"] = [
        f"{value_of(','.join(axis.fields))} = {value_of(axis.values)}" for axis in axes
    ]
    for table, inside in tables.items():
        lines += ["", f"[{table}]", *inside] if inside else []
    return "\n".join(lines) + "\n"


def value_of(value: PyTree) -> str:
    """A value of TOML; None is a word there.

    Example:
        >>> from diffevo_jax.cli import files
        >>> files.value_of([True, 1e-9, None, {"linspace": [0, 1, 5]}])
        '[true, 1e-09, "None", {linspace = [0, 1, 5]}]'
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_of, value))}]"
    if isinstance(value, dict):
        return (
            f"{{{', '.join(f'{key} = {value_of(each)}' for key, each in value.items())}}}"
        )
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")

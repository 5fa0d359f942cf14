"""Axes of a sweep: as words, ``shaping.temperature=0.1,1``, and as TOML has them.

As words an axis is ``FIELD=VALUES``: the field as in :func:`diffevo_jax.sweep`, its values
as for a flag, separated by commas. ``linspace(0,1,5)``, ``logspace(-1,1,5)``,
``geomspace(1,9,3)`` (as NumPy's) and ``range(5,30,5)`` (as Python's) stand for values. A
part is the name of its class, and may say its numbers: ``tempered(dimension=2)``. The
numbers of a tuple are separated by spaces. Fields that go together are separated by commas,
and their values by colons: ``a,b=1:2,3:4``.

In a file an axis is a list of values; of fields that go together, of lists. What is a
string there is words. ``{linspace = [0, 1, 5]}`` is a range, and ``{class = "tempered",
dimension = 2}`` a part.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import Problem, PyTree, Strategy
from diffevo_jax.cli import limits, parts, values
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.cli.flags import start_of
from diffevo_jax.pytree import paths
from diffevo_jax.sweeps.fields import Whole, full_path, label, with_environment
from diffevo_jax.sweeps.settings import Axes

_SPACES: dict[str, Callable[..., Any]] = {
    "linspace": np.linspace,
    "logspace": np.logspace,
    "geomspace": np.geomspace,
}
_RANGES = (*_SPACES, "range")
_RANGE = re.compile(rf"({'|'.join(_RANGES)})\((.*)\)")
_PART = re.compile(r"([\w-]+)(?:\((.*)\))?")


class Axis(NamedTuple):
    """Fields and their values, as they were given.

    Attributes:
        fields: with underscores; several go together.
        values: words, or what TOML has.
        where: how an error calls it.
    """

    fields: tuple[str, ...]
    values: PyTree
    where: str = "--axis"


def parse(
    strategy: Strategy,
    problem: Problem,
    population_size: int,
    given: Iterable[str | Axis],
) -> Axes:
    """The axes that are asked for.

    Args:
        strategy: without axes.
        problem: without axes.
        population_size: without axes.
        given: ``FIELDS=VALUES`` each, or as of a file.

    Raises:
        UsageError: there is no such field, a value is none of it, or fields are given
            twice.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.cli import axes
        >>> what = de.DiffusionEvolution(5), de.problems.Landscape("beale"), 8
        >>> axes.parse(*what, ["scale=linspace(1,2,3)", "kernel=tempered(dimension=3)"])
        {'scale': [1.0, 1.5, 2.0], 'kernel': [Tempered(dimension=3.0)]}
        >>> axes.parse(*what, ["sampler.eta,population_size=0.5:8,1:16"])
        {('sampler.eta', 'population_size'): [(0.5, 8), (1.0, 16)]}
    """
    asked = [of_text(one) if isinstance(one, str) else one for one in given]
    names = [name for axis in asked for name in axis.fields]
    try:
        whole = with_environment(Whole(strategy, problem, population_size), names)
    except ValueError as error:
        raise UsageError(f"{asked[0].where}: {error}") from None
    found: dict[str | tuple[str, ...], list[Any]] = {}
    for axis in asked:
        owners, places = zip(
            *(_owner(whole, field, axis.where) for field in axis.fields), strict=True
        )
        named = [f"{axis.where} {field}" for field in axis.fields]
        rows = [tuple(map(_filled, owners, places, row, named)) for row in _rows(axis)]
        alone = len(axis.fields) == 1
        name = axis.fields[0] if alone else axis.fields
        if name in found:
            raise UsageError(f"{axis.where}: {','.join(axis.fields)!r} is given twice")
        found[name] = [row[0] for row in rows] if alone else rows
    return found


def of_text(text: str) -> Axis:
    """The axis that ``FIELDS=VALUES`` says."""
    names, mark, said = text.partition("=")
    if not mark:
        raise UsageError(f"--axis: got {text!r}, want FIELD=VALUE,VALUE")
    return Axis(tuple(name.strip().replace("-", "_") for name in names.split(",")), said)


def is_value(table: Mapping[str, PyTree]) -> bool:
    """Whether a table of a file is a range or a part, and not one of fields."""
    return not table.keys().isdisjoint((*_RANGES, "class"))


def _rows(axis: Axis) -> Iterator[tuple[PyTree, ...]]:
    """What every row has, one for each field; ranges are written out."""
    if isinstance(axis.values, str):
        items: list[PyTree] = _split(axis.values, ",")
    else:
        items = axis.values if isinstance(axis.values, list) else [axis.values]
    together = len(axis.fields) > 1
    for item in items:
        columns = item if together and isinstance(item, list) else [item]
        if together and isinstance(item, str):
            columns = _split(item, ":")
        where = f"{axis.where} {','.join(axis.fields)}"
        lists = [_values_of_range(each, where) for each in columns]
        if len(lists) != len(axis.fields) or len(set(map(len, lists))) != 1:
            want = f"want {':'.join(axis.fields)}, equally many of each"
            raise UsageError(f"{where}: got {item!r}, {want}")
        yield from zip(*lists, strict=True)


def _split(text: str, mark: str) -> list[str]:
    """Split at a mark that is not in parentheses."""
    found, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == mark and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return [part.strip() for part in found]


def _values_of_range(said: PyTree, where: str) -> list[PyTree]:
    """The values of a range as words; of another value itself."""
    if said == {}:
        want = f"want a list of values, or {' or '.join(_RANGES)} = [...]"
        raise UsageError(f"{where}: got {{}}, {want}")
    if isinstance(said, dict) and "class" not in said:
        ((name, ends), *others) = said.items()
        if others or not isinstance(ends, list):
            want = f"want one range, such as {{{name} = [0, 1, 5]}}"
            raise UsageError(f"{where}: got {pytree.short(said)}, {want}")
        said = f"{name}({','.join(map(str, ends))})"
    is_range = _RANGE.fullmatch(said) if isinstance(said, str) else None
    if is_range is None:
        return [said]
    name, inside = is_range.groups()
    try:
        if name == "range":
            whole = range(*map(int, inside.split(",")))  # its len is at most 2^63
            limits.check_values(where, said, -((whole.start - whole.stop) // whole.step))
            return [str(value) for value in whole]
        first, last, count = inside.split(",")
        limits.check_values(where, said, int(count))
        with np.errstate(all="raise"):
            spaced = _SPACES[name](float(first), float(last), int(count))
    except UsageError:  # it is too long
        raise
    except (ArithmeticError, TypeError, ValueError):
        want = "begin,end,step" if name == "range" else "first,last,count"
        raise UsageError(f"{where}: got {said!r}, want {name}({want})") from None
    return [repr(value) for value in spaced.tolist()]


def _owner(whole: Whole, field: str, where: str) -> tuple[PyTree, str]:
    """What has a field, and under which name."""
    try:
        path, _, name = full_path(whole, field).rpartition(".")
    except ValueError as error:
        above, _, key = field.rpartition(".")
        more = start_of(whole.strategy, whole.problem)
        number = _resolved(more, above)
        if number and not dataclasses.is_dataclass(paths.get(more, number)):
            hint = hint_at(key, _RANGES)
            want = f"want a list of values, or {' or '.join(_RANGES)} = [...]"
            raise UsageError(f"{where} {above}: got {key!r}, {want}{hint}") from None
        raise UsageError(f"{where}: {_with_closest(whole, field, str(error))}") from None
    return (paths.get(whole, path) if path else whole), name


def _resolved(whole: Whole, field: str) -> str | None:
    try:
        return full_path(whole, field) if field else None
    except ValueError:
        return None


def _with_closest(whole: Whole, field: str, message: str) -> str:
    """An error of a field with all names that are at one slip from it, if there are any."""
    known: dict[str, str] = {}
    more = start_of(whole.strategy, whole.problem)
    for path in paths.names(more):
        words = path.split(".")
        for count in range(1, len(words) + 1):
            known[".".join(words[-count:])] = label(more, path)
    hint = hint_at(field, known, known)
    return f"{message.partition('; closest')[0]}{hint}" if "closest" in hint else message


def _filled(owner: PyTree, name: str, said: PyTree, where: str) -> PyTree:
    """What a word, or a value of TOML, makes of a field of an owner."""
    if pytree.is_component(vars(owner)[name]) and parts.family(owner, name):
        return _part(owner, name, said, where)
    hint = parts.hint_of(owner, name)
    if hint is None:
        raise UsageError(f"{where}: no word can say it; sweep it from Python")
    kind = values.kind_of(hint)
    try:
        if not isinstance(said, str):
            return values.of_toml(kind, said)
        if kind.base is int and not kind.many and said.endswith(".0"):  # of a range
            said = said.removesuffix(".0")
        return values.of_words(kind, said.split() if kind.many else [said])
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def _part(owner: PyTree, name: str, said: PyTree, where: str) -> PyTree:
    """A part of the class that is named, with the numbers that are said."""
    known = parts.family(owner, name)
    word, numbers = _class_and_numbers(said, where)
    cls = parts.class_named(known, word)
    if cls is None:
        hint = hint_at(word, known) or f", want one of {', '.join(sorted(known))}"
        raise UsageError(f"{where}: got {word!r}{hint}")
    part = vars(owner)[name]
    if cls is not type(part):
        part = parts.with_defaults(cls, owner, name)
    names = [each.name for each in dataclasses.fields(cls)]
    for key, value in numbers.items():
        if key not in names:
            got = f"{key}={value}"
            hint = hint_at(key, names) or f", want {', '.join(names)}"
            raise UsageError(f"{where}: {word}: got {got!r}{hint}")
        filled = _filled(part, key, value, f"{where}: {word}: {key}")
        part = pytree.replace(part, **{key: filled})
    absent = [f"{key}=..." for key in names if vars(part)[key] is parts.MISSING]
    if absent:
        want = f"{word}({', '.join(absent)})"
        raise UsageError(f"{where}: got {said!r}, want {want}")
    return part


def _class_and_numbers(said: PyTree, where: str) -> tuple[str, dict[str, PyTree]]:
    """``tempered(dimension=2)`` or ``{class = "tempered", dimension = 2}`` in its parts."""
    found = _PART.fullmatch(said) if isinstance(said, str) else None
    if isinstance(said, dict) and isinstance(said.get("class"), str):
        numbers = {key.replace("-", "_"): said[key] for key in said if key != "class"}
        return said["class"], numbers
    if found is None:
        if isinstance(said, str):
            return said, {}
        want = "want the name of a class, or {class = ..., and its numbers}"
        raise UsageError(f"{where}: got {pytree.short(said)}, {want}")
    numbers = {}
    for each in _split(found[2], ",") if found[2] else ():
        key, mark, value = (half.strip() for half in each.partition("="))
        if not mark:
            raise UsageError(f"{where}: {found[1]}: got {each!r}, want NUMBER=VALUE")
        numbers[key.replace("-", "_")] = value
    return found[1], numbers

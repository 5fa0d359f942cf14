"""Axes of a sweep as words: ``shaping.temperature=0.1,1``, ``kernel=tempered,gaussian``.

An axis is ``FIELD=VALUES``: the field as in :func:`diffevo_jax.sweep`, its values as for a
flag, separated by commas. ``linspace(0,1,5)``, ``logspace(-1,1,5)``, ``geomspace(1,9,3)``
(as NumPy's) and ``range(5,30,5)`` (as Python's) stand for their values. A part is the name
of its class, and may say its numbers: ``tempered(dimension=2)``. The numbers of a tuple are
separated by spaces. Fields that go together are separated by commas, and their values by
colons: ``a,b=1:2,3:4``.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tyro

from diffevo_jax import pytree
from diffevo_jax.base import Problem, PyTree, Strategy
from diffevo_jax.cli import limits, parts
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.pytree import paths
from diffevo_jax.sweeps.fields import Whole, full_path, with_environment
from diffevo_jax.sweeps.settings import Axes

_SPACES: dict[str, Callable[..., Any]] = {
    "linspace": np.linspace,
    "logspace": np.logspace,
    "geomspace": np.geomspace,
}
_RANGE = re.compile(r"(linspace|logspace|geomspace|range)\((.*)\)")
_PART = re.compile(r"([\w-]+)(?:\((.*)\))?")
_TRUTH = {"true": True, "false": False}
_KINDS = {bool: "true or false", int: "an int", float: "a number", str: "a word"}


def parse(
    strategy: Strategy, problem: Problem, population_size: int, texts: Iterable[str]
) -> Axes:
    """The axes that words ask for.

    Args:
        strategy: without axes.
        problem: without axes.
        population_size: without axes.
        texts: ``FIELDS=VALUES`` each.

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
    words = [_halves(text) for text in texts]
    names = [name for fields, _ in words for name in fields]
    try:
        whole = with_environment(Whole(strategy, problem, population_size), names)
    except ValueError as error:
        raise UsageError(f"--axis: {error}") from None
    found: dict[str | tuple[str, ...], list[Any]] = {}
    for fields, values in words:
        owners, places = zip(*(_owner(whole, field) for field in fields), strict=True)
        rows = [
            tuple(map(_filled, owners, places, row, fields))
            for row in _rows(fields, values)
        ]
        alone = len(fields) == 1
        name = fields[0] if alone else fields
        if name in found:
            raise UsageError(f"--axis: {','.join(fields)!r} is given twice")
        found[name] = [row[0] for row in rows] if alone else rows
    return found


def fields_of(text: str) -> tuple[str, ...]:
    """The fields of ``FIELDS=VALUES``, with underscores."""
    return _halves(text)[0]


def _halves(text: str) -> tuple[tuple[str, ...], str]:
    fields, mark, values = text.partition("=")
    if not mark:
        raise UsageError(f"--axis: got {text!r}, want FIELD=VALUE,VALUE")
    return tuple(name.strip().replace("-", "_") for name in fields.split(",")), values


def _rows(fields: tuple[str, ...], values: str) -> Iterator[tuple[str, ...]]:
    """Words of every row, one for each field; ranges are written out."""
    for item in _split(values, ","):
        columns = _split(item, ":") if len(fields) > 1 else [item]
        lists = [_values_of_range(word) for word in columns]
        if len(lists) != len(fields) or len(set(map(len, lists))) != 1:
            want = f"want {':'.join(fields)}, equally many of each"
            raise UsageError(f"--axis {','.join(fields)}: got {item!r}, {want}")
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


def _values_of_range(word: str) -> list[str]:
    """The values of a range as words; other words as they are."""
    is_range = _RANGE.fullmatch(word)
    if is_range is None:
        return [word]
    name, inside = is_range.groups()
    try:
        if name == "range":
            whole = range(*map(int, inside.split(",")))  # its len is at most 2^63
            limits.check_values(word, -((whole.start - whole.stop) // whole.step))
            return [str(value) for value in whole]
        first, last, count = inside.split(",")
        limits.check_values(word, int(count))
        with np.errstate(all="raise"):
            values = _SPACES[name](float(first), float(last), int(count))
    except UsageError:  # it is too long
        raise
    except (ArithmeticError, TypeError, ValueError):
        want = "begin,end,step" if name == "range" else "first,last,count"
        raise UsageError(f"--axis: got {word!r}, want {name}({want})") from None
    return [repr(value) for value in values.tolist()]


def _owner(whole: Whole, field: str) -> tuple[PyTree, str]:
    """What has a field, and under which name."""
    try:
        path, _, name = full_path(whole, field).rpartition(".")
    except ValueError as error:
        raise UsageError(f"--axis: {error}") from None
    return (paths.get(whole, path) if path else whole), name


def _filled(owner: PyTree, name: str, word: str, field: str) -> PyTree:
    """What a word makes of a field of an owner; ``field`` is its name for a user."""
    if pytree.is_component(vars(owner)[name]) and parts.family(owner, name):
        return _part(owner, name, word, field)
    hint = parts.hint_of(owner, name)
    if hint is None:
        raise UsageError(f"--axis {field}: no word can say it; sweep it from Python")
    kinds = typing.get_args(hint) or (hint,)
    if types.NoneType in kinds and word == "None":
        return None
    kind = next(kind for kind in _KINDS if kind in kinds)
    try:
        if Ellipsis in kinds:
            return tuple(_plain(kind, each) for each in word.split())
        return _plain(kind, word)
    except (KeyError, ValueError):
        want = _KINDS[kind] + ", or some separated by spaces" * (Ellipsis in kinds)
        want += " or None" * (types.NoneType in kinds)
        raise UsageError(f"--axis {field}: got {word!r}, want {want}") from None


def _plain(kind: type, word: str) -> PyTree:
    if kind is bool:
        return _TRUTH[word.lower()]
    if kind is int and word.endswith(".0"):  # of a range
        return int(word.removesuffix(".0"))
    return kind(word)


def _part(owner: PyTree, name: str, word: str, field: str) -> PyTree:
    """A part of the class that a word names, with the numbers that it says."""
    known, said = parts.family(owner, name), _PART.fullmatch(word)
    cls = said and parts.class_named(owner, name, said[1])
    if said is None or cls is None:
        hint = hint_at(word, known) or f", want one of {', '.join(sorted(known))}"
        raise UsageError(f"--axis {field}: got {word!r}{hint}")
    part = vars(owner)[name]
    if cls is not type(part):
        part = parts.with_defaults(cls, owner, name)
    names = [each.name for each in dataclasses.fields(cls)]
    for each in _split(said[2], ",") if said[2] else ():
        key, mark, value = (half.strip() for half in each.partition("="))
        key = key.replace("-", "_")
        if not mark or key not in names:
            hint = hint_at(key, names) or f", want {', '.join(names)}"
            raise UsageError(f"--axis {field}: {said[1]}: got {each!r}{hint}")
        filled = _filled(part, key, value, f"{field}: {said[1]}: {key}")
        part = pytree.replace(part, **{key: filled})
    absent = [f"{key}=..." for key in names if vars(part)[key] is tyro.MISSING]
    if absent:
        want = f"{said[1]}({', '.join(absent)})"
        raise UsageError(f"--axis {field}: got {word!r}, want {want}")
    return part

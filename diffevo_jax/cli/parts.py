"""Components as words: the names of their classes, and which words fill their fields."""

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from diffevo_jax import denoisers, diffusion
from diffevo_jax.base import Denoiser, Problem, PyTree

#: Fields that follow from NAME, so that they are no flags.
_DECIDED = ("env_name", "env", "name", "num_outputs")
_PLAIN = {int, float, bool, str, type(None), Ellipsis}
#: Where the parts of a contract are that are not all in one room.
_ROOMS: dict[object, tuple[ModuleType, ...]] = {Denoiser: (denoisers, diffusion)}


#: Stands for a value that has no default, until one is given.
MISSING = type("Missing", (), {"__repr__": lambda _: "MISSING"})()


class Field(NamedTuple):
    """A field of a component that words can fill.

    Attributes:
        name: its name.
        value: what it is now.
        hint: its type, for a field that takes plain values; else None.
    """

    name: str
    value: PyTree
    hint: object


def fields(owner: PyTree) -> Iterator[Field]:
    """All fields of a component that have a flag, or are parts that have."""
    for field in dataclasses.fields(owner):
        value, hint = vars(owner)[field.name], hint_of(owner, field.name)
        if field.name not in _DECIDED and (hint or dataclasses.is_dataclass(value)):
            yield Field(field.name, value, hint)


def hint_of(owner: PyTree, name: str) -> object:
    """The type of a field that takes plain values; None for others, such as functions."""
    field, value = _field(owner, name), vars(owner)[name]
    if dataclasses.is_dataclass(value):
        return None
    if field.metadata.get("static"):
        kinds = typing.get_args(field.type) or (field.type,)
        return field.type if _PLAIN.issuperset(kinds) else None
    if "number" in field.metadata:
        return float | None if field.metadata["number"]["optional"] else float
    if isinstance(value, float):
        return float
    return int if type(value) is int else None  # of an environment


def family(owner: PyTree, name: str) -> dict[str, type]:
    """Classes that a part can have: those beside its own that keep the field's contract.

    Without those that need what no flag can say, as a function. A problem has none: the
    command's first word says which.
    """
    contract = _field(owner, name).type
    if contract is Problem:
        return {}
    package = ".".join(type(vars(owner)[name]).__module__.split(".")[:2])
    rooms = _ROOMS.get(contract, (sys.modules[package],))
    beside: list[Any] = [
        cls
        for room in rooms
        for cls in filter(inspect.isclass, vars(room).values())
        if cls.__module__.startswith(room.__name__)
    ]
    promises = {promise for promise in vars(contract) if not promise.startswith("_")}
    return {
        kebab(cls): cls
        for cls in beside
        if "__is_component__" in vars(cls)
        and promises.issubset({*dir(cls), *(each.name for each in dataclasses.fields(cls))})
        and all(_can_be_said(each, contract) for each in dataclasses.fields(cls))
    }


def class_named(family: Mapping[str, type], word: str) -> type | None:
    """The class of a family that a word names; capitals and dashes do not matter."""
    known = {_letters(key): cls for key, cls in family.items()}
    return known.get(_letters(word))


def required(cls: type) -> list[str]:
    """Fields without a default."""
    # Both are dataclasses.MISSING where there is no default.
    known = dataclasses.fields(cls)
    return [field.name for field in known if field.default is field.default_factory]


def with_defaults(cls: type, owner: PyTree, name: str) -> PyTree:
    """A part of a class for a field of an owner, with defaults of its own.

    What has no default is that of the part that is there, or ``MISSING``; and a part
    around a part of its kind is put around the one that is there.
    """
    before, contract = vars(owner)[name], _field(owner, name).type
    types = {field.name: field.type for field in dataclasses.fields(cls)}
    known = {key: before for key in types if types[key] is contract}
    known = vars(before) | known
    return cls(**{key: known.get(key, MISSING) for key in required(cls)})


def _field(owner: PyTree, name: str) -> dataclasses.Field:
    return next(field for field in dataclasses.fields(owner) if field.name == name)


def _can_be_said(field: dataclasses.Field, contract: object) -> bool:
    """Whether a field of a part that keeps a contract has a default, or words fill it."""
    has_default = field.default is not field.default_factory
    is_number = "number" in field.metadata or field.type is int
    return has_default or is_number or field.type is contract


def _letters(word: str) -> str:
    return re.sub(r"[-_]", "", word.lower())


def docs(cls: type) -> dict[str, str]:
    """First line (under "") and argument descriptions of a class's docstring."""
    text = re.sub(r":\w+:`~?([^`]*)`|``", r"\1", inspect.getdoc(cls) or "")
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.M)
    return {"": text.partition("\n")[0]} | {key: " ".join(v.split()) for key, v in found}


def kebab(part: object) -> str:
    """The name of a class, or of that of an object, as on the command line.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.cli import parts
        >>> parts.kebab(de.samplers.DPMSolver2M)
        'dpm-solver2m'
    """
    name = (part if isinstance(part, type) else type(part)).__name__
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()

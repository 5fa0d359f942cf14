"""Components as words: the names of their classes, and which words fill their fields."""

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

import tyro

from diffevo_jax import pytree

#: Fields that follow from NAME, so that they are no flags.
_DECIDED = ("env_name", "name", "num_outputs")
_PLAIN = {int, float, bool, str, type(None), Ellipsis}


class Field(NamedTuple):
    """A field of a component that words can fill.

    Attributes:
        name: its name.
        value: what it is now.
        hint: its type, for a field that takes plain values; else None.
    """

    name: str
    value: Any
    hint: Any


def fields(owner: Any) -> Iterator[Field]:
    """All fields of a component that have a flag, or are parts that have."""
    for field in dataclasses.fields(owner):
        value, hint = getattr(owner, field.name), hint_of(owner, field.name)
        if field.name not in _DECIDED and (hint or dataclasses.is_dataclass(value)):
            yield Field(field.name, value, hint)


def hint_of(owner: Any, name: str) -> Any:
    """The type of a field that takes plain values; None for others, such as functions."""
    value = getattr(owner, name)
    field = next(field for field in dataclasses.fields(owner) if field.name == name)
    if dataclasses.is_dataclass(value):
        return None
    if field.metadata.get("static"):
        hint = typing.get_type_hints(type(owner))[name]
        return hint if _PLAIN.issuperset(typing.get_args(hint) or (hint,)) else None
    if "number" in field.metadata or isinstance(value, float):
        return float
    return int if type(value) is int else None  # of an environment


def family(owner: Any, name: str) -> dict[str, Any]:
    """Classes that a part can have: those beside its own that keep the field's contract.

    Without those that need what no flag can say, as a function.
    """
    package = ".".join(type(getattr(owner, name)).__module__.split(".")[:2])
    contract = vars(typing.get_type_hints(type(owner))[name])
    promises = [promise for promise in contract if not promise.startswith("_")]
    return {
        kebab(cls): cls
        for cls in vars(sys.modules[package]).values()
        if getattr(cls, "__module__", "").startswith(package)
        and hasattr(cls, "__is_component__")
        and all(hasattr(cls, promise) for promise in promises)
        and all(map(_has_flag, dataclasses.fields(cls)))
    }


def _has_flag(field: Any) -> bool:
    has_default = field.default is not field.default_factory
    return has_default or "number" in field.metadata or field.type is int


def with_defaults(cls: type) -> Any:
    """A part of a class; what has no default is ``tyro.MISSING``."""
    # Both are dataclasses.MISSING where there is no default.
    known = dataclasses.fields(cls)
    wanted = [field.name for field in known if field.default is field.default_factory]
    return cls(**dict.fromkeys(wanted, tyro.MISSING))


def choose(owner: Any, words: dict[str, str]) -> Any:
    """Give parts the classes that the command line names, with their own defaults."""
    changes = {}
    for name, part in vars(owner).items():
        if pytree.is_component(part):
            cls = family(owner, name).get(words.get(f"--{name}", ""), type(part))
            if cls is not type(part):
                changes[name] = with_defaults(cls)
    return pytree.replace(owner, **changes)


def docs(cls: type) -> dict[str, str]:
    """First line (under "") and argument descriptions of a class's docstring."""
    text = re.sub(r":\w+:`~?([^`]*)`|``", r"\1", inspect.getdoc(cls) or "")
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.M)
    return {"": text.partition("\n")[0]} | {key: " ".join(v.split()) for key, v in found}


def kebab(part: Any) -> str:
    """The name of a class, or of that of an object, as on the command line.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.cli import parts
        >>> parts.kebab(de.samplers.DPMSolver2M)
        'dpm-solver2m'
    """
    name = (part if isinstance(part, type) else type(part)).__name__
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()

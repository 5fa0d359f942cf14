"""Objects that are no components, compared by class and public attributes.

JAX keeps the programs that it has compiled by the structure that they were compiled for.
An object of a user's own, such as an environment, is part of that structure; by identity
every object would be another structure, and one that was changed the same. So what is kept
is a :class:`Snapshot`: what the object was when it was looked at.
"""

import contextlib
import copy
import dataclasses
import functools
import inspect
import types
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")

#: Compared by identity: what they do is not in their attributes.
_OPAQUE = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    functools.partial,
    type,
)
_PLAIN = (bool, int, str, bytes, type(None), type(Ellipsis))


class Snapshot:
    """An object, and what it was at one time: equal to those of objects alike.

    Objects are alike if they are of one class and their public attributes are, also
    properties and what their class holds: numbers by type and bits, arrays by value,
    containers and other objects by what is in them, functions by identity. Names that begin
    with an underscore do not count, nor do methods.

    Args:
        value: the object.
        name: what it is called, in errors.

    Raises:
        TypeError: an attribute is traced, so that its value is not known.

    Example:
        >>> from types import SimpleNamespace
        >>> from diffevo_jax.pytree.objects import Snapshot
        >>> first, second = SimpleNamespace(goal=1.0), SimpleNamespace(goal=1.0)
        >>> before = Snapshot(first)
        >>> before == Snapshot(second)
        True
        >>> first.goal = 2.0
        >>> before == Snapshot(first), before == Snapshot(second)
        (False, True)
    """

    __slots__ = ("hashed", "key", "value")

    def __init__(self, value: object, name: str = "object") -> None:
        self.value = value
        attributes = tuple(
            (key, _key(held, f"{name}.{key}", (id(value),)))
            for key, held in sorted(public_attributes(value).items())
        )
        self.key: Hashable = (type(value), attributes)
        self.hashed = hash(self.key)

    def __eq__(self, other: object) -> bool:
        """Whether both were alike when they were looked at."""
        return isinstance(other, Snapshot) and self.key == other.key

    def __hash__(self) -> int:
        """Of what it was."""
        return self.hashed

    def __repr__(self) -> str:
        """The object."""
        return described(self.value)


def public_attributes(value: object) -> dict[str, Any]:
    """What an object shows that is no method: its own, properties, what its class holds.

    A property that raises is its error.
    """
    held: dict[str, Any] = {}
    for base in reversed(type(value).__mro__):
        held |= vars(base)
    own, found = own_attributes(value), {}
    for name in held.keys() | own.keys():
        if name.startswith("_"):
            continue
        if name in own:
            found[name] = own[name]
        elif isinstance(held[name], property | functools.cached_property):
            try:
                with jax.ensure_compile_time_eval():
                    found[name] = getattr(value, name)
            except Exception as error:
                found[name] = (type(error).__name__, str(error))
        elif not callable(held[name]) and not hasattr(held[name], "__get__"):
            found[name] = held[name]
    return found


def own_attributes(value: object) -> dict[str, Any]:
    """What an object itself holds, private or not."""
    slots = [
        name
        for base in type(value).__mro__
        for name in _slots(vars(base).get("__slots__", ()))
    ]
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return found | getattr(value, "__dict__", {})


def _slots(declared: str | Iterable[str]) -> tuple[str, ...]:
    names = (declared,) if isinstance(declared, str) else tuple(declared)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def frozen(value: T) -> T:
    """A copy of an object that changes of the object do not reach.

    What cannot be copied, such as a module or a lock, is shared. What its class holds, and
    is data, becomes its own.
    """
    made = copy.copy(value)
    memo = {id(value): made}
    shown = public_attributes(value)
    held = {k: v for k, v in shown.items() if not _is_computed(type(value), k)}
    for name, attribute in (held | own_attributes(value)).items():
        with contextlib.suppress(AttributeError):  # a slot that the class has not
            object.__setattr__(made, name, _copied(attribute, memo))
    return made


def _is_computed(kind: type, name: str) -> bool:
    found = inspect.getattr_static(kind, name, None)
    return isinstance(found, property | functools.cached_property)


def _copied(value: T, memo: dict[int, Any]) -> T:
    if isinstance(value, jax.Array):  # which nothing changes
        return value
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # a class may refuse in any way
        return value


def described(value: object) -> str:
    """An object in a line, without its address.

    Example:
        >>> from diffevo_jax.pytree.objects import described
        >>> class Room:
        ...     def __init__(self, doors):
        ...         self.doors = doors
        >>> described(Room(3))
        'Room(doors=3)'
    """
    if inspect.isfunction(value):
        return value.__name__
    if type(value).__repr__ is not object.__repr__:
        return repr(value)
    shown = own_attributes(value).items()
    parts = [f"{name}={_short(held)}" for name, held in shown if name[0] != "_"]
    return f"{type(value).__name__}({', '.join(parts)})"


def _short(value: object) -> str:
    if isinstance(value, np.ndarray | jax.Array) and value.size > 4:
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return str(np.asarray(value).tolist())
    return described(value)


# What is compared


class _Identity:
    """What is equal to itself alone."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


class _Bits:
    """An array by kind, shape, dtype and bits; its hash does not read them."""

    __slots__ = ("data", "kind")

    def __init__(self, value: np.ndarray | np.generic | jax.Array) -> None:
        weak = bool(getattr(value, "weak_type", False))
        shape, dtype = tuple(value.shape), str(value.dtype)
        self.kind = (isinstance(value, jax.Array), shape, dtype, weak)
        if isinstance(value, jax.Array):  # it stays what it is
            self.data: jax.Array | bytes = value
        elif value.dtype.hasobject:
            self.data = repr(value.tolist()).encode()
        else:
            self.data = value.tobytes()

    def bits(self) -> bytes:
        """All of them."""
        data = self.data
        if isinstance(data, bytes):
            return data
        if jnp.issubdtype(data.dtype, jax.dtypes.prng_key):
            data = jax.random.key_data(data)
        return np.asarray(data).tobytes()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Bits) or self.kind != other.kind:
            return False
        return self.data is other.data or self.bits() == other.bits()

    def __hash__(self) -> int:
        return hash(self.kind)


def _key(value: object, name: str, within: tuple[int, ...]) -> Hashable:
    """What a value is compared by.

    Args:
        value: an attribute, or what is in one.
        name: where it is, in errors.
        within: ids of the objects around it.
    """
    if isinstance(value, jax.core.Tracer):
        raise TypeError(
            f"{name}: got a traced array, want a concrete one; what is traced or swept "
            "belongs into env_params"
        )
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _Bits(value)
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if isinstance(value, float | complex):  # nan is itself, and 0.0 is not -0.0
        return kind, repr(value)
    if isinstance(value, _OPAQUE) or hasattr(value, "__wrapped__"):
        return _Identity(value)
    if id(value) in within:
        return "around it", len(within) - within.index(id(value))
    inner = (*within, id(value))
    if isinstance(value, Mapping):
        items = value.items()
        parts = tuple(
            (_key(k, name, inner), _key(v, f"{name}[{k!r}]", inner)) for k, v in items
        )
        return kind, parts
    if isinstance(value, list | tuple):
        return kind, tuple(_key(v, f"{name}[{n}]", inner) for n, v in enumerate(value))
    if isinstance(value, set | frozenset):
        return kind, frozenset(_key(v, name, inner) for v in value)
    if dataclasses.is_dataclass(value):
        held = {
            field.name: getattr(value, field.name) for field in dataclasses.fields(value)
        }
    elif kind.__hash__ not in (object.__hash__, None):
        return kind, value  # by its own equality, which does not change
    else:
        held = own_attributes(value)
    if not held:
        return _Identity(value)
    return kind, tuple((k, _key(v, f"{name}.{k}", inner)) for k, v in sorted(held.items()))

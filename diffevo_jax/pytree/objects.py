"""Objects that are no components, compared by class and public attributes.

JAX keeps the programs that it has compiled by the structure that they were compiled for.
An object of a user's own, such as an environment, is part of that structure; by identity
every object would be another structure, and one that was changed the same. So what is kept
is a :class:`Snapshot`: what the object was when it was looked at.
"""

import array
import collections
import contextlib
import copy
import dataclasses
import enum
import functools
import inspect
import logging
import pathlib
import types
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")

_PLAIN = (bool, int, str, bytes, type(None), type(Ellipsis))
#: Compared by identity: what they do is not in their attributes.
_OPAQUE = (types.FunctionType, types.ModuleType, logging.Logger)
_METHODS = (types.MethodType, types.BuiltinFunctionType, types.MethodWrapperType)
#: Compared by their own equality: they do not change, but keep what they have computed.
_CONSTANT = (enum.Enum, pathlib.PurePath, jax.sharding.Sharding, jax.sharding.Mesh)
#: The flag of classes of C, to which nobody can give an attribute.
_IMMUTABLE = 1 << 8


class Snapshot:
    """An object, and what it was at one time: equal to those of objects alike.

    Objects are alike if they are of one class and their public attributes are, also
    properties and what their class holds: numbers by type and bits, arrays by value,
    containers and other objects by what is in them and in their class, classes also by the
    public data that they hold, bound methods and partial functions by what they are bound
    to. Functions and modules are compared by identity: globals, closures and the attributes
    of a module are not looked at. Names that begin with an underscore do not count, nor do
    methods; inside an attribute, an object's own underscored names do.

    Args:
        value: the object.
        name: what it is called, in errors.

    Raises:
        TypeError: an attribute is traced, so that its value is not known; or it is a table
            or an array of another library, such as a pandas ``DataFrame``.

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
    held = _public_names(type(value))
    own = {k: v for k, v in own_attributes(value).items() if not k.startswith("_")}
    found = {k: v for k, v in held.items() if not hasattr(type(v), "__get__")} | own
    for name, computed in held.items():
        if name in own or not isinstance(computed, property | functools.cached_property):
            continue
        try:
            with jax.ensure_compile_time_eval():
                found[name] = getattr(value, name)
        except Exception as error:
            found[name] = (type(error).__name__, str(error))
    return found


def class_attributes(kind: type) -> dict[str, Any]:
    """The public data of a class and its bases: no functions, no descriptors."""
    held = _public_names(kind).items()
    return {name: value for name, value in held if not hasattr(type(value), "__get__")}


def _public_names(kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if not base.__flags__ & _IMMUTABLE:
            found |= {k: v for k, v in vars(base).items() if k[:1] != "_"}
    return found


def own_attributes(value: object) -> dict[str, Any]:
    """What an object itself holds, private or not."""
    kind: type = type(value)
    slots = _slots(kind)
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return found | getattr(value, "__dict__", {})


@functools.lru_cache
def _slots(kind: type) -> tuple[str, ...]:
    """What they are called, also the private ones."""
    return tuple(
        name
        for base in kind.__mro__
        if "__slots__" in vars(base)
        for name, slot in vars(base).items()
        if isinstance(slot, types.MemberDescriptorType)
    )


def frozen(value: T) -> T:
    """A copy of an object that changes of the object do not reach.

    What cannot be copied, such as a class, a module or a lock, is shared. What its class
    holds, and is data, becomes its own.
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
    if isinstance(value, set | frozenset):  # in another order in each process
        return f"{{{', '.join(sorted(map(described, value)))}}}"
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
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind is float:  # nan is itself, and 0.0 is not -0.0
        return kind, repr(value)
    if isinstance(value, jax.core.Tracer):
        raise TypeError(
            f"{name}: got a traced array, want a concrete one; what is traced or swept "
            "belongs into env_params"
        )
    if isinstance(value, jax.Array | np.generic):
        return _Bits(value)
    if kind is np.ndarray and isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return _Bits(value)
    if isinstance(value, _OPAQUE) or _is_compiled(value):
        return _Identity(value)
    if isinstance(value, _CONSTANT):
        return kind, value
    if id(value) in within:
        return "around it", len(within) - within.index(id(value))
    inner = (*within, id(value))
    if isinstance(value, type):
        return _Identity(value), _keys(class_attributes(value), name, inner)
    _check_known(value, name)
    parts, held = _contents(value, name, inner), _attributes(value)
    if parts is not None or held:
        return kind, parts, _keys(held, name, inner)
    # By its own equality, if it has one: such as a dtype, which does not change.
    return _Identity(value) if kind.__hash__ in (object.__hash__, None) else (kind, value)


def _keys(held: Mapping[str, Any], name: str, within: tuple[int, ...]) -> Hashable:
    return tuple((k, _key(v, f"{name}.{k}", within)) for k, v in sorted(held.items()))


def _is_compiled(value: object) -> bool:
    """Whether it is what ``jax.jit`` and their like, not in Python, made of a function."""
    if isinstance(value, (*_METHODS, functools.partial)) or not callable(value):
        return False
    in_python = isinstance(type(value).__call__, types.FunctionType)
    return hasattr(value, "__wrapped__") and not in_python


def _check_known(value: object, name: str) -> None:
    """Raise TypeError for an array or a table of another library: it may change unseen."""
    kind = type(value)
    if not hasattr(kind, "__array__") or kind.__hash__ is object.__hash__:
        return
    if not isinstance(value, np.ndarray | jax.Array) and not dataclasses.is_dataclass(
        value
    ):
        raise TypeError(
            f"{name}: got a {kind.__name__} of {kind.__module__.partition('.')[0]}, want "
            "an array of numpy or JAX, such as its to_numpy(), or a name with an underscore"
        )


def _contents(value: object, name: str, within: tuple[int, ...]) -> Hashable:
    """What a container, a number or a function is made of; None for another object."""

    def key(part: object) -> Hashable:
        return _key(part, name, within)

    if isinstance(value, float | complex):
        return repr(value)
    if isinstance(value, list | tuple | collections.deque):
        return tuple(_key(v, f"{name}[{n}]", within) for n, v in enumerate(value))
    if isinstance(value, Mapping):
        return tuple((key(k), _key(v, f"{name}[{k!r}]", within)) for k, v in value.items())
    if isinstance(value, set | frozenset):
        return frozenset(map(key, value))
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, array.array):
        return value.typecode, value.tobytes()
    if isinstance(value, np.ndarray):  # of objects, or of a class of its own
        plain = np.asarray(value)
        bits = key(plain.tolist()) if plain.dtype.hasobject else plain.tobytes()
        return plain.shape, str(plain.dtype), bits
    if isinstance(value, functools.partial):
        return key(value.func), key(value.args), key(value.keywords)
    if isinstance(value, _METHODS):
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            return _Identity(value)
        return key(getattr(value, "__func__", value.__name__)), key(owner)
    if isinstance(value, int | str):
        return hash(value), str(value)
    return None


def _attributes(value: object) -> dict[str, Any]:
    """What an object inside an attribute holds: all that is its own, its class's data."""
    kind, held = type(value), class_attributes(type(value))
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        held |= {name: getattr(value, name) for name in names if hasattr(value, name)}
        if any(base.__module__ == "flax.linen.module" for base in kind.__mro__):
            return held  # its own are also a number of its own
    held |= own_attributes(value)
    held.pop("_hash", None)  # where many keep it, once it is asked for
    return held

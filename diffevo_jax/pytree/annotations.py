"""What an annotation asks for: of a field, and of an argument.

The annotations of fields and functions are their contract. :func:`check` holds a value to
one, and :func:`checked` every argument of a function; a message says the name, what was
got, and what is wanted.
"""

import ast
import builtins
import collections.abc
import contextlib
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, ParamSpec, TypeVar

import jax
import numpy as np

from diffevo_jax.pytree.arrays import as_given, check_key
from diffevo_jax.pytree.components import is_component, not_called_so, short

#: A resolved annotation: a class, a union of some, what a container holds.
Hint = Any
P = ParamSpec("P")
R = TypeVar("R")

#: How the kinds of values are called.
_WORDS: dict[Hint, str] = {
    bool: "True or False",
    int: "an int",
    float: "a number",
    str: "a string",
    None: "None",
    type(None): "None",
    jax.Array: "an array of real numbers",
    tuple: "a tuple",
    list: "a list",
    dict: "a dict",
    type: "a class",
    collections.abc.Callable: "a function",
    collections.abc.Sequence: "a sequence",
    collections.abc.Mapping: "a mapping",
    collections.abc.Collection: "a collection",
}
#: An int that may be 0; every other int that is an argument is a count, of at least 1.
Index = Annotated[int, 0]
#: One typed key, or an array of them; every other array that is called ``key`` is one.
Keys = Annotated[jax.Array, "one or several"]


class _Elsewhere:
    """A name that only type checkers import: what it stands for is not checked here."""

    def __call__(self) -> None:
        """Types can be called; this one has nothing to make."""

    def __getattr__(self, name: str) -> Any:
        return Any

    def __or__(self, other: object) -> Any:
        return Any

    __ror__ = __or__


@functools.cache
def _elsewhere(module: str) -> dict[str, Any]:
    """The names that a module imports for type checkers only."""
    found: dict[str, Any] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                for alias in getattr(line, "names", ()):
                    found[(alias.asname or alias.name).split(".")[0]] = _Elsewhere()
    return found


@functools.cache
def annotations_of(owner: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a class, those it inherits too, or of a function; resolved."""
    names = dict(vars(builtins))
    for one in reversed(owner.__mro__) if isinstance(owner, type) else (owner,):
        names |= vars(sys.modules[one.__module__])
        if "TYPE_CHECKING" in names:
            names |= _elsewhere(one.__module__)
    return typing.get_type_hints(owner, localns=names, include_extras=True)


def check(name: str, value: object, hint: Hint, like: str = "") -> None:
    """Raise unless a value is what an annotation says; what has no meaning here passes.

    Args:
        name: what it is called.
        value: of a field, or of an argument.
        hint: a resolved annotation.
        like: examples of what is wanted, for example ``"DDIM()"``.

    Raises:
        TypeError: it is of another kind.

    Example:
        >>> from diffevo_jax.pytree import annotations
        >>> annotations.check("hidden", (8, 0.5), tuple[int, ...])
        Traceback (most recent call last):
        TypeError: hidden[1]: got 0.5 (float), want an int
    """
    if is_kind(value, hint):
        numbers = any(kind in (jax.Array, float) for kind in _kinds(hint))
        if _is_array(value) and (numbers or isinstance(value, np.ndarray)):
            as_given(name, value)  # may be too large
        return
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, tuple):
        each = args[:1] * len(value) if args[1:] == (...,) else args
        if len(each) == len(value):
            for number, (part, one) in enumerate(zip(value, each, strict=True)):
                check(f"{name}[{number}]", part, one)
    for kind in _kinds(hint):
        if isinstance(value, Mapping) and typing.get_origin(kind) in _MAPPINGS:
            for key, part in value.items():
                check(f"{name}: a name", key, typing.get_args(kind)[0])
                check(f"{name}[{key!r}]", part, typing.get_args(kind)[1])
    wanted = f"an object like {like}" if like else words(hint)
    plain = any(kind in _PLAIN or _lowest(kind) is not None for kind in _kinds(hint))
    is_ = got(value) if plain else _cut(short(value))
    raise TypeError(f"{name}: got {is_}, want {wanted}{_lacks(value, hint)}")


def is_kind(value: object, hint: Hint) -> bool:
    """Whether a value is what an annotation says, as far as that has a meaning here.

    Example:
        >>> from diffevo_jax.pytree import annotations
        >>> [annotations.is_kind(value, int | None) for value in (3, None, True, "3")]
        [True, True, False, False]
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return is_kind(value, args[0])
    if _kinds(hint) != (hint,):
        return any(is_kind(value, one) for one in _kinds(hint))
    if origin is type:
        return isinstance(value, type)
    if origin is tuple and not args:  # ``tuple[()]``, the state of what has none
        return isinstance(value, tuple) and not value
    if hint is None or hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool | np.bool_)
    if hint is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    if hint is float:
        real = int | float | np.integer | np.floating
        return isinstance(value, real) and not isinstance(value, bool)
    if hint is jax.Array:
        return _is_array(value)
    kind = origin or hint
    if kind is collections.abc.Callable:
        return callable(value)
    if kind is Any or not isinstance(kind, type):
        return True
    if getattr(kind, "_is_protocol", False):
        return not isinstance(value, type) and not _missing(value, kind)
    if kind is collections.abc.Sequence and isinstance(value, str):
        return False
    if kind is collections.abc.Sequence and isinstance(value, np.ndarray | jax.Array):
        numbers = args[:1] in ((float,), (int,)) and _is_array(value)
        return value.ndim > 0 and (numbers or args[:1] in ((), (Any,)))
    held: Any = value
    return isinstance(value, kind) and _are_kinds(held, kind, args)


def _are_kinds(value: Collection[Any], kind: type, args: tuple[Hint, ...]) -> bool:
    """Whether what is in a container is what its annotation says."""
    if kind is tuple and args:
        each = args[:1] * len(value) if args[1:] == (...,) else args
        return len(each) == len(value) and all(map(is_kind, value, each))
    if isinstance(value, Mapping) and args:
        names = all(is_kind(key, args[0]) for key in value)
        return names and all(is_kind(one, args[1]) for one in value.values())
    within = bool(args) and isinstance(value, Collection) and not isinstance(value, str)
    return not within or all(is_kind(one, args[0]) for one in value)


def _is_array(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(one, bool) or _is_array(one) for one in value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return any(jax.numpy.issubdtype(value.dtype, kind) for kind in _REAL)
    return isinstance(value, int | float) and not isinstance(value, bool)


_REAL = (np.bool_, np.integer, np.floating)


def _missing(value: object, protocol: type) -> list[str]:
    """Members of a protocol that a value has not.

    A property is not asked: one that raises AttributeError is not missing, it is wrong.
    """
    held = type(value)
    return [
        name
        for name in members(protocol)
        if not hasattr(held, name) and not hasattr(value, name)
    ]


@functools.cache
def members(protocol: type) -> tuple[str, ...]:
    """What a Protocol asks for: its members, and those of the protocols it extends."""
    found: dict[str, None] = {}
    for one in reversed(protocol.__mro__):
        if getattr(one, "_is_protocol", False):
            own = [*vars(one), *inspect.get_annotations(one)]
            found |= dict.fromkeys(name for name in own if not name.startswith("_"))
    return tuple(found)


def words(hint: Hint) -> str:
    """What an annotation asks for, in words.

    Example:
        >>> from diffevo_jax import Kernel
        >>> from diffevo_jax.pytree import annotations
        >>> annotations.words(tuple[int, ...] | None)
        'a tuple, each of it an int or None'
        >>> annotations.words(Kernel)
        'a Kernel, with init, adapt, features, factor'
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return words(args[0])
    if _kinds(hint) != (hint,):
        *most, last = dict.fromkeys(map(words, _kinds(hint)))
        return f"{', '.join(most)} or {last}" if most else last
    kind = origin or hint
    name = str(getattr(kind, "__name__", kind))
    name = _WORDS.get(kind) or f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
    if origin is tuple and args[1:] == (...,):
        return f"{name}, each of it {words(args[0])}"
    if origin is tuple:
        return f"{name} of {len(args)}: {', '.join(map(words, args))}"
    if getattr(kind, "_is_protocol", False):
        return f"{name}, with {', '.join(members(kind))}"
    return name


def _lacks(value: object, hint: Hint) -> str:
    """Which members of the only protocol that is wanted a value has not."""
    protocols = [k for k in _kinds(hint) if k is not type(None)]
    if not protocols:
        return ""
    kind: Hint = typing.get_origin(protocols[0]) or protocols[0]
    if len(protocols) > 1 or not getattr(kind, "_is_protocol", False):
        return ""
    missing = _missing(value, kind)
    if not missing:
        return "; it is a class"
    return f"; it has no {', '.join(map(repr, missing))}"


def got(value: object) -> str:
    """A value in a line; with its type, where that does not say it."""
    text = _cut(short(value))
    named = isinstance(value, dict | list | tuple | None) or is_component(value)
    return text if named else f"{text} ({type(value).__name__})"


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Hold every argument of a function to its annotation, before the function runs.

    An int is a count, at least 1, unless it is an :data:`Index`. An array called ``key`` is
    a typed key, and a path is not empty. Lists become arrays or tuples, and integers of the
    host that do not fit become floats (:func:`diffevo_jax.pytree.arrays.as_given`). Parts
    are held to their contract; whether their numbers are legal is said by
    :func:`diffevo_jax.pytree.validate`.

    Example:
        >>> from diffevo_jax.pytree.annotations import checked
        >>> @checked
        ... def draw(count: int) -> int:
        ...     return count
        >>> draw("3")
        Traceback (most recent call last):
        TypeError: count: got '3' (str), want an int
    """
    signature = inspect.signature(function)
    variadic = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL
    ]

    @functools.wraps(function)
    def held(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(not_called_so(function.__name__, signature, error)) from None
        wanted, given = _wanted(function), bound.arguments
        for name, value in given.items():
            if name not in wanted:
                continue
            if name in variadic:
                each = enumerate(value)
                given[name] = tuple(_held(f"{name}[{n}]", v, wanted[name]) for n, v in each)
            else:
                given[name] = _held(name, value, wanted[name])
        return function(*bound.args, **bound.kwargs)

    return held


class _Wanted(NamedTuple):
    """What is wanted of an argument: its annotation, and what follows of it."""

    hint: Hint
    key: bool
    several: bool
    array: bool
    row: bool
    path: bool
    low: int | None
    optional: bool


@functools.cache
def _wanted(function: Callable[..., Any]) -> dict[str, _Wanted]:
    """What is wanted of the arguments of a function, of those that can be wrong."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = annotations_of(function).get(name, Any)
        if hint is Any or parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        kinds = _kinds(hint)
        lows = [low for low in map(_lowest, kinds) if low is not None]
        array = jax.Array in kinds or float in kinds
        found[name] = _Wanted(
            hint,
            key=name == "key" and (jax.Array in kinds or hint is Keys),
            several=hint is Keys,
            array=array,
            row=any(typing.get_origin(kind) is tuple for kind in kinds),
            path=Path in kinds,
            low=lows[0] if lows else None,
            optional=type(None) in kinds,
        )
    return found


def _held(name: str, value: Any, wanted: _Wanted) -> Any:
    """One argument, as the function gets it."""
    if wanted.optional and value is None:
        return value
    if wanted.row and isinstance(value, list):
        value = tuple(value)
    if wanted.key:
        return check_key(name, value, several=wanted.several)
    check(name, value, wanted.hint)
    if wanted.low is not None and isinstance(value, int | np.integer):
        if value < wanted.low:
            raise ValueError(f"{name}: got {value}, want an int >= {wanted.low}")
        return value
    if wanted.path and not str(value):
        raise ValueError(f"{name}: got {value!r}, want a path")
    return as_given(name, value) if wanted.array and _is_array(value) else value


def _kinds(hint: Hint) -> tuple[Any, ...]:
    """What is wanted, one or the other; numbers of any kind are arrays."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return (hint,)
    kinds = typing.get_args(hint)
    whole = jax.Array in kinds and np.ndarray in kinds  # ``jax.typing.ArrayLike``
    return tuple(one for one in kinds if not (whole and one in _NUMBERS))


#: Where a value alone, such as 3 or '3', does not say what is wrong.
_PLAIN = (float, bool, str, jax.Array)
_MAPPINGS = (dict, collections.abc.Mapping)
#: What ``jax.typing.ArrayLike`` has beside JAX's own arrays.
_NUMBERS = (np.ndarray, np.bool_, np.number, bool, int, float, complex)


def _lowest(kind: Hint) -> int | None:
    """The lowest int that is one of a kind; None if it is no kind of ints."""
    if typing.get_origin(kind) is Annotated and typing.get_args(kind)[0] is int:
        low: int = typing.get_args(kind)[1]
        return low
    return 1 if kind is int else None


def takes(name: str, function: Callable[..., Any], *calls: tuple[str, ...]) -> None:
    """Raise unless a function can be called in one of some ways, as far as it says so.

    Args:
        name: of the function, in errors.
        function: whose signature may not be known, as of some that are written in C.
        calls: what it may be called with, in order: names, in errors.

    Raises:
        TypeError: in none of them.

    Example:
        >>> from diffevo_jax.pytree import annotations
        >>> annotations.takes("fn", lambda x, y: x, ("solution",))
        Traceback (most recent call last):
        TypeError: fn: got <lambda>(x, y), want a function that is called as fn(solution)
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    for call in calls:
        with contextlib.suppress(TypeError):
            signature.bind(*call)
            return
    named = getattr(function, "__name__", repr(function))
    ways = " or ".join(f"{name}({', '.join(call)})" for call in calls)
    plain = signature.replace(return_annotation=inspect.Signature.empty)
    raise TypeError(f"{name}: got {named}{plain}, want a function that is called as {ways}")


def outside() -> int:
    """The ``stacklevel`` of a warning here that names the line which called the library."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and _is_inside(frame):
        frame, level = frame.f_back, level + 1
    return max(level, 1)


def _is_inside(frame: types.FrameType) -> bool:
    """Whether a frame is of this library, of JAX, or of the standard library's wrappers."""
    module = str(frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] in _INSIDE


#: Whose frames stand between a call of this library and what it calls.
_INSIDE = ("diffevo_jax", "jax", "contextlib", "functools")

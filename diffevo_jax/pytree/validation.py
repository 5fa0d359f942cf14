"""Checks of components before they run: types, shapes, and ranges of concrete numbers."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.pytree import annotations, arrays
from diffevo_jax.pytree.components import concrete, is_component, offers, replace

Component = TypeVar("Component")

# What a component may offer; asked for by ``offers(component, Protocol)``.


@runtime_checkable
class Checked(Protocol):
    """A component with rules that its fields alone do not say."""

    def check(self) -> None:
        """Raise ValueError or TypeError where concrete values break a rule."""
        ...


@runtime_checkable
class ChecksShapes(Protocol):
    """A component that must trace something to know whether it is right.

    See :class:`diffevo_jax.problems.Control`.
    """

    def check_shapes(self) -> None:
        """Raise ValueError or TypeError where shapes do not go together."""
        ...


@runtime_checkable
class Ordered(Protocol):
    """A component of whose numbers some may not be above others.

    See :class:`diffevo_jax.noise.VP`, and of arrays :class:`diffevo_jax.noise.Levels`.
    """

    @property
    def ordered(self) -> tuple[tuple[str, str], ...]:
        """Pairs of names, a class attribute: the first is at most the second."""
        ...


def validate(component: Any, *, shapes: bool = True) -> None:
    """Check what can be known before running: types, shapes, concrete ranges.

    Walks the component and the components in its fields. Every field holds what its
    annotation says: a part keeps the contract that it is annotated with, structure is of
    the kinds that are named. A component with rules across fields is :class:`Checked`, and
    one that must trace something to know :class:`ChecksShapes`.

    Args:
        component: one of the library's dataclasses.
        shapes: False leaves ``check_shapes`` out, which takes milliseconds, where another
            component of the same structure has passed it.

    Raises:
        TypeError: a field holds something of another kind than its annotation says.
        ValueError: a number field is out of its range, not finite, or swept.

    Example:
        >>> import diffevo_jax as de
        >>> de.pytree.validate(de.samplers.Heun(frozen="no"))
        Traceback (most recent call last):
        TypeError: Heun.frozen: got 'no' (str), want True or False
    """
    if not is_component(component):
        got = annotations.got(component)
        raise TypeError(f"component: got {got}, want one of a pytree.dataclass")
    kind: Callable[..., object] = type(component)
    hints = annotations.annotations_of(kind)
    for field in dataclasses.fields(component):
        value = getattr(component, field.name)
        name = f"{type(component).__name__}.{field.name}"
        if "number" in field.metadata:
            check_number(name, value, **field.metadata["number"])
        elif "numbers" in field.metadata:
            annotations.check(name, value, hints[field.name])
            for leaf in jax.tree.leaves(value):
                _check_type(name, leaf)
                _check_range(name, leaf, **field.metadata["numbers"])
        elif field.metadata.get("static"):
            annotations.check(name, value, hints[field.name])
            if not field.metadata.get("by_value"):
                _check_hashable(name, value)
        else:
            annotations.check(name, value, hints[field.name], _like(field))
            _check_leaves(name, value)
        for part in _parts(value):
            validate(part, shapes=shapes)
    if offers(component, Checked):
        component.check()
    if shapes and offers(component, ChecksShapes):
        component.check_shapes()


def _like(field: dataclasses.Field[Any]) -> str:
    """What a field may hold: as it says itself, or what it holds if it is not given."""
    if "like" in field.metadata:
        return str(field.metadata["like"])
    factory = field.default_factory
    if factory is dataclasses.MISSING:
        return ""
    made = type(factory()) if isinstance(factory, FunctionType) else factory
    return f"{getattr(made, '__name__', made)}()"


def _check_hashable(name: str, value: Any) -> None:
    try:
        hash(value)
    except TypeError:
        got = annotations.got(value)
        raise TypeError(f"{name}: got {got}, want structure that can be hashed") from None


def check_number(
    name: str,
    value: Any,
    *,
    shape: tuple[int, ...],
    low: float,
    high: float,
    above: float,
    optional: bool = False,
) -> None:
    """Check a number against its field's range; see :func:`diffevo_jax.pytree.number`.

    Raises:
        TypeError: it is not a number.
        ValueError: it has another shape, or is concrete and out of the range.

    Example:
        >>> import math
        >>> from diffevo_jax.pytree import validation
        >>> limits = {"shape": (), "low": 0.0, "high": 1.0, "above": -math.inf}
        >>> validation.check_number("eta", 0.5, **limits)
        >>> validation.check_number("eta", 2.0, **limits)
        Traceback (most recent call last):
        ValueError: eta: got 2.0, want a number >= 0 and <= 1
    """
    if value is None and optional:
        return
    _check_type(name, value)
    _check_shape(name, value, shape)
    _check_range(name, value, low, high, above)


def _check_leaves(name: str, value: Any) -> None:
    for leaf in jax.tree.leaves(value, is_leaf=is_component):
        number_like = hasattr(leaf, "dtype") or isinstance(leaf, int | float)
        if not is_component(leaf) and not number_like:
            raise TypeError(f"{name}: got {leaf!r}, want a component or arrays")


def _parts(value: Any) -> Sequence[Any]:
    leaves = jax.tree.leaves(value, is_leaf=is_component)
    return [leaf for leaf in leaves if is_component(leaf)]


def _check_type(name: str, value: Any) -> None:
    legal = int | float | np.number | np.ndarray | jax.Array
    if isinstance(value, bool) or not isinstance(value, legal):
        raise TypeError(f"{name}: got {annotations.got(value)}, want a number")
    arrays.as_given(name, value)
    kind = jnp.result_type(value) if hasattr(value, "dtype") else jnp.dtype(float)
    if jnp.issubdtype(kind, np.bool_):
        raise TypeError(f"{name}: got {kind}, want a real number")


def _check_shape(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if jnp.shape(value) != shape:
        raise ValueError(
            f"{name}: got shape {jnp.shape(value)}, want {shape}; "
            "to run many settings at once, vmap over the component"
        )


def _check_range(
    name: str, value: Any, low: float, high: float, above: float, infinite: bool = False
) -> None:
    known = concrete(value)
    if known is not None and known.dtype == object:  # an integer beyond 64 bits
        known = np.asarray(arrays.as_given(name, value))
    if known is not None and not _is_legal(known, low, high, above, infinite).all():
        raise ValueError(f"{name}: got {value}, want {_range(low, high, above)}")


def _is_legal(
    known: np.ndarray, low: float, high: float, above: float, infinite: bool
) -> np.ndarray:
    legal: np.ndarray = (known >= low) & (known <= high) & (infinite | np.isfinite(known))
    return legal & ((known > above) | (above == -math.inf))


def _range(low: float, high: float, above: float) -> str:
    parts = [f"> {above:g}"] if above > -math.inf else []
    parts += [f">= {low:g}"] if low > -math.inf else []
    parts += [f"<= {high:g}"] if high < math.inf else []
    return "a number " + " and ".join(parts) if parts else "a finite number"


def check_positive(name: str, value: Any, *, or_zero: bool = False) -> None:
    """Raise unless ``value`` is one number above 0, as far as that is known.

    Example:
        >>> from diffevo_jax.pytree import validation
        >>> validation.check_positive("cell", 0.0, or_zero=True)
        >>> validation.check_positive("cell", 0.0)
        Traceback (most recent call last):
        ValueError: cell: got 0.0, want a number > 0 ...
    """
    above = -math.inf if or_zero else 0.0
    check_number(name, value, shape=(), low=0.0, high=math.inf, above=above)


def check_floor(name: str, value: float | None) -> None:
    """Raise unless ``value`` is None, or a finite number above 0.

    Example:
        >>> from diffevo_jax.pytree import validation
        >>> validation.check_floor("floor", None)
        >>> validation.check_floor("floor", 0.0)
        Traceback (most recent call last):
        ValueError: floor: got 0.0, want None or > 0, finite
    """
    annotations.check(name, value, float | None)
    if value is not None and not 0 < value < math.inf:
        raise ValueError(f"{name}: got {value}, want None or > 0, finite")


def check_part(name: str, part: Any, contract: type, examples: str) -> None:
    """Raise unless ``part`` is an object that keeps a contract, and legal.

    Args:
        name: what it is called.
        part: one of the library's components, which is validated; or one's own.
        contract: a Protocol, whose members it must have.
        examples: of such parts.

    Raises:
        TypeError: it is a class, or lacks a member.
        TypeError, ValueError: as :func:`validate`.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import validation
        >>> want = de.Sampler, "samplers.DDIM()"
        >>> validation.check_part("sampler", de.samplers.DDIM(), *want)
        >>> validation.check_part("sampler", de.samplers.DDIM, *want)
        Traceback (most recent call last):
        TypeError: sampler: got <class ...>, want an object like samplers.DDIM(); it is ...
    """
    annotations.check(name, part, contract, examples)
    if is_component(part):
        validate(part)
    elif hasattr(type(part), "__is_component__"):
        raise TypeError(
            f"{name}: got {type(part).__name__}, a subclass of a component, want it to be "
            "a pytree.dataclass itself"
        )


def check_count(name: str, value: Any, low: int = 1) -> None:
    """Raise unless ``value`` is a Python int of at least ``low``.

    Example:
        >>> from diffevo_jax.pytree import validation
        >>> validation.check_count("count", 0, low=0)
        >>> validation.check_count("count", 0)
        Traceback (most recent call last):
        ValueError: count: got 0, want an int >= 1
    """
    annotations.check(name, value, int)
    if value < low:
        raise ValueError(f"{name}: got {value}, want an int >= {low}")


def clipped(component: Component) -> tuple[Component, jax.Array]:
    """Bring numbers into their ranges, and count those that were not.

    What :func:`validate` raises for where numbers are concrete, done where they are traced.
    A number that must be above a bound becomes the next one there; NaN becomes the lowest
    legal number. A pair of fields of what is :class:`Ordered` counts as a wrong number
    where the first is above the second; the component itself puts them in order.

    Returns:
        The component with legal numbers, and how many were not, () int32.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import validation
        >>> legal, count = validation.clipped(de.samplers.DDIM(eta=1.5))
        >>> float(legal.eta), int(count)
        (1.0, 1)
    """
    count = jnp.zeros((), jnp.int32)
    changes = {}
    owner: Any = component
    for field in dataclasses.fields(owner):
        value = getattr(component, field.name)
        if "number" in field.metadata:
            if value is not None:
                limits = field.metadata["number"]
                legal, wrong = _clip(value, limits["low"], limits["high"], limits["above"])
                changes[field.name], count = legal, count + wrong
        elif "numbers" in field.metadata:
            leaves, structure = jax.tree.flatten(value)
            for place, leaf in enumerate(leaves):
                leaves[place], wrong = _clip(leaf, **field.metadata["numbers"])
                count += wrong
            changes[field.name] = jax.tree.unflatten(structure, leaves)
        elif not field.metadata.get("static") and _parts(value):
            leaves, structure = jax.tree.flatten(value, is_leaf=is_component)
            for place, leaf in enumerate(leaves):
                if is_component(leaf):
                    leaves[place], wrong = clipped(leaf)
                    count += wrong
            changes[field.name] = jax.tree.unflatten(structure, leaves)
    for pair in component.ordered if offers(component, Ordered) else ():
        low, high = (jnp.asarray(getattr(component, name)) for name in pair)
        count += jnp.sum(low > high, dtype=jnp.int32)
    return replace(component, **changes), count


def _clip(
    value: Any, low: float, high: float, above: float, infinite: bool = False
) -> tuple[Any, Any]:
    known = concrete(value)
    if known is not None and _is_legal(known, low, high, above, infinite).all():
        return value, 0  # nothing to compute
    number = jnp.asarray(value, float)
    limits = jnp.finfo(number.dtype)
    step = max(float(limits.tiny), abs(above) * float(limits.eps))
    largest = math.inf if infinite else float(limits.max)
    lowest = max(low, above + step if above > -math.inf else -largest)
    highest = min(high, largest)
    legal = jnp.where(jnp.isnan(number), lowest, jnp.clip(number, lowest, highest))
    return legal, jnp.sum(~(legal == number), dtype=jnp.int32)

"""Checks of components before they run: types, shapes, and ranges of concrete numbers."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

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

    See :class:`diffevo_jax.noise.VP`.
    """

    @property
    def ordered(self) -> tuple[tuple[str, str], ...]:
        """Pairs of fields, a class attribute: the first is at most the second."""
        ...


def validate(component: Any, *, shapes: bool = True) -> None:
    """Check what can be known before running: types, shapes, concrete ranges.

    Walks the component and the components in its fields; a component with rules across
    fields is :class:`Checked`, and one that must trace something to know
    :class:`ChecksShapes`.

    Args:
        component: one of the library's dataclasses.
        shapes: False leaves ``check_shapes`` out, which takes milliseconds, where another
            component of the same structure has passed it.

    Raises:
        TypeError: a number field holds something that is not a number.
        ValueError: a number field is out of its range, not finite, or swept.
    """
    for field in dataclasses.fields(component):
        value = getattr(component, field.name)
        name = f"{type(component).__name__}.{field.name}"
        if "number" in field.metadata:
            check_number(name, value, **field.metadata["number"])
        if "numbers" in field.metadata:
            for leaf in jax.tree.leaves(value):
                _check_type(name, leaf)
        if not field.metadata:
            _check_leaves(name, value)
        for part in _parts(value):
            validate(part, shapes=shapes)
    if offers(component, Checked):
        component.check()
    if shapes and offers(component, ChecksShapes):
        component.check_shapes()


def check_number(
    name: str,
    value: Any,
    *,
    shape: tuple[int, ...],
    low: float,
    high: float,
    above: float,
) -> None:
    """Check a number against what its field declares; see :func:`pytree.number`.

    Raises:
        TypeError: it is not a number.
        ValueError: it has another shape, or is concrete and out of the range.
    """
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
        raise TypeError(f"{name}: got {value!r} ({type(value).__name__}), want a number")
    kind = jnp.result_type(value)
    if not (jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)):
        raise TypeError(f"{name}: got {kind}, want a real number")


def _check_shape(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if jnp.shape(value) != shape:
        raise ValueError(
            f"{name}: got shape {jnp.shape(value)}, want {shape}; "
            "to run many settings at once, vmap over the component"
        )


def _check_range(name: str, value: Any, low: float, high: float, above: float) -> None:
    known = concrete(value)
    if known is None:
        return
    if not _is_legal(known, low, high, above).all():
        raise ValueError(f"{name}: got {value}, want {_range(low, high, above)}")


def _is_legal(known: np.ndarray, low: float, high: float, above: float) -> np.ndarray:
    legal: np.ndarray = np.isfinite(known) & (known >= low) & (known <= high)
    return legal & (known > above)


def _range(low: float, high: float, above: float) -> str:
    parts = [f"> {above:g}"] if above > -math.inf else []
    parts += [f">= {low:g}"] if low > -math.inf else []
    parts += [f"<= {high:g}"] if high < math.inf else []
    return "a number " + " and ".join(parts) if parts else "a number"


def check_positive(name: str, value: Any, *, or_zero: bool = False) -> None:
    """Raise unless ``value`` is one number above 0, as far as that is known."""
    above = -math.inf if or_zero else 0.0
    check_number(name, value, shape=(), low=0.0, high=math.inf, above=above)


def check_floor(name: str, value: float | None) -> None:
    """Raise unless ``value`` is None, or a finite number above 0."""
    if value is not None and not 0 < value < math.inf:
        raise ValueError(f"{name}: got {value}, want None or > 0, finite")


def check_part(name: str, part: Any, contract: type, examples: str) -> None:
    """Raise unless ``part`` is an object that keeps a contract, and legal.

    Args:
        name: what it is called.
        part: one of the library's components, which is validated; or one's own.
        contract: a ``runtime_checkable`` Protocol, whose members it must have.
        examples: of such parts.

    Raises:
        TypeError: as :func:`check_kind`.
        TypeError, ValueError: as :func:`validate`.
    """
    check_kind(name, part, contract, examples)
    if is_component(part):
        validate(part)


def check_kind(name: str, part: Any, contract: type, examples: str) -> None:
    """Raise unless ``part`` is an object with all that a contract asks for.

    Args:
        name: what it is called.
        part: a component, which is not validated here, or one's own object.
        contract: a Protocol, for example :class:`diffevo_jax.Denoiser`.
        examples: of such parts.

    Raises:
        TypeError: it is a class, or lacks a member.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree import validation
        >>> kernel = de.kernels.Gaussian()
        >>> validation.check_kind("denoiser", kernel, de.Denoiser, "Population()")
        Traceback (most recent call last):
        TypeError: denoiser: got Gaussian(kappa=1.0, floor=None), want an object like ...
    """
    members = [member for member in vars(contract) if not member.startswith("_")]
    missing = [member for member in members if not hasattr(part, member)]
    if missing or isinstance(part, type):
        lacks = f"; it has no {missing[0]!r}" if missing else ""
        raise TypeError(f"{name}: got {part!r}, want an object like {examples}{lacks}")


def check_count(name: str, value: Any, low: int = 1) -> None:
    """Raise unless ``value`` is a Python int of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: got {value!r} ({type(value).__name__}), want an int")
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
    """
    count = jnp.zeros((), jnp.int32)
    changes = {}
    owner: Any = component
    for field in dataclasses.fields(owner):
        value = getattr(component, field.name)
        if "number" in field.metadata:
            limits = field.metadata["number"]
            legal, wrong = _clip(value, limits["low"], limits["high"], limits["above"])
            changes[field.name], count = legal, count + wrong
        elif not field.metadata and _parts(value):
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


def _clip(value: Any, low: float, high: float, above: float) -> tuple[Any, Any]:
    known = concrete(value)
    if known is not None and _is_legal(known, low, high, above).all():
        return value, 0  # nothing to compute
    number = jnp.asarray(value, float)
    limits = jnp.finfo(number.dtype)
    step = max(float(limits.tiny), abs(above) * float(limits.eps))
    lowest = max(low, above + step if above > -math.inf else -float(limits.max))
    highest = min(high, float(limits.max))  # infinity is not a number that is legal
    legal = jnp.where(jnp.isnan(number), lowest, jnp.clip(number, lowest, highest))
    return legal, jnp.sum(~(legal == number), dtype=jnp.int32)

"""Checks of components before they run: types, shapes, and ranges of concrete numbers."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree


def validate(component: Any) -> None:
    """Check what can be known before running: types, shapes, concrete ranges.

    Walks the component and the components in its fields; a component with rules across
    fields has a method ``check``.

    Raises:
        TypeError: a number field holds something that is not a number.
        ValueError: a number field is out of its range, not finite, or swept.
    """
    for field in dataclasses.fields(component):
        value = getattr(component, field.name)
        name = f"{type(component).__name__}.{field.name}"
        if "number" in field.metadata:
            limits = field.metadata["number"]
            _check_type(name, value)
            _check_shape(name, value, limits["shape"])
            _check_range(name, value, limits["low"], limits["high"], limits["above"])
        if "numbers" in field.metadata:
            for leaf in jax.tree.leaves(value):
                _check_type(name, leaf)
        if not field.metadata:
            _check_leaves(name, value)
        for part in _parts(value):
            validate(part)
    if hasattr(component, "check"):
        component.check()


def _check_leaves(name: str, value: Any) -> None:
    for leaf in jax.tree.leaves(value, is_leaf=pytree.is_component):
        number_like = hasattr(leaf, "dtype") or isinstance(leaf, int | float)
        if not pytree.is_component(leaf) and not number_like:
            raise TypeError(f"{name}: got {leaf!r}, want a component or arrays")


def _parts(value: Any) -> Sequence[Any]:
    leaves = jax.tree.leaves(value, is_leaf=pytree.is_component)
    return [leaf for leaf in leaves if pytree.is_component(leaf)]


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
    known = pytree.concrete(value)
    if known is None:
        return
    legal = np.isfinite(known) & (known >= low) & (known <= high) & (known > above)
    if not legal.all():
        raise ValueError(f"{name}: got {value}, want {_range(low, high, above)}")


def _range(low: float, high: float, above: float) -> str:
    parts = [f"> {above:g}"] if above > -math.inf else []
    parts += [f">= {low:g}"] if low > -math.inf else []
    parts += [f"<= {high:g}"] if high < math.inf else []
    return "a number " + " and ".join(parts) if parts else "a number"


def check_count(name: str, value: Any, low: int = 1) -> None:
    """Raise unless ``value`` is a Python int of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: got {value!r} ({type(value).__name__}), want an int")
    if value < low:
        raise ValueError(f"{name}: got {value}, want an int >= {low}")

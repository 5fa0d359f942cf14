"""Attention that is divided over devices, wherever in a component it is.

A function of a component, of ``self``, is a method that a class takes by name, as in
``divided = parts_divided``.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from diffevo_jax import pytree
from diffevo_jax.base import Divisible
from diffevo_jax.pytree.annotations import checked

ComponentT = TypeVar("ComponentT")


@checked
def parts_divided(component: ComponentT, divide: Callable[[Any], Any]) -> ComponentT:
    """The same, each part divided that can be; see :class:`diffevo_jax.base.Divisible`.

    Args:
        component: for example a strategy, whose denoiser has an attention.
        divide: called with each attention; returns the one in its place.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.attention import division
        >>> strategy = de.DiffusionEvolution(10)
        >>> divided = division.parts_divided(strategy, lambda attention: "divided")
        >>> divided.denoiser.attention, divided.sampler == strategy.sampler
        ('divided', True)
    """
    changes = {
        name: part.divided(divide)
        for name, part in vars(component).items()
        if pytree.offers(part, Divisible)
    }
    return pytree.replace(component, **changes)

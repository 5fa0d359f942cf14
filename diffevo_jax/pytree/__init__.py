"""Frozen dataclasses as pytrees: the one kind of container in the library.

A *number* field (:func:`number`) is a leaf: it can be traced, differentiated,
``vmap``-ped and swept. A *static* field (:func:`static`) is structure: it is part of the
compiled program, and changing it compiles a new one. Every other field holds a pytree.
"""
# isort: skip_file

# A component, and what its fields may be.
from diffevo_jax.pytree.components import dataclass as dataclass  # decorate a class with it
from diffevo_jax.pytree.components import number as number  # a leaf, with its range
from diffevo_jax.pytree.components import numbers as numbers  # a pytree of such leaves
from diffevo_jax.pytree.components import static as static  # structure: counts, functions
from diffevo_jax.pytree.components import Number as Number  # what a number field accepts

# Components as values.
from diffevo_jax.pytree.components import equal as equal  # ``==`` of arrays would raise
from diffevo_jax.pytree.components import replace as replace  # a copy with other fields
from diffevo_jax.pytree.components import select as select  # one of two, leaf by leaf
from diffevo_jax.pytree.components import strong as strong  # cast, to compile once
from diffevo_jax.pytree.components import shapes as shapes  # what a function of one returns

# What something is.
from diffevo_jax.pytree.components import is_component as is_component  # one of these
from diffevo_jax.pytree.components import offers as offers  # has it an optional contract
from diffevo_jax.pytree.components import concrete as concrete  # None if it is traced
from diffevo_jax.pytree.components import short as short  # in a line, as it prints

# Fields by name, and checks before a run.
from diffevo_jax.pytree import paths as paths  # ``"shaping.temperature"``
from diffevo_jax.pytree import validation as validation  # types, shapes, ranges
from diffevo_jax.pytree.validation import validate as validate  # of a whole component

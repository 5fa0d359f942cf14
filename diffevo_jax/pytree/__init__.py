"""Frozen dataclasses as pytrees: the one kind of container in the library.

A *number* field (:func:`number`) is a leaf: it can be traced, differentiated,
``vmap``-ped and swept. A *static* field (:func:`static`) is structure: it is part of the
compiled program, and changing it compiles a new one. Every other field holds a pytree.
"""

from diffevo_jax.pytree import paths as paths
from diffevo_jax.pytree import validation as validation
from diffevo_jax.pytree.components import Number as Number
from diffevo_jax.pytree.components import concrete as concrete
from diffevo_jax.pytree.components import dataclass as dataclass
from diffevo_jax.pytree.components import equal as equal
from diffevo_jax.pytree.components import is_component as is_component
from diffevo_jax.pytree.components import number as number
from diffevo_jax.pytree.components import numbers as numbers
from diffevo_jax.pytree.components import offers as offers
from diffevo_jax.pytree.components import replace as replace
from diffevo_jax.pytree.components import select as select
from diffevo_jax.pytree.components import shapes as shapes
from diffevo_jax.pytree.components import short as short
from diffevo_jax.pytree.components import static as static
from diffevo_jax.pytree.components import strong as strong
from diffevo_jax.pytree.validation import validate as validate

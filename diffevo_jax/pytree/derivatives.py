"""Functions whose derivative is finite where that of the formula is not."""

import jax
import jax.numpy as jnp

from diffevo_jax.pytree.components import Number


def square_root(number: Number) -> jax.Array:
    """The square root of what is at least 0; of 0 and below it is 0, with the derivative 0.

    Example:
        >>> import jax
        >>> from diffevo_jax.pytree.derivatives import square_root
        >>> [float(jax.grad(square_root)(x)) for x in (0.0, 4.0)]
        [0.0, 0.25]
    """
    value = jnp.asarray(number)
    positive = value > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1.0)), 0.0)

"""Small data to learn diffusion with: curves of a few waves, and drawn shapes.

Both are families with as many members as are wanted, so that samples can be compared with
members that no training has seen.
"""

import math

import jax
import jax.numpy as jnp

from diffevo_jax.pytree import Number, validation
from diffevo_jax.pytree.annotations import checked

#: The labels 0 to 4 of drawn shapes.
SHAPES = ("disc", "ring", "square", "cross", "triangle")


@checked
def sinusoids(
    key: jax.Array,
    count: int,
    length: int = 50,
    *,
    num_waves: int = 3,
    low: Number = 0.5,
    high: Number = 4.0,
) -> jax.Array:
    """Curves that are weighted sums of a few sinusoids of random frequency.

        x(t) = sum_k w_k sin(2 pi (f_k t + phase_k)),  t from 0 to 1,

    with normal weights, and uniform frequencies and phases: mean 0 and variance 1 at every
    t, and few directions of ``length`` that carry them.

    Args:
        key: a typed key.
        count: N, curves.
        length: L, numbers of a curve, >= 2.
        num_waves: sinusoids in a curve.
        low: lowest frequency, in periods in a curve.
        high: highest frequency.

    Returns:
        (N, L) curves.

    Example:
        >>> import jax
        >>> from diffevo_jax import diffusion
        >>> curves = diffusion.sinusoids(jax.random.key(0), 2000)
        >>> curves.shape, round(float(curves.std()), 1)
        ((2000, 50), 1.0)
    """
    validation.check_count("length", length, low=2)
    keys = jax.random.split(key, 3)
    each = (count, num_waves, 1)
    weight = math.sqrt(2 / num_waves) * jax.random.normal(keys[0], each)
    frequency = low + (high - low) * jax.random.uniform(keys[1], each)
    angle = frequency * jnp.linspace(0, 1, length)[None, None] + jax.random.uniform(
        keys[2], each
    )
    return jnp.sum(weight * jnp.sin(2 * math.pi * angle), axis=1)


@checked
def drawn_shapes(key: jax.Array, count: int, size: int = 16) -> tuple[jax.Array, jax.Array]:
    """Images of one white shape on black, of random kind, size and place.

    Args:
        key: a typed key.
        count: N, images.
        size: S, pixels a side, >= 8.

    Returns:
        Images (N, S, S, 1), from 0 to 1 with soft edges, and labels (N,), indices into
        ``diffusion.SHAPES``.

    Example:
        >>> import jax
        >>> from diffevo_jax import diffusion
        >>> images, labels = diffusion.drawn_shapes(jax.random.key(0), 100)
        >>> images.shape, diffusion.SHAPES[0]
        ((100, 16, 16, 1), 'disc')
    """
    validation.check_count("size", size, low=8)
    key_label, key_radius, key_place = jax.random.split(key, 3)
    label = jax.random.randint(key_label, (count,), 0, len(SHAPES))
    radius = jax.random.uniform(key_radius, (count, 1, 1), minval=0.2, maxval=0.3) * size
    reach = (0.5 * size - 1.5 - radius)[..., 0]  # the outermost pixels stay black
    centre = reach * jax.random.uniform(key_place, (count, 2), minval=-1.0, maxval=1.0)
    pixels = jnp.arange(size, dtype=float) - (size - 1) / 2
    right = pixels[None, None, :] - centre[:, 0, None, None]
    up = centre[:, 1, None, None] - pixels[None, :, None]
    right, up = jnp.broadcast_arrays(right, up)
    outside = _outside(right, up, radius)
    chosen = jnp.take_along_axis(outside, label[None, :, None, None], axis=0)[0]
    return jnp.clip(0.5 - chosen, 0.0, 1.0)[..., None], label


def _outside(right: jax.Array, up: jax.Array, radius: jax.Array) -> jax.Array:
    """Distance of pixels from each shape, about, in pixels: below 0 inside."""
    across, along = jnp.abs(right), jnp.abs(up)
    away = jnp.hypot(right, up)
    thick = radius / 3
    disc = away - radius
    ring = jnp.abs(away - radius + thick) - thick
    square = jnp.maximum(across, along) - radius
    cross = jnp.maximum(
        jnp.maximum(across, along) - radius, jnp.minimum(across, along) - thick
    )
    sides = (math.sqrt(3) * across + up - radius) / 2
    triangle = jnp.maximum(sides, -up - radius / 2)
    return jnp.stack([disc, ring, square, cross, triangle])

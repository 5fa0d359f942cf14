"""How weights move: the optimizers of trainings, and one step of any."""

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from diffevo_jax.base import PyTree
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.samplers.optax import transformed

if TYPE_CHECKING:  # it takes a seventh of a second to import
    import optax

#: Added to Adam's second moment: far below what its epsilon lets one see, and without it
#: the slope of a training is NaN by every weight that has not moved yet.
ROOT = 1e-36


@checked
def default_optimizer(
    learning_rate: Number, num_steps: Number
) -> "optax.GradientTransformation":
    """Adam with clipped gradients, a warm-up, and a cosine down to 0.

    Args:
        learning_rate: the largest one.
        num_steps: until 0 is reached; the first twentieth is the warm-up.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> optimizer = diffusion.default_optimizer(learning_rate=0.1, num_steps=100)
        >>> weights, gradient = jnp.zeros(2), jnp.array([3.0, -4.0])
        >>> state = optimizer.init(weights)
        >>> change, _ = jax.jit(optimizer.update)(gradient, state, weights)
        >>> [f"{x:.2f}" for x in change]  # the first of 5 steps of warm-up
        ['-0.02', '0.02']
    """
    import optax

    def schedule(count: jax.Array) -> jax.Array:
        count = count.astype(float)
        done = jnp.minimum(count / num_steps, 1.0)
        return learning_rate * jnp.minimum(
            (count + 1) / jnp.maximum(0.05 * num_steps, 1.0),
            0.5 * (1 + jnp.cos(math.pi * done)),
        )

    # On one long vector: a network has many arrays, and each would be its own kernels.
    return optax.flatten(
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, eps_root=ROOT))
    )


def adversarial_optimizer(learning_rate: Number) -> "optax.GradientTransformation":
    """Adam as GANs have it, on one long vector, with clipped gradients."""
    import optax

    # A first moment of half the usual memory: the other network moves too.
    parts = optax.clip_by_global_norm(1.0), optax.adam(learning_rate, b1=0.5, eps_root=ROOT)
    return optax.flatten(optax.chain(*parts))


def descend(
    optimizer: "optax.GradientTransformation",
    gradient: PyTree,
    optimizer_state: PyTree,
    weights: PyTree,
) -> tuple[PyTree, PyTree]:
    """Weights and the optimizer's state after one step."""
    import optax

    change, optimizer_state = transformed(optimizer, gradient, optimizer_state, weights)
    return optax.apply_updates(weights, change), optimizer_state

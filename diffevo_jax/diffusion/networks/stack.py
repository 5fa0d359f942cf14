"""A stack of dense layers, and its optimizer: of discriminators and generators."""

import itertools
from typing import TYPE_CHECKING, Any

import jax

from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.layers import dense, dense_init
from diffevo_jax.pytree import Number, validation

if TYPE_CHECKING:  # it takes a seventh of a second to import
    import optax


def stack_init(key: jax.Array, widths: tuple[int, ...]) -> list[dict[str, jax.Array]]:
    """Weights of dense layers; the last answers 0."""
    keys, pairs = jax.random.split(key, len(widths) - 1), list(itertools.pairwise(widths))
    gains = [1.0] * (len(pairs) - 1) + [0.0]
    return [dense_init(k, *pair, g) for k, pair, g in zip(keys, pairs, gains, strict=True)]


def stack_apply(weights: Any, signal: jax.Array) -> jax.Array:
    """Dense layers with SiLU between them, (N, inputs) to (N, outputs)."""
    for layer in weights[:-1]:
        signal = jax.nn.silu(dense(layer, signal))
    return dense(weights[-1], signal)


def adam(learning_rate: Number) -> "optax.GradientTransformation":
    """Adam as GANs have it, on one long vector, with clipped gradients."""
    import optax

    # A first moment of half the usual memory: the other network moves too.
    parts = optax.clip_by_global_norm(1.0), optax.adam(learning_rate, b1=0.5)
    return optax.flatten(optax.chain(*parts))


def descend(
    optimizer: "optax.GradientTransformation", gradient: PyTree, state: Any
) -> tuple[PyTree, PyTree]:
    """Weights and memory after a step of the optimizer, from a state that has both."""
    import optax

    change, memory = optimizer.update(gradient, state.optimizer_state, state.weights)
    return optax.apply_updates(state.weights, change), memory


def check_hidden(name: str, hidden: Any) -> None:
    """Raise unless the widths of hidden layers are a tuple of positive ints."""
    if not isinstance(hidden, tuple) or not hidden:
        raise TypeError(f"{name}.hidden: got {hidden!r}, want a tuple of ints")
    for width in hidden:
        validation.check_count(f"{name}.hidden", width)

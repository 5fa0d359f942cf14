"""A feed-forward network, conditioned on the noise level and a label."""

import itertools
import math
from typing import Any

import jax

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.layers import (
    check_embedding,
    check_widths,
    dense,
    dense_init,
    embed,
    embedding_init,
)
from diffevo_jax.diffusion.networks.network import labels_or_null


@pytree.dataclass
class MLP:
    """A feed-forward network on flattened samples; every layer hears the noise level.

    For points, signals, and weights of policies. Its last layer starts at 0. Its namesake
    :class:`diffevo_jax.problems.MLP` is a policy: it maps observations to actions.

    Args:
        hidden: widths of the hidden layers, at least one.
        num_classes: labels are 0 to ``num_classes - 1``, and ``num_classes`` says nothing;
            0 for a network without labels.
        embedding: width of the embedding of noise level and label, even.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> network = diffusion.MLP(hidden=(64, 64), num_classes=10)
        >>> weights = jax.eval_shape(lambda: network.init(jax.random.key(0), (2,)))
        >>> y, labels = jnp.ones((2, 2)), jnp.array([3, 10])  # the second has none
        >>> jax.eval_shape(network.apply, weights, y, jnp.zeros(2), labels).shape
        (2, 2)
    """

    hidden: tuple[int, ...] = pytree.static(default=(128, 128, 128))
    num_classes: int = pytree.static(default=0)
    embedding: int = pytree.static(default=32)

    @property
    def null_label(self) -> int | None:
        """The label that says nothing."""
        return self.num_classes or None

    def check(self) -> None:
        """Raise if there is no such network."""
        check_widths("MLP.hidden", self.hidden)
        check_embedding("MLP", self.embedding, self.num_classes)

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> dict[str, Any]:
        """Draw weights for samples of that shape."""
        key_embedding, key_level, key_hidden, key_out = jax.random.split(key, 4)
        size = math.prod(shape)
        widths = itertools.pairwise((size, *self.hidden))
        keys = jax.random.split(key_hidden, len(self.hidden))
        return {
            "embedding": embedding_init(key_embedding, self.embedding, self.num_classes),
            "level": dense_init(key_level, self.embedding, sum(self.hidden)),
            "hidden": [dense_init(k, *w) for k, w in zip(keys, widths, strict=True)],
            "out": dense_init(key_out, self.hidden[-1], size, gain=0.0),
        }

    def apply(
        self, weights: PyTree, y: jax.Array, c_noise: jax.Array, label: PyTree = None
    ) -> jax.Array:
        """Output for y ``(B, ...)`` at ``c_noise`` ``(B,)``, labels ``(B,)`` or None."""
        size = weights["out"]["bias"].size
        if math.prod(y.shape[1:]) != size:
            raise ValueError(f"y: got shape {y.shape}, want (N, {size}) for this MLP")
        labels = labels_or_null(self.num_classes, label, len(y))
        level = dense(weights["level"], embed(weights["embedding"], c_noise, labels))
        signal, ends = y.reshape(len(y), -1), itertools.accumulate(self.hidden)
        for layer, end in zip(weights["hidden"], ends, strict=True):
            of_level = level[:, end - layer["bias"].size : end]
            signal = jax.nn.silu(dense(layer, signal) + of_level)
        return dense(weights["out"], signal).reshape(y.shape)

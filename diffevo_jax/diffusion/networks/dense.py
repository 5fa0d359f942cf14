"""Networks: what a network is, a feed-forward one, and how to bring one's own.

A network has ``init(key, shape) -> weights`` and ``apply(weights, y, c_noise, condition)``
that returns the shape of y. It does not know what it predicts, nor sigma: the
parameterisation (``precondition.py``) scales its input and reads its output.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.layers import dense, dense_init, embed, embedding_init
from diffevo_jax.pytree import validation


class NetworkLike(Protocol):
    """What maps a scaled noisy batch to an answer of the same shape."""

    @property
    def null(self) -> Any:
        """One condition that says nothing, for guidance; None if there is none."""
        ...

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> PyTree:
        """Draw weights for samples of that shape, without the batch axis."""
        ...

    def apply(
        self, weights: PyTree, y: jax.Array, c_noise: jax.Array, condition: Any = None
    ) -> jax.Array:
        """Answer for y ``(B, ...)`` at ``c_noise`` ``(B,)``; condition ``(B, ...)``."""
        ...


@pytree.dataclass
class Network:
    """A network of your own, from two functions: of flax, equinox, or plain JAX.

    Args:
        init: ``init(key, shape) -> weights``, a pytree of float arrays; ``shape`` is that
            of one sample.
        apply: ``apply(weights, y, c_noise, condition) -> `` an array like y. y (B, ...) has
            about unit variance, ``c_noise`` (B,) is the noise level as the parameterisation
            encodes it, the condition has leading axis B, or is None.
        null: one condition that says nothing, which ``apply`` must know; None if there is
            none, and then no guidance.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> linear = diffusion.Network(
        ...     init=lambda key, shape: jnp.zeros((math.prod(shape),) * 2),
        ...     apply=lambda weights, y, c_noise, condition: y @ weights)
        >>> weights = linear.init(jax.random.key(0), (3,))
        >>> linear.apply(weights, jnp.ones((5, 3)), jnp.zeros(5), None).shape
        (5, 3)
    """

    init: Callable[[jax.Array, tuple[int, ...]], PyTree] = pytree.static()
    apply: Callable[..., jax.Array] = pytree.static()
    null: Any = None


@pytree.dataclass
class MLP:
    """A feed-forward network on flattened samples; every layer hears the noise level.

    For points, signals, and weights of policies. Its last layer starts at 0. Its namesake
    :class:`diffevo_jax.problems.MLP` is a policy: it hears an observation.

    Args:
        hidden: widths of the hidden layers, at least one.
        num_classes: labels 0 to ``num_classes - 1`` may be its condition, and
            ``num_classes`` says nothing; 0 for no condition.
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
    def null(self) -> int | None:
        """The label that says nothing."""
        return self.num_classes or None

    def check(self) -> None:
        """Raise if there is no such network."""
        if not isinstance(self.hidden, tuple) or not self.hidden:
            raise TypeError(f"MLP.hidden: got {self.hidden!r}, want a tuple of widths")
        for width in self.hidden:
            validation.check_count("MLP.hidden", width)
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
        self, weights: Any, y: jax.Array, c_noise: jax.Array, condition: Any = None
    ) -> jax.Array:
        """Answer for y ``(B, ...)`` at ``c_noise`` ``(B,)``, labels ``(B,)`` or None."""
        check_size("MLP", weights["out"]["bias"].size, y.shape)
        label = labels(self.num_classes, condition, len(y))
        level = dense(weights["level"], embed(weights["embedding"], c_noise, label))
        signal, ends = y.reshape(len(y), -1), itertools.accumulate(self.hidden)
        for layer, end in zip(weights["hidden"], ends, strict=True):
            of_level = level[:, end - layer["bias"].size : end]
            signal = jax.nn.silu(dense(layer, signal) + of_level)
        return dense(weights["out"], signal).reshape(y.shape)


def labels(num_classes: int, condition: Any, batch: int) -> jax.Array | None:
    """Labels (B,) for a network of so many classes; without a condition, the null one."""
    if not num_classes:
        if condition is not None:
            raise ValueError("condition: got labels, want None (num_classes is 0)")
        return None
    if condition is None:
        return jnp.full(batch, num_classes, jnp.int32)
    check_labels(num_classes, condition)
    label = jnp.asarray(condition)
    if label.shape != (batch,) or not jnp.issubdtype(label.dtype, jnp.integer):
        got = f"{label.dtype} of shape {label.shape}"
        raise ValueError(f"condition: got {got}, want integers of shape ({batch},)")
    return label


def check_labels(num_classes: int, condition: Any) -> None:
    """Raise if there are no such labels; those that JAX traces are not known."""
    known = pytree.concrete(condition)
    if known is not None and ((known < 0) | (known > num_classes)).any():
        raise ValueError(
            f"condition: got labels from {known.min()} to {known.max()}, want 0 to "
            f"{num_classes - 1}, or {num_classes} for none"
        )


def check_embedding(name: str, width: int, num_classes: int) -> None:
    """Raise unless the embedding has an even width, and the number of labels is legal."""
    validation.check_count(f"{name}.num_classes", num_classes, low=0)
    validation.check_count(f"{name}.embedding", width, low=2)
    if width % 2:
        raise ValueError(f"{name}.embedding: got {width}, want an even int")


def check_size(name: str, size: int, shape: tuple[int, ...]) -> None:
    """Raise unless samples of a batch of this shape have ``size`` numbers."""
    if math.prod(shape[1:]) != size:
        raise ValueError(f"y: got shape {shape}, want (N, {size}) for this {name}")

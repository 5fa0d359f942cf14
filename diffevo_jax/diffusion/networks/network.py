"""What a network is, and how to bring one's own.

A network has ``init(key, shape) -> weights`` and ``apply(weights, y, c_noise, label)``,
which returns the shape of y. It does not know what it predicts, nor sigma: the
parameterisation (``training/parameterisations.py``) scales its input and reads its output.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree


@runtime_checkable
class NetworkLike(Protocol):
    """What maps a scaled noisy batch to an output of the same shape."""

    @property
    def null_label(self) -> PyTree:
        """The label that says nothing, for guidance; None if there is none."""
        ...

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> PyTree:
        """Draw weights for samples of that shape, without the batch axis."""
        ...

    def apply(
        self, weights: PyTree, y: jax.Array, c_noise: jax.Array, label: PyTree = None
    ) -> jax.Array:
        """Output for y ``(B, ...)`` at ``c_noise`` ``(B,)``; labels ``(B, ...)``."""
        ...


@runtime_checkable
class ClassConditional(Protocol):
    """A network whose labels are the classes 0 to ``num_classes - 1``."""

    @property
    def num_classes(self) -> int:
        """How many classes; 0 if it takes no label."""
        ...


@pytree.dataclass
class Network:
    """A network of your own, from two functions: of flax, equinox, or plain JAX.

    Args:
        init: ``init(key, shape) -> weights``, a pytree of float arrays; ``shape`` is that
            of one sample.
        apply: ``apply(weights, y, c_noise, label) -> `` an array like y. y (B, ...) has
            about unit variance, ``c_noise`` (B,) is the noise level as the parameterisation
            encodes it, the label has leading axis B, or is None. It may be any pytree: a
            class, an embedding of a text, an image of low resolution.
        null_label: the label that says nothing, which ``apply`` must know; None if there is
            none, and then no guidance.

    Example:
        >>> import math, jax, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> linear = diffusion.Network(
        ...     init=lambda key, shape: jnp.zeros((math.prod(shape),) * 2),
        ...     apply=lambda weights, y, c_noise, label: y @ weights)
        >>> weights = linear.init(jax.random.key(0), (3,))
        >>> linear.apply(weights, jnp.ones((5, 3)), jnp.zeros(5), None).shape
        (5, 3)
    """

    init: Callable[[jax.Array, tuple[int, ...]], PyTree] = pytree.static()
    apply: Callable[..., jax.Array] = pytree.static()
    null_label: PyTree = None


def labels_or_null(num_classes: int, label: PyTree, batch: int) -> jax.Array | None:
    """Labels (B,) for a network of so many classes; without any, the null label.

    Raises:
        ValueError: they are not integers of shape (B,) in the range, or there are none.
    """
    if not num_classes:
        if label is not None:
            raise ValueError("label: got one, want None (num_classes is 0)")
        return None
    if label is None:
        return jnp.full(batch, num_classes, jnp.int32)
    check_labels(num_classes, label)
    given = jnp.asarray(label)
    if given.shape != (batch,) or not jnp.issubdtype(given.dtype, jnp.integer):
        got = f"{given.dtype} of shape {given.shape}"
        raise ValueError(f"label: got {got}, want integers of shape ({batch},)")
    return given


def check_labels(num_classes: int, label: PyTree) -> None:
    """Raise if there are no such labels; those that JAX traces are not known."""
    known = pytree.concrete(label)
    if known is not None and ((known < 0) | (known > num_classes)).any():
        raise ValueError(
            f"label: got {known.min()} to {known.max()}, want 0 to {num_classes - 1}, or "
            f"{num_classes} for none"
        )


def null_labels(network: NetworkLike, label: PyTree) -> PyTree:
    """A batch of labels that say nothing, like these."""
    return jax.tree.map(
        lambda null, leaf: jnp.broadcast_to(jnp.asarray(null, leaf.dtype), leaf.shape),
        network.null_label,
        label,
    )

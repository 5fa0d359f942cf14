"""A network that hears numbers beside the noisy sample: a label that is not a class."""

import math

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.network import NetworkLike
from diffevo_jax.pytree import validation


@pytree.dataclass
class NumberConditional:
    """A network whose label is some numbers: they enter beside the noisy sample.

    Each number comes with a second one, whether it is known. Give them about unit variance.

    Args:
        network: of flat samples of any size, such as
            :class:`diffevo_jax.diffusion.MLP`; it gets no label of its own.
        size: m, numbers of a label, static, >= 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> network = diffusion.NumberConditional(diffusion.MLP((16,)), size=1)
        >>> weights = network.init(jax.random.key(0), (2,))
        >>> labels = jnp.array([[0.5], [jnp.inf]])  # the second says nothing
        >>> network.apply(weights, jnp.ones((2, 2)), jnp.zeros(2), labels).shape
        (2, 2)
    """

    network: NetworkLike
    size: int = pytree.static()

    @property
    def null_label(self) -> jax.Array:
        """The label that says nothing: infinite, and so is any number that is unknown."""
        return jnp.full(self.size, jnp.inf)

    def check(self) -> None:
        """Raise if there is no such label."""
        validation.check_count("NumberConditional.size", self.size)

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> PyTree:
        """Draw weights for samples of that shape."""
        return self.network.init(key, (math.prod(shape) + 2 * self.size,))

    def apply(
        self, weights: PyTree, y: jax.Array, c_noise: jax.Array, label: PyTree = None
    ) -> jax.Array:
        """Output for y ``(B, ...)`` at ``c_noise`` ``(B,)``, labels ``(B, m)`` or None."""
        count = len(y)
        label = (
            jnp.broadcast_to(self.null_label, (count, self.size))
            if label is None
            else label
        )
        if jnp.shape(label) != (count, self.size):
            raise ValueError(
                f"label: got shape {jnp.shape(label)}, want ({count}, {self.size})"
            )
        known = jnp.isfinite(label)
        flat = y.reshape(count, -1)
        numbers = [jnp.where(known, label, 0.0), known]
        joined = jnp.concatenate([flat, *(n.astype(y.dtype) for n in numbers)], axis=1)
        output = self.network.apply(weights, joined, c_noise)
        return output[:, : flat.shape[1]].reshape(y.shape)

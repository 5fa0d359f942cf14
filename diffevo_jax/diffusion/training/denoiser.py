"""A network as a denoiser: what a sampler cannot tell from a population."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.dense import NetworkLike, check_labels
from diffevo_jax.diffusion.training.losses import answer, spread_out
from diffevo_jax.diffusion.training.parameterisation import Parameterisation
from diffevo_jax.pytree import Number


@pytree.dataclass
class Denoiser:
    """A network, what it predicts, its weights, and the shape of a sample.

    Attributes:
        network: computes the answers.
        precondition: says what they are.
        weights: of the network.
        shape: of one sample.
    """

    network: NetworkLike
    precondition: Parameterisation
    weights: PyTree
    shape: tuple[int, ...] = pytree.static()

    def denoise(
        self,
        y: jax.Array,
        sigma: Number,
        condition: Any = None,
        guidance: Number | None = None,
    ) -> jax.Array:
        """Mean of the clean points given noisy ones, ``E[x_0 | y]``, as learned.

        Args:
            y: (N, ...) noisy samples, canonical, in their own shape; or flat, (N, D), as
                the samplers have them.
            sigma: () noise level, > 0, or (N,) one for each.
            condition: of each sample, with leading axis N, or one for all; None for none.
                Labels that are traced by ``jit`` cannot be checked.
            guidance: how far to go from the answer without a condition to that with it:
                ``D(none) + guidance (D(condition) - D(none))``. 0 ignores the condition, 1
                is the condition alone (as is None, which asks once and not twice), and more
                exaggerates it.

        Returns:
            Like y.

        Raises:
            ValueError: a shape does not fit, a noise level is not above 0, or there is no
                such label.

        References:
            Karras et al., 2022, arXiv:2206.00364, eq. 7; Ho and Salimans, 2022,
            arXiv:2207.12598, eq. 6 (whose w is ``guidance - 1``).
        """
        y = jnp.asarray(y, jnp.result_type(y, float))
        flat = (math.prod(self.shape),)
        if y.ndim < 2 or y.shape[1:] not in (self.shape, flat):
            raise ValueError(f"y: got shape {y.shape}, want (N, *{self.shape})")
        if jnp.shape(sigma) not in ((), (len(y),)):
            raise ValueError(f"sigma: got shape {jnp.shape(sigma)}, want () or ({len(y)},)")
        known = pytree.concrete(sigma)
        if known is not None and not (known > 0).all():
            raise ValueError(f"sigma: got {sigma}, want > 0")
        samples = y.reshape(len(y), *self.shape)
        sigma = jnp.broadcast_to(jnp.asarray(sigma, dtype=y.dtype), (len(y),))
        condition = self._given(condition, len(y))
        clean = self._clean(samples, sigma, condition)
        if guidance is not None:
            if condition is None or self.network.null is None:
                raise ValueError(
                    "guidance: wants a condition, and a network that knows what none is"
                )
            nothing = without_condition(self.network, condition)
            without = self._clean(samples, sigma, nothing)
            clean = without + guidance * (clean - without)
        return clean.reshape(y.shape)

    def _given(self, condition: Any, count: int) -> Any:
        """A condition for each of so many samples: one for all, if it is a scalar."""
        num_classes: int = getattr(self.network, "num_classes", 0)
        if condition is not None and num_classes:
            check_labels(num_classes, condition)
            condition = jnp.asarray(condition)
        each = lambda leaf: jnp.broadcast_to(leaf, (count,)) if not leaf.ndim else leaf
        return jax.tree.map(lambda leaf: each(jnp.asarray(leaf)), condition)

    def _clean(self, samples: jax.Array, sigma: jax.Array, condition: Any) -> jax.Array:
        skip, out = self.precondition.coefficients(sigma)[:2]
        got = answer(
            self.network, self.precondition, self.weights, samples, sigma, condition
        )
        return spread_out(skip, samples) * samples + spread_out(out, samples) * got


def without_condition(network: NetworkLike, condition: Any) -> Any:
    """A batch of conditions that say nothing, like these."""
    return jax.tree.map(
        lambda null, leaf: jnp.broadcast_to(jnp.asarray(null, leaf.dtype), leaf.shape),
        network.null,
        condition,
    )

"""A network as a denoiser: what a sampler cannot tell from a population."""

import math

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.network import (
    ClassConditional,
    NetworkLike,
    check_labels,
    null_labels,
)
from diffevo_jax.diffusion.training.losses import append_axes, network_output
from diffevo_jax.diffusion.training.parameterisations import Parameterisation
from diffevo_jax.pytree import Number


@pytree.dataclass
class NetworkDenoiser:
    """A trained network: its weights, what it predicts, and the shape of a sample.

    Attributes:
        network: computes the outputs.
        parameterisation: says what they are.
        weights: of the network.
        shape: of one sample.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> linear = diffusion.Network(init=lambda key, shape: jnp.zeros(shape * 2),
        ...     apply=lambda weights, y, c_noise, label: y @ weights)
        >>> untrained = jnp.zeros((2, 2))  # which answer 0
        >>> denoiser = diffusion.NetworkDenoiser(linear, diffusion.EDM(), untrained, (2,))
        >>> clean = denoiser.denoise(jnp.array([[5.0, 10.0]]), 2.0)
        >>> [f"{x:.2f}" for x in clean[0]]  # y / (1 + 2^2)
        ['1.00', '2.00']
    """

    network: NetworkLike
    parameterisation: Parameterisation
    weights: PyTree
    shape: tuple[int, ...] = pytree.static()

    def denoise(
        self,
        y: jax.Array,
        sigma: Number,
        label: PyTree = None,
        guidance: Number | None = None,
    ) -> jax.Array:
        """Mean of the clean points given noisy ones, ``E[x_0 | y]``, as learned.

        Args:
            y: (N, ...) noisy samples, canonical, in their own shape; or flat, (N, D), as
                the samplers have them.
            sigma: () noise level, > 0, or (N,) one for each.
            label: of each sample, with leading axis N, or one for all; None for none.
                Labels that are traced by ``jit`` cannot be checked.
            guidance: how far to go beyond the answer with the label, away from that
                without: ``D(label) + guidance (D(label) - D(none))``. 0 is the label alone
                (as is None, which asks once and not twice), -1 ignores the label, and above
                0 exaggerates it.

        Returns:
            Like y.

        Raises:
            ValueError: a shape does not fit, a noise level is not above 0, or there is no
                such label.

        References:
            Karras et al., 2022, arXiv:2206.00364, eq. 7; Ho and Salimans, 2022,
            arXiv:2207.12598, eq. 6 (``guidance`` is its w).
        """
        y = jnp.asarray(y)
        y = y if jnp.issubdtype(y.dtype, jnp.floating) else y.astype(float)
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
        labels = self._labels(label, len(y))
        clean = self._clean(samples, sigma, labels)
        if guidance is not None:
            if labels is None or self.network.null_label is None:
                raise ValueError(
                    "guidance: wants a label, and a network that knows what none is"
                )
            without = self._clean(samples, sigma, null_labels(self.network, labels))
            clean = clean + guidance * (clean - without)
        return clean.reshape(y.shape)

    def _labels(self, label: PyTree, count: int) -> PyTree:
        """A label for each of so many samples: one for all, if it is a scalar."""
        if label is not None and isinstance(self.network, ClassConditional):
            if self.network.num_classes:
                check_labels(self.network.num_classes, label)
            label = jnp.asarray(label)
        each = lambda leaf: jnp.broadcast_to(leaf, (count,)) if not leaf.ndim else leaf
        return jax.tree.map(lambda leaf: each(jnp.asarray(leaf)), label)

    def _clean(self, samples: jax.Array, sigma: jax.Array, labels: PyTree) -> jax.Array:
        skip, out = self.parameterisation.coefficients(sigma)[:2]
        output = network_output(
            self.network, self.parameterisation, self.weights, samples, sigma, labels
        )
        return append_axes(skip, samples) * samples + append_axes(out, samples) * output

"""Denoising losses: pure functions of the weights of a network."""

import jax
import jax.numpy as jnp

from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.network import NetworkLike
from diffevo_jax.diffusion.training.objectives import ObjectiveLike
from diffevo_jax.diffusion.training.parameterisations import Parameterisation
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked

#: A training has failed if its loss ends so many times above that of the answer 0.
DIVERGED = 2.0


def append_axes(values: jax.Array, like: jax.Array) -> jax.Array:
    """One number a sample, ``(B,)``, with axes of length 1 up to those of ``like``."""
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


def network_output(
    network: NetworkLike,
    parameterisation: Parameterisation,
    weights: PyTree,
    y: jax.Array,
    sigma: jax.Array,
    label: PyTree = None,
) -> jax.Array:
    """The network's own output for noisy samples: ``F(c_in y, c_noise)``.

    Args:
        network: computes it.
        parameterisation: says what it predicts.
        weights: of the network.
        y: (B, ...) noisy samples, canonical.
        sigma: (B,) their noise levels.
        label: with leading axis B, or None.
    """
    scale, level = parameterisation.coefficients(sigma)[2:]
    output = network.apply(weights, append_axes(scale, y) * y, level, label)
    return output.astype(y.dtype)


@checked
def sample_losses(
    weights: PyTree,
    clean: jax.Array,
    eps: jax.Array,
    sigma: jax.Array,
    *,
    network: NetworkLike,
    parameterisation: Parameterisation,
    label: PyTree = None,
    teacher: PyTree | None = None,
    trust: Number = 0.0,
) -> jax.Array:
    """Squared error of the network's output for each sample, mean over its numbers.

    Args:
        weights: of the network.
        clean: (B, ...) clean samples.
        eps: (B, ...) standard normal noise.
        sigma: (B,) noise levels.
        network: see :func:`network_output`.
        parameterisation: see :func:`network_output`.
        label: see :func:`network_output`.
        teacher: weights, as averaged along the training, whose output replaces a share of
            the target; None for none. It has less noise, and the same minimum: where both
            agree, they are the posterior mean.
        trust: that share, in [0, 1).

    Returns:
        (B,) errors.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> linear = diffusion.Network(init=lambda key, shape: jnp.zeros(shape * 2),
        ...     apply=lambda weights, y, c_noise, label: y @ weights)
        >>> clean, eps = jnp.zeros((2, 2)), jnp.array([[1.0, 1.0], [2.0, 0.0]])
        >>> diffusion.sample_losses(  # of the answer 0, where the noise is wanted
        ...     jnp.zeros((2, 2)), clean, eps, jnp.ones(2), network=linear,
        ...     parameterisation=diffusion.Noise()).tolist()
        [1.0, 2.0]
    """
    y = clean + append_axes(sigma, clean) * eps
    got = network_output(network, parameterisation, weights, y, sigma, label)
    want = parameterisation.target(clean, eps, append_axes(sigma, clean))
    if teacher is not None:
        taught = network_output(network, parameterisation, teacher, y, sigma, label)
        want = (1 - trust) * want + trust * jax.lax.stop_gradient(taught)
    return jnp.mean(jnp.square(got - want).reshape(len(clean), -1), axis=1)


@checked
def denoising_loss(
    weights: PyTree,
    key: jax.Array,
    clean: jax.Array,
    *,
    network: NetworkLike,
    parameterisation: Parameterisation,
    objective: ObjectiveLike,
    sample_weight: jax.Array | None = None,
    label: PyTree = None,
    teacher: PyTree | None = None,
    trust: Number = 0.0,
) -> jax.Array:
    """The loss of a batch at random noise levels; its minimum is the posterior mean.

    Args:
        weights: of the network.
        key: a typed key; draws noise and noise levels.
        clean: (B, ...) clean samples.
        network: see :func:`network_output`.
        parameterisation: see :func:`network_output`.
        objective: noise levels, and the weight of each.
        sample_weight: (B,) >= 0, how much each sample counts, 1 on average; None: all 1.
        label: see :func:`network_output`.
        teacher: see :func:`sample_losses`.
        trust: see :func:`sample_losses`.

    Returns:
        () mean over samples and numbers. With the weighting ``"likelihood"``, nats per
        number.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> linear = diffusion.Network(init=lambda key, shape: jnp.zeros(shape * 2),
        ...     apply=lambda weights, y, c_noise, label: y @ weights)
        >>> edm = diffusion.EDM()
        >>> loss = lambda weights, key, batch: diffusion.denoising_loss(weights, key, batch,
        ...     network=linear, parameterisation=edm, objective=edm.objective())
        >>> gradient = jax.jit(jax.grad(loss))(
        ...     jnp.zeros((2, 2)), jax.random.key(0), jnp.ones((8, 2)))
        >>> gradient.shape
        (2, 2)

    References:
        Vincent, 2011, doi:10.1162/NECO_a_00142, eq. 11; Karras et al., 2022,
        arXiv:2206.00364, eq. 8.
    """
    key_levels, key_noise = jax.random.split(key)
    sigma, rate = objective.draw(key_levels, len(clean))
    eps = jax.random.normal(key_noise, clean.shape, clean.dtype)
    errors = sample_losses(
        weights,
        clean,
        eps,
        sigma,
        network=network,
        parameterisation=parameterisation,
        label=label,
        teacher=teacher,
        trust=trust,
    )
    errors *= objective.weight(sigma, rate, parameterisation.coefficients(sigma).out)
    return jnp.mean(errors if sample_weight is None else errors * sample_weight)

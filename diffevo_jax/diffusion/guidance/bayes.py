"""Guidance by Bayes' rule: a classifier of noisy points, or a likelihood of clean ones.

The score of the noisy points gains a term, and so does the denoiser's answer:

    score(y | c) = score(y) + grad_y log p(c | y)
    D(y | c)     = D(y) + sigma^2 grad_y log p(c | y).

The answer for each point must depend on that point alone, and is differentiated. For what
is seen of a clean point linearly, ``linear_observation.py`` knows better.

References:
    Song et al., 2021, arXiv:2011.13456, section 5 and appendix I.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffevo_jax.base import Denoise
from diffevo_jax.denoisers.fixed import clean_points
from diffevo_jax.pytree import Number
from diffevo_jax.pytree.annotations import checked


@checked
def classifier_guidance(
    denoise: Denoise,
    log_probability: Callable[[jax.Array, jax.Array], jax.Array],
    scale: Number = 1.0,
) -> Denoise:
    """Bayes' rule with a classifier of noisy points.

    Exact at scale 1 if the classifier is: ``p(c | y, sigma)`` is the mean of ``p(c | x_0)``
    over the clean points behind y.

    Args:
        denoise: the denoiser that knows nothing of c.
        log_probability: of (y, sigma), ``log p(c | y, sigma)`` of each point up to a
            constant, (N, D) and () to (N,).
        scale: how much it counts, (); 1 is Bayes' rule.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> both = de.oracles.gaussian_mixture([[-1.0], [1.0]], 0.5)
        >>> right = de.oracles.gaussian_mixture([[1.0]], 0.5)
        >>> classifier = lambda y, sigma: (
        ...     right.log_density(y, sigma) - both.log_density(y, sigma))
        >>> denoise = diffusion.classifier_guidance(both.denoise, classifier)
        >>> y = jnp.array([[-0.3], [0.4]])
        >>> bool(abs(denoise(y, 0.7) - right.denoise(y, 0.7)).max() < 1e-5)
        True

    References:
        Dhariwal and Nichol, 2021, arXiv:2105.05233, section 4; Song et al., 2021,
        arXiv:2011.13456, eq. 14.
    """

    def guided(y: jax.Array, sigma: jax.Array) -> jax.Array:
        push = jax.grad(lambda y: jnp.sum(log_probability(y, sigma)))(y)
        return clean_points(denoise(y, sigma), y) + scale * sigma**2 * push

    return guided


@checked
def posterior_guidance(
    denoise: Denoise,
    log_likelihood: Callable[[jax.Array], jax.Array],
    scale: Number = 1.0,
) -> Denoise:
    """Bayes' rule with a likelihood of *clean* points: diffusion posterior sampling (DPS).

    ``D(y) + scale sigma^2 grad_y log p(c | D(y))``, the gradient through the denoiser. It
    takes the estimate for the clean point itself, as if nothing else were behind y, and so
    is too certain while there is noise: too narrow, and stiff where the likelihood is sharp
    (more levels help, and a smaller scale).
    For linear observations :func:`diffevo_jax.diffusion.linear_posterior` knows better.

    Args:
        denoise: the denoiser that knows nothing of c.
        log_likelihood: of clean points, ``log p(c | x_0)`` of each up to a constant,
            (N, D) to (N,); differentiable.
        scale: how much it counts, ().

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> both = de.oracles.gaussian_mixture([[-2.0], [2.0]], 0.3)
        >>> right = lambda x: jax.nn.log_sigmoid(5 * x[:, 0])
        >>> denoise = diffusion.posterior_guidance(both.denoise, right)
        >>> samples = de.sample(jax.random.key(0), denoise, de.noise.EDM(),
        ...     de.samplers.DDIM(eta=1.0), (500, 1), num_levels=50)
        >>> bool((samples > 0).mean() > 0.98)
        True

    References:
        Chung et al., 2022, arXiv:2209.14687, theorem 1 and algorithm 1, whose step size is
        another.
    """

    def guided(y: jax.Array, sigma: jax.Array) -> jax.Array:
        def likelihood(y: jax.Array) -> tuple[jax.Array, jax.Array]:
            clean = clean_points(denoise(y, sigma), y)
            return jnp.sum(log_likelihood(clean)), clean

        push, clean = jax.grad(likelihood, has_aux=True)(y)
        return clean + scale * sigma**2 * push

    return guided

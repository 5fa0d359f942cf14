"""Conditions: a denoiser of what is wanted, made of one that knows nothing of it.

By Bayes' rule the score of the noisy points gains a term, and so does the answer:

    score(y | c) = score(y) + grad_y log p(c | y)
    D(y | c)     = D(y) + sigma^2 grad_y log p(c | y).

Every function here takes denoisers, ``denoise(y, sigma)``, and returns one: it goes into
:func:`diffevo_jax.sample`, with any grid and any sampler, and into the next function. A
denoiser may be a network, exact, or a population; the answer for each point must depend on
that point alone, and is differentiated.

Each differs in how it comes by p(c | y):

    guided             from the answers with and without a condition (no classifier)
    classifier_guided  from a classifier of noisy points: exact, if that is
    posterior          from p(c | x_0) at the estimate of x_0: biased towards too certain
    linear_posterior   the same with the uncertainty of x_0 (``observation.py``)
    replaced           not at all: known numbers are put in place

References:
    Song et al., 2021, arXiv:2011.13456, section 5 and appendix I.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffevo_jax.base import Denoise
from diffevo_jax.pytree import Number


def guided(denoise: Denoise, without: Denoise, guidance: Number) -> Denoise:
    """Go from the answer of one denoiser to that of another, and beyond.

    ``without + guidance (with - without)``. The scores are combined in the same way, as if
    the density were ``p(y | c)^guidance p(y)^(1 - guidance)`` at each noise level; what is
    drawn is not that density of clean points, except for Gaussians of one covariance.
    :meth:`Denoiser.denoise` has the same for one network that knows both.

    Args:
        denoise: the denoiser with the condition.
        without: the one without; or a worse one, to go away from.
        guidance: 0 ignores the condition, 1 is it alone, more exaggerates it, ().

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> right = de.oracles.gaussian_mixture([[1.0]], 1.0)
        >>> both = de.oracles.gaussian_mixture([[0.0]], 1.0)
        >>> denoise = diffusion.guided(right.denoise, both.denoise, 3.0)
        >>> denoise(jnp.zeros((1, 1)), 1.0).tolist()  # as of a Gaussian at 3
        [[1.5]]

    References:
        Ho and Salimans, 2022, arXiv:2207.12598, eq. 6 (whose w is ``guidance - 1``).
    """

    def conditional(y: jax.Array, sigma: jax.Array) -> jax.Array:
        start = without(y, sigma)
        return start + guidance * (denoise(y, sigma) - start)

    return conditional


def classifier_guided(
    denoise: Denoise,
    log_probability: Callable[[jax.Array, jax.Array], jax.Array],
    scale: Number = 1.0,
) -> Denoise:
    """Bayes' rule with a classifier of noisy points.

    Exact at scale 1 if the classifier is: ``p(c | y, sigma)`` is the mean of ``p(c | x_0)``
    over the clean points behind y.

    Args:
        denoise: the denoiser without the condition.
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
        >>> denoise = diffusion.classifier_guided(both.denoise, classifier)
        >>> y = jnp.array([[-0.3], [0.4]])
        >>> bool(abs(denoise(y, 0.7) - right.denoise(y, 0.7)).max() < 1e-5)
        True

    References:
        Dhariwal and Nichol, 2021, arXiv:2105.05233, section 4; Song et al., 2021,
        arXiv:2011.13456, eq. 14.
    """

    def conditional(y: jax.Array, sigma: jax.Array) -> jax.Array:
        push = jax.grad(lambda y: jnp.sum(log_probability(y, sigma)))(y)
        return denoise(y, sigma) + scale * sigma**2 * push

    return conditional


def posterior(
    denoise: Denoise,
    log_likelihood: Callable[[jax.Array], jax.Array],
    scale: Number = 1.0,
) -> Denoise:
    """Condition on anything with a known likelihood of *clean* points.

    ``D(y) + scale sigma^2 grad_y log p(c | D(y))``, the gradient through the denoiser. It
    takes the estimate for the clean point itself, as if nothing else were behind y, and so
    is too certain while there is noise: too narrow, and stiff where the likelihood is sharp
    (more levels help, and a smaller scale).
    For linear observations :func:`linear_posterior` knows better.

    Args:
        denoise: the denoiser without the condition.
        log_likelihood: of clean points, ``log p(c | x_0)`` of each up to a constant,
            (N, D) to (N,); differentiable.
        scale: how much it counts, ().

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> both = de.oracles.gaussian_mixture([[-2.0], [2.0]], 0.3)
        >>> right = lambda x: jax.nn.log_sigmoid(5 * x[:, 0])
        >>> samples = de.sample(jax.random.key(0), diffusion.posterior(both.denoise, right),
        ...     de.noise.EDM(), de.samplers.DDIM(eta=1.0), (500, 1), num_levels=50)
        >>> bool((samples > 0).mean() > 0.98)
        True

    References:
        Chung et al., 2022, arXiv:2209.14687, theorem 1 and algorithm 1, whose step size is
        another.
    """

    def conditional(y: jax.Array, sigma: jax.Array) -> jax.Array:
        def likelihood(y: jax.Array) -> tuple[jax.Array, jax.Array]:
            clean = denoise(y, sigma)
            return jnp.sum(log_likelihood(clean)), clean

        push, clean = jax.grad(likelihood, has_aux=True)(y)
        return clean + scale * sigma**2 * push

    return conditional


def replaced(
    denoise: Denoise, known: jax.typing.ArrayLike, values: jax.typing.ArrayLike
) -> Denoise:
    """Put known numbers in place of the denoiser's own: the simplest inpainting.

    At every level the known part is then the given one with the noise of that level. How
    much of the noise is fresh is the sampler's choice: all with ``Consistency``, as in the
    published replacement, which leaves the sampler of the rest as it is; a part with
    ``DDIM(eta=1)``; none with an ODE. The rest hears of the values only through their noisy
    points, and so too late: it is exact only if known and unknown are independent. Langevin
    corrections (``PredictorCorrector``) let it catch up. See :func:`linear_posterior`.

    Args:
        denoise: the denoiser of all.
        known: (D,) or (N, D) booleans.
        values: like ``known``, anything where it is False.

    Raises:
        TypeError: ``known`` is not of booleans.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> prior = de.oracles.gaussian_mixture([[0.0, 0.0]], 1.0)
        >>> denoise = diffusion.replaced(prior.denoise, [True, False], [7.0, 0.0])
        >>> denoise(jnp.ones((1, 2)), 1.0).tolist()
        [[7.0, 0.5]]

    References:
        Song et al., 2021, arXiv:2011.13456, appendix I.2; Lugmayr et al., 2022,
        arXiv:2201.09865, eq. 8.
    """
    mask = jnp.asarray(known)
    if mask.dtype != bool:
        raise TypeError(f"known: got {mask.dtype}, want booleans")

    def conditional(y: jax.Array, sigma: jax.Array) -> jax.Array:
        clean = denoise(y, sigma)
        return jnp.where(mask, jnp.asarray(values, clean.dtype), clean)

    return conditional

"""Guidance: a denoiser of what is wanted, made of one that knows nothing of it.

Every function takes denoisers, ``denoise(y, sigma)``, and returns one, which goes into
:func:`diffevo_jax.sample` and into the next function. A denoiser may be a network, exact,
or a population. They differ in how they come by ``p(c | y)``: from the answers with and
without a label, from a classifier of noisy points, from a likelihood of clean ones, with
what is known of their uncertainty, or not at all.

A number of any of them may depend on sigma, as each is a function of it: guidance in an
interval is a ``jnp.where`` inside a lambda.
"""
# isort: skip_file

# By Bayes' rule, from what says more of c.
from diffevo_jax.diffusion.guidance.classifier_free import (
    classifier_free_guidance as classifier_free_guidance,  # a denoiser with a label
)
from diffevo_jax.diffusion.guidance.bayes import (
    classifier_guidance as classifier_guidance,  # a classifier of noisy points
    posterior_guidance as posterior_guidance,  # a likelihood of clean points (DPS)
)

# From a linear observation, as for inpainting.
from diffevo_jax.diffusion.guidance.linear_observation import (
    LinearObservation as LinearObservation,  # a part, a mean, a projection
    known_part as known_part,  # some of the numbers: inpainting
    linear_posterior as linear_posterior,  # exact for Gaussian data
)

# By force.
from diffevo_jax.diffusion.guidance.inpainting import (
    inpaint as inpaint,  # known numbers in place: simplest, biased
)
from diffevo_jax.diffusion.guidance.clipping import (
    clip_denoised as clip_denoised,  # the range of the data: for chains that explode
)

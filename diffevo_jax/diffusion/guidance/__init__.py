"""Guidance: a denoiser made of denoisers, to draw what is wanted."""

from diffevo_jax.diffusion.guidance.clipping import clipped as clipped
from diffevo_jax.diffusion.guidance.methods import classifier_guided as classifier_guided
from diffevo_jax.diffusion.guidance.methods import guided as guided
from diffevo_jax.diffusion.guidance.methods import posterior as posterior
from diffevo_jax.diffusion.guidance.methods import replaced as replaced
from diffevo_jax.diffusion.guidance.observation import (
    LinearObservation as LinearObservation,
)
from diffevo_jax.diffusion.guidance.observation import known_part as known_part
from diffevo_jax.diffusion.guidance.observation import linear_posterior as linear_posterior

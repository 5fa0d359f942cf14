"""Denoisers: given noisy points, where are the clean ones?

A population answers by Bayes' rule (:func:`posterior_mean`), or as the Gaussian that is
fitted to it (:func:`gaussian_mean`); :mod:`oracles` answer exactly.
"""

from diffevo_jax.denoisers import oracles as oracles
from diffevo_jax.denoisers.posterior import Attention as Attention
from diffevo_jax.denoisers.posterior import Estimate as Estimate
from diffevo_jax.denoisers.posterior import Support as Support
from diffevo_jax.denoisers.posterior import best_support as best_support
from diffevo_jax.denoisers.posterior import gaussian_mean as gaussian_mean
from diffevo_jax.denoisers.posterior import posterior_mean as posterior_mean
from diffevo_jax.denoisers.posterior import posterior_weights as posterior_weights
from diffevo_jax.denoisers.posterior import sampled_support as sampled_support

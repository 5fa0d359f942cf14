"""Noise levels: at which levels of noise a sampler asks for the clean point.

A grid is an object with ``sigmas(num_levels)``, from the noisiest level to the cleanest;
with one level, the noisiest. Take ``VE(0.01, 4)`` to evolve, and ``EDM`` to draw
from a learned denoiser. A process ``x_t = s(t) (x_0 + sigma(t) eps)`` is a grid as
well, and has coordinates of its own (:mod:`diffevo_jax.samplers.sde`).

Which alpha is which: ``alpha_bar`` here is the cumulative signal rate, from 1 (clean) to 0
(pure noise). The evolution paper (arXiv:2410.02543) writes it ``alpha``; the diffusion
literature keeps plain ``alpha = 1 - beta`` for one step. A variance-preserving process is

    x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps,

and in canonical coordinates, in which all processes look alike,

    y = x_t / sqrt(alpha_bar) = x_0 + sigma eps,  sigma = sqrt((1 - alpha_bar) / alpha_bar).

Individuals are kept and evaluated at *unit scale*, ``x = y / sqrt(1 + sigma^2)``, which is
``x_t`` itself: a population that starts as N(0, I) stays of that size.

>>> import diffevo_jax as de
>>> strategy = de.DiffusionEvolution(10, grid=de.noise.EDM(sigma_max=20.0))
>>> [f"{sigma:.3g}" for sigma in strategy.grid.sigmas(3)]
['20', '1.61', '0.03']
"""
# isort: skip_file

# Grids of Diffusion Evolution.
from diffevo_jax.noise.grids import (
    Cosine as Cosine,
)  # as published: long tails at both ends
from diffevo_jax.noise.grids import Linear as Linear  # rushes down: early choices are final
from diffevo_jax.noise.grids import DDPM as DDPM  # what a linear beta schedule gives

# Levels of one's own, or of a discrete chain.
from diffevo_jax.noise.grids import Levels as Levels  # a list of sigmas
from diffevo_jax.noise.grids import from_alpha_bars as from_alpha_bars  # cumulative rates
from diffevo_jax.noise.grids import from_alphas as from_alphas  # rates of single steps
from diffevo_jax.noise.grids import from_betas as from_betas  # variances that steps add

# Processes, which are grids too.
from diffevo_jax.noise.process import Process as Process  # the contract, for your own
from diffevo_jax.noise.variance_preserving import VP as VP  # DDPM in continuous time
from diffevo_jax.noise.variance_preserving import (
    SubVP as SubVP,  # VP with less noise near the data
)
from diffevo_jax.noise.processes import VE as VE  # geometric: the scale is unknown
from diffevo_jax.noise.processes import EDM as EDM  # steps that shorten towards the data
from diffevo_jax.noise.processes import LogSNR as LogSNR  # geometric, at unit variance
from diffevo_jax.noise.processes import Flow as Flow  # flow matching, straight lines
from diffevo_jax.noise.processes import Constant as Constant  # evolution without an end
from diffevo_jax.noise.chain import Chain as Chain  # steps by number: DDPM's own time
from diffevo_jax.noise.process import (
    TimedProcess as TimedProcess,  # the contract of what a model can be trained along
)
from diffevo_jax.noise.linear_sde import SDE as SDE  # from drift and diffusion alone

# A level by its other names.
from diffevo_jax.noise.conversions import SIGMA_MAX as SIGMA_MAX  # levels are clipped to it
from diffevo_jax.noise.conversions import SIGMA_MIN as SIGMA_MIN  # and to it
from diffevo_jax.noise.conversions import alpha_bar_from_betas as alpha_bar_from_betas
from diffevo_jax.noise.conversions import alpha_bar_from_sigma as alpha_bar_from_sigma
from diffevo_jax.noise.conversions import betas_from_alpha_bar as betas_from_alpha_bar
from diffevo_jax.noise.conversions import canonical_scale as canonical_scale  # y / x
from diffevo_jax.noise.conversions import log_snr_from_sigma as log_snr_from_sigma
from diffevo_jax.noise.conversions import sigma_from_alpha_bar as sigma_from_alpha_bar
from diffevo_jax.noise.conversions import sigma_from_log_snr as sigma_from_log_snr

# A clean point as what else a denoiser may predict, and back.
from diffevo_jax.noise.conversions import clean_from_noise as clean_from_noise
from diffevo_jax.noise.conversions import clean_from_score as clean_from_score
from diffevo_jax.noise.conversions import clean_from_velocity as clean_from_velocity
from diffevo_jax.noise.conversions import noise_from_clean as noise_from_clean
from diffevo_jax.noise.conversions import score_from_clean as score_from_clean
from diffevo_jax.noise.conversions import velocity_from_clean as velocity_from_clean

# The forward process at unit scale, and the step back if the clean point is known.
from diffevo_jax.noise.forward import diffuse as diffuse  # to a level in one go
from diffevo_jax.noise.forward import forward_step as forward_step  # one beta
from diffevo_jax.noise.forward import forward_chain as forward_chain  # all betas
from diffevo_jax.noise.forward import ddpm_posterior as ddpm_posterior  # a step back
from diffevo_jax.noise.forward import ddpm_mean_from_noise as ddpm_mean_from_noise

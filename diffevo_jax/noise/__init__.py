"""Noise levels: grids of sigma, noise processes, and the change between coordinates.

Which alpha is which: ``alpha_bar`` here is the cumulative signal rate, from 1 (clean) to 0
(pure noise). The evolution paper (arXiv:2410.02543) writes it ``alpha``; the diffusion
literature keeps plain ``alpha = 1 - beta`` for one step. A variance-preserving process is

    x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps,

and in canonical coordinates, in which all processes look alike,

    y = x_t / sqrt(alpha_bar) = x_0 + sigma eps,  sigma = sqrt((1 - alpha_bar) / alpha_bar).

Individuals are kept and evaluated at *unit scale*, ``x = y / sqrt(1 + sigma^2)``, which is
``x_t`` itself: a population that starts as N(0, I) stays of that size.

A grid is an object with ``sigmas(num_levels)``, from the noisiest level to the cleanest;
with one level, the noisiest. ``Cosine``, ``Linear`` and ``DDPM`` are those published with
Diffusion Evolution. A process ``x_t = s(t) (x_0 + sigma(t) eps)`` is also a grid: ``VP``,
``SubVP``, ``VE``, ``EDM``, ``LogSNR``, ``Flow``, ``Constant``, or one's own ``SDE``.

>>> import diffevo_jax as de
>>> strategy = de.DiffusionEvolution(10, grid=de.noise.EDM(sigma_max=20.0))
>>> [f"{sigma:.3g}" for sigma in strategy.grid.sigmas(3)]
['20', '1.61', '0.03']
"""

from diffevo_jax.noise.answers import clean_from_noise as clean_from_noise
from diffevo_jax.noise.answers import clean_from_score as clean_from_score
from diffevo_jax.noise.answers import clean_from_velocity as clean_from_velocity
from diffevo_jax.noise.answers import noise_from_clean as noise_from_clean
from diffevo_jax.noise.answers import score_from_clean as score_from_clean
from diffevo_jax.noise.answers import velocity_from_clean as velocity_from_clean
from diffevo_jax.noise.conversions import SIGMA_MAX as SIGMA_MAX
from diffevo_jax.noise.conversions import SIGMA_MIN as SIGMA_MIN
from diffevo_jax.noise.conversions import alpha_bar_from_betas as alpha_bar_from_betas
from diffevo_jax.noise.conversions import alpha_bar_from_sigma as alpha_bar_from_sigma
from diffevo_jax.noise.conversions import betas_from_alpha_bar as betas_from_alpha_bar
from diffevo_jax.noise.conversions import canonical_scale as canonical_scale
from diffevo_jax.noise.conversions import log_snr_from_sigma as log_snr_from_sigma
from diffevo_jax.noise.conversions import sigma_from_alpha_bar as sigma_from_alpha_bar
from diffevo_jax.noise.conversions import sigma_from_log_snr as sigma_from_log_snr
from diffevo_jax.noise.custom import SDE as SDE
from diffevo_jax.noise.custom import Levels as Levels
from diffevo_jax.noise.custom import from_alpha_bars as from_alpha_bars
from diffevo_jax.noise.custom import from_alphas as from_alphas
from diffevo_jax.noise.custom import from_betas as from_betas
from diffevo_jax.noise.forward import ddpm_mean_from_noise as ddpm_mean_from_noise
from diffevo_jax.noise.forward import ddpm_posterior as ddpm_posterior
from diffevo_jax.noise.forward import diffuse as diffuse
from diffevo_jax.noise.forward import forward_chain as forward_chain
from diffevo_jax.noise.forward import forward_step as forward_step
from diffevo_jax.noise.grids import DDPM as DDPM
from diffevo_jax.noise.grids import Cosine as Cosine
from diffevo_jax.noise.grids import Linear as Linear
from diffevo_jax.noise.paths import EDM as EDM
from diffevo_jax.noise.paths import Constant as Constant
from diffevo_jax.noise.paths import Flow as Flow
from diffevo_jax.noise.paths import LogSNR as LogSNR
from diffevo_jax.noise.process import Process as Process
from diffevo_jax.noise.processes import VE as VE
from diffevo_jax.noise.processes import VP as VP
from diffevo_jax.noise.processes import SubVP as SubVP

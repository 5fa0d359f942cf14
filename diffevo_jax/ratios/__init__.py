"""Density ratios of a population: what a flow to a density needs to know.

A learned one is :class:`diffevo_jax.diffusion.Discriminator`.
"""

from diffevo_jax.ratios.contract import Ratio as Ratio
from diffevo_jax.ratios.contract import RatioEstimator as RatioEstimator
from diffevo_jax.ratios.kernel import KernelRatio as KernelRatio
from diffevo_jax.ratios.kernel import kernel_ratio as kernel_ratio
from diffevo_jax.ratios.kernel import log_density as log_density

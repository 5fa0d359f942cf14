"""Flows: points that follow the gradient of a log density ratio, and what estimates it.

    dx/dt = h'(log r) grad log r,    r = p / q_t

A divergence is a choice of h (``ReverseKL`` and its siblings). A population's ratio is
estimated in closed form (``KernelRatio``) or learnt (``Discriminator``); those of particles
that flow to a mixture of Gaussians (:func:`particle_flow`) may also be known: all of it
(``ExactRatio``; ``GaussianRatio`` where all is Gaussian), a kernel estimate
(``SmoothedRatio``), and what a discriminator learns (``LearnedRatio``). A ``GAN`` is such a
flow, of its generator's points.
"""

from diffevo_jax.flows.discriminator import Discriminator as Discriminator
from diffevo_jax.flows.divergences import Arcsinh as Arcsinh
from diffevo_jax.flows.divergences import Divergence as Divergence
from diffevo_jax.flows.divergences import ForwardKL as ForwardKL
from diffevo_jax.flows.divergences import JensenShannon as JensenShannon
from diffevo_jax.flows.divergences import NonSaturating as NonSaturating
from diffevo_jax.flows.divergences import Pearson as Pearson
from diffevo_jax.flows.divergences import ReverseKL as ReverseKL
from diffevo_jax.flows.divergences import Vanilla as Vanilla
from diffevo_jax.flows.exact import ExactRatio as ExactRatio
from diffevo_jax.flows.gan import GAN as GAN
from diffevo_jax.flows.gan import train_gan as train_gan
from diffevo_jax.flows.generator import Generator as Generator
from diffevo_jax.flows.kernel_ratios import KernelRatio as KernelRatio
from diffevo_jax.flows.kernel_ratios import kernel_ratio as kernel_ratio
from diffevo_jax.flows.kernel_ratios import log_density as log_density
from diffevo_jax.flows.particle_ratios import FlowRatio as FlowRatio
from diffevo_jax.flows.particle_ratios import GaussianRatio as GaussianRatio
from diffevo_jax.flows.particle_ratios import LearnedRatio as LearnedRatio
from diffevo_jax.flows.particle_ratios import SmoothedRatio as SmoothedRatio
from diffevo_jax.flows.particles import Flowed as Flowed
from diffevo_jax.flows.particles import particle_flow as particle_flow
from diffevo_jax.flows.particles import smoothed_kl as smoothed_kl
from diffevo_jax.flows.ratio import Ratio as Ratio
from diffevo_jax.flows.ratio import RatioEstimator as RatioEstimator

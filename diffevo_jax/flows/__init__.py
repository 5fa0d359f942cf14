"""Flows: points that follow the gradient of a log density ratio, and what estimates it.

    dx/dt = h'(log r) grad log r,    r = p / q_t

A divergence is a choice of h: begin with ``ReverseKL``. The ratio of a population is known
in closed form (``KernelRatio``) or learned (``Discriminator``); that of particles which
flow to a mixture of Gaussians (:func:`particle_flow`) also by moments, by a kernel, or
exactly. A GAN (:func:`train_gan`) is such a flow, of its generator's points.
"""
# isort: skip_file

# How fast to climb: a divergence.
from diffevo_jax.flows.divergences import (
    ReverseKL as ReverseKL,  # the same speed everywhere: the one to begin with
    ForwardKL as ForwardKL,  # hurries to missed modes; trusts the ratio most
    Pearson as Pearson,  # chi-squared: hurries even more
    JensenShannon as JensenShannon,  # the divergence of Goodfellow's first loss
    NonSaturating as NonSaturating,  # the usual loss of GANs: slow where p is large already
    Vanilla as Vanilla,  # the saturating loss, with a shift
    Arcsinh as Arcsinh,  # bounded speed without a GAN behind it
    Divergence as Divergence,  # what a divergence of your own has
)

# The ratio of a population, for MonoFlow.
from diffevo_jax.flows.kernel_ratios import (
    KernelRatio as KernelRatio,  # in closed form: the default of MonoFlow
)
from diffevo_jax.flows.discriminator import (
    Discriminator as Discriminator,  # learned by a network: few dimensions, or data
)
from diffevo_jax.flows.generator import (
    Generator as Generator,  # learns where points are: any number of samples
)
from diffevo_jax.flows.ratio import (
    Ratio as Ratio,  # what is known of a ratio, at points
    RatioEstimator as RatioEstimator,  # what an estimator of your own has, for MonoFlow
)
from diffevo_jax.flows.kernel_ratios import (
    kernel_ratio as kernel_ratio,  # of two weighted samples, at any points
    kernel_log_density as kernel_log_density,  # a density estimate, for a given bandwidth
)

# A GAN.
from diffevo_jax.flows.gan import (
    train_gan as train_gan,  # train a generator on data: the one to call
    GANRecipe as GANRecipe,  # all settings of a GAN
    GAN as GAN,  # a trained generator: draw from it
)
from diffevo_jax.flows.saved import (
    load as load,  # a generator from a file, which gan.save has written
    SavedGenerator as SavedGenerator,  # what that is: draw from it
)

# Particles that flow to a known density, and their ratio to it.
from diffevo_jax.flows.particles import (
    particle_flow as particle_flow,  # let particles flow to a known density
    FlowResult as FlowResult,  # where particles went
    smoothed_kl as smoothed_kl,  # how far from it they are
)
from diffevo_jax.flows.particle_ratios import (
    GaussianRatio as GaussianRatio,  # particles and target are Gaussian: by moments
    SmoothedRatio as SmoothedRatio,  # through a kernel: any mixture
    LearnedRatio as LearnedRatio,  # from samples of the target alone
)
from diffevo_jax.flows.exact_ratio import (
    ExactRatio as ExactRatio,  # the ratio solved for in two dimensions: to judge the others
)
from diffevo_jax.flows.particle_ratios import (
    FlowRatio as FlowRatio,  # what a ratio of particles of your own has
)

"""Learned diffusion: the denoiser as a neural network, for the samplers that evolution has.

Coordinates are canonical, ``y = x_0 + sigma eps``; a trained network is a denoiser,
``denoise(y, sigma) -> x_0``, and goes where a population or an exact one goes: into
:func:`diffevo_jax.sample`, along any grid of ``de.noise``, by any of ``de.samplers``.

Choices are independent: what the network is (``networks``), what it predicts and how it
learns (``training``), what of its samples is wanted (``guidance``), and what it says of a
density (``analysis``). Begin with ``train(key, data, MLP((64, 64)))``.

>>> import jax, diffevo_jax as de
>>> from diffevo_jax import diffusion
>>> recipe = diffusion.Recipe(num_steps=500, parameterisation=diffusion.Noise())
>>> recipe.parameterisation
Noise(sigma_data=1.0)
"""
# isort: skip_file

# To train.
from diffevo_jax.diffusion.training import (
    train as train,  # the one to call
    Recipe as Recipe,  # all its settings
    Trained as Trained,  # what it returns: the denoiser, the losses, where it stands
    TrainState as TrainState,  # where it stands: save it to go on later
    NetworkDenoiser as NetworkDenoiser,  # a trained network, as what samplers ask
)

# What was trained elsewhere.
from diffevo_jax.diffusion.models import (
    from_model as from_model,  # by what it predicts and its schedule: DDPM's, or a process
    ModelDenoiser as ModelDenoiser,  # what it is then
)

# To keep what was trained.
from diffevo_jax.diffusion.training import (
    load as load,  # a denoiser from a file
    save as save,  # a denoiser into a file, without pickle; as trained.save does
    load_scale as load_scale,  # how pixels became its data, from the same file
)

# Images, (N, H, W, C), from files and back.
from diffevo_jax.diffusion.images import (
    load_images as load_images,  # a folder of NumPy files, whose folders are classes
    Images as Images,  # pixels, labels and the names of the classes
    PixelScale as PixelScale,  # pixels as data, and back: to [-1, 1] as it is
    fit_scale as fit_scale,  # to mean 0 and deviation 1: what training expects
    dequantise as dequantise,  # whole numbers made continuous, for a density
)

# The networks.
from diffevo_jax.diffusion.networks import (
    MLP as MLP,  # points, signals, weights of policies: the one to begin with
    UNet as UNet,  # images of up to 32 x 32 pixels
    Network as Network,  # your own: flax, equinox, plain JAX
    NumberConditional as NumberConditional,  # around one of them: labels that are numbers
    NetworkLike as NetworkLike,  # the contract of them all
)

# What the network predicts.
from diffevo_jax.diffusion.training import (
    EDM as EDM,  # unit variance in and out at every noise level: the one to begin with
    Noise as Noise,  # predict the noise: DDPM
    Velocity as Velocity,  # predict a mixture of both: v-prediction, for distillation
    Flow as Flow,  # predict the velocity of straight lines: flow matching
    Score as Score,  # predict sigma times the score, input as it is: score matching (VE)
    Clean as Clean,  # predict the clean point: near the data it has to copy
    Parameterisation as Parameterisation,  # the contract of the six
    Coefficients as Coefficients,  # the four numbers of a parameterisation of your own
)

# At which noise levels it learns.
from diffevo_jax.diffusion.training import (
    Objective as Objective,  # levels, and how much each counts
    LogNormalLevels as LogNormalLevels,  # those of EDM: where there is something to learn
    LogUniformLevels as LogUniformLevels,  # between two ends, all alike on a log scale
    ProcessLevels as ProcessLevels,  # those of a process at uniform times: score matching
    GridLevels as GridLevels,  # those of a grid, all alike: discrete chains
    beta_levels as beta_levels,  # those of a chain of betas: DDPM
    LevelsLike as LevelsLike,  # the contract of all levels
)

# To learn while evolving: a denoiser for :class:`diffevo_jax.DiffusionEvolution`.
from diffevo_jax.diffusion.online_network import (
    OnlineNetwork as OnlineNetwork,  # trained in every generation on what was good
)

# What of its samples is wanted: guidance.
from diffevo_jax.diffusion.guidance import (
    classifier_free_guidance as classifier_free_guidance,  # a denoiser with a label
    classifier_guidance as classifier_guidance,  # a classifier of noisy points
    posterior_guidance as posterior_guidance,  # a likelihood of clean points (DPS)
    LinearObservation as LinearObservation,  # a part, a mean, a projection
    known_part as known_part,  # some of the numbers: inpainting
    linear_posterior as linear_posterior,  # exact for Gaussian data
    inpaint as inpaint,  # known numbers in place: simplest, biased
    clip_denoised as clip_denoised,  # the range of the data: for chains that explode
)

# How probable a point is.
from diffevo_jax.diffusion.analysis import (
    log_likelihood as log_likelihood,  # how probable a point is to a denoiser
    Likelihood as Likelihood,  # log-densities and latents of points
    encode as encode,  # from data to noise, and exactly back
    decode as decode,  # from noise to data along the probability flow
    variational_bound as variational_bound,  # of discrete chains: cheap
    VariationalBound as VariationalBound,  # and the share of each step
    gaussian_kl as gaussian_kl,  # KL between Gaussians, in nats
)
from diffevo_jax.diffusion.analysis import (
    bits_per_dimension as bits_per_dimension,  # of images, by the flow, dequantised
    variational_bits as variational_bits,  # of images, by the bound of a chain, as DDPM
    discretised_gaussian as discretised_gaussian,  # the probability of a level
)

# How far samples may be from the data.
from diffevo_jax.diffusion.analysis import (
    denoising_errors as denoising_errors,  # beside an exact denoiser
    largest_slopes as largest_slopes,  # one-sided Lipschitz constants
    kl_bound as kl_bound,  # in KL: tight
    wasserstein_bound as wasserstein_bound,  # in W2: loose between modes
    ErrorBound as ErrorBound,  # a bound, and which part of it is whose
)

# What noise hides of a signal.
from diffevo_jax.diffusion.analysis import (
    fit_gaussian as fit_gaussian,  # of some data: the denoiser to beat
    coloured_noise as coloured_noise,  # of a given covariance
    logistic_covariance as logistic_covariance,  # of smooth signals
    wiener_filter as wiener_filter,  # which directions can be seen at a level
    WienerFilter as WienerFilter,  # gains, and how many directions that is
    effective_rank as effective_rank,  # how many directions a signal has
)

# How values spread through time.
from diffevo_jax.diffusion.analysis import (
    value_histogram as value_histogram,  # inside jit
    value_entropy as value_entropy,  # along a chain, in nats
    normal_entropy as normal_entropy,  # the largest there is
)

# For a training loop of your own.
from diffevo_jax.diffusion.training import (
    init_training as init_training,  # the state before the first step, as a pure function
    train_steps as train_steps,  # some steps as a pure function: many trainings at once
    denoising_loss as denoising_loss,  # of a batch at random noise
    sample_losses as sample_losses,  # of each sample at given noise
    default_optimizer as default_optimizer,  # Adam, clipped, warm-up and cosine
)

# Data to try things on.
from diffevo_jax.diffusion.training import (
    sinusoids as sinusoids,  # curves to try things on
    drawn_shapes as drawn_shapes,  # labelled images to try things on
    SHAPES as SHAPES,  # the labels of drawn shapes
)

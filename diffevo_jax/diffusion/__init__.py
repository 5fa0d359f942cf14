"""Learned diffusion: the denoiser as a neural network, for the samplers that evolution has.

Coordinates are canonical, ``y = x_0 + sigma eps``; a trained network is a denoiser,
``denoise(y, sigma) -> x_0``, and goes where a population or an exact one goes: into
:func:`diffevo_jax.sample`, along any grid of ``de.noise``, by any of ``de.samplers``.

Choices are independent: what the network is (``MLP``, ``UNet``, ``Network``), what it
predicts (``EDM``, ``Noise``, ``Velocity``, ``Flow``, ``Score``, ``Clean``), and at which
noise levels it is trained and how much each counts (``Objective``).

>>> import jax, diffevo_jax as de
>>> from diffevo_jax import diffusion
>>> objective = diffusion.Objective(diffusion.GridLevels(de.noise.DDPM(), 1000), "noise")
>>> objective.weighting
'noise'
"""

from diffevo_jax.diffusion.bound import Bound as Bound
from diffevo_jax.diffusion.bound import gaussian_kl as gaussian_kl
from diffevo_jax.diffusion.bound import variational_bound as variational_bound
from diffevo_jax.diffusion.clipping import clipped as clipped
from diffevo_jax.diffusion.conditioning import classifier_guided as classifier_guided
from diffevo_jax.diffusion.conditioning import guided as guided
from diffevo_jax.diffusion.conditioning import posterior as posterior
from diffevo_jax.diffusion.conditioning import replaced as replaced
from diffevo_jax.diffusion.covariance import Standing as Standing
from diffevo_jax.diffusion.covariance import coloured as coloured
from diffevo_jax.diffusion.covariance import effective_rank as effective_rank
from diffevo_jax.diffusion.covariance import fitted as fitted
from diffevo_jax.diffusion.covariance import logistic_covariance as logistic_covariance
from diffevo_jax.diffusion.covariance import standing as standing
from diffevo_jax.diffusion.denoiser import Denoiser as Denoiser
from diffevo_jax.diffusion.discriminator import Discriminator as Discriminator
from diffevo_jax.diffusion.error_bounds import ErrorBound as ErrorBound
from diffevo_jax.diffusion.error_bounds import denoising_errors as denoising_errors
from diffevo_jax.diffusion.error_bounds import kl_bound as kl_bound
from diffevo_jax.diffusion.error_bounds import largest_slopes as largest_slopes
from diffevo_jax.diffusion.error_bounds import wasserstein_bound as wasserstein_bound
from diffevo_jax.diffusion.fitting import fit as fit
from diffevo_jax.diffusion.fitting import start as start
from diffevo_jax.diffusion.gan import GAN as GAN
from diffevo_jax.diffusion.gan import train_gan as train_gan
from diffevo_jax.diffusion.generator import Generator as Generator
from diffevo_jax.diffusion.likelihood import Likelihood as Likelihood
from diffevo_jax.diffusion.likelihood import decode as decode
from diffevo_jax.diffusion.likelihood import encode as encode
from diffevo_jax.diffusion.likelihood import log_likelihood as log_likelihood
from diffevo_jax.diffusion.losses import denoising_loss as denoising_loss
from diffevo_jax.diffusion.losses import sample_losses as sample_losses
from diffevo_jax.diffusion.networks import MLP as MLP
from diffevo_jax.diffusion.networks import Network as Network
from diffevo_jax.diffusion.objectives import GridLevels as GridLevels
from diffevo_jax.diffusion.objectives import LogNormalLevels as LogNormalLevels
from diffevo_jax.diffusion.objectives import Objective as Objective
from diffevo_jax.diffusion.objectives import ProcessLevels as ProcessLevels
from diffevo_jax.diffusion.objectives import beta_levels as beta_levels
from diffevo_jax.diffusion.observation import LinearObservation as LinearObservation
from diffevo_jax.diffusion.observation import known_part as known_part
from diffevo_jax.diffusion.observation import linear_posterior as linear_posterior
from diffevo_jax.diffusion.parameterisation import Coefficients as Coefficients
from diffevo_jax.diffusion.precondition import EDM as EDM
from diffevo_jax.diffusion.precondition import Clean as Clean
from diffevo_jax.diffusion.precondition import Flow as Flow
from diffevo_jax.diffusion.precondition import Noise as Noise
from diffevo_jax.diffusion.precondition import Score as Score
from diffevo_jax.diffusion.precondition import Velocity as Velocity
from diffevo_jax.diffusion.recipe import Recipe as Recipe
from diffevo_jax.diffusion.recipe import TrainState as TrainState
from diffevo_jax.diffusion.recipe import default_optimizer as default_optimizer
from diffevo_jax.diffusion.toys import SHAPES as SHAPES
from diffevo_jax.diffusion.toys import drawn_shapes as drawn_shapes
from diffevo_jax.diffusion.toys import sinusoids as sinusoids
from diffevo_jax.diffusion.training import Trained as Trained
from diffevo_jax.diffusion.training import train as train
from diffevo_jax.diffusion.unet import UNet as UNet
from diffevo_jax.diffusion.values import normal_entropy as normal_entropy
from diffevo_jax.diffusion.values import value_entropy as value_entropy
from diffevo_jax.diffusion.values import value_histogram as value_histogram

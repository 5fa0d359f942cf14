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

from diffevo_jax.diffusion.analysis import Bound as Bound
from diffevo_jax.diffusion.analysis import ErrorBound as ErrorBound
from diffevo_jax.diffusion.analysis import Likelihood as Likelihood
from diffevo_jax.diffusion.analysis import Standing as Standing
from diffevo_jax.diffusion.analysis import coloured as coloured
from diffevo_jax.diffusion.analysis import decode as decode
from diffevo_jax.diffusion.analysis import denoising_errors as denoising_errors
from diffevo_jax.diffusion.analysis import effective_rank as effective_rank
from diffevo_jax.diffusion.analysis import encode as encode
from diffevo_jax.diffusion.analysis import fitted as fitted
from diffevo_jax.diffusion.analysis import gaussian_kl as gaussian_kl
from diffevo_jax.diffusion.analysis import kl_bound as kl_bound
from diffevo_jax.diffusion.analysis import largest_slopes as largest_slopes
from diffevo_jax.diffusion.analysis import log_likelihood as log_likelihood
from diffevo_jax.diffusion.analysis import logistic_covariance as logistic_covariance
from diffevo_jax.diffusion.analysis import normal_entropy as normal_entropy
from diffevo_jax.diffusion.analysis import standing as standing
from diffevo_jax.diffusion.analysis import value_entropy as value_entropy
from diffevo_jax.diffusion.analysis import value_histogram as value_histogram
from diffevo_jax.diffusion.analysis import variational_bound as variational_bound
from diffevo_jax.diffusion.analysis import wasserstein_bound as wasserstein_bound
from diffevo_jax.diffusion.guidance import LinearObservation as LinearObservation
from diffevo_jax.diffusion.guidance import classifier_guided as classifier_guided
from diffevo_jax.diffusion.guidance import clipped as clipped
from diffevo_jax.diffusion.guidance import guided as guided
from diffevo_jax.diffusion.guidance import known_part as known_part
from diffevo_jax.diffusion.guidance import linear_posterior as linear_posterior
from diffevo_jax.diffusion.guidance import posterior as posterior
from diffevo_jax.diffusion.guidance import replaced as replaced
from diffevo_jax.diffusion.networks import MLP as MLP
from diffevo_jax.diffusion.networks import Network as Network
from diffevo_jax.diffusion.networks import UNet as UNet
from diffevo_jax.diffusion.training import EDM as EDM
from diffevo_jax.diffusion.training import SHAPES as SHAPES
from diffevo_jax.diffusion.training import Clean as Clean
from diffevo_jax.diffusion.training import Coefficients as Coefficients
from diffevo_jax.diffusion.training import Denoiser as Denoiser
from diffevo_jax.diffusion.training import Flow as Flow
from diffevo_jax.diffusion.training import GridLevels as GridLevels
from diffevo_jax.diffusion.training import LogNormalLevels as LogNormalLevels
from diffevo_jax.diffusion.training import Noise as Noise
from diffevo_jax.diffusion.training import Objective as Objective
from diffevo_jax.diffusion.training import ProcessLevels as ProcessLevels
from diffevo_jax.diffusion.training import Recipe as Recipe
from diffevo_jax.diffusion.training import Score as Score
from diffevo_jax.diffusion.training import Trained as Trained
from diffevo_jax.diffusion.training import TrainState as TrainState
from diffevo_jax.diffusion.training import Velocity as Velocity
from diffevo_jax.diffusion.training import beta_levels as beta_levels
from diffevo_jax.diffusion.training import default_optimizer as default_optimizer
from diffevo_jax.diffusion.training import denoising_loss as denoising_loss
from diffevo_jax.diffusion.training import drawn_shapes as drawn_shapes
from diffevo_jax.diffusion.training import fit as fit
from diffevo_jax.diffusion.training import sample_losses as sample_losses
from diffevo_jax.diffusion.training import sinusoids as sinusoids
from diffevo_jax.diffusion.training import start as start
from diffevo_jax.diffusion.training import train as train

"""Training: objectives, parameterisations, the loop, and the denoiser that it ends with."""

from diffevo_jax.diffusion.training.denoiser import Denoiser as Denoiser
from diffevo_jax.diffusion.training.fitting import fit as fit
from diffevo_jax.diffusion.training.fitting import start as start
from diffevo_jax.diffusion.training.losses import denoising_loss as denoising_loss
from diffevo_jax.diffusion.training.losses import sample_losses as sample_losses
from diffevo_jax.diffusion.training.objectives import GridLevels as GridLevels
from diffevo_jax.diffusion.training.objectives import LogNormalLevels as LogNormalLevels
from diffevo_jax.diffusion.training.objectives import Objective as Objective
from diffevo_jax.diffusion.training.objectives import ProcessLevels as ProcessLevels
from diffevo_jax.diffusion.training.objectives import beta_levels as beta_levels
from diffevo_jax.diffusion.training.parameterisation import Coefficients as Coefficients
from diffevo_jax.diffusion.training.precondition import EDM as EDM
from diffevo_jax.diffusion.training.precondition import Clean as Clean
from diffevo_jax.diffusion.training.precondition import Flow as Flow
from diffevo_jax.diffusion.training.precondition import Noise as Noise
from diffevo_jax.diffusion.training.precondition import Score as Score
from diffevo_jax.diffusion.training.precondition import Velocity as Velocity
from diffevo_jax.diffusion.training.recipe import Recipe as Recipe
from diffevo_jax.diffusion.training.recipe import TrainState as TrainState
from diffevo_jax.diffusion.training.recipe import default_optimizer as default_optimizer
from diffevo_jax.diffusion.training.toys import SHAPES as SHAPES
from diffevo_jax.diffusion.training.toys import drawn_shapes as drawn_shapes
from diffevo_jax.diffusion.training.toys import sinusoids as sinusoids
from diffevo_jax.diffusion.training.trainer import Trained as Trained
from diffevo_jax.diffusion.training.trainer import train as train

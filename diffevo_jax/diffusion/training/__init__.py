"""Training: from samples to a denoiser.

:func:`train` trains a network by a :class:`Recipe`: what it predicts (a parameterisation),
at which noise levels it learns and how much each counts (an :class:`Objective`), and how
its weights move. All of them have the posterior mean as their minimum, so each choice goes
with any other, and with any sampler. Begin with the defaults, which are EDM's.
"""
# isort: skip_file

# To train.
from diffevo_jax.diffusion.training.trainer import train as train  # the one to call
from diffevo_jax.diffusion.training.recipe import Recipe as Recipe  # all its settings
from diffevo_jax.diffusion.training.trainer import (
    Trained as Trained,  # what it returns: the denoiser, the losses, where it stands
)
from diffevo_jax.diffusion.training.loop import (
    TrainState as TrainState,  # where it stands: save it to go on later
)
from diffevo_jax.diffusion.training.denoiser import (
    NetworkDenoiser as NetworkDenoiser,  # a trained network, as what samplers ask
)

# To keep what was trained.
from diffevo_jax.diffusion.training.saved import (
    load as load,  # a denoiser from a file
    save as save,  # a denoiser into a file, without pickle; as trained.save does
    load_scale as load_scale,  # how pixels became its data, from the same file
)

# What the network predicts.
from diffevo_jax.diffusion.training.parameterisations import (
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
from diffevo_jax.diffusion.training.objectives import (
    Objective as Objective,  # levels, and how much each counts
    LogNormalLevels as LogNormalLevels,  # those of EDM: where there is something to learn
    LogUniformLevels as LogUniformLevels,  # between two ends, all alike on a log scale
    ProcessLevels as ProcessLevels,  # those of a process at uniform times: score matching
    GridLevels as GridLevels,  # those of a grid, all alike: discrete chains
    beta_levels as beta_levels,  # those of a chain of betas: DDPM
    LevelsLike as LevelsLike,  # the contract of all levels
)

# For a training loop of your own.
from diffevo_jax.diffusion.training.loop import (
    init_training as init_training,  # the state before the first step, as a pure function
    train_steps as train_steps,  # some steps as a pure function: many trainings at once
)
from diffevo_jax.diffusion.training.losses import (
    denoising_loss as denoising_loss,  # of a batch at random noise
    sample_losses as sample_losses,  # of each sample at given noise
)
from diffevo_jax.diffusion.training.optimizers import (
    default_optimizer as default_optimizer,  # Adam, clipped, warm-up and cosine
)

# Data to try things on.
from diffevo_jax.diffusion.training.toys import (
    sinusoids as sinusoids,  # curves to try things on
    drawn_shapes as drawn_shapes,  # labelled images to try things on
    SHAPES as SHAPES,  # the labels of drawn shapes
)

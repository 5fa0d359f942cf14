"""Samplers: how a step uses the denoiser's answer, and how much noise it puts back.

A sampler asks where the clean point is (``query``) and moves on with the answer
(``update``). It cannot tell whether a neural network or a population answered. Take
``DDIM(eta=1)`` to evolve, and ``DPMSolver2M`` or ``Heun`` to draw from a denoiser that is
learned or exact, where their second order pays.

Noise is added in ``update`` alone, for the whole population at once, so that the point
which is asked about is the point that is evaluated. Answers are counted by ``k``, from 0. A
sampler that takes ``c`` of them to step from a level of the grid to the next works on level
``k // c``. It says how many evaluations of a population it needs (``num_rounds``), and how
many answers it takes from each (``answers_per_evaluation``, more than 1 where it is
*frozen*: where evaluated individuals answer again for points that were never evaluated).
"""
# isort: skip_file

# One answer a step, of first order.
from diffevo_jax.samplers.ddim import DDIM as DDIM  # the default; any length of step
from diffevo_jax.samplers.ancestral import Ancestral as Ancestral  # DDPM's steps
from diffevo_jax.samplers.consistency import Consistency as Consistency  # explores the most
from diffevo_jax.samplers.euler_maruyama import EulerMaruyama as EulerMaruyama  # to compare

# One answer a step, and those before it.
from diffevo_jax.samplers.dpm_solver import DPMSolver2M as DPMSolver2M  # second order
from diffevo_jax.samplers.gh_filter import GHFilter as GHFilter  # fitness is noisy
from diffevo_jax.samplers.optax import Optax as Optax  # momentum, Adam and their kin

# Several answers a step.
from diffevo_jax.samplers.heun import Heun as Heun  # second order, on coarse grids too
from diffevo_jax.samplers.edm import EDM as EDM  # as published, on fine grids

# A step and Langevin dynamics, which repairs its errors; or Langevin dynamics alone.
from diffevo_jax.samplers.langevin import (
    PredictorCorrector as PredictorCorrector,  # corrects each step where it has led to
)
from diffevo_jax.samplers.langevin import (
    AnnealedLangevin as AnnealedLangevin,  # no steps down: long grids, or to compare
)

# Runs of them, on any denoiser.
from diffevo_jax.samplers.sampling import sample as sample  # draw
from diffevo_jax.samplers.sampling import sample_path as sample_path  # all of the way
from diffevo_jax.samplers.sampling import SamplePath as SamplePath  # what that returns
from diffevo_jax.samplers import sde as sde  # in a process's own coordinates

# The equations, and what a sampler of your own needs.
from diffevo_jax.samplers.ddim import ddim_step as ddim_step  # exact for a constant answer
from diffevo_jax.samplers.ancestral import (
    ancestral_step as ancestral_step,  # exact for Gaussian data
)
from diffevo_jax.samplers.euler_maruyama import (
    euler_maruyama_step as euler_maruyama_step,  # of the reverse SDE
)
from diffevo_jax.samplers.dpm_solver import extrapolate as extrapolate  # half a step ahead
from diffevo_jax.samplers.edm import heun_correction as heun_correction  # in sigma
from diffevo_jax.samplers.langevin import langevin_step as langevin_step  # stays at a level
from diffevo_jax.samplers.counting import Step as Step  # what query and update return
from diffevo_jax.samplers.counting import check_grid as check_grid  # does a grid suit it
from diffevo_jax.samplers.counting import num_levels as num_levels  # for so many rounds

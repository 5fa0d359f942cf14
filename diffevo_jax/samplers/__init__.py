"""Diffusion samplers, one denoiser answer at a time, in canonical coordinates.

A sampler asks where the clean point is (``query``) and moves on with the answer
(``update``). It cannot tell whether a neural network or a population answered. Noise is
added in ``update`` alone, for the whole population at once, so that the point which is
asked about is the point that is evaluated.

Answers are counted by ``k``, from 0. A sampler that takes ``c`` of them to step from a
level of the grid to the next works on level ``k // c``. It says how many evaluations of a
population it needs (``num_rounds``), and how many answers it takes from each
(``answers_per_evaluation``, more than 1 where it is *frozen*: where evaluated individuals
answer again for points that were never evaluated).
"""

from diffevo_jax.samplers import sde as sde
from diffevo_jax.samplers.counting import check_grid as check_grid
from diffevo_jax.samplers.counting import num_levels as num_levels
from diffevo_jax.samplers.heun import EDM as EDM
from diffevo_jax.samplers.heun import Heun as Heun
from diffevo_jax.samplers.langevin import AnnealedLangevin as AnnealedLangevin
from diffevo_jax.samplers.langevin import PredictorCorrector as PredictorCorrector
from diffevo_jax.samplers.multistep import DPMSolver2M as DPMSolver2M
from diffevo_jax.samplers.multistep import GHFilter as GHFilter
from diffevo_jax.samplers.optimiser import Optax as Optax
from diffevo_jax.samplers.sampling import SamplePath as SamplePath
from diffevo_jax.samplers.sampling import sample as sample
from diffevo_jax.samplers.sampling import sample_path as sample_path
from diffevo_jax.samplers.single import DDIM as DDIM
from diffevo_jax.samplers.single import Ancestral as Ancestral
from diffevo_jax.samplers.single import Consistency as Consistency
from diffevo_jax.samplers.single import EulerMaruyama as EulerMaruyama
from diffevo_jax.samplers.steps import ancestral_step as ancestral_step
from diffevo_jax.samplers.steps import ddim_step as ddim_step
from diffevo_jax.samplers.steps import euler_maruyama_step as euler_maruyama_step
from diffevo_jax.samplers.steps import extrapolate as extrapolate
from diffevo_jax.samplers.steps import langevin_step as langevin_step

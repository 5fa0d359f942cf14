"""Evolution is reverse diffusion: a functional evolution-strategies toolkit in JAX.

>>> import jax, diffevo_jax as de
>>> problem = de.problems.Landscape("himmelblau")
>>> population = de.denoisers.Population(shaping=de.shaping.Identity())
>>> strategy = de.DiffusionEvolution(num_generations=25, population)
>>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=256)
>>> result.population.shape
(256, 2)
"""

from diffevo_jax import attention as attention
from diffevo_jax import denoisers as denoisers
from diffevo_jax import diffusion as diffusion
from diffevo_jax import flows as flows
from diffevo_jax import kernels as kernels
from diffevo_jax import metrics as metrics
from diffevo_jax import noise as noise
from diffevo_jax import problems as problems
from diffevo_jax import pytree as pytree
from diffevo_jax import samplers as samplers
from diffevo_jax import shaping as shaping
from diffevo_jax import strategies as strategies
from diffevo_jax import sweeps as sweeps
from diffevo_jax.base import Denoiser as Denoiser
from diffevo_jax.base import Estimate as Estimate
from diffevo_jax.base import Evaluated as Evaluated
from diffevo_jax.base import Evaluation as Evaluation
from diffevo_jax.base import Grid as Grid
from diffevo_jax.base import Info as Info
from diffevo_jax.base import Kernel as Kernel
from diffevo_jax.base import Problem as Problem
from diffevo_jax.base import Sampler as Sampler
from diffevo_jax.base import Shaping as Shaping
from diffevo_jax.base import Strategy as Strategy
from diffevo_jax.compilation import compiler_options as compiler_options
from diffevo_jax.compilation import use_cache as use_cache
from diffevo_jax.denoisers import oracles as oracles
from diffevo_jax.pytree import equal as equal
from diffevo_jax.pytree import replace as replace
from diffevo_jax.pytree.plain import version_of as _version_of
from diffevo_jax.running import Result as Result
from diffevo_jax.running import ask as ask
from diffevo_jax.running import evolve as evolve
from diffevo_jax.running import evolve_on as evolve_on
from diffevo_jax.running import generation_keys as generation_keys
from diffevo_jax.running import init as init
from diffevo_jax.running import iterate as iterate
from diffevo_jax.running import make_mesh as make_mesh
from diffevo_jax.running import published as published
from diffevo_jax.running import run as run
from diffevo_jax.running import setup_keys as setup_keys
from diffevo_jax.running import spread as spread
from diffevo_jax.running import tell as tell
from diffevo_jax.samplers import SamplePath as SamplePath
from diffevo_jax.samplers import sample as sample
from diffevo_jax.samplers import sample_path as sample_path
from diffevo_jax.samplers import sde as sde
from diffevo_jax.shaping import conditions as conditions
from diffevo_jax.strategies import DiffusionEvolution as DiffusionEvolution
from diffevo_jax.strategies import MonoFlow as MonoFlow
from diffevo_jax.sweeps import sweep as sweep

#: "0+unknown" from a source tree that is not installed.
__version__ = _version_of("diffevo-jax")

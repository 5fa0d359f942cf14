"""Evolution is reverse diffusion: a functional evolution-strategies toolkit in JAX.

>>> import jax, diffevo_jax as de
>>> problem = de.problems.Landscape("himmelblau")
>>> strategy = de.DiffusionEvolution(num_generations=25, shaping=de.shaping.Identity())
>>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=256)
>>> result.population.shape
(256, 2)
"""

from diffevo_jax import attention as attention
from diffevo_jax import conditions as conditions
from diffevo_jax import denoisers as denoisers
from diffevo_jax import diffusion as diffusion
from diffevo_jax import divergences as divergences
from diffevo_jax import flow as flow
from diffevo_jax import kernels as kernels
from diffevo_jax import metrics as metrics
from diffevo_jax import noise as noise
from diffevo_jax import oracles as oracles
from diffevo_jax import problems as problems
from diffevo_jax import protocols as protocols
from diffevo_jax import pytree as pytree
from diffevo_jax import ratios as ratios
from diffevo_jax import samplers as samplers
from diffevo_jax import sde as sde
from diffevo_jax import shaping as shaping
from diffevo_jax import strategies as strategies
from diffevo_jax import sweeps as sweeps
from diffevo_jax.ask_tell import ask as ask
from diffevo_jax.ask_tell import generation_keys as generation_keys
from diffevo_jax.ask_tell import init as init
from diffevo_jax.ask_tell import setup_keys as setup_keys
from diffevo_jax.ask_tell import tell as tell
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
from diffevo_jax.divided import evolve_on as evolve_on
from diffevo_jax.evolve import Result as Result
from diffevo_jax.evolve import evolve as evolve
from diffevo_jax.parallel import make_mesh as make_mesh
from diffevo_jax.parallel import spread as spread
from diffevo_jax.pytree import equal as equal
from diffevo_jax.pytree import replace as replace
from diffevo_jax.run import iterate as iterate
from diffevo_jax.run import run as run
from diffevo_jax.sampling import SamplePath as SamplePath
from diffevo_jax.sampling import sample as sample
from diffevo_jax.sampling import sample_path as sample_path
from diffevo_jax.strategies import DiffusionEvolution as DiffusionEvolution
from diffevo_jax.strategies import MonoFlow as MonoFlow
from diffevo_jax.sweeps import sweep as sweep
from diffevo_jax.versions import number as _number

#: "0+unknown" from a source tree that is not installed.
__version__ = _number("diffevo-jax")

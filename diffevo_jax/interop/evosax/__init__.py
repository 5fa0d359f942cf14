"""evosax in both directions: its algorithms and problems here, our strategies there.

evosax minimises and this library maximises. The sign is turned here and nowhere else.
"""

from diffevo_jax.interop.evosax.algorithms import Algorithm as Algorithm
from diffevo_jax.interop.evosax.algorithms import Params as Params
from diffevo_jax.interop.evosax.diffusion_evolution import (
    DiffusionEvolution as DiffusionEvolution,
)
from diffevo_jax.interop.evosax.problems import EvosaxProblem as EvosaxProblem
from diffevo_jax.interop.evosax.problems import from_problem as from_problem
from diffevo_jax.interop.evosax.strategies import EvosaxStrategy as EvosaxStrategy
from diffevo_jax.interop.evosax.strategies import from_algorithm as from_algorithm

"""evosax in both directions: its algorithms and problems here, our strategies there.

evosax minimises and this library maximises. The sign is turned here and nowhere else.
"""
# isort: skip_file

# Our strategies in loops of evosax.
from diffevo_jax.interop.evosax.diffusion_evolution import (
    DiffusionEvolution as DiffusionEvolution,  # in the place of its own: change the import
)
from diffevo_jax.interop.evosax.algorithms import Algorithm as Algorithm  # any other one
from diffevo_jax.interop.evosax.algorithms import Params as Params  # its numbers

# Its algorithms and problems here.
from diffevo_jax.interop.evosax.strategies import (
    from_algorithm as from_algorithm,  # a strategy for evolve, run and sweep
)
from diffevo_jax.interop.evosax.strategies import EvosaxStrategy as EvosaxStrategy
from diffevo_jax.interop.evosax.problems import (
    from_problem as from_problem,  # a problem, with its bounds and the other sign
)
from diffevo_jax.interop.evosax.problems import EvosaxProblem as EvosaxProblem

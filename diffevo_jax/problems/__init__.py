"""Problems: where solutions live, and what they are worth.

A problem is anything with ``space``, ``init`` and ``evaluate``, see
:class:`diffevo_jax.base.Problem`. Take :class:`Function` for a function of your own,
:class:`External` for one that is not of JAX, :class:`Control` for a policy in a simulated
environment, :class:`Generator` for what a diffusion model draws, and :class:`Landscape` to
compare with the paper.
"""
# isort: skip_file

# What is evolved on.
from diffevo_jax.problems.function import Function as Function  # one solution in
from diffevo_jax.problems.external import External as External  # NumPy, SciPy, processes
from diffevo_jax.problems.control import Control as Control  # policies in gymnax and brax
from diffevo_jax.problems.landscapes import Landscape as Landscape  # two dimensions, peaks
from diffevo_jax.problems.generator import Generator as Generator  # diffusion models

# What of a generator evolves.
from diffevo_jax.problems.genomes import InitialNoise as InitialNoise  # the default
from diffevo_jax.problems.genomes import NoiseLevels as NoiseLevels  # few levels, well put
from diffevo_jax.problems.genomes import Guidance as Guidance  # how much, of what
from diffevo_jax.problems.genomes import LowRank as LowRank  # its weights, in few numbers
from diffevo_jax.problems.genomes import Genome as Genome  # the contract of the four
from diffevo_jax.problems.genomes import Drawing as Drawing  # what they change

# What a solution must keep.
from diffevo_jax.problems.constraints import Constrained as Constrained  # of any problem
from diffevo_jax.problems.constraints import Constraint as Constraint  # g(x) <= 0

# What a solution is.
from diffevo_jax.problems.space import Space as Space  # pytrees, variables, boxes
from diffevo_jax.problems.variables import Range as Range  # a float; linear, log or steps
from diffevo_jax.problems.variables import Integer as Integer  # its ends are as frequent
from diffevo_jax.problems.variables import Categorical as Categorical  # one of several
from diffevo_jax.problems.variables import Fixed as Fixed  # the same in all solutions

# Who acts in Control, and what it measures.
from diffevo_jax.problems.control import MLP as MLP  # a small network
from diffevo_jax.problems.control import LowRankPolicy as LowRankPolicy  # a large one
from diffevo_jax.problems.control import ActionSequence as ActionSequence  # a plan
from diffevo_jax.problems.control import FunctionPolicy as FunctionPolicy  # two functions
from diffevo_jax.problems.control import Episode as Episode  # reward, length, how it ended

# Rooms of their own.
from diffevo_jax.problems import control as control  # environments, to change their rules
from diffevo_jax.problems import external as external  # evaluators that fail now and then
from diffevo_jax.problems import landscapes as landscapes  # plain functions and constants

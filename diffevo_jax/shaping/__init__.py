"""Shaping: from fitness to log-weight, how hard the better are preferred.

The weight g(f) plays the part of the density of clean points in Bayes' rule, so it matters
only up to a factor, and only its logarithm is ever computed. Take ``Standardized`` unless
fitness has a unit that means something to you (``Boltzmann``), or is a density
(``Identity``, ``Power``). What is wanted beside fitness is for :mod:`conditions`, whose
log-weights are added.
"""
# isort: skip_file

# Without a unit: any scale of the fitness is alike.
from diffevo_jax.shaping.relative import Standardized as Standardized  # the default
from diffevo_jax.shaping.relative import Rank as Rank  # only the order counts; outliers
from diffevo_jax.shaping.relative import TargetESS as TargetESS  # fixed pressure
from diffevo_jax.shaping.local import Local as Local  # low peaks as hard as high ones
from diffevo_jax.shaping.competition import (
    DominatedNovelty as DominatedNovelty,  # diversity of what solutions do
)

# In units of fitness, as published; with the published floor, if wanted.
from diffevo_jax.shaping.pointwise import Boltzmann as Boltzmann  # differences have a unit
from diffevo_jax.shaping.pointwise import Power as Power  # ratios mean something
from diffevo_jax.shaping.pointwise import Identity as Identity  # fitness is a density

# What is wanted beside fitness.
from diffevo_jax.shaping import conditions as conditions  # target, novelty, density
from diffevo_jax.shaping import feasibility as feasibility  # constraints: feasible first

# What a denoiser of your own needs.
from diffevo_jax.shaping.failures import log_weight as log_weight  # failed: weight zero
from diffevo_jax.shaping.failures import without_failures as without_failures  # finite
from diffevo_jax.shaping.relative import standard_scores as standard_scores  # without unit
from diffevo_jax.shaping.competition import (
    dominated_novelty as dominated_novelty,  # distance to the nearest that are fitter
)

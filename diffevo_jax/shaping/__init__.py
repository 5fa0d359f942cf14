"""Fitness shaping: from fitness to log-weight, how hard the better are preferred.

The weight g(f) plays the part of the density of clean points in Bayes' rule, so it matters
only up to a factor, and only its logarithm is ever computed.
"""

from diffevo_jax.shaping import conditions as conditions
from diffevo_jax.shaping.failures import log_weight as log_weight
from diffevo_jax.shaping.failures import without_failures as without_failures
from diffevo_jax.shaping.local import Local as Local
from diffevo_jax.shaping.pointwise import Boltzmann as Boltzmann
from diffevo_jax.shaping.pointwise import Identity as Identity
from diffevo_jax.shaping.pointwise import Power as Power
from diffevo_jax.shaping.relative import Rank as Rank
from diffevo_jax.shaping.relative import Standardized as Standardized
from diffevo_jax.shaping.relative import TargetESS as TargetESS
from diffevo_jax.shaping.relative import standard_scores as standard_scores

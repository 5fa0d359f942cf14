"""Sweeps: many settings, many seeds, one labelled result. See :func:`diffevo_jax.sweep`."""

from diffevo_jax.sweeps.ranges import Range as Range
from diffevo_jax.sweeps.sweeping import sweep as sweep
from diffevo_jax.sweeps.tables import best_setting as best_setting
from diffevo_jax.sweeps.tables import interval as interval
from diffevo_jax.sweeps.tables import ranking as ranking
from diffevo_jax.sweeps.tables import save as save
from diffevo_jax.sweeps.tables import tidy as tidy
from diffevo_jax.sweeps.tuning import Tuning as Tuning

"""Sweeps: many settings, many seeds, one labelled result.

Take ``sweep`` for a grid of settings: one compiled program for each structure, and an
``xarray.Dataset`` at the end, which the functions below rank and save. Where a grid is too
large, ``Tuning`` makes a problem of the settings, which any strategy searches, or Optuna
does (:mod:`diffevo_jax.interop.optuna`).
"""
# isort: skip_file

# Run.
from diffevo_jax.sweeps.sweeping import sweep as sweep  # settings times seeds

# Read and keep.
from diffevo_jax.sweeps.tables import ranking as ranking  # the settings, the best first
from diffevo_jax.sweeps.tables import best_setting as best_setting  # the first of them
from diffevo_jax.sweeps.tables import interval as interval  # a mean, and how sure it is
from diffevo_jax.sweeps.tables import tidy as tidy  # a pandas table, a row for each run
from diffevo_jax.sweeps.tables import save as save  # NetCDF, Zarr, Parquet or CSV
from diffevo_jax.sweeps.stored_tables import load as load  # what save has written

# Search instead of a grid.
from diffevo_jax.sweeps.tuning import Tuning as Tuning  # settings as a problem
from diffevo_jax.problems.variables import Range as Range  # where one number is looked for

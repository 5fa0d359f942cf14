"""Attention: how the posterior mean is computed, in linear memory.

Queries are noisy points, keys and values evaluated ones, and log-weights a bias. ``attend``
is the one to use, and the one to replace (``denoisers.Population(attention=)``): on a GPU
``attend_fused`` is one kernel of the device. ``attend_by_rows`` is for kernels and shapings
that need a whole row of the kernel at once. Density estimates are made of the same sums.
"""
# isort: skip_file

# The estimator.
from diffevo_jax.attention.blocked import attend as attend  # the one to use
from diffevo_jax.attention.fused import attend_fused as attend_fused  # on a GPU
from diffevo_jax.attention.row_wise import attend_by_rows as attend_by_rows  # a row at once
from diffevo_jax.attention.fused_kernels import Tiling as Tiling  # how attend_fused cuts
from diffevo_jax.attention.blocked import Attention as Attention  # the contract of the two
from diffevo_jax.attention.numerics import Guidance as Guidance  # beyond the weighted mean
from diffevo_jax.attention.blocked import Division as Division  # over devices
from diffevo_jax.attention.blocks import Blocks as Blocks  # they decide the bits
from diffevo_jax.attention.blocks import usual_blocks as usual_blocks  # of the device

# Densities at the points of a population.
from diffevo_jax.attention.density import log_density as log_density  # a kernel's estimate
from diffevo_jax.attention.density import (
    neighbour_distance as neighbour_distance,  # for novelty
)
from diffevo_jax.attention.density import (
    standardized_distances as standardized_distances,  # in their own deviations
)

# What an attention, a kernel or a denoiser of your own needs.
from diffevo_jax.attention.division import (
    parts_divided as parts_divided,  # ``divided`` of what has parts
)
from diffevo_jax.attention.numerics import matmul as matmul  # at full precision
from diffevo_jax.attention.numerics import einsum as einsum  # at full precision
from diffevo_jax.attention.numerics import or_uniform as or_uniform  # if none has weight
from diffevo_jax.attention.numerics import whitened as whitened  # to a kernel of variance 1
from diffevo_jax.attention.numerics import bisect as bisect  # a bandwidth, a temperature

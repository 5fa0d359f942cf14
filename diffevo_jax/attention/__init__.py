"""The estimator is attention: queries are noisy points, keys and values evaluated ones.

:func:`attend` is the one to use. :func:`attend_by_rows` is for kernels and shapings that
need a whole row of the kernel at once. Densities and neighbours are made of the same sums.
"""

from diffevo_jax.attention.blocked import BLOCK_SIZE as BLOCK_SIZE
from diffevo_jax.attention.blocked import Attention as Attention
from diffevo_jax.attention.blocked import Division as Division
from diffevo_jax.attention.blocked import attend as attend
from diffevo_jax.attention.density import log_density as log_density
from diffevo_jax.attention.density import neighbour_distance as neighbour_distance
from diffevo_jax.attention.density import standard_scores as standard_scores
from diffevo_jax.attention.numerics import bisect as bisect
from diffevo_jax.attention.numerics import einsum as einsum
from diffevo_jax.attention.numerics import matmul as matmul
from diffevo_jax.attention.numerics import or_uniform as or_uniform
from diffevo_jax.attention.numerics import whitened as whitened
from diffevo_jax.attention.row_wise import attend_by_rows as attend_by_rows

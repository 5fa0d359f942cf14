"""The promises of every part, as functions: for parts of one's own.

Whoever writes a denoiser, a sampler, a kernel, a shaping, a grid, a problem or a strategy
holds it to the contract of :mod:`diffevo_jax.base` in two lines,

>>> import diffevo_jax as de
>>> from diffevo_jax import testing
>>> testing.check_kernel(de.kernels.Tempered(dimension=2.0))

or promise by promise, as a test that names the one that is broken:

>>> import pytest
>>> @pytest.mark.parametrize("promise", testing.kernels.PROMISES)
... def test_my_kernel(promise):
...     promise(de.kernels.Tempered(dimension=2.0))

A promise is a function of a part, and of the number of dimensions it is tried in where that
is not free; it raises AssertionError with what was promised and what came. The library's
own tests are these. Import it by itself: ``import diffevo_jax`` does not.
"""

from diffevo_jax.testing import denoisers as denoisers
from diffevo_jax.testing import grids as grids
from diffevo_jax.testing import kernels as kernels
from diffevo_jax.testing import problems as problems
from diffevo_jax.testing import samplers as samplers
from diffevo_jax.testing import shapings as shapings
from diffevo_jax.testing import strategies as strategies
from diffevo_jax.testing.agreement import Promise as Promise
from diffevo_jax.testing.denoisers import check_denoiser as check_denoiser
from diffevo_jax.testing.grids import check_grid as check_grid
from diffevo_jax.testing.kernels import check_kernel as check_kernel
from diffevo_jax.testing.problems import check_problem as check_problem
from diffevo_jax.testing.samplers import check_sampler as check_sampler
from diffevo_jax.testing.shapings import check_shaping as check_shaping
from diffevo_jax.testing.strategies import check_strategy as check_strategy

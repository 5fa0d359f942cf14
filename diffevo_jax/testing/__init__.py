"""The promises of every contract, as functions: for parts of your own.

Whoever writes a part holds it to what :mod:`diffevo_jax.base` says of it in two lines,

>>> import diffevo_jax as de
>>> from diffevo_jax import testing
>>> testing.check_kernel(de.kernels.Tempered(dimension=2.0))

or promise by promise, as a test that names the one that is broken:

>>> import pytest
>>> @pytest.mark.parametrize("promise", testing.kernels.PROMISES)
... def test_my_kernel(promise):
...     promise(de.kernels.Tempered(dimension=2.0))

A promise is a function of a part, and of the number of dimensions to try it in; it raises
AssertionError with what was promised and what came. The library's own tests are these.
``import diffevo_jax`` does not import them.
"""
# isort: skip_file

# All promises of a part at once.
from diffevo_jax.testing.denoisers import check_denoiser as check_denoiser  # who answers
from diffevo_jax.testing.samplers import check_sampler as check_sampler  # how one moves
from diffevo_jax.testing.grids import check_grid as check_grid  # at which noise levels
from diffevo_jax.testing.kernels import check_kernel as check_kernel  # who is a neighbour
from diffevo_jax.testing.shapings import (
    check_shaping as check_shaping,
)  # what fitness weighs
from diffevo_jax.testing.strategies import check_strategy as check_strategy  # what evolves
from diffevo_jax.testing.problems import check_problem as check_problem  # what is evaluated
from diffevo_jax.testing.spaces import check_space as check_space  # where solutions live

# One by one: ``PROMISES`` of each, to parametrise a test, or to leave some out.
from diffevo_jax.testing import denoisers as denoisers
from diffevo_jax.testing import samplers as samplers
from diffevo_jax.testing import grids as grids
from diffevo_jax.testing import kernels as kernels
from diffevo_jax.testing import shapings as shapings
from diffevo_jax.testing import strategies as strategies
from diffevo_jax.testing import problems as problems
from diffevo_jax.testing import spaces as spaces
from diffevo_jax.testing.agreement import Promise as Promise  # the type of one

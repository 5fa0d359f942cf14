"""Denoisers: who answers where the clean points are.

:class:`Population` is Bayes' rule with the evaluated individuals as the prior, and what
Diffusion Evolution is made of: it keeps several modes where its kernel can.
:class:`GaussianFit` is the Wiener filter of the same individuals: one mode, linear cost.
:class:`Fixed` is what was made elsewhere: a trained network, or an exact one of
:mod:`oracles`. Any of them evolves in :class:`diffevo_jax.DiffusionEvolution` and draws in
:func:`diffevo_jax.sample`; ``docs/denoisers.md`` shows how to write one.
"""

from diffevo_jax.denoisers import oracles as oracles  # exact answers, for known densities
from diffevo_jax.denoisers.evidence import (
    Archive as Archive,  # generations before answer too
)
from diffevo_jax.denoisers.evidence import Evidence as Evidence  # what was evaluated
from diffevo_jax.denoisers.evidence import Latest as Latest  # a generation for itself
from diffevo_jax.denoisers.evidence import Memory as Memory  # the contract of the two
from diffevo_jax.denoisers.fixed import (
    Fixed as Fixed,  # a model of your own, learns nothing
)
from diffevo_jax.denoisers.fixed import bind as bind  # what ``sample`` takes
from diffevo_jax.denoisers.gaussian_fit import GaussianFit as GaussianFit  # one mode
from diffevo_jax.denoisers.gaussian_fit import gaussian_mean as gaussian_mean
from diffevo_jax.denoisers.population import Population as Population  # the default
from diffevo_jax.denoisers.posterior import posterior_mean as posterior_mean
from diffevo_jax.denoisers.posterior import posterior_weights as posterior_weights
from diffevo_jax.denoisers.support import Best as Best  # the few of largest weight answer
from diffevo_jax.denoisers.support import Drawn as Drawn  # a few answer, drawn by weight
from diffevo_jax.denoisers.support import Everyone as Everyone  # all answer
from diffevo_jax.denoisers.support import Support as Support  # the contract of the three

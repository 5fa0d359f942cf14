"""Denoisers: who answers where the clean points are.

``Population`` is Bayes' rule with the evaluated individuals as the prior, as published, and
what is beyond it by guidance; it keeps several modes where its kernel can.
``GaussianFit`` is the Wiener filter of the same individuals: one mode, linear cost.
``Mixture`` lets two of any kind answer, one near the clean end and one far from it.
:class:`diffevo_jax.diffusion.OnlineNetwork` is a network that learns while it evolves.
``Fixed`` is what was made elsewhere: a trained network, or an exact one of :mod:`oracles`.
Any of them evolves in :class:`diffevo_jax.DiffusionEvolution` and draws in
:func:`diffevo_jax.sample`; ``docs/denoisers.md`` shows how to write one.
"""
# isort: skip_file

# Who answers.
from diffevo_jax.denoisers.population import Population as Population  # the default
from diffevo_jax.denoisers.gaussian_fit import GaussianFit as GaussianFit  # one mode, fast
from diffevo_jax.denoisers.fixed import Fixed as Fixed  # a model of your own learns nothing
from diffevo_jax.denoisers.mixture import Mixture as Mixture  # two answer, by noise level
from diffevo_jax.denoisers.fixed import bind as bind  # what ``sample`` takes of the others
from diffevo_jax.denoisers import oracles as oracles  # exact, where the density is known

# A population's memory: which evaluated points there are.
from diffevo_jax.denoisers.evidence import Latest as Latest  # the default: one generation
from diffevo_jax.denoisers.evidence import Archive as Archive  # earlier ones answer too
from diffevo_jax.denoisers.evidence import Elites as Elites  # the best of all, for ever
from diffevo_jax.denoisers.evidence import Memory as Memory  # the contract of the three
from diffevo_jax.denoisers.evidence import Evidence as Evidence  # what they keep

# A population's support: which of them answer.
from diffevo_jax.denoisers.support import Everyone as Everyone  # the default
from diffevo_jax.denoisers.support import Best as Best  # the M best: cheap, greedy
from diffevo_jax.denoisers.support import Drawn as Drawn  # M by weight: cheap, noisy
from diffevo_jax.denoisers.support import Support as Support  # the contract of the three

# The equations: Bayes' rule, its weights to look at, and the Wiener filter.
from diffevo_jax.denoisers.posterior import posterior_mean as posterior_mean  # in blocks
from diffevo_jax.denoisers.posterior import (
    posterior_weights as posterior_weights,  # the whole (N, M) array
)
from diffevo_jax.denoisers.gaussian_fit import gaussian_mean as gaussian_mean

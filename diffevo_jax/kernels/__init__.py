"""Kernels: who is a neighbour of whom.

The posterior weighs individual j for individual i by
``exp(-kappa |phi(y_i) - phi(x_j)|^2 / (2 sigma^2))``. A kernel is the choice of the feature
map phi and of the factor kappa. With phi the identity and kappa 1 it is Bayes' rule, exact,
but in high dimension an individual then is its own only neighbour, by about
``sqrt(alpha_bar) D / (1 - alpha_bar)`` nats, and selection stops.

Take ``Tempered`` for one mode in any dimension; for several, ``Gaussian`` or ``Perplexity``
in two dimensions and ``Perplexity(30, components=2)`` up to some thirty. Watch
``info.self_weight``, which is near 1 where the kernel is too narrow, and
``info.effective_sample_size``.
"""
# isort: skip_file

# The same in every generation.
from diffevo_jax.kernels.fixed import Gaussian as Gaussian  # exact; as published
from diffevo_jax.kernels.fixed import Tempered as Tempered  # the default; selects in any D
from diffevo_jax.kernels.fixed import RandomProjection as RandomProjection  # latent form

# Learnt from every generation.
from diffevo_jax.kernels.adaptive import Perplexity as Perplexity  # several modes in high D
from diffevo_jax.kernels.adaptive import (
    PrincipalComponents as PrincipalComponents,  # the same axes, one bandwidth for all
)

# Around another kernel.
from diffevo_jax.kernels.self_conditioned import (
    SelfConditioned as SelfConditioned,  # measure between clean estimates: less noise
)

# The equations, for a kernel of your own.
from diffevo_jax.kernels.adaptive import (
    perplexity_precision as perplexity_precision,  # a bandwidth for each row
)
from diffevo_jax.kernels.adaptive import principal_axes as principal_axes  # of the weighted

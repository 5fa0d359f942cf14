"""Kernels: who is a neighbour of whom.

The posterior weighs individual j for individual i by
``exp(-kappa |phi(y_i) - phi(x_j)|^2 / (2 sigma^2))``. A kernel is the choice of the feature
map phi and of the factor kappa. With phi the identity and kappa 1 it is Bayes' rule, exact,
but in high dimension every individual then is its own only neighbour, by about
``sqrt(alpha_bar) D / (1 - alpha_bar)`` nats, and selection stops. The other kernels look
further and pay with locality: above D of about 8 expect a single mode, except with
:class:`Perplexity` in a :class:`SelfConditioned`. Watch ``info.effective_sample_size`` and
``info.self_weight``.
"""

from diffevo_jax.kernels.adaptive import Perplexity as Perplexity
from diffevo_jax.kernels.adaptive import PrincipalComponents as PrincipalComponents
from diffevo_jax.kernels.adaptive import perplexity_precision as perplexity_precision
from diffevo_jax.kernels.adaptive import principal_axes as principal_axes
from diffevo_jax.kernels.fixed import Gaussian as Gaussian
from diffevo_jax.kernels.fixed import RandomProjection as RandomProjection
from diffevo_jax.kernels.fixed import Tempered as Tempered
from diffevo_jax.kernels.self_conditioned import SelfConditioned as SelfConditioned

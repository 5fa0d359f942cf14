"""Analysis: what a denoiser says of a density, exactly or by bounds.

For how probable a point is: ``log_likelihood`` along the probability flow, or
``variational_bound`` of a discrete chain. For how far samples may be from the data: the
error bounds. For what noise hides of a signal, and when: the covariance view and the
entropy of values.
"""
# isort: skip_file

# How probable a point is.
from diffevo_jax.diffusion.analysis.likelihood import (
    log_likelihood as log_likelihood,  # how probable a point is to a denoiser
    Likelihood as Likelihood,  # log-densities and latents of points
    encode as encode,  # from data to noise, and exactly back
    decode as decode,  # from noise to data along the probability flow
)
from diffevo_jax.diffusion.analysis.variational import (
    variational_bound as variational_bound,  # of discrete chains: cheap
    VariationalBound as VariationalBound,  # and the share of each step
    gaussian_kl as gaussian_kl,  # KL between Gaussians, in nats
)
from diffevo_jax.diffusion.analysis.bits import (
    bits_per_dimension as bits_per_dimension,  # of images, by the flow, dequantised
    variational_bits as variational_bits,  # of images, by the bound of a chain, as DDPM
    discretised_gaussian as discretised_gaussian,  # the probability of a level
)

# How far samples may be from the data.
from diffevo_jax.diffusion.analysis.error_bounds import (
    denoising_errors as denoising_errors,  # beside an exact denoiser
    largest_slopes as largest_slopes,  # one-sided Lipschitz constants
    kl_bound as kl_bound,  # in KL: tight
    wasserstein_bound as wasserstein_bound,  # in W2: loose between modes
    ErrorBound as ErrorBound,  # a bound, and which part of it is whose
)

# What noise hides of a signal.
from diffevo_jax.diffusion.analysis.covariance import (
    fit_gaussian as fit_gaussian,  # of some data: the denoiser to beat
    coloured_noise as coloured_noise,  # of a given covariance
    logistic_covariance as logistic_covariance,  # of smooth signals
    wiener_filter as wiener_filter,  # which directions can be seen at a level
    WienerFilter as WienerFilter,  # gains, and how many directions that is
    effective_rank as effective_rank,  # how many directions a signal has
)

# How values spread through time.
from diffevo_jax.diffusion.analysis.values import (
    value_histogram as value_histogram,  # inside jit
    value_entropy as value_entropy,  # along a chain, in nats
    normal_entropy as normal_entropy,  # the largest there is
)

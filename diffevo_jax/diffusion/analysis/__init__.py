"""Analysis: what a diffusion does to a density, exactly or by bounds."""

from diffevo_jax.diffusion.analysis.covariance import Standing as Standing
from diffevo_jax.diffusion.analysis.covariance import coloured as coloured
from diffevo_jax.diffusion.analysis.covariance import effective_rank as effective_rank
from diffevo_jax.diffusion.analysis.covariance import fitted as fitted
from diffevo_jax.diffusion.analysis.covariance import (
    logistic_covariance as logistic_covariance,
)
from diffevo_jax.diffusion.analysis.covariance import standing as standing
from diffevo_jax.diffusion.analysis.error_bounds import ErrorBound as ErrorBound
from diffevo_jax.diffusion.analysis.error_bounds import denoising_errors as denoising_errors
from diffevo_jax.diffusion.analysis.error_bounds import kl_bound as kl_bound
from diffevo_jax.diffusion.analysis.error_bounds import largest_slopes as largest_slopes
from diffevo_jax.diffusion.analysis.error_bounds import (
    wasserstein_bound as wasserstein_bound,
)
from diffevo_jax.diffusion.analysis.likelihood import Likelihood as Likelihood
from diffevo_jax.diffusion.analysis.likelihood import decode as decode
from diffevo_jax.diffusion.analysis.likelihood import encode as encode
from diffevo_jax.diffusion.analysis.likelihood import log_likelihood as log_likelihood
from diffevo_jax.diffusion.analysis.values import normal_entropy as normal_entropy
from diffevo_jax.diffusion.analysis.values import value_entropy as value_entropy
from diffevo_jax.diffusion.analysis.values import value_histogram as value_histogram
from diffevo_jax.diffusion.analysis.variational import Bound as Bound
from diffevo_jax.diffusion.analysis.variational import gaussian_kl as gaussian_kl
from diffevo_jax.diffusion.analysis.variational import (
    variational_bound as variational_bound,
)

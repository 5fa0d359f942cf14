"""Wasserstein gradient flow: particles that go down a divergence to a known density.

    dx/dt = h'(log r) grad log r,    r = p / q_t,

with p a mixture of Gaussians and q_t the density of the particles. What is known of q_t is
all that tells one method from the other, so this is where they are tried out: all of it
(``ExactRatio``; ``GaussianRatio`` where all is Gaussian), a kernel estimate
(``SmoothedRatio``), and what a discriminator learns (``LearnedRatio``).
"""

from diffevo_jax.flow.exact import ExactRatio as ExactRatio
from diffevo_jax.flow.particles import Flowed as Flowed
from diffevo_jax.flow.particles import particle_flow as particle_flow
from diffevo_jax.flow.particles import smoothed_kl as smoothed_kl
from diffevo_jax.flow.ratios import FlowRatio as FlowRatio
from diffevo_jax.flow.ratios import GaussianRatio as GaussianRatio
from diffevo_jax.flow.ratios import LearnedRatio as LearnedRatio
from diffevo_jax.flow.ratios import SmoothedRatio as SmoothedRatio

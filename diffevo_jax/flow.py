"""Wasserstein gradient flow: particles that go down a divergence to a known density.

    dx/dt = h'(log r) grad log r,    r = p / q_t,

with p a mixture of Gaussians and q_t the density of the particles. What is known of q_t is
all that tells one method from the other, so this is where they are tried out: the exact
ratio of a Gaussian q, the ratio of a kernel estimate, and that of a discriminator.
"""

from typing import Protocol

import jax
import jax.numpy as jnp

from diffevo_jax import denoisers, pytree, validation
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.discriminator import Discriminator
from diffevo_jax.divergences import Divergence, ReverseKL
from diffevo_jax.oracles import GaussianMixture, gaussian_mixture
from diffevo_jax.pytree import Number


class FlowRatio(Protocol):
    """The log-ratio of a target to the density of particles, and its gradient."""

    def init(self, key: jax.Array, particles: jax.Array) -> PyTree:
        """What it keeps from step to step."""
        ...

    def estimate(
        self, key: jax.Array, state: PyTree, particles: jax.Array
    ) -> tuple[jax.Array, jax.Array, PyTree]:
        """Log-ratio (N,), its gradient (N, D), and what to keep."""
        ...


@pytree.dataclass
class ExactRatio:
    """The ratio to a Gaussian with the moments of the particles.

    Exact, but for the number of particles, if they are Gaussian: if they start so and the
    target is one Gaussian, since then the flow is affine.

    Args:
        target: p.
    """

    target: GaussianMixture

    def init(self, key: jax.Array, particles: jax.Array) -> tuple[()]:
        """Nothing."""
        return ()

    def estimate(
        self, key: jax.Array, state: tuple[()], particles: jax.Array
    ) -> tuple[jax.Array, jax.Array, tuple[()]]:
        """Log-ratio, gradient, nothing."""
        mean = jnp.mean(particles, axis=0)
        centred = particles - mean
        product = jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST)
        own = gaussian_mixture(mean[None], product[None] / len(particles))
        log_ratio = self.target.log_density(particles, 0.0) - own.log_density(
            particles, 0.0
        )
        return log_ratio, self.target.score(particles, 0.0) - own.score(particles, 0.0), ()


@pytree.dataclass
class SmoothedRatio:
    """The ratio of both densities as seen through a Gaussian kernel.

    ``grad log r = score of p at noise h - (m(x) - x) / h^2``, m the kernel mean of the
    particles. Where it is 0 the particles are p to whoever sees both through the kernel.

    Args:
        target: p.
        width: h, > 0.
    """

    target: GaussianMixture
    width: Number = pytree.number(above=0.0)

    def init(self, key: jax.Array, particles: jax.Array) -> tuple[()]:
        """Nothing."""
        return ()

    def estimate(
        self, key: jax.Array, state: tuple[()], particles: jax.Array
    ) -> tuple[jax.Array, jax.Array, tuple[()]]:
        """Log-ratio, gradient, nothing."""
        precision = 1 / jnp.asarray(self.width) ** 2
        nobody = jnp.zeros(len(particles), particles.dtype)
        answer = denoisers.posterior_mean(
            particles, particles, particles, nobody, precision
        )
        own = precision * (answer.clean - particles)
        volume = 0.5 * particles.shape[1] * jnp.log(2 * jnp.pi * self.width**2)
        size = jnp.log(jnp.asarray(len(particles), particles.dtype))
        density = -jnp.log(answer.self_weight) - size - volume
        log_ratio = self.target.log_density(particles, self.width) - density
        return log_ratio, self.target.score(particles, self.width) - own, ()


@pytree.dataclass
class LearnedRatio:
    """The ratio as a discriminator has it, from fresh samples of the target every step.

    Args:
        target: p; only its samples are used.
        discriminator: learns from where it was the step before.
        width: h, deviation of its instance noise, >= 0.
    """

    target: GaussianMixture
    discriminator: Discriminator
    width: Number = pytree.number(low=0.0)

    def init(self, key: jax.Array, particles: jax.Array) -> PyTree:
        """The discriminator's state."""
        return self.discriminator.init(key, particles)

    def estimate(
        self, key: jax.Array, state: PyTree, particles: jax.Array
    ) -> tuple[jax.Array, jax.Array, PyTree]:
        """Log-ratio, gradient, and the discriminator's state; 0 where it failed."""
        key_sample, key_fit = jax.random.split(key)
        ones = jnp.ones(len(particles), particles.dtype)
        real = self.target.sample(key_sample, len(particles)), ones
        after, sound = self.discriminator.fit(
            key_fit, state, real, (particles, ones), self.width
        )
        after = pytree.select(sound, after, state)
        log_ratio, gradient = self.discriminator.gradient(after, particles)
        zero = jnp.zeros_like(particles)
        return log_ratio, jnp.where(sound, gradient, zero), after


@pytree.dataclass
class Flowed:
    """Where particles went.

    Attributes:
        particles: (N, D) at the end.
        path: (T, N, D) before each step.
        ratio_state: what the ratio kept.
    """

    particles: jax.Array
    path: jax.Array
    ratio_state: PyTree


def particle_flow(
    key: jax.Array,
    ratio: FlowRatio,
    particles: jax.Array,
    *,
    num_steps: int,
    step_size: Number,
    divergence: Divergence | None = None,
) -> Flowed:
    """Let particles flow to a density, by Euler's method.

    Args:
        key: a typed key, for ratios that draw.
        ratio: of the target to the particles.
        particles: (N, D).
        num_steps: >= 1, static.
        step_size: of time, > 0.
        divergence: h; None is ``ReverseKL()``: down KL(q | p).

    Example:
        >>> import jax, diffevo_jax as de
        >>> target = de.oracles.gaussian_mixture([[3.0]], 0.25)
        >>> start = jax.random.normal(jax.random.key(0), (256, 1))
        >>> ratio = de.flow.ExactRatio(target)
        >>> end = de.flow.particle_flow(
        ...     jax.random.key(1), ratio, start, num_steps=100, step_size=0.02).particles
        >>> round(float(end.mean()), 2), round(float(end.std()), 2)
        (3.0, 0.5)

    References:
        Jordan, Kinderlehrer, Otto, 1998, doi:10.1137/S0036141096303359; Yi, Zhu, Liu,
        2023, arXiv:2302.01075.
    """
    validation.check_count("num_steps", num_steps)
    climbed = ReverseKL() if divergence is None else divergence

    def step(carry: tuple, index: jax.Array) -> tuple[tuple, jax.Array]:
        particles, state = carry
        log_ratio, gradient, state = ratio.estimate(
            jax.random.fold_in(key, index), state, particles
        )
        velocity = climbed.slope(log_ratio)[:, None] * gradient
        return (particles + step_size * velocity, state), particles

    start = (particles, ratio.init(key, particles))
    (particles, state), path = jax.lax.scan(step, start, jnp.arange(num_steps))
    return Flowed(particles, path, state)


def smoothed_kl(
    key: jax.Array,
    particles: jax.Array,
    target: GaussianMixture,
    width: Number,
    num_samples: int = 1024,
) -> jax.Array:
    """KL(q | p) of particles and a target, both seen through a Gaussian kernel, in nats.

    Particles plus noise are a mixture of as many Gaussians, the target plus noise is
    another: the divergence is exact but for the mean over ``num_samples``. It is at most
    the divergence without the kernel, which is infinite for particles.

    Args:
        key: a typed key; the same one to compare populations with little noise.
        particles: (N, D).
        target: p.
        width: deviation of the noise, > 0.
        num_samples: points drawn from the particles plus noise.
    """
    key_which, key_noise = jax.random.split(key)
    size, dim = particles.shape
    which = jax.random.randint(key_which, (num_samples,), 0, size)
    shape = (num_samples, dim)
    y = particles[which] + width * jax.random.normal(key_noise, shape, particles.dtype)
    centre = jnp.mean(particles, axis=0)
    near, y_near = (particles - centre) / width, (y - centre) / width
    product = jnp.matmul(y_near, near.T, precision=jax.lax.Precision.HIGHEST)
    squares = jnp.sum(y_near**2, axis=1)[:, None] + jnp.sum(near**2, axis=1)
    volume = 0.5 * dim * jnp.log(2 * jnp.pi * width**2) + jnp.log(float(size))
    own = jax.nn.logsumexp(product - 0.5 * squares, axis=1) - volume
    return jnp.mean(own - target.log_density(y, width))

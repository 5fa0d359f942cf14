"""What is known of the ratio of a target to the density of particles: all, or less."""

from typing import Protocol

import jax
import jax.numpy as jnp

from diffevo_jax import denoisers, pytree
from diffevo_jax.attention import matmul
from diffevo_jax.base import PyTree
from diffevo_jax.denoisers.oracles import GaussianMixture, gaussian_mixture
from diffevo_jax.flows.discriminator import Discriminator
from diffevo_jax.pytree import Number


class FlowRatio(Protocol):
    """The log-ratio of a target to the density of particles, and its gradient."""

    def init(self, key: jax.Array, particles: jax.Array) -> PyTree:
        """What it keeps from step to step."""
        ...

    def estimate(
        self, key: jax.Array, state: PyTree, particles: jax.Array, step_size: Number
    ) -> tuple[jax.Array, jax.Array, PyTree]:
        """Log-ratio (N,), its gradient (N, D), what to keep until ``step_size`` later."""
        ...


@pytree.dataclass
class GaussianRatio:
    """The ratio to a Gaussian with the moments of the particles.

    Exact, but for the number of particles, if they are Gaussian: if they start so and the
    target is one Gaussian, since then the flow is affine.

    Args:
        target: p.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> ratio = de.flows.GaussianRatio(de.oracles.gaussian_mixture([[1.0]], 1.0))
        >>> particles = jnp.array([[-1.0], [1.0]])  # mean 0 and variance 1
        >>> log_ratio, gradient, _ = jax.jit(ratio.estimate)(
        ...     jax.random.key(0), (), particles, 0.1)
        >>> [f"{d:.2f}" for d in log_ratio], [f"{d:.2f}" for d in gradient[:, 0]]  # x - 1/2
        (['-1.50', '0.50'], ['1.00', '1.00'])
    """

    target: GaussianMixture

    def init(self, key: jax.Array, particles: jax.Array) -> tuple[()]:
        """Nothing."""
        return ()

    def estimate(
        self, key: jax.Array, state: tuple[()], particles: jax.Array, step_size: Number
    ) -> tuple[jax.Array, jax.Array, tuple[()]]:
        """Log-ratio, gradient, nothing."""
        mean = jnp.mean(particles, axis=0)[None]
        centred = particles - mean
        product = matmul(centred.T, centred)
        own = gaussian_mixture(mean, product[None] / len(particles))
        densities = [one.log_density(particles, 0.0) for one in (self.target, own)]
        gradient = self.target.score(particles, 0.0) - own.score(particles, 0.0)
        return densities[0] - densities[1], gradient, ()


@pytree.dataclass
class SmoothedRatio:
    """The ratio of both densities as seen through a Gaussian kernel.

    ``grad log r = score of p at noise h - (m(x) - x) / h^2``, m the kernel mean of the
    particles. Where it is 0 the particles are p to whoever sees both through the kernel.

    Args:
        target: p.
        width: h, > 0.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> target = de.oracles.gaussian_mixture([[2.0]], 1.0)
        >>> ratio = de.flows.SmoothedRatio(target, width=1.0)
        >>> _, gradient, _ = jax.jit(ratio.estimate)(
        ...     jax.random.key(0), (), jnp.array([[0.0]]), 0.1)
        >>> f"{gradient[0, 0]:.2f}"  # towards 2, over the variance 1 + 1
        '1.00'
    """

    target: GaussianMixture
    width: Number = pytree.number(above=0.0)

    def init(self, key: jax.Array, particles: jax.Array) -> tuple[()]:
        """Nothing."""
        return ()

    def estimate(
        self, key: jax.Array, state: tuple[()], particles: jax.Array, step_size: Number
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
class LearnedState:
    """What a learned ratio keeps.

    Attributes:
        discriminator: its state.
        num_diverged: () int32, steps whose training diverged, and moved no particle.
    """

    discriminator: PyTree
    num_diverged: jax.Array


@pytree.dataclass
class LearnedRatio:
    """The ratio as a discriminator has it, from fresh samples of the target every step.

    Args:
        target: p; only its samples are used.
        discriminator: learns from where it was the step before.
        width: h, deviation of its instance noise, >= 0.

    Example:
        >>> import jax, jax.numpy as jnp, diffevo_jax as de
        >>> from diffevo_jax import flows
        >>> target = de.oracles.gaussian_mixture([[2.0]], 1.0)
        >>> ratio = flows.LearnedRatio(target, flows.Discriminator((8,)), width=0.5)
        >>> flow = lambda key: flows.particle_flow(
        ...     key, ratio, jnp.zeros((16, 1)), num_steps=5, step_size=0.1)
        >>> jax.eval_shape(flow, jax.random.key(0)).path.shape
        (5, 16, 1)
    """

    target: GaussianMixture
    discriminator: Discriminator
    width: Number = pytree.number(low=0.0)

    def init(self, key: jax.Array, particles: jax.Array) -> LearnedState:
        """The discriminator's state, and no failure."""
        state = self.discriminator.init(key, particles)
        return LearnedState(state, jnp.zeros((), jnp.int32))

    def estimate(
        self,
        key: jax.Array,
        state: LearnedState,
        particles: jax.Array,
        step_size: Number,
    ) -> tuple[jax.Array, jax.Array, LearnedState]:
        """Log-ratio, gradient, what to keep; where the training diverged, gradient 0."""
        key_sample, key_fit = jax.random.split(key)
        ones = jnp.ones(len(particles), particles.dtype)
        real = self.target.sample(key_sample, len(particles)), ones
        before = state.discriminator
        after, sound = self.discriminator.fit(
            key_fit, before, real, (particles, ones), self.width
        )
        after = pytree.select(sound, after, before)
        log_ratio, gradient = self.discriminator.gradient(after, particles)
        gradient = jnp.where(sound, gradient, jnp.zeros_like(particles))
        count = state.num_diverged + jnp.asarray(~sound, jnp.int32)
        return log_ratio, gradient, LearnedState(after, count)

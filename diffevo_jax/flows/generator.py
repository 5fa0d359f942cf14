"""A generator: a network that turns normal points into those of a flow.

    g(z) = centre + scale z + network(z)

It starts as the Gaussian of a population, and then learns, each time that particles have
moved, to generate them where they are now: particles forward one step, generator regressed
on the moved particles.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.layers import (
    check_widths,
    feed_forward,
    feed_forward_init,
)
from diffevo_jax.diffusion.training.optimizers import adversarial_optimizer, descend
from diffevo_jax.flows.divergences import Divergence
from diffevo_jax.pytree import Number, validation

if TYPE_CHECKING:  # it takes a seventh of a second to import
    import optax


@pytree.dataclass
class GeneratorState:
    """What a generator has learnt.

    Attributes:
        weights: of the network.
        optimizer_state: of its training.
        centre: (D,) mean of the points that it started from.
        scale: (D,) their deviation.
    """

    weights: PyTree
    optimizer_state: PyTree
    centre: jax.Array
    scale: jax.Array


@pytree.dataclass
class Generator:
    """A generator of D numbers from D normal ones; as many samples as are wanted.

    Args:
        hidden: widths of the hidden layers, static, at least one.
        num_steps: of the regression on particles that have moved, static, >= 1; one is
            the usual step of a GAN.
        learning_rate: of Adam, > 0.
        optimizer: of optax; None is Adam; static.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import flows
        >>> generator = flows.Generator()
        >>> points = jnp.array([[2.0, 1.0], [4.0, -1.0]])
        >>> state = generator.init(jax.random.key(0), points)
        >>> generator.generate(state, generator.latent(state, points)).tolist()
        [[2.0, 1.0], [4.0, -1.0]]

    References:
        Yi, Zhu, Liu, 2023, arXiv:2302.01075.
    """

    hidden: tuple[int, ...] = pytree.static(default=(64, 64))
    num_steps: int = pytree.static(default=50)
    learning_rate: Number = pytree.number(default=1e-2, above=0.0)
    optimizer: "optax.GradientTransformation | None" = pytree.static(default=None)

    def check(self) -> None:
        """Raise if there is no such generator."""
        check_widths("Generator.hidden", self.hidden)
        validation.check_count("Generator.num_steps", self.num_steps)

    def init(self, key: jax.Array, points: jax.Array) -> GeneratorState:
        """Draw weights for points like these ``(N, D)``; it generates their Gaussian."""
        dim = points.shape[1]
        weights = feed_forward_init(key, (dim, *self.hidden, dim))
        deviation = jnp.std(points, axis=0)
        return GeneratorState(
            weights=weights,
            optimizer_state=self._optimizer().init(weights),
            centre=jnp.mean(points, axis=0),
            scale=jnp.where(deviation > 0, deviation, 1.0),
        )

    def latent(self, state: GeneratorState, points: jax.Array) -> jax.Array:
        """What the points (N, D) that it started from are generated from, (N, D)."""
        return (points - state.centre[None]) / state.scale[None]

    def generate(self, state: GeneratorState, latent: jax.Array) -> jax.Array:
        """Points (N, D) from normal ones (N, D)."""
        moved = feed_forward(state.weights, latent)
        return state.centre[None] + state.scale[None] * (latent + moved)

    def sample(self, key: jax.Array, state: GeneratorState, n: int) -> jax.Array:
        """Draw n points, (n, D)."""
        shape, dtype = (n, *state.centre.shape), state.centre.dtype
        return self.generate(state, jax.random.normal(key, shape, dtype))

    def regress(
        self, state: GeneratorState, latent: jax.Array, target: jax.Array
    ) -> GeneratorState:
        """Learn to generate target points (N, D) from latent ones, in ``num_steps``."""
        loss = lambda weights: regression_loss(self, state, weights, latent, target)
        return self.minimise(state, loss)

    def minimise(
        self, state: GeneratorState, loss: Callable[[PyTree], jax.Array]
    ) -> GeneratorState:
        """Take ``num_steps`` steps of the optimizer down a loss of the weights."""

        def step(_: int, state: GeneratorState) -> GeneratorState:
            gradient = jax.grad(loss)(state.weights)
            weights, memory = descend(
                self._optimizer(), gradient, state.optimizer_state, state.weights
            )
            return pytree.replace(state, weights=weights, optimizer_state=memory)

        return jax.lax.fori_loop(0, self.num_steps, step, state)

    def _optimizer(self) -> "optax.GradientTransformation":
        if self.optimizer is not None:
            return self.optimizer
        return adversarial_optimizer(self.learning_rate)


def regression_loss(
    generator: Generator,
    state: GeneratorState,
    weights: PyTree,
    latent: jax.Array,
    target: jax.Array,
) -> jax.Array:
    """Mean squared distance of what is generated to where it should be.

    With ``target = g(z) + eps h'(D) grad D``, taken at some weights and then held, its
    gradient there is ``2 eps`` times that of :func:`adversarial_loss`; further on the two
    part: this one has its minimum where the particles went, that one where D is largest.

    Args:
        generator: the architecture.
        state: centre and scale.
        weights: of the network, in the place of the state's.
        latent: (N, D).
        target: (N, D).

    References:
        Yi, Zhu, Liu, 2023, arXiv:2302.01075.
    """
    made = generator.generate(pytree.replace(state, weights=weights), latent)
    return jnp.mean(jnp.sum((made - target) ** 2, axis=1))


def adversarial_loss(
    generator: Generator,
    state: GeneratorState,
    weights: PyTree,
    latent: jax.Array,
    logit: Callable[[jax.Array], jax.Array],
    divergence: Divergence,
) -> jax.Array:
    """A GAN's loss of its generator, ``-mean h(D(g(z)))``.

    Args:
        generator: the architecture.
        state: centre and scale.
        weights: of the network, in the place of the state's.
        latent: (N, D).
        logit: the discriminator, points (N, D) to log-ratios (N,).
        divergence: h.
    """
    made = generator.generate(pytree.replace(state, weights=weights), latent)
    return -jnp.mean(divergence.value(logit(made)))

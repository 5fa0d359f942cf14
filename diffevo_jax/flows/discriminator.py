"""A discriminator: a network that learns the log density ratio of two samples.

Trained to tell weighted points of p from points of q by the logistic loss, a network D
tends to ``log p / q``, with no constant, as the weights of each are 1 on average. Nothing
but D is differentiated: where p is a population weighted by fitness, that may be anything.
"""

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import or_uniform
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.layers import (
    check_widths,
    feed_forward,
    feed_forward_init,
)
from diffevo_jax.diffusion.training.losses import DIVERGED
from diffevo_jax.diffusion.training.optimizers import adversarial_optimizer, descend
from diffevo_jax.flows.kernel_ratios import kernel_log_density
from diffevo_jax.flows.ratio import Ratio
from diffevo_jax.kernels import Tempered
from diffevo_jax.pytree import Number, validation

if TYPE_CHECKING:  # it takes a seventh of a second to import
    import optax

_UNDECIDED = 2 * math.log(2)


@pytree.dataclass
class DiscriminatorState:
    """What a discriminator has learnt.

    Attributes:
        weights: of the network.
        optimizer_state: of its training.
        centre: (D,) what its inputs are measured from.
        scale: () what they are measured in.
    """

    weights: PyTree
    optimizer_state: PyTree
    centre: jax.Array
    scale: jax.Array


def logistic_loss(
    real_logit: jax.Array,
    fake_logit: jax.Array,
    real_weight: jax.Array,
    fake_weight: jax.Array,
) -> jax.Array:
    """Loss of telling p from q; its minimum over all functions is ``log p / q``.

    Args:
        real_logit: (N,) the network's answers at points of p.
        fake_logit: (M,) and at points of q.
        real_weight: (N,) 1 on average.
        fake_weight: (M,) 1 on average.

    Example:
        >>> import jax.numpy as jnp
        >>> from diffevo_jax.flows.discriminator import logistic_loss
        >>> zeros, ones = jnp.zeros(3), jnp.ones(3)
        >>> float(logistic_loss(zeros, zeros, ones, ones))  # 2 log 2
        1.386...

    References:
        Goodfellow et al., 2014, arXiv:1406.2661, eq. 1 (with weights).
    """
    real = jnp.mean(real_weight * jax.nn.softplus(-real_logit))
    return real + jnp.mean(fake_weight * jax.nn.softplus(fake_logit))


@pytree.dataclass
class Discriminator:
    """A density ratio that a network learns, a few steps a generation.

    A stand-in for :class:`diffevo_jax.flows.KernelRatio` in ``MonoFlow``, and the
    discriminator of a GAN (:func:`diffevo_jax.flows.train_gan`). Its instance noise
    shows it both densities through a kernel of the width that ``KernelRatio`` would have.

    Args:
        hidden: widths of the hidden layers, static, at least one.
        num_steps: of the optimizer in a generation, static, >= 1.
        learning_rate: of Adam, > 0.
        penalty: on the squared length of the gradient in units of the width, >= 0: more is
            smoother, and 0 is unbiased.
        dimension: of the width, and of the neighbours for a power of the density, > 0: that
            of :class:`diffevo_jax.kernels.Tempered`.
        optimizer: of optax; None is Adam; static.

    Example:
        >>> import jax, diffevo_jax as de
        >>> from diffevo_jax import flows
        >>> strategy = de.MonoFlow(10, ratio=flows.Discriminator((16,)))
        >>> problem = de.problems.Function(lambda x: -((x - 0.5) ** 2).sum(), dim=2)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=64)
        >>> bool(result.history.mean_fitness[-1] > result.history.mean_fitness[0])
        True

    References:
        Yi, Zhu, Liu, 2023, arXiv:2302.01075; Sonderby et al., 2016, arXiv:1610.04490,
        section 3.2 (instance noise); Mescheder et al., 2018, arXiv:1801.04406 (penalty).
    """

    hidden: tuple[int, ...] = pytree.static(default=(64, 64))
    num_steps: int = pytree.static(default=50)
    learning_rate: Number = pytree.number(default=1e-2, above=0.0)
    penalty: Number = pytree.number(default=0.01, low=0.0)
    dimension: Number = pytree.number(default=2.0, above=0.0)
    optimizer: "optax.GradientTransformation | None" = pytree.static(default=None)

    def check(self) -> None:
        """Raise if there is no such discriminator."""
        check_widths("Discriminator.hidden", self.hidden)
        validation.check_count("Discriminator.num_steps", self.num_steps)

    def init(self, key: jax.Array, population: jax.Array) -> DiscriminatorState:
        """Draw weights for points like these ``(N, D)``; it answers 0 everywhere."""
        weights = feed_forward_init(key, (population.shape[1], *self.hidden, 1))
        return DiscriminatorState(
            weights=weights,
            optimizer_state=self._optimizer().init(weights),
            centre=jnp.zeros(population.shape[1], population.dtype),
            scale=jnp.ones((), population.dtype),
        )

    def logit(self, state: DiscriminatorState, points: jax.Array) -> jax.Array:
        """The log-ratio at points (N, D), as learned, (N,)."""
        return feed_forward(state.weights, (points - state.centre[None]) / state.scale)[
            :, 0
        ]

    def gradient(
        self, state: DiscriminatorState, points: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The log-ratio (N,) and its gradient (N, D) at points."""
        logit, back = jax.vjp(lambda points: self.logit(state, points), points)
        return logit, back(jnp.ones_like(logit))[0]

    def loss(
        self,
        weights: PyTree,
        key: jax.Array,
        state: DiscriminatorState,
        real: tuple[jax.Array, jax.Array],
        fake: tuple[jax.Array, jax.Array],
        width: Number,
    ) -> jax.Array:
        """Logistic loss with instance noise, plus the penalty on the gradient.

        ``weights`` are in the place of the state's; the rest is as of :meth:`fit`.
        """
        state = pytree.replace(state, weights=weights)
        answers, squares = [], []
        for one, (points, weight) in zip(jax.random.split(key), (real, fake), strict=True):
            noisy = points + width * jax.random.normal(one, points.shape, points.dtype)
            logit, gradient = self.gradient(state, noisy)
            answers.append(logit)
            squares.append(jnp.mean(weight * jnp.sum(gradient**2, axis=1)))
        loss = logistic_loss(answers[0], answers[1], real[1], fake[1])
        return loss + self.penalty * width**2 * (squares[0] + squares[1])

    def fit(
        self,
        key: jax.Array,
        state: DiscriminatorState,
        real: tuple[jax.Array, jax.Array],
        fake: tuple[jax.Array, jax.Array],
        width: Number,
    ) -> tuple[DiscriminatorState, jax.Array]:
        """Take ``num_steps`` steps, from where the state is, with all points in each.

        Args:
            key: a typed key.
            state: where to go on.
            real: points (N, D) of p and their weights (N,), 1 on average.
            fake: points (M, D) of q and their weights (M,), 1 on average.
            width: () deviation of the instance noise.

        Returns:
            The state, and whether it is sound, () bool: all numbers are finite, and the
            last loss is at most twice that of the answer 0.
        """
        points, weight = fake
        share = (weight / jnp.sum(weight))[:, None]
        centre = jnp.sum(share * points, axis=0)
        variance = jnp.sum(share * (points - centre[None]) ** 2) / points.shape[1]
        scale = jnp.sqrt(variance + width**2)
        state = pytree.replace(state, centre=centre, scale=scale)

        def step(i: jax.Array, carry: tuple) -> tuple:
            state, _ = carry
            value_and_gradient = jax.value_and_grad(self.loss)
            loss, gradient = value_and_gradient(
                state.weights, jax.random.fold_in(key, i), state, real, fake, width
            )
            weights, memory = descend(
                self._optimizer(), gradient, state.optimizer_state, state.weights
            )
            return pytree.replace(state, weights=weights, optimizer_state=memory), loss

        start = (state, jnp.zeros((), points.dtype))
        state, loss = jax.lax.fori_loop(0, self.num_steps, step, start)
        finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state)]
        sound = jnp.all(jnp.stack(finite)) & (loss <= DIVERGED * _UNDECIDED)
        return state, sound

    def estimate(
        self,
        key: jax.Array,
        state: DiscriminatorState,
        points: jax.Array,
        log_weight: jax.Array,
        present: jax.Array,
        sigma: jax.Array,
        density_power: Number,
    ) -> tuple[Ratio, DiscriminatorState]:
        """The ratio at the points; see :class:`diffevo_jax.flows.RatioEstimator`."""
        factor = Tempered(self.dimension).factor((), points.shape[1])
        precision = factor / sigma**2
        density = kernel_log_density(points, precision, valid=present)
        log_weight = log_weight - density_power * density
        share = jax.nn.softmax(or_uniform(log_weight))
        base = present.astype(points.dtype)
        base = base / jnp.maximum(jnp.sum(base), 1.0)
        width = 1 / jnp.sqrt(precision)
        size = len(points)
        real, fake = (points, size * share), (points, size * base)
        state, sound = self.fit(key, state, real, fake, width)
        logit, gradient = self.gradient(state, points)
        sound &= jnp.all(jnp.isfinite(logit)) & jnp.all(jnp.isfinite(gradient))
        ratio = Ratio(
            log_ratio=logit,
            gradient=gradient,
            width=width,
            effective_sample_size=jnp.full(size, 1 / jnp.sum(share**2)),
            self_weight=share,
            sound=sound & jnp.any(log_weight > -jnp.inf),
        )
        return ratio, state

    def _optimizer(self) -> "optax.GradientTransformation":
        if self.optimizer is not None:
            return self.optimizer
        return adversarial_optimizer(self.learning_rate)

"""What a training is made of, and where one stands."""

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.dense import NetworkLike
from diffevo_jax.diffusion.training.objectives import Objective
from diffevo_jax.diffusion.training.parameterisation import Parameterisation
from diffevo_jax.pytree import Number, validation

if TYPE_CHECKING:  # it takes a seventh of a second to import
    import optax


@pytree.dataclass
class Recipe:
    """All settings of a training; :func:`diffevo_jax.diffusion.train` says what they are.

    Args:
        network: what is trained.
        precondition: what it predicts.
        objective: noise levels and their weights.
        num_steps: length of the schedule of the learning rate, >= 1.
        learning_rate: largest one of the default optimizer, > 0.
        ema: decay of the averaged weights a step, in [0, 1).
        condition_dropout: share of conditions that are hidden, in [0, 1].
        trust: share of the target that is the answer of the averaged weights, in [0, 1);
            None for none.
        optimizer: of optax; None is :func:`default_optimizer`.
        batch_size: samples a step, >= 1.
    """

    network: NetworkLike
    precondition: Parameterisation
    objective: Objective
    num_steps: Number = pytree.number(low=1.0)
    learning_rate: Number = pytree.number(default=2e-3, above=0.0)
    ema: Number = pytree.number(default=0.999, low=0.0, high=1.0 - 1e-6)
    condition_dropout: Number = pytree.number(default=0.1, low=0.0, high=1.0)
    trust: Number | None = pytree.numbers(default=None)
    optimizer: "optax.GradientTransformation | None" = pytree.static(default=None)
    batch_size: int = pytree.static(default=256)

    def check(self) -> None:
        """Raise if a setting is out of its range."""
        validation.check_count("batch_size", self.batch_size)
        known = pytree.concrete(0.0 if self.trust is None else self.trust)
        if known is not None and not 0 <= known < 1:
            raise ValueError(f"trust: got {self.trust}, want a number >= 0 and < 1")


@pytree.dataclass
class TrainState:
    """Where a training stands: all that the rest of it depends on, save key and data.

    Attributes:
        step: () int32, steps done.
        weights: of the network.
        average: the weights, averaged, in float32 or better.
        optimizer_state: of the optimizer.
        first: (2,) loss of the first step, and that of the answer 0.
        last: (2,) sums of both over the last tenth of the whole training.
        diverged_at: () int32, the step whose loss or gradient was not finite, after which
            nothing changes; -1 if there was none.
    """

    step: jax.Array
    weights: PyTree
    average: PyTree
    optimizer_state: PyTree
    first: jax.Array
    last: jax.Array
    diverged_at: jax.Array


def default_optimizer(
    learning_rate: Number, num_steps: Number
) -> "optax.GradientTransformation":
    """Adam with clipped gradients, a warm-up, and a cosine down to 0.

    Args:
        learning_rate: the largest one.
        num_steps: until 0 is reached; the first twentieth is the warm-up.
    """
    import optax

    def schedule(count: jax.Array) -> jax.Array:
        done = jnp.minimum(count / num_steps, 1.0)
        return learning_rate * jnp.minimum(
            (count + 1) / jnp.maximum(0.05 * num_steps, 1.0),
            0.5 * (1 + jnp.cos(math.pi * done)),
        )

    # On one long vector: a network has many arrays, and each would be its own kernels.
    return optax.flatten(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)))


def optimizer_of(recipe: Recipe) -> "optax.GradientTransformation":
    """The optimizer of a recipe."""
    if recipe.optimizer is not None:
        return recipe.optimizer
    return default_optimizer(recipe.learning_rate, recipe.num_steps)

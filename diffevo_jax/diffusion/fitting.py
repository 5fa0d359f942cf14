"""The loop of a training: a pure function of a key, a recipe, a state and data."""

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree, validation
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.denoiser import without_condition
from diffevo_jax.diffusion.losses import denoising_loss
from diffevo_jax.diffusion.networks import Network, NetworkLike
from diffevo_jax.diffusion.objectives import Objective
from diffevo_jax.diffusion.parameterisation import Parameterisation
from diffevo_jax.pytree import Number

if TYPE_CHECKING:  # it takes a seventh of a second to import
    import optax

#: Steps have the keys 0, 1, 2, ...; the first weights have this one.
_SETUP = 2**32 - 1
#: Always answers 0.
_SILENT = Network(
    init=lambda key, shape: (),
    apply=lambda weights, y, c_noise, condition: jnp.zeros_like(y),
)


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
        average: the weights, averaged.
        optimizer_state: of the optimizer.
        diverged_at: () int32, the step whose loss or gradient was not finite, after which
            nothing changes; -1 if there was none.
    """

    step: jax.Array
    weights: PyTree
    average: PyTree
    optimizer_state: PyTree
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


def start(key: jax.Array, recipe: Recipe, shape: tuple[int, ...]) -> TrainState:
    """The state before the first step, for samples of a shape."""
    weights = recipe.network.init(jax.random.fold_in(key, _SETUP), shape)
    weights = jax.tree.map(jnp.asarray, weights)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        weights=weights,
        average=weights,
        optimizer_state=_optimizer(recipe).init(weights),
        diverged_at=-jnp.ones((), jnp.int32),
    )


def fit(
    key: jax.Array,
    recipe: Recipe,
    state: TrainState,
    data: jax.Array,
    sample_weight: jax.Array | None,
    condition: Any,
    count: jax.Array | int,
    length: int,
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Train for some steps: the pure core of :func:`diffevo_jax.diffusion.train`.

    Trace it to train inside another program, many at once under ``vmap``. It checks nothing
    and raises nothing: look at ``diverged_at``.

    Args:
        key: a typed key, the same for all steps.
        recipe: the settings.
        state: of :func:`start`, or of an earlier call.
        data: (N, ...) samples.
        sample_weight: (N,) >= 0, not all 0: how often each is drawn; None: all alike.
        condition: of each sample, or None.
        count: steps to do, at most ``length``. It may be traced; then the bits do not
            depend on how a training is cut into calls.
        length: of the arrays of losses, static.

    Returns:
        The state; losses and baselines, both (length,), NaN after ``count``.
    """
    data, condition = jax.tree.map(jnp.asarray, (data, condition))
    share = None if sample_weight is None else jnp.cumsum(sample_weight)

    def body(i: jax.Array, carry: tuple) -> tuple:
        state, losses, baselines = carry
        state, loss, baseline = _step(key, recipe, state, data, share, condition)
        return state, losses.at[i].set(loss), baselines.at[i].set(baseline)

    unknown = jnp.full(length, jnp.nan, dtype=float)
    return jax.lax.fori_loop(0, count, body, (state, unknown, unknown))


def _step(
    key: jax.Array,
    recipe: Recipe,
    state: TrainState,
    data: jax.Array,
    cumulative: jax.Array | None,
    condition: Any,
) -> tuple[TrainState, jax.Array, jax.Array]:
    keys = jax.random.split(jax.random.fold_in(key, state.step), 3)
    index = _draw(keys[0], recipe.batch_size, len(data), cumulative)
    batch = data[index]
    given = _hide(keys[1], recipe, jax.tree.map(lambda leaf: leaf[index], condition))

    def loss_of(weights: PyTree, network: NetworkLike, teacher: PyTree) -> jax.Array:
        return denoising_loss(
            weights,
            keys[2],
            batch,
            network=network,
            precondition=recipe.precondition,
            objective=recipe.objective,
            condition=given,
            teacher=teacher,
            trust=0.0 if recipe.trust is None else recipe.trust,
        )

    teacher = None if recipe.trust is None else state.average
    loss, gradient = jax.value_and_grad(loss_of)(state.weights, recipe.network, teacher)
    moved = _move(recipe, state, gradient)
    squares = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient))
    good = jnp.isfinite(loss + squares)
    diverged_at = jnp.where(state.diverged_at < 0, state.step, state.diverged_at)
    stopped = pytree.replace(state, diverged_at=diverged_at)
    state = pytree.select(good & (state.diverged_at < 0), moved, stopped)
    return state, loss, loss_of((), _SILENT, None)


def _draw(key: jax.Array, count: int, size: int, cumulative: jax.Array | None) -> jax.Array:
    """Indices of a batch: with replacement, each as often as its weight says.

    The mean loss is that of a weighted batch, with less noise.
    """
    if cumulative is None:
        return jax.random.randint(key, (count,), 0, size)
    place = cumulative[-1] * jax.random.uniform(key, (count,))
    # Where the sum goes beyond the place: a weight of 0 never does, nor what rounding adds.
    last = jnp.searchsorted(cumulative, cumulative[-1])
    return jnp.minimum(jnp.searchsorted(cumulative, place, side="right"), last)


def _move(recipe: Recipe, state: TrainState, gradient: PyTree) -> TrainState:
    """A step of the optimizer and of the average."""
    import optax

    change, optimizer_state = _optimizer(recipe).update(
        gradient, state.optimizer_state, state.weights
    )
    weights: Any = optax.apply_updates(state.weights, change)
    step = state.step + 1
    decay = jnp.minimum(recipe.ema, (1.0 + step) / (10.0 + step))
    average = jax.tree.map(
        lambda old, new: decay * old + (1 - decay) * new, state.average, weights
    )
    return TrainState(step, weights, average, optimizer_state, state.diverged_at)


def _hide(key: jax.Array, recipe: Recipe, given: Any) -> Any:
    """Replace a share of the conditions by the one that says nothing."""
    if given is None or recipe.network.null is None:
        return given
    hidden = jax.random.bernoulli(key, recipe.condition_dropout, (recipe.batch_size,))
    pick = lambda null, leaf: jnp.where(
        hidden.reshape(hidden.shape + (1,) * (leaf.ndim - 1)), null, leaf
    )
    return jax.tree.map(pick, without_condition(recipe.network, given), given)


def _optimizer(recipe: Recipe) -> "optax.GradientTransformation":
    if recipe.optimizer is not None:
        return recipe.optimizer
    return default_optimizer(recipe.learning_rate, recipe.num_steps)

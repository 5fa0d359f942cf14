"""The loop of a training: a pure function of a key, a recipe, a state and data."""

from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.dense import Network, NetworkLike
from diffevo_jax.diffusion.training.denoiser import without_condition
from diffevo_jax.diffusion.training.losses import denoising_loss
from diffevo_jax.diffusion.training.recipe import Recipe, TrainState, optimizer_of

#: Steps have the keys 0, 1, 2, ...; the first weights have this one.
_SETUP = 2**32 - 1
#: Always answers 0.
_SILENT = Network(
    init=lambda key, shape: (),
    apply=lambda weights, y, c_noise, condition: jnp.zeros_like(y),
)


def start(key: jax.Array, recipe: Recipe, shape: tuple[int, ...]) -> TrainState:
    """The state before the first step, for samples of a shape."""
    weights = recipe.network.init(jax.random.fold_in(key, _SETUP), shape)
    weights = jax.tree.map(jnp.asarray, weights)
    # An average that moves by a thousandth a step would stand still in bfloat16.
    fine = lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        weights=weights,
        average=jax.tree.map(fine, weights),
        optimizer_state=optimizer_of(recipe).init(weights),
        first=jnp.zeros(2),
        last=jnp.zeros(2),
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
    baseline = loss_of((), _SILENT, None)
    moved = _noted(recipe, _move(recipe, state, gradient), jnp.stack([loss, baseline]))
    squares = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient))
    good = jnp.isfinite(loss + squares)
    diverged_at = jnp.where(state.diverged_at < 0, state.step, state.diverged_at)
    stopped = pytree.replace(state, diverged_at=diverged_at)
    state = pytree.select(good & (state.diverged_at < 0), moved, stopped)
    return state, loss, baseline


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

    change, optimizer_state = optimizer_of(recipe).update(
        gradient, state.optimizer_state, state.weights
    )
    weights: Any = optax.apply_updates(state.weights, change)
    step = state.step + 1
    decay = jnp.minimum(recipe.ema, (1.0 + step) / (10.0 + step))
    average = jax.tree.map(
        lambda old, new: decay * old + (1 - decay) * new, state.average, weights
    )
    return pytree.replace(
        state,
        step=step,
        weights=weights,
        average=average,
        optimizer_state=optimizer_state,
    )


def _noted(recipe: Recipe, state: TrainState, losses: jax.Array) -> TrainState:
    """Remember the losses of the first step, and those of the last ones.

    In the state, so that they are the same however a training is cut into calls.
    """
    tenth = jnp.ceil(recipe.num_steps / 10)
    return pytree.replace(
        state,
        first=jnp.where(state.step == 1, losses, state.first),
        last=state.last + jnp.where(state.step > recipe.num_steps - tenth, losses, 0.0),
    )


def _hide(key: jax.Array, recipe: Recipe, given: Any) -> Any:
    """Replace a share of the conditions by the one that says nothing."""
    if given is None or recipe.network.null is None:
        return given
    hidden = jax.random.bernoulli(key, recipe.condition_dropout, (recipe.batch_size,))
    pick = lambda null, leaf: jnp.where(
        hidden.reshape(hidden.shape + (1,) * (leaf.ndim - 1)), null, leaf
    )
    return jax.tree.map(pick, without_condition(recipe.network, given), given)

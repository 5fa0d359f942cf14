"""The loop of a training: pure functions of a key, network, recipe, state and data."""

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.network import Network, NetworkLike, null_labels
from diffevo_jax.diffusion.training.losses import append_axes, denoising_loss
from diffevo_jax.diffusion.training.optimizers import descend
from diffevo_jax.diffusion.training.recipe import Recipe
from diffevo_jax.pytree.annotations import Index, checked

#: Steps have the keys 0, 1, 2, ...; the first weights have this one.
_SETUP = 2**32 - 1
#: Always answers 0.
_SILENT = Network(
    init=lambda key, shape: (),
    apply=lambda weights, y, c_noise, label: jnp.zeros_like(y),
)


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

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> linear = diffusion.Network(init=lambda key, shape: jnp.zeros(shape * 2),
        ...     apply=lambda weights, y, c_noise, label: y @ weights)
        >>> state = diffusion.init_training(
        ...     jax.random.key(0), linear, diffusion.Recipe(), shape=(2,))
        >>> int(state.step), int(state.diverged_at)  # none done, none diverged
        (0, -1)
    """

    step: jax.Array
    weights: PyTree
    average: PyTree
    optimizer_state: PyTree
    first: jax.Array
    last: jax.Array
    diverged_at: jax.Array


@checked
def init_training(
    key: jax.Array, network: NetworkLike, recipe: Recipe, shape: tuple[int, ...]
) -> TrainState:
    """The state before the first step, for samples of a shape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> linear = diffusion.Network(init=lambda key, shape: jnp.zeros(shape * 2),
        ...     apply=lambda weights, y, c_noise, label: y @ weights)
        >>> state = diffusion.init_training(
        ...     jax.random.key(0), linear, diffusion.Recipe(), shape=(2,))
        >>> state.weights.tolist()
        [[0.0, 0.0], [0.0, 0.0]]
    """
    weights = network.init(jax.random.fold_in(key, _SETUP), shape)
    weights = jax.tree.map(jnp.asarray, weights)
    # An average that moves by a thousandth a step would stand still in bfloat16.
    fine = lambda leaf: leaf.astype(np.promote_types(leaf.dtype, np.float32))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        weights=weights,
        average=jax.tree.map(fine, weights),
        optimizer_state=recipe.used_optimizer().init(weights),
        first=jnp.zeros(2),
        last=jnp.zeros(2),
        diverged_at=-jnp.ones((), jnp.int32),
    )


@checked
def train_steps(
    key: jax.Array,
    network: NetworkLike,
    recipe: Recipe,
    state: TrainState,
    data: jax.Array,
    count: jax.Array | Index,
    *,
    length: int,
    sample_weight: jax.Array | None = None,
    labels: PyTree = None,
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Train for some steps: the pure core of :func:`diffevo_jax.diffusion.train`.

    Trace it to train inside another program, many at once under ``vmap``. It checks nothing
    and raises nothing: look at ``diverged_at``.

    Args:
        key: a typed key, the same for all steps.
        network: what is trained.
        recipe: the settings.
        state: of :func:`init_training`, or of an earlier call.
        data: (N, ...) samples.
        count: steps to do, at most ``length``. It may be traced; then the bits do not
            depend on how a training is cut into calls.
        length: of the arrays of losses, static.
        sample_weight: (N,) >= 0, not all 0: how often each is drawn; None: all alike.
        labels: of each sample, or None.

    Returns:
        The state; losses and baselines, both (length,), infinite after ``count``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> linear = diffusion.Network(init=lambda key, shape: jnp.zeros(shape * 2),
        ...     apply=lambda weights, y, c_noise, label: y @ weights)
        >>> recipe, data = diffusion.Recipe(batch_size=4), jnp.ones((8, 2))
        >>> def losses_of(key):
        ...     state = diffusion.init_training(key, linear, recipe, shape=(2,))
        ...     _, losses, _ = diffusion.train_steps(
        ...         key, linear, recipe, state, data, count=5, length=5)
        ...     return losses
        >>> keys = jax.random.split(jax.random.key(0), 3)
        >>> jax.eval_shape(jax.vmap(losses_of), keys).shape  # three trainings at once
        (3, 5)
    """
    data, labels = jax.tree.map(jnp.asarray, (data, labels))
    share = None if sample_weight is None else jnp.cumsum(sample_weight)

    def body(i: jax.Array, carry: tuple) -> tuple:
        state, losses, baselines = carry
        state, loss, baseline = _step(key, network, recipe, state, data, share, labels)
        return state, losses.at[i].set(loss), baselines.at[i].set(baseline)

    unknown = jnp.full(length, jnp.inf, dtype=float)
    return jax.lax.fori_loop(0, count, body, (state, unknown, unknown))


def _step(
    key: jax.Array,
    network: NetworkLike,
    recipe: Recipe,
    state: TrainState,
    data: jax.Array,
    cumulative: jax.Array | None,
    labels: PyTree,
) -> tuple[TrainState, jax.Array, jax.Array]:
    keys = jax.random.split(jax.random.fold_in(key, state.step), 3)
    index = _draw(keys[0], recipe.batch_size, len(data), cumulative)
    batch = data[index]
    label = jax.tree.map(lambda leaf: leaf[index], labels)
    label = _drop_labels(keys[1], network, recipe, label)

    def loss_of(weights: PyTree, network: NetworkLike, teacher: PyTree) -> jax.Array:
        return denoising_loss(
            weights,
            keys[2],
            batch,
            network=network,
            parameterisation=recipe.parameterisation,
            objective=recipe.used_objective(),
            label=label,
            teacher=teacher,
            trust=0.0 if recipe.trust is None else recipe.trust,
        )

    teacher = None if recipe.trust is None else state.average
    loss, gradient = jax.value_and_grad(loss_of)(state.weights, network, teacher)
    baseline = loss_of((), _SILENT, None)
    losses = jnp.stack([loss, baseline])
    moved = _remember_losses(recipe, _move(recipe, state, gradient), losses)
    squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient)]
    good = jnp.isfinite(loss + sum(square.astype(loss.dtype) for square in squares))
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
    weights, optimizer_state = descend(
        recipe.used_optimizer(), gradient, state.optimizer_state, state.weights
    )
    step = state.step + 1
    done = step.astype(float)
    decay = jnp.minimum(recipe.ema, (1.0 + done) / (10.0 + done))
    average = jax.tree.map(
        lambda old, new: decay * old + (1 - decay) * new.astype(old.dtype),
        state.average,
        weights,
    )
    return pytree.replace(
        state,
        step=step,
        weights=weights,
        average=average,
        optimizer_state=optimizer_state,
    )


def _remember_losses(recipe: Recipe, state: TrainState, losses: jax.Array) -> TrainState:
    """Remember the losses of the first step, and those of the last ones.

    In the state, so that they are the same however a training is cut into calls.
    """
    last = state.step.astype(float) > recipe.num_steps - jnp.ceil(recipe.num_steps / 10)
    return pytree.replace(
        state,
        first=jnp.where(state.step == 1, losses, state.first),
        last=state.last + jnp.where(last, losses, 0.0),
    )


def _drop_labels(
    key: jax.Array, network: NetworkLike, recipe: Recipe, label: PyTree
) -> PyTree:
    """Replace a share of the labels by the one that says nothing."""
    if label is None or network.null_label is None:
        return label
    hidden = jax.random.bernoulli(key, recipe.label_dropout, (recipe.batch_size,))
    pick = lambda null, leaf: jnp.where(append_axes(hidden, leaf), null, leaf)
    return jax.tree.map(pick, null_labels(network, label), label)

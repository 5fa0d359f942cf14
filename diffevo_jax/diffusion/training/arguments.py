"""What a training is given: data, labels, a network that fits them, where to go on."""

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.network import (
    ClassConditional,
    NetworkLike,
    labels_or_null,
)
from diffevo_jax.diffusion.training.loop import TrainState
from diffevo_jax.diffusion.training.parameterisations import Parameterisation
from diffevo_jax.pytree.arrays import real_array

#: The data's deviation may differ from ``sigma_data`` by this factor.
TOLERANCE = 1.25
#: The data's mean may be so many ``sigma_data`` away from 0.
FARTHEST_MEAN = 2.0


def check_data(
    data: jax.typing.ArrayLike,
    sample_weight: jax.typing.ArrayLike | None,
    parameterisation: Parameterisation,
) -> tuple[jax.Array, jax.Array | None]:
    """Return data and weights as floats; raise unless they are legal.

    Args:
        data: (N, ...), finite, with the standard deviation ``sigma_data``.
        sample_weight: (N,) >= 0, or None; scaled to 1 on average.
        parameterisation: which says ``sigma_data``.
    """
    array = real_array("data", data, "(N, ...)")
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"data: got shape {array.shape}, want (N, ...) with N >= 1")
    weight = _weight(sample_weight, len(array))
    values = np.asarray(array, np.float64).reshape(len(array), -1)
    if not np.isfinite(values).all():
        raise ValueError("data: got NaN or infinity, want finite numbers")
    share = weight / weight.sum()
    mean = (share @ values).mean()
    deviation = np.sqrt((share @ (values - mean) ** 2).mean())
    want = float(parameterisation.sigma_data)
    if not want / TOLERANCE <= deviation <= want * TOLERANCE:
        raise ValueError(
            f"data: got a standard deviation of {deviation:.3g}, want sigma_data = "
            f"{want:.3g} within a factor of {TOLERANCE}: scale the data, or say sigma_data"
        )
    if abs(mean) > FARTHEST_MEAN * want:
        raise ValueError(
            f"data: got a mean of {mean:.3g}, want one within {FARTHEST_MEAN:g} "
            f"sigma_data = {FARTHEST_MEAN * want:.3g} of 0: subtract it"
        )
    return array, None if sample_weight is None else jnp.asarray(weight, dtype=float)


def _weight(sample_weight: jax.typing.ArrayLike | None, count: int) -> np.ndarray:
    """Return weights (N,) with a mean of 1; raise unless they are legal."""
    if sample_weight is None:
        return np.ones(count)
    weight = np.asarray(sample_weight, np.float64)
    if weight.shape != (count,):
        raise ValueError(f"sample_weight: got shape {weight.shape}, want ({count},)")
    if not (np.isfinite(weight) & (weight >= 0)).all() or not weight.any():
        raise ValueError("sample_weight: want finite numbers >= 0, not all 0")
    return weight / weight.mean()


def check_labels(labels: PyTree, count: int, network: NetworkLike) -> PyTree:
    """Return labels as arrays; raise unless there is one for each sample."""
    if labels is not None and isinstance(network, ClassConditional):
        labels = np.asarray(labels)
        labels_or_null(network.num_classes, labels, count)
        _check_first_class(network.num_classes, labels)
    arrays = jax.tree.map(jnp.asarray, labels)
    for leaf in jax.tree.leaves(arrays):
        if leaf.shape[:1] != (count,):
            raise ValueError(
                f"labels: got shape {leaf.shape}, want one for each of {count} samples"
            )
    return arrays


def _check_first_class(num_classes: int, labels: np.ndarray) -> None:
    """Raise if labels are those of classes from 1: the last one would say nothing."""
    if labels.min() > 0 and labels.max() == num_classes:
        raise ValueError(
            f"labels: got {labels.min()} to {num_classes}, want the classes 0 to "
            f"{num_classes - 1}, of which there is no 0 here: of classes from 1 take "
            f"labels - 1 ({num_classes} is the label that says nothing)"
        )


def check_output(network: NetworkLike, data: jax.Array, labels: PyTree) -> None:
    """Raise unless a network takes a batch of the data, and its output has that shape."""

    def one(key: jax.Array, batch: jax.Array, label: PyTree) -> tuple[PyTree, jax.Array]:
        weights = network.init(key, batch.shape[1:])
        return weights, network.apply(weights, batch, jnp.zeros(len(batch)), label)

    first = jax.tree.map(lambda leaf: leaf[:1], (data, labels))
    weights, output = jax.eval_shape(one, jax.random.key(0), *first)
    if output.shape != first[0].shape:
        raise ValueError(
            f"network: got outputs of shape {output.shape[1:]}, want {data.shape[1:]} as "
            "the data"
        )
    if not jax.tree.leaves(weights):
        raise ValueError("network: got one without weights, want something to train")
    for leaf in jax.tree.leaves(weights):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"network: got weights of {leaf.dtype}, want real floats")


def check_state(state: TrainState, want: TrainState) -> None:
    """Raise unless it is that of a training with these parts."""
    if not isinstance(state, TrainState):
        raise TypeError(f"state: got {type(state).__name__}, want the state of a Trained")
    described = lambda tree: (
        jax.tree.structure(tree),
        [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)],
    )
    for name, got, known in (
        ("weights", state.weights, want.weights),
        ("optimizer_state", state.optimizer_state, want.optimizer_state),
    ):
        if described(got) != described(known):
            raise ValueError(
                f"state: its {name} are not those of this network and optimizer; want the "
                "arguments that the training was begun with"
            )

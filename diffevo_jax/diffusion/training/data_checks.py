"""Checks of what a training is given: data, weights, conditions, parts that fit."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax import pytree
from diffevo_jax.diffusion.networks.dense import Network, NetworkLike, labels
from diffevo_jax.diffusion.training.objectives import Objective
from diffevo_jax.diffusion.training.parameterisation import Parameterisation
from diffevo_jax.pytree import validation

#: The data's deviation may differ from ``sigma_data`` by this factor.
TOLERANCE = 1.25
#: The data's mean may be so many ``sigma_data`` away from 0.
FARTHEST_MEAN = 2.0


def check_parts(
    network: Any, precondition: Any, objective: Any
) -> tuple[NetworkLike, Objective]:
    """Raise unless the parts of a training are what they should be.

    Returns:
        The network as a component, and the objective, by default the parameterisation's.
    """
    check_part = validation.check_part
    check_part("network", network, ("init", "apply"), "MLP() or UNet()")
    members = ("coefficients", "target", "objective", "sigma_data")
    check_part("precondition", precondition, members, "EDM() or Noise()")
    _check_tree("precondition", precondition)
    objective = precondition.objective() if objective is None else objective
    check_part("objective", objective, ("draw", "weight"), "Objective(...)")
    _check_tree("objective", objective)
    if not pytree.is_component(network):
        network = Network(network.init, network.apply, getattr(network, "null", None))
    return network, objective


def _check_tree(name: str, part: Any) -> None:
    if not pytree.is_component(part):
        raise TypeError(
            f"{name}: got {part!r}, want a pytree: make its class one with "
            "@diffevo_jax.pytree.dataclass"
        )


def check_data(
    data: Any, sample_weight: Any, precondition: Parameterisation
) -> tuple[jax.Array, jax.Array | None]:
    """Return data and weights as floats; raise unless they are legal.

    Args:
        data: (N, ...), finite, with the standard deviation ``sigma_data``.
        sample_weight: (N,) >= 0, or None; scaled to 1 on average.
        precondition: which says ``sigma_data``.
    """
    given = jnp.asarray(data)
    if not any(jnp.issubdtype(given.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise TypeError(f"data: got {given.dtype}, want real numbers")
    array = given.astype(float)
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"data: got shape {array.shape}, want (N, ...) with N >= 1")
    weight = _weight(sample_weight, len(array))
    values = np.asarray(array, np.float64).reshape(len(array), -1)
    if not np.isfinite(values).all():
        raise ValueError("data: got NaN or infinity, want finite numbers")
    share = weight / weight.sum()
    mean = (share @ values).mean()
    deviation = np.sqrt((share @ (values - mean) ** 2).mean())
    want = float(precondition.sigma_data)
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


def _weight(sample_weight: Any, count: int) -> np.ndarray:
    """Return weights (N,) with a mean of 1; raise unless they are legal."""
    if sample_weight is None:
        return np.ones(count)
    weight = np.asarray(sample_weight, np.float64)
    if weight.shape != (count,):
        raise ValueError(f"sample_weight: got shape {weight.shape}, want ({count},)")
    if not (np.isfinite(weight) & (weight >= 0)).all() or not weight.any():
        raise ValueError("sample_weight: want finite numbers >= 0, not all 0")
    return weight / weight.mean()


def check_condition(condition: Any, count: int, network: NetworkLike) -> Any:
    """Return a condition as arrays; raise unless there is one for each sample."""
    if condition is not None and hasattr(network, "num_classes"):
        condition = np.asarray(condition)
        labels(network.num_classes, condition, count)
    arrays = jax.tree.map(jnp.asarray, condition)
    for leaf in jax.tree.leaves(arrays):
        if leaf.shape[:1] != (count,):
            raise ValueError(
                f"condition: got shape {leaf.shape}, want one for each of {count} samples"
            )
    return arrays


def check_answer(network: NetworkLike, data: jax.Array, condition: Any) -> None:
    """Raise unless a network takes a batch of the data, and answers in its shape."""

    def one(key: jax.Array, batch: jax.Array, given: Any) -> tuple[Any, jax.Array]:
        weights = network.init(key, batch.shape[1:])
        return weights, network.apply(weights, batch, jnp.zeros(len(batch)), given)

    first = jax.tree.map(lambda leaf: leaf[:1], (data, condition))
    weights, answer = jax.eval_shape(one, jax.random.key(0), *first)
    if answer.shape != first[0].shape:
        raise ValueError(
            f"network: got answers of shape {answer.shape[1:]}, want {data.shape[1:]} as "
            "the data"
        )
    if not jax.tree.leaves(weights):
        raise ValueError("network: got one without weights, want something to train")
    for leaf in jax.tree.leaves(weights):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"network: got weights of {leaf.dtype}, want real floats")

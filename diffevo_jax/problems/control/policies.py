"""Policies: from an observation to an output, given weights."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.attention import matmul
from diffevo_jax.base import PyTree
from diffevo_jax.problems.factors import ChangedMatrix
from diffevo_jax.pytree import validation

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
}

#: Layers with at most so many weights are sums of products, one number at a time.
UNROLLED_WEIGHTS = 64


@pytree.dataclass
class FunctionPolicy:
    """A policy of your own, from two functions; :class:`diffevo_jax.base.Policy` by hand.

    Args:
        init: ``init(key, observation) -> policy_params``: a pytree of arrays, of which only
            structure, shapes and dtypes are used.
        apply: ``apply(policy_params, observation, carry) -> (output, carry)``; the carry of
            a feed-forward policy is ``()``. The output is one number for each discrete
            action, or an array like a continuous action.
        initial_carry: returns what a recurrent policy carries into an episode, a pytree of
            arrays.

    Example:
        >>> import jax.numpy as jnp, diffevo_jax as de
        >>> linear = de.problems.FunctionPolicy(
        ...     init=lambda key, observation: jnp.zeros((2, observation.size)),
        ...     apply=lambda weights, observation, carry: (weights @ observation, carry))
        >>> de.problems.Control("CartPole-v1", policy=linear).space.dim
        8
    """

    init: Callable[[jax.Array, PyTree], PyTree] = pytree.static()
    apply: Callable[[PyTree, PyTree, PyTree], tuple[jax.Array, PyTree]] = pytree.static()
    initial_carry: Callable[[], PyTree] = pytree.static(default=tuple)


@pytree.dataclass
class MLP:
    """A feed-forward network on flattened observations.

    Its namesake :class:`diffevo_jax.diffusion.MLP` is a denoiser: it hears a noise level.

    Args:
        hidden: widths of the hidden layers; ``()`` is a linear policy. The paper: ``(8,)``
            (58 weights on CartPole) and ``(128, 128)`` (17,410).
        activation: ``"relu"`` or ``"tanh"``, between layers.
        num_outputs: width of the output; None takes it from the environment.

    Example:
        >>> import diffevo_jax as de
        >>> problem = de.problems.Control("CartPole-v1", policy=de.problems.MLP((128, 128)))
        >>> problem.space.dim
        17410
    """

    hidden: tuple[int, ...] = pytree.static(default=(8,))
    activation: str = pytree.static(default="relu")
    num_outputs: int | None = pytree.static(default=None)

    def check(self) -> None:
        """Raise ValueError if there is no such network."""
        if not isinstance(self.hidden, tuple):
            raise TypeError(f"MLP.hidden: got {self.hidden!r}, want a tuple of ints")
        for width in self.hidden:
            validation.check_count("MLP.hidden", width)
        if self.num_outputs is not None:
            validation.check_count("MLP.num_outputs", self.num_outputs)
        if self.activation not in _ACTIVATIONS:
            raise ValueError(
                f"MLP.activation: got {self.activation!r}, want one of "
                f"{tuple(_ACTIVATIONS)}"
            )

    def sized(self, observation: PyTree, num_outputs: int) -> "MLP":
        """The same with so many outputs, if it has no width of its own."""
        if self.num_outputs is not None:
            return self
        return pytree.replace(self, num_outputs=num_outputs)

    def init(self, key: jax.Array, observation: PyTree) -> list[dict[str, jax.Array]]:
        """Return zero weights, one ``{"bias", "weight"}`` a layer; evolution draws them."""
        if self.num_outputs is None:
            raise ValueError("MLP.num_outputs: got None, want an int")
        widths = (flatten(observation).size, *self.hidden, self.num_outputs)
        return [
            {"bias": jnp.zeros(after), "weight": jnp.zeros((before, after))}
            for before, after in itertools.pairwise(widths)
        ]

    def initial_carry(self) -> tuple[()]:
        """No memory."""
        return ()

    def apply(
        self,
        policy_params: list[dict[str, jax.Array]],
        observation: PyTree,
        carry: tuple[()],
    ) -> tuple[jax.Array, tuple[()]]:
        """Return the output ``(num_outputs,)`` and the empty carry."""
        signal: jax.Array | list[jax.Array] = flatten(observation)
        for layer in policy_params[:-1]:
            signal = jax.tree.map(_ACTIVATIONS[self.activation], _affine(layer, signal))
        return jnp.asarray(_affine(policy_params[-1], signal)), carry


@pytree.dataclass
class ActionSequence:
    """A plan: outputs in their order, whatever is observed.

    The solution is the sequence itself, so that a strategy on it is a planner: prefer it
    where an environment's start is known and a policy is not wanted, as in model-based
    control. Where starts are drawn it is one plan for all of them.

    Args:
        horizon: outputs of a plan, static, >= 1; after them the last one stays.
        hold: steps that each output is held, static, >= 1: of few long ones random plans
            differ more, and there is less to find.
        num_outputs: width of an output; None takes it from the environment.

    Example:
        >>> import diffevo_jax as de
        >>> plan = de.problems.ActionSequence(horizon=50, hold=4)
        >>> de.problems.Control("Pendulum-v1", policy=plan).space.dim
        50
    """

    horizon: int = pytree.static(default=50)
    hold: int = pytree.static(default=1)
    num_outputs: int | None = pytree.static(default=None)

    def check(self) -> None:
        """Raise ValueError if a count is not positive."""
        validation.check_count("ActionSequence.horizon", self.horizon)
        validation.check_count("ActionSequence.hold", self.hold)
        if self.num_outputs is not None:
            validation.check_count("ActionSequence.num_outputs", self.num_outputs)

    def sized(self, observation: PyTree, num_outputs: int) -> "ActionSequence":
        """The same with so many outputs, if it has no width of its own."""
        if self.num_outputs is not None:
            return self
        return pytree.replace(self, num_outputs=num_outputs)

    def init(self, key: jax.Array, observation: PyTree) -> jax.Array:
        """Return zeros ``(horizon, num_outputs)``; evolution draws them."""
        if self.num_outputs is None:
            raise ValueError("ActionSequence.num_outputs: got None, want an int")
        return jnp.zeros((self.horizon, self.num_outputs))

    def initial_carry(self) -> jax.Array:
        """() int32, steps so far."""
        return jnp.zeros((), jnp.int32)

    def apply(
        self, policy_params: jax.Array, observation: PyTree, carry: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Return the output ``(num_outputs,)`` of this step, and the number of the next."""
        now = jnp.minimum(carry // self.hold, self.horizon - 1)
        return policy_params[now], carry + 1


def _affine(
    layer: dict[str, jax.Array], signal: jax.Array | list[jax.Array]
) -> jax.Array | list[jax.Array]:
    """A layer, on a vector or on a list of single numbers.

    A small one is computed number by number and gives a list: tiny matrix products, and
    vectors that are put together of single numbers, do not fuse with the rest.
    """
    weight, bias = layer["weight"], layer["bias"]
    if isinstance(weight, ChangedMatrix):
        return jnp.asarray(signal) @ weight + bias
    if weight.size > UNROLLED_WEIGHTS:
        signal = jnp.asarray(signal)
        return matmul(signal, weight) + bias
    numbers = [signal[i] for i in range(len(signal))]  # read once, not for each output
    return [
        sum((number * weight[i, j] for i, number in enumerate(numbers)), start=bias[j])
        for j in range(len(bias))
    ]


def flatten(observation: PyTree) -> jax.Array:
    """All numbers of an observation as one float vector."""
    leaves = jax.tree.leaves(observation)
    return jnp.concatenate([jnp.ravel(leaf).astype(float) for leaf in leaves])

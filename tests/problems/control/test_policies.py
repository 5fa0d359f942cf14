"""Policies, against a forward pass in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffevo_jax.problems import MLP, ActionSequence, Control, FunctionPolicy
from diffevo_jax.problems.control.policies import flatten
from diffevo_jax.pytree import validation

APPLY = jax.jit(lambda policy, weights, observation: policy.apply(weights, observation, ()))
ACTIVATIONS = {"relu": lambda z: np.maximum(z, 0.0), "tanh": np.tanh}


def draw(policy: MLP, inputs: int):
    """Weights of N(0, 1) and an observation."""
    rng = np.random.default_rng(inputs)
    observation = rng.normal(size=inputs).astype(np.float32)
    zeros = policy.init(jax.random.key(0), observation)
    weights = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), zeros)
    return jax.tree.map(np.float32, weights), observation


def forward(weights, observation: np.ndarray, activation: str) -> np.ndarray:
    signal = observation.astype(np.float64)
    for layer in weights[:-1]:
        signal = ACTIVATIONS[activation](signal @ layer["weight"] + layer["bias"])
    return signal @ weights[-1]["weight"] + weights[-1]["bias"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (8,), (128, 128)])
@pytest.mark.parametrize("inputs", [1, 4, 40])  # few are summed, many multiplied
def test_the_network_is_the_numpy_forward_pass(inputs, hidden, activation):
    policy = MLP(hidden, activation, num_outputs=3)
    weights, observation = draw(policy, inputs)

    output, carry = APPLY(policy, weights, observation)

    want = forward(weights, observation, activation)
    assert (output.shape, carry) == ((3,), ())
    np.testing.assert_allclose(output, want, rtol=1e-5, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize(
    ("hidden", "inputs", "outputs", "count"),
    [
        ((8,), 4, 2, 58),
        ((128, 128), 4, 2, 17_410),
        ((8,), 24, 4, 236),
        ((), 4, 2, 10),
        ((1,), 1, 1, 4),
    ],
)
def test_the_network_has_the_published_number_of_weights(hidden, inputs, outputs, count):
    policy = MLP(hidden, num_outputs=outputs)

    weights = policy.init(jax.random.key(0), np.zeros(inputs))

    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) == count


def test_weights_start_at_zero_whatever_the_key():
    weights = MLP(num_outputs=2).init(jax.random.key(0), np.zeros(3))

    assert all((leaf == 0).all() for leaf in jax.tree.leaves(weights))


def test_large_layers_ask_for_full_precision():
    policy = MLP((64,), num_outputs=2)
    weights, observation = draw(policy, 40)

    jaxpr = jax.make_jaxpr(lambda w, o: policy.apply(w, o, ())[0])(weights, observation)

    products = [e for e in jaxpr.eqns if e.primitive.name == "dot_general"]
    assert len(products) == 2
    for product in products:
        assert set(product.params["precision"]) == {jax.lax.Precision.HIGHEST}


def test_small_layers_take_no_matrix_product():
    policy = MLP((8,), num_outputs=2)
    weights, observation = draw(policy, 4)

    jaxpr = jax.make_jaxpr(lambda w, o: policy.apply(w, o, ())[0])(weights, observation)

    assert "dot_general" not in {e.primitive.name for e in jaxpr.eqns}


def test_an_observation_may_be_a_pytree():
    policy = MLP((8,), num_outputs=2)
    weights, _ = draw(policy, 6)
    tree = {"b": np.float32(5), "a": np.array([[1, 2], [3, 4]]), "c": np.array([True])}
    flat = np.array([1, 2, 3, 4, 5, 1], np.float32)

    output, _ = APPLY(policy, weights, tree)

    np.testing.assert_allclose(output, APPLY(policy, weights, flat)[0], rtol=1e-6)


def test_flatten_puts_all_numbers_into_one_float_vector():
    flat = flatten([jnp.arange(4).reshape(2, 2), jnp.asarray(True), jnp.asarray(2.5)])

    assert flat.tolist() == [0.0, 1.0, 2.0, 3.0, 1.0, 2.5]
    assert flat.dtype == jnp.asarray(1.0).dtype


def test_a_policy_of_two_functions_of_your_own_is_structure():
    init = lambda key, observation: jnp.zeros(observation.size)
    apply = lambda weights, observation, carry: (weights * observation, carry)

    policy = FunctionPolicy(init=init, apply=apply)

    assert jax.tree.leaves(policy) == []
    assert policy.apply(2.0, 3.0, ()) == (6.0, ())


def test_a_width_of_the_output_is_wanted():
    with pytest.raises(ValueError, match=r"MLP\.num_outputs: got None, want an int"):
        MLP().init(jax.random.key(0), np.zeros(4))


@pytest.mark.parametrize(
    ("policy", "error", "message"),
    [
        (MLP((8, 0)), ValueError, r"MLP\.hidden: got 0, want"),
        (MLP((8.0,)), TypeError, r"MLP\.hidden\[0\]: got 8\.0"),
        (MLP(8), TypeError, r"MLP\.hidden: got 8"),
        (MLP(activation="gelu"), ValueError, r"MLP\.activation: got 'gelu', want one of"),
        (MLP(num_outputs=0), ValueError, r"MLP\.num_outputs: got 0"),
    ],
)
def test_a_network_that_does_not_exist_is_refused(policy, error, message):
    with pytest.raises(error, match=message):
        validation.validate(policy)


def test_a_plan_is_in_its_order_each_action_held_and_the_last_one_kept():
    plan, policy = np.arange(6.0).reshape(3, 2), ActionSequence(3, hold=2, num_outputs=2)
    carry, outputs = policy.initial_carry(), []

    for step in range(8):
        output, carry = policy.apply(jnp.asarray(plan), np.ones(4) * step, carry)
        outputs.append(output)

    np.testing.assert_array_equal(outputs, plan[[0, 0, 1, 1, 2, 2, 2, 2]])
    assert policy.init(jax.random.key(0), np.zeros(4)).shape == (3, 2)


@pytest.mark.slow
def test_a_plan_is_played():
    plan = np.linspace(-1.0, 1.0, 3, dtype=np.float32)[:, None]
    problem = Control("Pendulum-v1", policy=ActionSequence(3, hold=2), max_steps=8)

    played = problem.play(jax.random.key(0), plan, record=True)

    torque = 2.0 * np.tanh(plan[[0, 0, 1, 1, 2, 2, 2, 2]])
    np.testing.assert_allclose(played.actions, torque, rtol=1e-5)
    assert problem.space.dim == 3


@pytest.mark.parametrize("counts", [{"horizon": 0}, {"hold": 0}, {"num_outputs": 0}])
def test_a_plan_of_nothing_is_an_error(counts):
    (name,) = counts

    with pytest.raises(ValueError, match=rf"ActionSequence\.{name}: got 0, want"):
        validation.validate(ActionSequence(**counts))

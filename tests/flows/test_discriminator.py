"""Discriminators against the ratio of two Gaussians, and what happens when they fail."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import diffevo_jax as de
from diffevo_jax import flows
from diffevo_jax.flows.discriminator import logistic_loss

H, MEAN, VARIANCE = 0.5, jnp.array([0.8, -0.4]), 0.5
BATCH, STEPS = 1024, 600
SMALL = flows.Discriminator((8,), num_steps=3, optimizer=optax.sgd(0.1))


def wanted(x: jax.Array) -> jax.Array:
    """Gradient of the log-ratio of N(MEAN, VARIANCE I) to N(0, I), through the kernel."""
    return -(x - MEAN) / (VARIANCE + H**2) + x / (1 + H**2)


def samples(key: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    key_p, key_q = jax.random.split(key)
    p = MEAN + jnp.sqrt(VARIANCE) * jax.random.normal(key_p, (size, 2))
    return p, jax.random.normal(key_q, (size, 2))


@pytest.fixture(scope="module")
def learned():
    """Points of q, and the gradient there after a training on fresh samples."""
    schedule = optax.cosine_decay_schedule(1e-2, STEPS)
    network = flows.Discriminator(
        hidden=(32, 32), num_steps=1, penalty=0.0, optimizer=optax.adam(schedule)
    )
    ones = jnp.ones(BATCH)

    def step(i, carry):
        state, sound = carry
        key_data, key_fit = jax.random.split(jax.random.fold_in(jax.random.key(0), i))
        p, q = samples(key_data, BATCH)
        state, fine = network.fit(key_fit, state, (p, ones), (q, ones), H)
        return state, sound & fine

    @jax.jit
    def train():
        state = network.init(jax.random.key(1), jnp.zeros((BATCH, 2)))
        state, sound = jax.lax.fori_loop(0, STEPS, step, (state, jnp.array(True)))
        x = jax.random.normal(jax.random.key(2), (400, 2))
        return x, network.gradient(state, x)[1], sound

    x, gradient, sound = train()
    assert bool(sound)
    return x, gradient


def relative(difference: jax.Array, of: jax.Array) -> float:
    return float(jnp.linalg.norm(difference) / jnp.linalg.norm(of))


@pytest.mark.slow
def test_a_discriminator_learns_the_gradient_of_the_log_ratio(learned) -> None:
    x, gradient = learned
    assert relative(gradient - wanted(x), wanted(x)) < 0.1


@pytest.mark.slow
def test_the_learned_and_the_kernel_form_agree(learned) -> None:
    # given points that both samples surround
    x, gradient = learned
    inner = jnp.linalg.norm(x, axis=1) < 1.5
    x, gradient = x[inner], gradient[inner]
    p, q = samples(jax.random.key(3), 4096)
    points = jnp.concatenate([x, p, q])
    which = np.repeat(np.arange(3), [len(x), len(p), len(q)])
    weights = [jnp.where(which == one, 0.0, -jnp.inf) for one in (1, 2)]
    kernel = jax.jit(flows.kernel_ratio)(x, points, *weights, 1 / H**2).gradient
    # both are within 10 % of what is known, in independent ways: the root of 2 more
    assert relative(gradient - kernel, kernel) < 0.15


def test_the_loss_is_least_at_the_log_of_the_weights() -> None:
    # given the same points as real, with weights, and as fake
    weight = jnp.array([0.1, 0.4, 2.5])
    loss = lambda logit: logistic_loss(logit, logit, weight, jnp.ones(3))
    np.testing.assert_allclose(jax.grad(loss)(jnp.log(weight)), 0.0, atol=1e-6)
    assert float(jnp.abs(jax.grad(loss)(jnp.zeros(3))).min()) > 0.05


def test_what_is_not_present_is_not_seen() -> None:
    key, points = jax.random.key(0), jax.random.normal(jax.random.key(1), (16, 2))
    present, log_weight = jnp.arange(16) != 3, jnp.where(jnp.arange(16) == 3, -jnp.inf, 0.0)

    @jax.jit
    def gradient(points):
        state = SMALL.init(key, points)
        ratio, _ = SMALL.estimate(
            key, state, points, log_weight, present, jnp.array(H), jnp.array(0.5)
        )
        return ratio.gradient

    moved = points.at[3].add(5.0)
    others = np.arange(16) != 3
    np.testing.assert_allclose(
        gradient(moved)[others], gradient(points)[others], rtol=1e-3, atol=2e-5
    )


POPULATION = jax.random.normal(jax.random.key(0), (16, 2))


def evolved(**parts) -> de.Result:
    """Four generations of a population, with these parts."""
    problem = de.problems.Function(lambda x: x[0], dim=2)
    strategy = de.MonoFlow(4, **parts)
    return de.evolve(jax.random.key(1), strategy, problem, population=POPULATION)


@pytest.mark.parametrize(
    "part",
    [
        {"ratio": flows.Discriminator((8,), num_steps=3, optimizer=optax.sgd(1e20))},
        pytest.param(
            {"generator": flows.Generator((8,), optimizer=optax.sgd(1e30))},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda part: next(iter(part)),
)
def test_what_diverges_leaves_everyone_in_place_and_is_counted(part) -> None:
    result = evolved(**part)
    chex.assert_trees_all_equal(result.population, POPULATION)
    assert result.history.num_diverged.tolist() == [1, 1, 1, 1]
    # though nobody failed, and everyone had a weight
    assert int(result.history.num_failed.max()) == 0
    assert int(result.history.num_weightless.max()) == 0
    # and what it has learnt is that of before
    chex.assert_tree_all_finite(result.state)


@pytest.mark.slow
def test_what_does_not_diverge_moves_everyone() -> None:
    result = evolved(ratio=SMALL)
    assert result.history.num_diverged.tolist() == [0, 0, 0, 0]
    assert float(jnp.abs(result.population - POPULATION).min()) > 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"hidden": [8]}, TypeError, r"Discriminator\.hidden: got \[8\], want a tuple"),
        ({"hidden": (0,)}, ValueError, r"Discriminator\.hidden: got 0, want an int >= 1"),
        ({"num_steps": 0}, ValueError, r"num_steps: got 0, want an int >= 1"),
        ({"penalty": -1.0}, ValueError, r"penalty: got -1\.0, want a number >= 0"),
        ({"dimension": 0.0}, ValueError, r"dimension: got 0\.0, want a number > 0"),
    ],
)
def test_a_discriminator_that_there_is_not_is_refused(changes, error, message) -> None:
    strategy = de.MonoFlow(3, ratio=flows.Discriminator(**changes))
    with pytest.raises(error, match=message):
        de.init(strategy, jax.random.key(0), jnp.zeros((4, 2)))

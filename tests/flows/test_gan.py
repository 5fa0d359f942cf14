"""Generators and GANs: the two losses, one step and many, and modes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import diffevo_jax as de
from diffevo_jax import flows, pytree
from diffevo_jax.flows import divergences
from diffevo_jax.flows.generator import adversarial_loss, regression_loss

EPS = 0.05
ANGLES = 2 * np.pi * np.arange(8) / 8
RING = de.oracles.gaussian_mixture(
    2.0 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), 0.15**2
)
GENERATOR = flows.Generator(hidden=(16,), num_steps=1)
DISCRIMINATOR = flows.Discriminator(hidden=(16,), num_steps=1, penalty=0.0)


def random_weights(key: jax.Array, tree):
    """Weights of no special value."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        0.3 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)


@pytest.fixture(scope="module")
def networks():
    """States of a generator and a discriminator with random weights, and latent points."""
    return jax.jit(drawn_networks)()


def drawn_networks():
    points = RING.sample(jax.random.key(0), 64)
    made = GENERATOR.init(jax.random.key(1), points)
    judge = DISCRIMINATOR.init(jax.random.key(2), points)
    made = pytree.replace(made, weights=random_weights(jax.random.key(3), made.weights))
    judge = pytree.replace(judge, weights=random_weights(jax.random.key(4), judge.weights))
    return made, judge, jax.random.normal(jax.random.key(5), (64, 2))


@pytest.mark.parametrize(
    "divergence",
    [divergences.ReverseKL(), divergences.NonSaturating(), divergences.Vanilla(shift=1.0)],
    ids=lambda divergence: type(divergence).__name__,
)
def test_the_regression_starts_along_the_gradient_of_the_gan(networks, divergence) -> None:
    made, judge, latent = networks
    fake = GENERATOR.generate(made, latent)
    logit, gradient = DISCRIMINATOR.gradient(judge, fake)
    target = fake + EPS * divergence.slope(logit)[:, None] * gradient
    regression = lambda weights: regression_loss(GENERATOR, made, weights, latent, target)
    adversarial = lambda weights: adversarial_loss(
        GENERATOR,
        made,
        weights,
        latent,
        lambda points: DISCRIMINATOR.logit(judge, points),
        divergence,
    )
    one, other = (
        jax.jit(jax.grad(loss))(made.weights) for loss in (regression, adversarial)
    )
    # -2 eps grad mean h(D(g)), and the adversarial loss has the minus
    scaled = jax.tree.map(lambda leaf: 2 * EPS * leaf, other)
    chex.assert_trees_all_close(one, scaled, atol=1e-5, rtol=0)
    # or nothing would have been compared
    assert all(float(jnp.abs(leaf).max()) > 1e-2 for leaf in jax.tree.leaves(other))


@pytest.mark.slow
def test_with_one_inner_step_both_losses_are_the_same_training() -> None:
    data = RING.sample(jax.random.key(0), 256)
    both = [
        flows.train_gan(
            jax.random.key(1),
            data,
            flows.GANRecipe(GENERATOR, DISCRIMINATOR, loss=loss),
            num_steps=20,
        ).state.generator.weights
        for loss in ("regression", "adversarial")
    ]
    # Adam does not see the factor of 2 eps, but for its own epsilon of 1e-8
    chex.assert_trees_all_close(*both, atol=2e-3, rtol=1e-7)
    assert float(jnp.abs(both[0][-1]["weight"]).max()) > 1e-2


def test_a_generator_starts_as_the_gaussian_of_its_points_and_learns_where_they_go() -> (
    None
):
    points = 3.0 + 2.0 * jax.random.normal(jax.random.key(0), (128, 2))
    generator = flows.Generator(hidden=(16,), num_steps=300, learning_rate=1e-2)
    state = generator.init(jax.random.key(1), points)
    latent = generator.latent(state, points)
    np.testing.assert_allclose(generator.generate(state, latent), points, atol=1e-5)
    target = points + jnp.where(points > 3.0, 1.0, -1.0)  # apart
    after = jax.jit(generator.regress)(state, latent, target)
    error = jnp.mean((generator.generate(after, latent) - target) ** 2)
    assert float(error) < 0.2  # of 1
    fresh = generator.sample(jax.random.key(2), after, 4000)
    # with a network this small between the halves there are few, and not none
    assert float(jnp.mean(jnp.abs(fresh - 3.0) < 0.5)) < 0.15


def test_a_gan_that_fails_says_so_and_keeps_what_it_had() -> None:
    wild = flows.Discriminator(hidden=(8,), num_steps=2, optimizer=optax.sgd(1e20))
    data = RING.sample(jax.random.key(0), 64)
    recipe = flows.GANRecipe(GENERATOR, wild)
    with pytest.raises(FloatingPointError, match="training: it diverged at step 0"):
        flows.train_gan(jax.random.key(1), data, recipe, num_steps=2)


@pytest.mark.slow
def test_a_training_goes_on_where_it_was() -> None:
    data, key = RING.sample(jax.random.key(0), 64), jax.random.key(1)
    parts = (key, data, flows.GANRecipe(GENERATOR, DISCRIMINATOR))
    whole = flows.train_gan(*parts, num_steps=6)
    half = flows.train_gan(*parts, num_steps=3)
    again = flows.train_gan(*parts, num_steps=3, state=half.state)
    chex.assert_trees_all_equal(again, whole)
    assert not de.equal(half.state.generator, whole.state.generator)


def test_a_gan_that_there_is_not_is_refused() -> None:
    data, none = jnp.zeros((8, 2)), flows.Generator(hidden=())
    hinge = flows.GANRecipe(loss="hinge")
    with pytest.raises(ValueError, match="loss: got 'hinge', want one of"):
        flows.train_gan(jax.random.key(0), data, hinge, num_steps=1)
    with pytest.raises(ValueError, match="num_steps: got 0, want an int >= 1"):
        flows.train_gan(jax.random.key(0), data, num_steps=0)
    with pytest.raises(TypeError, match=r"Generator\.hidden: got \(\), want a tuple"):
        flows.train_gan(jax.random.key(0), data, flows.GANRecipe(none), num_steps=1)
    with pytest.raises(TypeError, match=r"recipe: got Generator.*, want a GANRecipe"):
        flows.train_gan(jax.random.key(0), data, GENERATOR, num_steps=1)


@pytest.mark.slow
def test_many_inner_steps_need_the_regression() -> None:
    # given 20 steps of the generator for each of the discriminator's
    data = RING.sample(jax.random.key(0), 4096)
    generator = flows.Generator(num_steps=20, learning_rate=1e-3)
    judge = flows.Discriminator(num_steps=2, learning_rate=2e-3, penalty=0.0)

    def modes_kept(loss: str) -> int:
        settings = {"step_size": EPS, "noise": 0.1, "loss": loss}
        recipe = flows.GANRecipe(generator, judge, **settings)
        try:
            gan = flows.train_gan(jax.random.key(1), data, recipe, num_steps=1000)
        except FloatingPointError:
            return 0
        samples = gan.sample(jax.random.key(2), 1024)
        distance = jnp.linalg.norm(samples[:, None] - RING.means, axis=-1)
        return int(((distance < 0.45).sum(axis=0) >= 25).sum())

    # then the regression keeps all modes, and the GAN's loss does not
    assert modes_kept("regression") == 8
    assert modes_kept("adversarial") < 8

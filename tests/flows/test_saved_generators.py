"""A generator in a file draws what it drew, or is refused by name."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion, flows

KEY = jax.random.key(0)
DATA = 2.0 + jax.random.normal(KEY, (64, 3))


@pytest.fixture(scope="module")
def gan():
    """Of a training with an optimizer of one's own."""
    generator = flows.Generator((4, 3), num_steps=1, optimizer=optax.sgd(0.1))
    recipe = flows.GANRecipe(generator, flows.Discriminator((4,), num_steps=1))
    return flows.train_gan(KEY, DATA, recipe, num_steps=3)


@pytest.fixture
def path(gan, tmp_path):
    gan.save(tmp_path / "generator.npz")
    return tmp_path / "generator.npz"


def test_it_draws_the_same(gan, path):
    loaded = flows.load(path)
    chex.assert_trees_all_equal(loaded.sample(KEY, 5), gan.sample(KEY, 5))
    assert loaded.generator.hidden == (4, 3)


def test_half_precision_comes_back(gan, path):
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), gan.state.generator.weights)
    state = de.replace(gan.state.generator, weights=half)
    de.replace(gan, state=de.replace(gan.state, generator=state)).save(path)
    chex.assert_trees_all_equal(flows.load(path).state.weights, half)
    chex.assert_trees_all_equal_dtypes(flows.load(path).state.weights, half)


def test_a_damaged_one_is_refused(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"path: got .*, want a whole file of a generator"):
        flows.load(path)


def test_a_denoiser_is_no_generator(path):
    with pytest.raises(ValueError, match="has kind 'generator', want 'denoiser'"):
        diffusion.load(path)

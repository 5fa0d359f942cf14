"""Networks: shapes, labels, noise levels."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import diffusion

KEY = jax.random.key(0)
NETWORKS = {
    "MLP": (diffusion.MLP((16, 8), num_classes=3, embedding=8), (2,)),
    "MLP of images": (diffusion.MLP((16,), num_classes=3, embedding=8), (4, 4, 1)),
    "UNet": (diffusion.UNet((4, 8), num_classes=3, embedding=8), (4, 4, 1)),
    "UNet of one resolution": (diffusion.UNet((4,), 3, embedding=8), (3, 5, 2)),
}
SMALL = {name: NETWORKS[name] for name in ("MLP", "UNet")}


def weights_of(name, last=0.5):
    """Drawn weights, with a last layer that is not 0."""
    network, shape = NETWORKS[name]
    shapes = jax.eval_shape(lambda: network.init(KEY, shape))
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: last * rng.normal(size=leaf.shape).astype(np.float32), shapes
    )


#: Three samples a batch, and always labels: one program for each network.
APPLY = jax.jit(
    lambda network, weights, y, level, label: network.apply(weights, y, level, label)
)


def apply(name, weights, y, level, label):
    level, label = np.float32(level), np.int32(label)
    return np.asarray(APPLY(NETWORKS[name][0], weights, np.float32(y), level, label))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_answer_has_the_shape_of_the_input(name):
    network, shape = NETWORKS[name]
    weights = jax.eval_shape(lambda: network.init(KEY, shape))
    y = jnp.zeros((5, *shape))

    answer = jax.eval_shape(network.apply, weights, y, jnp.zeros(5), None)

    assert (answer.shape, answer.dtype) == (y.shape, jnp.float32)


@pytest.mark.parametrize("size", [1, 3])
def test_a_convolution_is_that_of_the_compiler(size):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 5, 4, 3)).astype(np.float32)
    weight = rng.normal(size=(size, size, 3, 6)).astype(np.float32)

    got = diffusion.networks.layers.conv(
        {"weight": weight, "bias": np.float32([1] * 6)}, image
    )

    want = jax.lax.conv_general_dilated(
        image, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(got, want + 1, atol=1e-5)  # sums of 27 products


@pytest.mark.parametrize("name", SMALL)
def test_a_new_network_answers_zero(name):
    # and its denoiser is that of a Gaussian
    network, shape = NETWORKS[name]
    ones = lambda key, shape: np.ones(shape, np.float32)
    with mock.patch.object(jax.random, "normal", ones):  # compiles nothing
        weights = network.init(KEY, shape)

    assert not apply(name, weights, np.ones((3, *shape)), [0, 0, 0], [0, 1, 2]).any()


@pytest.mark.parametrize("name", SMALL)
def test_samples_of_a_batch_do_not_feel_each_other(name):
    weights, shape = weights_of(name), NETWORKS[name][1]
    y = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    other = y.copy()
    other[1:] += 1.0

    first, second = (
        apply(name, weights, batch, [0.1, 0.2, 0.3], [0, 1, 2]) for batch in (y, other)
    )

    np.testing.assert_allclose(first[0], second[0], rtol=1e-5)
    assert not np.allclose(first[1:], second[1:], atol=1e-3)


@pytest.mark.parametrize("name", SMALL)
def test_noise_level_and_label_are_heard(name):
    weights, shape = weights_of(name), NETWORKS[name][1]
    y = np.ones((3, *shape))

    levels = apply(name, weights, y, [-1.0, 0.0, 1.0], [0, 0, 0])
    labels = apply(name, weights, y, [0.0, 0.0, 0.0], [0, 1, 3])

    for answers in (levels, labels):
        apart = [abs(answers[i] - answers[j]).max() for i, j in ((0, 1), (1, 2), (0, 2))]
        assert min(apart) > 1e-3


def test_no_label_is_the_label_that_says_nothing():
    network = NETWORKS["MLP"][0]

    assert network.null_label == 3
    assert diffusion.networks.network.labels_or_null(3, None, 2).tolist() == [3, 3]
    assert diffusion.networks.network.labels_or_null(0, None, 2) is None


@pytest.mark.parametrize(
    ("c_noise", "step"), [(np.log(0.002) / 4, 0.1), (np.log(80.0) / 4, 0.1), (0.5, 0.02)]
)
def test_features_tell_noise_levels_apart_from_end_to_end(c_noise, step):
    # given a level, one a little higher, and all levels that a grid may have
    features = lambda c: diffusion.networks.layers.level_features(jnp.atleast_1d(c), 16)
    here, there = features(jnp.float32(c_noise)), features(jnp.float32(c_noise + step))

    far = features(jnp.linspace(-1.8, 1.2, 16) + 0.05)

    assert np.linalg.norm(here - there) > 0.3
    assert np.linalg.norm(far - here, axis=1).min() > 0.1


@pytest.mark.parametrize(
    ("network", "kind", "message"),
    [
        (diffusion.MLP(()), TypeError, r"MLP\.hidden: got \(\)"),
        (diffusion.MLP((8, 0)), ValueError, r"MLP\.hidden: got 0"),
        (diffusion.MLP(embedding=7), ValueError, r"MLP\.embedding: got 7"),
        (diffusion.MLP(num_classes=-1), ValueError, r"MLP\.num_classes: got -1"),
        (diffusion.UNet(32), TypeError, r"UNet\.channels: got 32"),
    ],
)
def test_a_network_that_cannot_be_is_an_error(network, kind, message):
    with pytest.raises(kind, match=message):
        de.pytree.validation.validate(network)


@pytest.mark.parametrize("shape", [(4,), (6, 5, 1), (4, 4)])
def test_samples_that_do_not_fit_a_unet_are_an_error(shape):
    with pytest.raises(ValueError, match=r"data: got samples of shape \(\d"):
        diffusion.UNet((4, 8)).init(KEY, shape)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((8, 8), r"of grey images data\[\.\.\., None\]"),
        ((3, 8, 8), r"colours first jnp.moveaxis\(data, 1, -1\)"),
    ],
)
def test_it_is_told_how_data_become_images_with_their_colours_last(shape, hint):
    with pytest.raises(ValueError, match=hint):
        diffusion.UNet((4, 8)).init(KEY, shape)


@pytest.mark.parametrize(
    ("num_classes", "label", "message"),
    [
        (0, jnp.array([0, 1]), "label: got one, want None"),
        (3, jnp.array([0.0, 1.0]), "label: got float32"),
        (3, jnp.array([0]), r"label: got int32 of shape \(1,\)"),
        (3, jnp.array([0, 4]), "label: got 0 to 4, want 0 to 2, or 3"),
    ],
)
def test_labels_that_are_none_are_an_error(num_classes, label, message):
    with pytest.raises(ValueError, match=message):
        diffusion.networks.network.labels_or_null(num_classes, label, 2)


def test_a_batch_of_another_size_is_an_error():
    weights = jax.eval_shape(lambda: NETWORKS["MLP"][0].init(KEY, (2,)))

    with pytest.raises(ValueError, match=r"y: got shape \(5, 3\), want \(N, 2\)"):
        jax.eval_shape(
            NETWORKS["MLP"][0].apply, weights, jnp.zeros((5, 3)), jnp.zeros(5), None
        )

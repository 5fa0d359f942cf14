"""A denoiser in a file comes back bit for bit, or is refused by name."""

import json
import pickle

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from damages import damages
from often import often

import diffevo_jax as de
from diffevo_jax import diffusion, pytree
from diffevo_jax.pytree.archives import read_sealed, write_sealed

KEY = jax.random.key(0)
LINEAR = diffusion.Network(
    init=lambda key, shape: {"matrix": 0.1 * jax.random.normal(key, (2, 2))},
    apply=lambda weights, y, c_noise, label: y @ weights["matrix"],
    null_label=2,
)


def denoiser(network=LINEAR, parameterisation=None, shape=(2,), dtype=jnp.float32):
    """With weights of no special value."""
    weights = jax.eval_shape(lambda: network.init(KEY, shape))
    leaves, structure = jax.tree.flatten(weights)
    rng = np.random.default_rng(0)
    drawn = [jnp.asarray(rng.normal(size=leaf.shape), dtype) for leaf in leaves]
    parts = network, parameterisation or diffusion.EDM(0.7)
    return diffusion.NetworkDenoiser(
        *pytree.strong(parts), jax.tree.unflatten(structure, drawn), shape
    )


def check_same(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    chex.assert_trees_all_equal_dtypes(got, want)
    chex.assert_trees_all_equal(got, want)


@pytest.mark.parametrize("dtype", often(2, [jnp.float32, jnp.bfloat16, jnp.float16]))
@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (diffusion.MLP((3,), embedding=2), (2,)),
        (diffusion.MLP((3, 2), num_classes=4, embedding=2), (2, 3)),
        (diffusion.UNet((2,), embedding=2), (4, 4, 1)),
        (diffusion.UNet((2, 4), num_classes=3, embedding=2), (4, 4, 1)),
    ],
    ids=["mlp", "mlp of labels", "unet", "unet of labels"],
)
def test_networks_of_the_library_come_back(tmp_path, network, shape, dtype):
    want = denoiser(network, shape=shape, dtype=dtype)
    diffusion.save(tmp_path / "denoiser.npz", want)
    check_same(diffusion.load(tmp_path / "denoiser.npz"), want)


@pytest.mark.parametrize(
    "kind",
    [
        *(diffusion.EDM, diffusion.Noise, diffusion.Velocity),
        *(diffusion.Flow, diffusion.Score, diffusion.Clean),
    ],
)
def test_parameterisations_come_back(tmp_path, kind):
    want = denoiser(diffusion.MLP((3,), embedding=2), kind(sigma_data=0.3))
    diffusion.save(tmp_path / "denoiser.npz", want)
    check_same(diffusion.load(tmp_path / "denoiser.npz"), want)


def test_what_was_trained_answers_the_same_from_its_file(tmp_path):
    data = jax.random.normal(KEY, (64, 2))
    recipe = diffusion.Recipe(num_steps=5, batch_size=8)
    trained = diffusion.train(KEY, data, diffusion.MLP((4,), embedding=2), recipe)

    trained.save(tmp_path / "denoiser.npz")

    loaded = diffusion.load(tmp_path / "denoiser.npz")
    check_same(loaded, trained.denoiser)
    chex.assert_trees_all_equal(loaded.denoise(data, 1.0), trained.denoise(data, 1.0))


@pytest.fixture
def path(tmp_path):
    """Of a denoiser with a network of one's own."""
    diffusion.save(tmp_path / "own.npz", denoiser())
    return tmp_path / "own.npz"


def test_a_network_of_one_s_own_is_given_and_its_weights_come_back(path):
    check_same(diffusion.load(path, network=LINEAR), denoiser())


def test_a_network_that_is_no_component_is_wrapped_as_in_training(tmp_path):
    class Own:
        null_label = None
        init = staticmethod(LINEAR.init)
        apply = staticmethod(LINEAR.apply)

    recipe = diffusion.Recipe(num_steps=2, batch_size=8)
    trained = diffusion.train(KEY, jax.random.normal(KEY, (64, 2)), Own(), recipe)
    trained.save(tmp_path / "own.npz")
    loaded = diffusion.load(tmp_path / "own.npz", network=Own())
    check_same(loaded, trained.denoiser)


def test_weights_of_flax_come_back(tmp_path):
    dense = nn.Dense(2)
    network = diffusion.Network(
        init=lambda key, shape: dense.init(key, jnp.ones((1, *shape))),
        apply=lambda weights, y, c_noise, label: dense.apply(weights, y),
    )
    diffusion.save(tmp_path / "own.npz", denoiser(network))
    check_same(diffusion.load(tmp_path / "own.npz", network=network), denoiser(network))


@pytree.dataclass
class Halved:
    """A parameterisation of one's own."""

    sigma_data: pytree.Number = pytree.number(default=0.5)

    def coefficients(self, sigma):
        return diffusion.EDM(self.sigma_data).coefficients(sigma)

    def target(self, clean, eps, sigma):
        return diffusion.EDM(self.sigma_data).target(clean, eps, sigma)

    def objective(self):
        return diffusion.EDM(self.sigma_data).objective()


def test_a_parameterisation_of_one_s_own_is_given(tmp_path):
    want = denoiser(diffusion.MLP((3,), embedding=2), Halved())
    diffusion.save(tmp_path / "own.npz", want)
    with pytest.raises(ValueError, match="parameterisation: got None, want the param"):
        diffusion.load(tmp_path / "own.npz")
    got = diffusion.load(tmp_path / "own.npz", parameterisation=Halved())
    check_same(got, want)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, "network: got None, want the network of your own that was trained with"),
        (diffusion.MLP((3,)), r"network: got MLP\(.*, want the network of your own"),
        (
            diffusion.Network(
                lambda key, shape: {"other": jnp.zeros((2, 2))}, LINEAR.apply
            ),
            "own.npz: it has other arrays than expected: weights.matrix, weights.other",
        ),
        (
            diffusion.Network(
                lambda key, shape: {"matrix": jnp.zeros((3, 2))}, LINEAR.apply
            ),
            r"weights.matrix.npy has \(2, 2\) of float32, want \(3, 2\) of float32",
        ),
        (
            diffusion.Network(lambda key, shape: (), LINEAR.apply),
            "own.npz: it has 2 arrays, want 1",
        ),
    ],
)
def test_another_network_than_it_was_trained_with_is_refused(path, given, told):
    with pytest.raises(ValueError, match=told):
        diffusion.load(path, network=given)


def test_a_network_that_is_given_must_be_that_of_the_file(tmp_path):
    network = diffusion.MLP((3,), embedding=2)
    diffusion.save(tmp_path / "denoiser.npz", denoiser(network))
    diffusion.load(tmp_path / "denoiser.npz", network=network)
    with pytest.raises(ValueError, match=r"network: got MLP.*, want that of .*\[3\]"):
        diffusion.load(tmp_path / "denoiser.npz", network=diffusion.MLP((4,)))


def test_every_damage_is_refused(path):
    for content in damages(path.read_bytes(), count=250, seed=0):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"path: got .*own.npz, want a whole file"):
            diffusion.load(path, network=LINEAR)


def changed(path, **text):
    """The same file, sealed anew, that says something else."""
    sealed = read_sealed(path)
    names = [name for name in np.load(path).files if name != "meta"]
    arrays = {name: np.load(path)[name] for name in names}
    write_sealed(path, arrays, sealed.text | text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ({"schema": 2}, "has schema 2, want 1"),
        ({"kind": "generator"}, "has kind 'generator', want 'denoiser'"),
        ({"network": {"class": "os.system"}}, "want one of MLP, UNet"),
        ({"network": {"class": "Network", "init": "eval"}}, "want one of MLP, UNet"),
        (
            {"network": {"class": "MLP", "hidden": [0]}},
            "of which there is none: MLP.hidden",
        ),
        ({"network": {"class": "MLP", "depth": 3}}, "of which there is none: MLP: "),
        ({"parameterisation": {"class": "MLP"}}, "want one of EDM, Noise, Velocity"),
        ({"dtypes": ["int32", "float32"]}, "has numbers of int32, want floats"),
        ({"dtypes": ["float64", "float32"]}, "has numbers of float64, want jax_enable_x64"),
        ({"dtypes": ["float16", "float32"]}, "sigma_data.npy has .* of float32, want"),
    ],
)
def test_a_file_that_says_something_else_is_refused(path, text, told):
    changed(path, **text)
    given = None if text.get("network") else LINEAR
    with pytest.raises(ValueError, match=told):
        diffusion.load(path, network=given)


def test_what_is_no_such_file_is_refused(tmp_path):
    (tmp_path / "text").write_text("weights")
    (tmp_path / "pickle").write_bytes(pickle.dumps(denoiser().weights))
    np.savez(tmp_path / "plain.npz", weights=np.zeros(2))
    for name in ("text", "pickle", "plain.npz"):
        with pytest.raises(
            ValueError, match=r"path: got .*, want a whole file of a denoiser"
        ):
            diffusion.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        diffusion.load(tmp_path / "none")
    with pytest.raises(ValueError, match="a folder, want a file of a denoiser"):
        diffusion.load(tmp_path)


def test_weights_of_another_network_are_not_saved(tmp_path):
    wrong = de.replace(denoiser(), weights={"matrix": jnp.zeros((3, 3))})
    with pytest.raises(ValueError, match=r"denoiser.weights: got .*3, 3.*, want .*2, 2"):
        diffusion.save(tmp_path / "denoiser.npz", wrong)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"path: got .*, which cannot be written"):
        diffusion.save(tmp_path / "none" / "denoiser.npz", denoiser())


def test_numpy_alone_reads_it(path):
    with np.load(path) as arrays:
        np.testing.assert_array_equal(
            arrays["weights.matrix"], denoiser().weights["matrix"]
        )
        text = json.loads(arrays["meta"].tobytes())
    assert (text["network"], text["shape"]) == (None, [2])


IMAGES = denoiser(diffusion.UNet((2,), embedding=2), shape=(4, 4, 1))


@pytest.mark.parametrize(
    "scale",
    [
        diffusion.PixelScale(),
        diffusion.fit_scale(np.uint8([[3, 200, 7]])),
        diffusion.PixelScale(jnp.float32(0.1), jnp.float32(1 / 3), levels=0),
    ],
)
def test_how_pixels_became_data_comes_back_with_the_denoiser(tmp_path, scale):
    diffusion.save(tmp_path / "images.npz", IMAGES, scale)

    check_same(diffusion.load(tmp_path / "images.npz"), IMAGES)
    loaded, pixels = diffusion.load_scale(tmp_path / "images.npz"), np.arange(17.0)
    assert loaded.levels == scale.levels
    np.testing.assert_array_equal(loaded.to_data(pixels), scale.to_data(pixels))


def test_a_file_without_a_scale_is_told(path):
    with pytest.raises(ValueError, match=r"path: got .*own.npz, saved without a scale"):
        diffusion.load_scale(path)
    with pytest.raises(FileNotFoundError):
        diffusion.load_scale(path.parent / "none.npz")


def test_a_damaged_file_has_no_scale(tmp_path):
    diffusion.save(tmp_path / "images.npz", IMAGES, diffusion.PixelScale())
    content = bytearray((tmp_path / "images.npz").read_bytes())
    content[content.index(b"127.5")] ^= 1
    (tmp_path / "images.npz").write_bytes(content)
    with pytest.raises(ValueError, match="want a whole file of a denoiser"):
        diffusion.load_scale(tmp_path / "images.npz")


@pytest.mark.parametrize(
    "found",
    [
        {"class": "PixelScale", "mean": 0.0, "deviation": 0.0, "levels": 256},
        {"class": "PixelScale", "mean": "eval", "deviation": 1.0, "levels": 256},
        {"class": "PixelScale", "offset": 0.0},
        {"class": "os.system"},
        [1.0, 2.0],
    ],
)
def test_a_scale_that_is_none_is_refused(tmp_path, found):
    diffusion.save(tmp_path / "images.npz", IMAGES, diffusion.PixelScale())
    changed(tmp_path / "images.npz", scale=found)
    with pytest.raises(ValueError, match=r"path: .*images.npz: scale: got"):
        diffusion.load_scale(tmp_path / "images.npz")


def test_a_scale_that_is_not_legal_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match=r"PixelScale\.deviation: got 0.0"):
        diffusion.save(tmp_path / "images.npz", IMAGES, diffusion.PixelScale(0.0, 0.0))
    assert not list(tmp_path.iterdir())

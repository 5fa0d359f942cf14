"""Trained networks that leave the process: a file with the weights and what they are of."""

from pathlib import Path

import jax

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.images.pixels import PixelScale
from diffevo_jax.diffusion.networks.mlp import MLP
from diffevo_jax.diffusion.networks.network import Network, NetworkLike
from diffevo_jax.diffusion.networks.unet import UNet
from diffevo_jax.diffusion.training.denoiser import NetworkDenoiser
from diffevo_jax.diffusion.training.parameterisations import (
    EDM,
    Clean,
    Flow,
    Noise,
    Parameterisation,
    Score,
    Velocity,
)
from diffevo_jax.pytree import saved, validation
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.arrays import check_like

KIND = "denoiser"
#: The classes that a file may name; of others the object is given when it is read.
NETWORKS = (MLP, UNet)
PARAMETERISATIONS = (EDM, Noise, Velocity, Flow, Score, Clean)
SCALES = (PixelScale,)


@checked
def save(
    path: str | Path, denoiser: NetworkDenoiser, scale: PixelScale | None = None
) -> None:
    """Write a trained denoiser into a file, in whole or not at all.

    One sealed npz file, without pickle: its weights with their dtypes, its parameterisation
    and its architecture, and how pixels became its data if that is given. NumPy alone reads
    the weights: ``np.load(path)["weights.out.bias"]``. ``trained.save(path, scale)`` is the
    same. To train on later, keep the training in a folder.

    Args:
        path: of the file, for example ``"denoiser.npz"``; one that is there is replaced.
        denoiser: with the library's own network; of one's own only its weights are saved.
        scale: how pixels became its data, for :func:`load_scale`; None for other data.

    Raises:
        ValueError: the path cannot be written, or the weights are not those of the network.

    Example:
        >>> import jax, tempfile, diffevo_jax as de
        >>> from diffevo_jax import diffusion
        >>> network, shape = diffusion.MLP((8,)), (2,)
        >>> weights = network.init(jax.random.key(0), shape)
        >>> denoiser = diffusion.NetworkDenoiser(network, diffusion.EDM(), weights, shape)
        >>> path = tempfile.mkdtemp() + "/denoiser.npz"
        >>> diffusion.save(path, denoiser)
        >>> de.equal(diffusion.load(path).weights, weights)
        True
    """
    network, parameterisation = denoiser.network, denoiser.parameterisation
    check_like("denoiser.weights", denoiser.weights, _weights(network, denoiser.shape))
    text = {
        "network": saved.outline(network, NETWORKS),
        "parameterisation": saved.outline(parameterisation, PARAMETERISATIONS),
        "shape": list(denoiser.shape),
    }
    arrays = {"weights": denoiser.weights}
    if scale is not None:
        validation.validate(scale)
        numbers = {name: float(getattr(scale, name)) for name in ("mean", "deviation")}
        text["scale"] = (saved.outline(scale, SCALES) or {}) | numbers
    if text["parameterisation"] is not None:
        arrays["parameterisation"] = parameterisation
    saved.write(path, KIND, arrays, text)


@checked
def load(
    path: str | Path,
    *,
    network: NetworkLike | None = None,
    parameterisation: Parameterisation | None = None,
) -> NetworkDenoiser:
    """Read a denoiser that ``trained.save`` or :func:`save` has written, bit for bit.

    Args:
        path: of the file.
        network: of one's own, the one that it was trained with; None for the library's.
        parameterisation: the same.

    Returns:
        The denoiser, for :func:`diffevo_jax.sample`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or a damaged one; or its network is one of one's
            own, which has to be given, or another than is given, or has other weights.

    Example:
        >>> import jax, math, tempfile, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> linear = diffusion.Network(
        ...     init=lambda key, shape: jnp.zeros((math.prod(shape),) * 2),
        ...     apply=lambda weights, y, c_noise, label: y @ weights)
        >>> data = jax.random.normal(jax.random.key(0), (100, 2))
        >>> recipe = diffusion.Recipe(num_steps=5, batch_size=8)
        >>> trained = diffusion.train(jax.random.key(1), data, linear, recipe)
        >>> path = tempfile.mkdtemp() + "/denoiser.npz"
        >>> trained.save(path)
        >>> diffusion.load(path, network=linear).parameterisation
        EDM(sigma_data=1.0)
    """
    sealed = saved.read(path, KIND)
    text, shape = sealed.text, tuple(sealed.text["shape"])
    network = _part(path, "network", text["network"], NETWORKS, network)
    known, given = PARAMETERISATIONS, parameterisation
    found = text["parameterisation"]
    parameterisation = _part(path, "parameterisation", found, known, given)
    if not pytree.is_component(network):
        network = Network(network.init, network.apply, network.null_label)
    like = {"weights": _weights(network, shape)}
    if found is not None:
        like["parameterisation"] = parameterisation
    arrays = saved.tree_of(path, sealed, like)
    if found is not None:
        parameterisation = arrays["parameterisation"]
    parts = pytree.strong((network, parameterisation))
    return NetworkDenoiser(*parts, arrays["weights"], shape)


@checked
def load_scale(path: str | Path) -> PixelScale:
    """Read how pixels became the data of a saved denoiser, from its file.

    Args:
        path: of a file that :func:`save` has written with a scale.

    Returns:
        The scale, with the same numbers.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or a damaged one, or was saved without a scale.

    Example:
        >>> import jax, tempfile
        >>> from diffevo_jax import diffusion
        >>> network, shape = diffusion.MLP((8,)), (2, 2, 1)
        >>> weights = network.init(jax.random.key(0), shape)
        >>> denoiser = diffusion.NetworkDenoiser(network, diffusion.EDM(), weights, shape)
        >>> path = tempfile.mkdtemp() + "/denoiser.npz"
        >>> diffusion.save(path, denoiser, diffusion.PixelScale(8.0, 5.5, levels=17))
        >>> diffusion.load_scale(path)
        PixelScale(mean=8.0, deviation=5.5, levels=17)
    """
    found = saved.read(path, KIND).text.get("scale")
    if found is None:
        raise ValueError(f"path: got {path}, saved without a scale, want one with it")
    try:
        return saved.rebuilt(found, SCALES)
    except ValueError as error:
        raise ValueError(f"path: {path}: scale: {error}") from error


def _part(
    path: str | Path, name: str, found: object, known: tuple[type, ...], given: PyTree
) -> PyTree:
    """The network or the parameterisation of a file: its own, or what is given."""
    if found is None:
        if given is None or saved.outline(given, known) is not None:
            raise ValueError(
                f"{name}: got {given}, want the {name} of your own that was trained with, "
                f"since {path} has only its weights"
            )
        return given
    if given is not None and saved.outline(given, known) != found:
        raise ValueError(f"{name}: got {given}, want that of {path}: {found}")
    try:
        return saved.rebuilt(found, known)
    except ValueError as error:
        raise ValueError(f"path: {path}: {name}: {error}") from error


def _weights(network: NetworkLike, shape: tuple[int, ...]) -> PyTree:
    """Shapes of the weights of a network for samples of a shape."""
    return jax.eval_shape(lambda: network.init(jax.random.key(0), shape))

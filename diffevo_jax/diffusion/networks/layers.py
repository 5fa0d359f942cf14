"""The few layers that the networks are made of: functions of weights and arrays."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax.pytree import Number, validation

Layer = dict[str, jax.Array]

#: Cycles per unit of ``c_noise`` that the embedding sees. All published forms of it move by
#: 0.3 to 2.3 where sigma changes by a factor of ten.
_SLOWEST, _FASTEST = 1 / 16, 4.0


def dense_init(key: jax.Array, inputs: int, outputs: int, gain: Number = 1.0) -> Layer:
    """Weights of a dense layer that keeps the variance; gain 0 makes it answer 0."""
    scale = gain / math.sqrt(inputs)
    weight = scale * jax.random.normal(key, (inputs, outputs))
    return {"bias": jnp.zeros(outputs), "weight": weight}


def along_channels(numbers: jax.Array, like: jax.Array) -> jax.Array:
    """Numbers ``(C,)``, one for each channel, with as many axes as ``like`` (..., C)."""
    return jnp.expand_dims(numbers, range(like.ndim - 1))


def dense(layer: Layer, signal: jax.Array) -> jax.Array:
    """``signal @ weight + bias``, (..., inputs) to (..., outputs)."""
    product = signal @ layer["weight"]
    return product + along_channels(layer["bias"], product)


def feed_forward_init(key: jax.Array, widths: tuple[int, ...]) -> list[Layer]:
    """Weights of dense layers of these widths, input first; the last answers 0."""
    keys, pairs = jax.random.split(key, len(widths) - 1), list(itertools.pairwise(widths))
    gains = [1.0] * (len(pairs) - 1) + [0.0]
    return [dense_init(k, *pair, g) for k, pair, g in zip(keys, pairs, gains, strict=True)]


def feed_forward(layers: list[Layer], signal: jax.Array) -> jax.Array:
    """Dense layers with SiLU between them, (N, inputs) to (N, outputs)."""
    for layer in layers[:-1]:
        signal = jax.nn.silu(dense(layer, signal))
    return dense(layers[-1], signal)


def conv_init(
    key: jax.Array, inputs: int, outputs: int, size: int = 3, gain: Number = 1.0
) -> Layer:
    """Weights of a square convolution that keeps the variance; gain 0 answers 0."""
    scale = gain / math.sqrt(size * size * inputs)
    weight = scale * jax.random.normal(key, (size, size, inputs, outputs))
    return {"bias": jnp.zeros(outputs), "weight": weight}


def conv(layer: Layer, image: jax.Array) -> jax.Array:
    """Convolve (B, H, W, inputs) to (B, H, W, outputs), zeros around the image.

    As one matrix product of shifted images: on a CPU a training step of a small U-Net then
    takes a fifth of the time that it takes by XLA's own convolution.
    """
    size = layer["weight"].shape[0]
    height, width = image.shape[1:3]
    around = (size // 2, size - 1 - size // 2)
    padded = jnp.pad(image, ((0, 0), around, around, (0, 0)))
    shifted = [
        padded[:, i : i + height, j : j + width] for i in range(size) for j in range(size)
    ]
    matrix = layer["weight"].reshape(-1, layer["bias"].size)
    product = jnp.concatenate(shifted, axis=-1) @ matrix
    return product + along_channels(layer["bias"], product)


def norm_init(channels: int) -> Layer:
    """Weights of a group norm that only normalises."""
    return {"scale": jnp.ones(channels), "shift": jnp.zeros(channels)}


def group_norm(layer: Layer, image: jax.Array) -> jax.Array:
    """Normalise each image over its pixels and over groups of its channels."""
    channels = image.shape[-1]
    groups = math.gcd(8, channels)
    grouped = image.reshape(*image.shape[:-1], groups, channels // groups)
    centred = grouped - jnp.mean(grouped, axis=(1, 2, 4), keepdims=True)
    variance = jnp.mean(centred**2, axis=(1, 2, 4), keepdims=True)
    normal = (centred * jax.lax.rsqrt(variance + 1e-5)).reshape(image.shape)
    scale, shift = layer["scale"], layer["shift"]
    return normal * along_channels(scale, normal) + along_channels(shift, normal)


def attention_init(key: jax.Array, channels: int) -> dict[str, Any]:
    """Weights of self-attention over pixels; it starts as the identity."""
    key_in, key_out = jax.random.split(key)
    return {
        "norm": norm_init(channels),
        "into": dense_init(key_in, channels, 3 * channels),
        "out": dense_init(key_out, channels, channels, gain=0.0),
    }


def self_attention(layer: dict[str, Any], image: jax.Array) -> jax.Array:
    """Every pixel looks at all of its image, (B, H, W, C) to the same."""
    pixels = group_norm(layer["norm"], image).reshape(len(image), -1, image.shape[-1])
    query, key, value = jnp.split(dense(layer["into"], pixels), 3, axis=-1)
    scores = jnp.einsum("bqc,bkc->bqk", query, key) / math.sqrt(image.shape[-1])
    seen = jnp.einsum("bqk,bkc->bqc", jax.nn.softmax(scores, axis=-1), value)
    return image + dense(layer["out"], seen).reshape(image.shape)


def level_features(c_noise: jax.Array, count: int) -> jax.Array:
    """Sines and cosines of a noise level, ``(B,)`` to ``(B, 2 count)``.

    Frequencies are in geometric progression: the slowest tell the ends of a grid apart, the
    fastest its neighbours.

    References:
        Vaswani et al., 2017, arXiv:1706.03762, section 3.5; Ho, Jain, Abbeel, 2020,
        arXiv:2006.11239, appendix B.
    """
    octaves = jnp.linspace(math.log(_SLOWEST), math.log(_FASTEST), count)
    angle = 2 * math.pi * c_noise[:, None] * jnp.exp(octaves)[None]
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def embedding_init(key: jax.Array, width: int, num_classes: int) -> dict[str, Any]:
    """Weights that turn a noise level and a label into a vector of ``width``."""
    key_first, key_second, key_label = jax.random.split(key, 3)
    weights: dict[str, Any] = {
        "first": dense_init(key_first, width, width),
        "second": dense_init(key_second, width, width),
    }
    if num_classes:  # one more row, for no label
        weights["label"] = jax.random.normal(key_label, (num_classes + 1, width))
    return weights


def embed(
    weights: dict[str, Any], c_noise: jax.Array, label: jax.Array | None
) -> jax.Array:
    """Embed noise levels ``(B,)`` and labels ``(B,)``, or None; ``(B, width)``."""
    width = len(weights["first"]["weight"])
    signal = dense(weights["first"], level_features(c_noise, width // 2))
    if label is not None:
        signal = signal + weights["label"][label]
    return jax.nn.silu(dense(weights["second"], jax.nn.silu(signal)))


def check_widths(name: str, widths: object) -> None:
    """Raise unless the widths of layers are a tuple of positive ints."""
    if not isinstance(widths, tuple) or not widths:
        raise TypeError(f"{name}: got {widths!r}, want a tuple of ints")
    for width in widths:
        validation.check_count(name, width)


def check_embedding(name: str, width: int, num_classes: int) -> None:
    """Raise unless the embedding has an even width, and the number of labels is legal."""
    validation.check_count(f"{name}.num_classes", num_classes, low=0)
    validation.check_count(f"{name}.embedding", width, low=2)
    if width % 2:
        raise ValueError(f"{name}.embedding: got {width}, want an even int")

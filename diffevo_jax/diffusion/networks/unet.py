"""A small U-Net: for images of up to 32 x 32 pixels."""

from typing import Any

import jax
import jax.numpy as jnp

from diffevo_jax import pytree
from diffevo_jax.base import PyTree
from diffevo_jax.diffusion.networks.layers import (
    attention_init,
    check_embedding,
    check_widths,
    conv,
    conv_init,
    dense,
    dense_init,
    embed,
    embedding_init,
    group_norm,
    norm_init,
    self_attention,
)
from diffevo_jax.diffusion.networks.network import labels_or_null


@pytree.dataclass
class UNet:
    """Residual convolutions on ever coarser images and back, with shortcuts across.

    Images are (N, H, W, C), colours last. Every resolution has one residual block on the
    way down and one on the way up; the coarsest looks at the whole image by self-attention.
    The last layer starts at 0.

    Args:
        channels: width at each resolution, from the finest; each next one has half the
            height and width, which must be divisible as often.
        num_classes: labels are 0 to ``num_classes - 1``, and ``num_classes`` says nothing;
            0 for a network without labels.
        embedding: width of the embedding of noise level and label, even.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from diffevo_jax import diffusion
        >>> network = diffusion.UNet(channels=(8, 16))
        >>> weights = jax.eval_shape(lambda: network.init(jax.random.key(0), (8, 8, 1)))
        >>> sum(leaf.size for leaf in jax.tree.leaves(weights))
        38009
        >>> image = jnp.ones((2, 8, 8, 1))
        >>> jax.eval_shape(network.apply, weights, image, jnp.zeros(2)).shape
        (2, 8, 8, 1)

    References:
        Ho, Jain, Abbeel, 2020, arXiv:2006.11239, appendix B.
    """

    channels: tuple[int, ...] = pytree.static(default=(32, 64))
    num_classes: int = pytree.static(default=0)
    embedding: int = pytree.static(default=64)

    @property
    def null_label(self) -> int | None:
        """The label that says nothing."""
        return self.num_classes or None

    def check(self) -> None:
        """Raise if there is no such network."""
        check_widths("UNet.channels", self.channels)
        check_embedding("UNet", self.embedding, self.num_classes)

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> dict[str, Any]:
        """Draw weights for images of shape (height, width, colours)."""
        self._check_image(shape)
        keys = iter(jax.random.split(key, 2 * len(self.channels) + 5))
        block = lambda before, after: _block_init(next(keys), before, after, self.embedding)
        first, last, down = self.channels[0], self.channels[-1], []
        before = first
        for width in self.channels:
            down.append(block(before, width))
            before = width
        up = []
        for width in reversed(self.channels):
            up.append(block(before + width, width))
            before = width
        return {
            "embedding": embedding_init(next(keys), self.embedding, self.num_classes),
            "into": conv_init(next(keys), shape[2], first),
            "down": down,
            "middle": block(last, last),
            "attention": attention_init(next(keys), last),
            "up": up,
            "norm": norm_init(first),
            "out": conv_init(next(keys), first, shape[2], gain=0.0),
        }

    def apply(
        self, weights: PyTree, y: jax.Array, c_noise: jax.Array, label: PyTree = None
    ) -> jax.Array:
        """Output for y ``(B, H, W, C)`` at ``c_noise`` ``(B,)``, labels ``(B,)``."""
        self._check_image(y.shape[1:])
        labels = labels_or_null(self.num_classes, label, len(y))
        level = embed(weights["embedding"], c_noise, labels)
        signal = conv(weights["into"], y)
        shortcuts: list[jax.Array] = []
        for block in weights["down"]:
            signal = _half(signal) if shortcuts else signal
            signal = _block(block, signal, level)
            shortcuts.append(signal)
        signal = _block(weights["middle"], signal, level)
        signal = self_attention(weights["attention"], signal)
        for i, block in enumerate(weights["up"]):
            signal = _double(signal) if i else signal
            signal = jnp.concatenate([signal, shortcuts.pop()], axis=-1)
            signal = _block(block, signal, level)
        return conv(weights["out"], jax.nn.silu(group_norm(weights["norm"], signal)))

    def _check_image(self, shape: tuple[int, ...]) -> None:
        factor = 2 ** (len(self.channels) - 1)
        if len(shape) != 3 or shape[0] % factor or shape[1] % factor:
            hint = ""
            if len(shape) == 2:
                hint = "; of grey images data[..., None]"
            elif len(shape) == 3 and shape[0] in (1, 3):
                hint = "; of images with their colours first jnp.moveaxis(data, 1, -1)"
            raise ValueError(
                f"data: got samples of shape {shape}, want (height, width, colours), the "
                f"first two divisible by {factor}, for a UNet of {len(self.channels)} "
                f"resolutions{hint}"
            )


def _block_init(key: jax.Array, before: int, after: int, width: int) -> dict[str, Any]:
    first, second, level, across = jax.random.split(key, 4)
    return {
        "norm": norm_init(before),
        "first": conv_init(first, before, after),
        "level": dense_init(level, width, 2 * after),
        "inner": norm_init(after),
        "second": conv_init(second, after, after, gain=0.0),
        "across": conv_init(across, before, after, size=1),
    }


def _block(block: dict[str, Any], image: jax.Array, level: jax.Array) -> jax.Array:
    """Two convolutions beside a shortcut; the noise level scales and shifts between."""
    inner = conv(block["first"], jax.nn.silu(group_norm(block["norm"], image)))
    scale, shift = jnp.split(dense(block["level"], level)[:, None, None], 2, axis=-1)
    inner = jax.nn.silu(group_norm(block["inner"], inner) * (1 + scale) + shift)
    return conv(block["across"], image) + conv(block["second"], inner)


def _half(image: jax.Array) -> jax.Array:
    """Mean over squares of 2 x 2 pixels."""
    batch, height, width, channels = image.shape
    squares = image.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return jnp.mean(squares, axis=(2, 4))


def _double(image: jax.Array) -> jax.Array:
    """Every pixel four times."""
    return jnp.repeat(jnp.repeat(image, 2, axis=1), 2, axis=2)

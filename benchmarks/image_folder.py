"""From a folder of images to samples, bits per dimension, and what a hidden half may be.

    python benchmarks/image_folder.py              # the numbers and the figure
    python benchmarks/image_folder.py --quick      # a short training, nothing stored

The digits of scikit-learn, 8 x 8 pixels of 17 levels, are written as NumPy files and read
back; 400 are kept unseen. A network of three layers learns the others, with noise that
makes levels continuous, drawn several times for each.

Bits per dimension of the unseen ones, beside models whose numbers need no flow: levels all
alike; each pixel on its own, by how often its levels were seen; the Gaussian of the
training, in closed form, and the same Gaussian by the flow of its denoiser.

Then the lower half of unseen digits is hidden: how far are the hidden pixels from what is
filled in, root mean square, in levels? The conditional mean of a Gaussian is exact, so its
samples by ``linear_posterior`` show what sampling adds.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, arguments, prepare_devices, save, table
from images import tiles
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import diffusion
from diffevo_jax.diffusion.analysis.bits import bits_of_density

LEVELS = 17  # of a pixel
UNSEEN = 400
HIDDEN_LAYERS, STEPS, BATCH = (256, 256, 256), 3000, 256
COPIES = 16  # of an image, each with other noise
GRID = de.noise.EDM(sigma_min=0.02, sigma_max=30.0)
FLOW = de.noise.VE(sigma_min=0.02, sigma_max=30.0)
FLOW_LEVELS = 17
#: Of the variational bound: the last step has half a level.
CHAIN, CHAIN_LEVELS = de.noise.VE(sigma_min=0.08, sigma_max=30.0), 200
#: Unseen digits with a hidden half, samples of each, and noise levels.
HIDDEN, FILLS, FILL_LEVELS = 20, 8, 30


class Digits(NamedTuple):
    """What was read, in an order that chance has given, and how it becomes data."""

    train: np.ndarray
    labels: np.ndarray
    unseen: np.ndarray
    unseen_labels: np.ndarray
    scale: diffusion.PixelScale
    data: jax.Array


def write_digits(folder: Path) -> None:
    """A folder for each digit, and in it one file with all its images."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    for digit in range(10):
        (folder / str(digit)).mkdir()
        stack = images[labels == digit].reshape(-1, 8, 8, 1).astype(np.uint8)
        np.save(folder / str(digit) / "images.npy", stack)


def read_digits(key: jax.Array) -> Digits:
    """From such a folder."""
    with tempfile.TemporaryDirectory() as folder:
        write_digits(Path(folder))
        images = diffusion.load_images(folder)
    key_order, key_noise = jax.random.split(key)
    order = np.asarray(jax.random.permutation(key_order, len(images.pixels)))
    pixels, labels = images.pixels[order], images.labels[order]
    scale = diffusion.fit_scale(pixels[:-UNSEEN], LEVELS)
    copies = np.tile(pixels[:-UNSEEN], (COPIES, 1, 1, 1))
    data = scale.to_data(diffusion.dequantise(key_noise, copies))
    seen, unseen = slice(-UNSEEN), slice(-UNSEEN, None)
    return Digits(pixels[seen], labels[seen], pixels[unseen], labels[unseen], scale, data)


def pixels_alone(digits: Digits) -> np.ndarray:
    """Bits of each unseen image, if every pixel has its own histogram and no neighbour."""
    seen = digits.train.reshape(len(digits.train), -1)
    counts = np.stack([(seen == level).sum(axis=0) for level in range(LEVELS)])
    probability = (counts + 0.5) / (len(seen) + 0.5 * LEVELS)
    unseen = digits.unseen.reshape(UNSEEN, -1)
    return -np.log2(probability[unseen, np.arange(64)]).mean(axis=1)


def by_flow(key: jax.Array, denoise: Callable, digits: Digits, **options: Any) -> Any:
    """Bits of each unseen image."""
    return jax.jit(
        lambda key: diffusion.bits_per_dimension(
            key,
            denoise,
            digits.unseen,
            digits.scale,
            FLOW,
            num_levels=FLOW_LEVELS,
            **options,
        )
    )(key)


def measure_bits(
    key: jax.Array, digits: Digits, gaussian: Any, trained: diffusion.Trained
) -> list[dict[str, Any]]:
    """Means over unseen images, and their standard errors."""
    keys = jax.random.split(key, 5)
    noisy = digits.scale.to_data(diffusion.dequantise(keys[0], digits.unseen))
    exact = gaussian.log_density(noisy.reshape(UNSEEN, -1), FLOW.sigma_min)
    labels = jnp.asarray(digits.unseen_labels)
    labelled = lambda y, sigma: trained.denoise(y, sigma, labels)
    chain = jax.jit(
        lambda key: diffusion.variational_bits(
            key,
            trained.denoise,
            digits.unseen,
            digits.scale,
            CHAIN,
            num_levels=CHAIN_LEVELS,
        )
    )
    found = {
        "levels all alike": np.full(UNSEEN, np.log2(LEVELS)),
        "each pixel on its own": pixels_alone(digits),
        "a Gaussian, closed form": bits_of_density(exact, 64, digits.scale.deviation),
        "the same by its flow": by_flow(keys[1], gaussian.denoise, digits, num_probes=4),
        "network": by_flow(keys[2], trained.denoise, digits, num_probes=2),
        "network, `variational_bits`": np.stack(
            [chain(k) for k in jax.random.split(keys[4], 4)]
        ),
        "network, with the label": by_flow(keys[3], labelled, digits, num_probes=2),
    }
    return [
        {
            "what": what,
            "bits": float(np.mean(bits)),
            "error": float(np.std(bits) / np.sqrt(len(bits))),
        }
        for what, bits in found.items()
    ]


def measure_hidden(
    key: jax.Array, digits: Digits, gaussian: Any, trained: diffusion.Trained
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Errors of what is filled in, and the fills of the network."""
    scale, truth = digits.scale, digits.unseen[:HIDDEN]
    known = np.zeros((8, 8, 1), bool)
    known[:4] = True
    deviation = 1 / (np.sqrt(12) * scale.deviation)  # a pixel is known to a level
    data = scale.to_data(truth)

    def fill(conditioned: Callable) -> jax.Array:
        """Samples of each image, (HIDDEN, FILLS, 64)."""

        def one(argument: tuple[jax.Array, jax.Array]) -> jax.Array:
            key, values = argument
            denoise = conditioned(values)
            sampler, shape = de.samplers.DDIM(eta=1.0), (FILLS, 64)
            return de.sample(key, denoise, GRID, sampler, shape, num_levels=FILL_LEVELS)

        keys = jax.random.split(key, HIDDEN)
        return jax.jit(lambda keys: jax.lax.map(one, (keys, data)))(keys)

    seen = lambda values: diffusion.known_part(known, values, deviation)
    exact = jax.lax.map(lambda values: seen(values).posterior(gaussian).mean(), data)
    posterior = lambda denoise: (
        lambda values: diffusion.linear_posterior(denoise, seen(values))
    )
    replaced = lambda values: diffusion.inpaint(trained.denoise, known, values)
    found = {
        "mean image of the training": jnp.broadcast_to(
            digits.data.mean(axis=0).ravel(), (HIDDEN, 1, 64)
        ),
        "Gaussian, conditional mean in closed form": exact[:, None],
        "Gaussian, `linear_posterior`": fill(posterior(gaussian.denoise)),
        "network, `linear_posterior`": fill(posterior(trained.denoise)),
        "network, `inpaint`": fill(replaced),
    }
    hidden = ~known.ravel()
    want = truth.reshape(HIDDEN, 64)[:, hidden].astype(float)
    rows = []
    for what, fills in found.items():
        got = np.asarray(fills * scale.deviation + scale.mean, float)[..., hidden]
        of_mean = np.sqrt(np.mean((got.mean(axis=1) - want) ** 2))
        of_one = np.sqrt(np.mean((got - want[:, None]) ** 2))
        row = {"what": what, "of_mean": float(of_mean)}
        rows.append(row | ({"of_one": float(of_one)} if got.shape[1] > 1 else {}))
    shown = scale.to_pixels(found["network, `linear_posterior`"])
    return rows, np.asarray(shown).reshape(HIDDEN, FILLS, 8, 8)


def draw(key: jax.Array, digits: Digits, trained: diffusion.Trained) -> np.ndarray:
    """Eight of each digit, as pixels."""
    asked = jnp.repeat(jnp.arange(10), 8)
    denoise = lambda y, sigma: trained.denoise(y, sigma, asked)
    sampler = de.samplers.Heun()
    samples = jax.jit(
        lambda key: de.sample(key, denoise, GRID, sampler, (80, 64), num_levels=18)
    )(key)
    return np.asarray(digits.scale.to_pixels(samples)).reshape(80, 8, 8)


def report_bits(rows: list[dict[str, Any]]) -> str:
    """Bits per dimension."""
    lines = [[row["what"], f"{row['bits']:.2f} ± {row['error']:.2f}"] for row in rows]
    return table(["model of unseen digits", "bits per dimension"], lines)


def report_hidden(rows: list[dict[str, Any]]) -> str:
    """Errors of hidden pixels."""
    lines = [
        [
            row["what"],
            f"{row['of_mean']:.2f}",
            f"{row['of_one']:.2f}" if "of_one" in row else "-",
        ]
        for row in rows
    ]
    header = ["what fills the lower half", f"error of the mean of {FILLS}, in levels"]
    return table([*header, "of one sample"], lines)


def sheet(drawn: np.ndarray, digits: Digits, fills: np.ndarray) -> Figure:
    """Drawn digits; and unseen ones, their upper half, and what may be below it."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(tiles(drawn, 8), cmap="gray", vmin=0, vmax=16)
    left.set(title="drawn, one digit a row")
    truth = digits.unseen[:10, :, :, 0]
    upper = truth.copy()
    upper[:, 4:] = 5
    rows = np.concatenate([truth[:, None], upper[:, None], fills[:10, :6]], axis=1)
    right.imshow(tiles(rows.reshape(-1, 8, 8), 8), cmap="gray", vmin=0, vmax=16)
    right.set(title="unseen; its upper half; six fills")
    for ax in (left, right):
        ax.set(xticks=[], yticks=[])
    return figure


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "")
    keys = jax.random.split(jax.random.key(options.seed), 5)
    digits = read_digits(keys[0])
    recipe = diffusion.Recipe(num_steps=50 if options.quick else STEPS, batch_size=BATCH)
    network = diffusion.MLP(HIDDEN_LAYERS, num_classes=10)
    trained = diffusion.train(
        keys[1], digits.data, network, recipe, labels=np.tile(digits.labels, COPIES)
    )
    gaussian = diffusion.fit_gaussian(digits.data.reshape(len(digits.data), -1))
    hidden, fills = measure_hidden(keys[2], digits, gaussian, trained)
    bits = measure_bits(keys[3], digits, gaussian, trained)
    print(f"{report_bits(bits)}\n\n{report_hidden(hidden)}")
    save("image_bits", options, bits)
    save("image_hidden", options, hidden)
    if not options.quick:
        drawn = draw(keys[4], digits, trained)
        sheet(drawn, digits, fills).savefig(FIGURES / "image_folder.png", dpi=110)


if __name__ == "__main__":
    main()

"""Images out of noise: handwritten digits, and drawn shapes, by a small U-Net.

    python benchmarks/images.py              # the numbers and the figures
    python benchmarks/images.py --quick      # short trainings, nothing stored

Digits: 8 x 8, the set of scikit-learn, whose classifier (a support vector machine) is
trained on the same images as the network and names the samples. Samples are guided towards
a digit each, or only conditioned on it (guidance 0). Shapes: 16 x 16, a training on 16 of
them and one on 4,096.

Are samples copies? Their distance from the nearest training image is compared with that of
real images that the training has not seen: medians, and their ratio. A network that has
seen few images learns their own exact denoiser, and its samples are those few.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from common import FIGURES, arguments, prepare_devices, save, table
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import diffusion

GRID = de.noise.EDM(sigma_min=0.01, sigma_max=30.0)
LEVELS = 18  # with Heun 35 answers
EACH = 100  # samples of a digit
GUIDANCES = (0.0, 1.0)
FEW_AND_MANY = (16, 4096)
#: Widths of the network, steps, images in each.
SETTINGS = {"digits": ((32, 64), 1000, 128), "shapes": ((16, 32, 64), 1500, 64)}


class Images(NamedTuple):
    """Standardised images (N, S, S, 1) and their labels, to train with and unseen."""

    train: np.ndarray
    labels: np.ndarray
    unseen: np.ndarray
    unseen_labels: np.ndarray


def standardised(images: Any, labels: Any, num_unseen: int) -> Images:
    """Subtract the mean, divide by the deviation, keep the last ones unseen."""
    images, labels = np.asarray(images, np.float32), np.asarray(labels)
    cut = len(images) - num_unseen
    images = (images - images[:cut].mean()) / images[:cut].std()
    return Images(images[:cut], labels[:cut], images[cut:], labels[cut:])


def digits() -> Images:
    """The 1,797 digits of scikit-learn, in a random order; 400 are unseen."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    return standardised(images[order].reshape(-1, 8, 8, 1), labels[order], 400)


def drawn(count: int) -> Images:
    """So many drawn shapes, and 400 unseen ones."""
    return standardised(*diffusion.drawn_shapes(jax.random.key(0), count + 400), 400)


def classifier(images: Images) -> Callable[[Any], np.ndarray]:
    """What names images, trained on those of the training."""
    from sklearn.svm import SVC

    flat = lambda images: np.asarray(images).reshape(len(images), -1)
    machine = SVC(C=10.0).fit(flat(images.train), images.labels)
    return lambda samples: machine.predict(flat(samples))


def train(
    key: jax.Array,
    images: Images,
    name: str,
    parameterisation: Any = None,
    num_steps: int | None = None,
) -> diffusion.Trained:
    """A small U-Net, of digits with labels, by the recipe of EDM or another."""
    channels, all_steps, batch_size = SETTINGS[name]
    labelled = name == "digits"
    recipe = diffusion.Recipe(
        parameterisation=parameterisation or diffusion.EDM(),
        num_steps=num_steps or all_steps,
        batch_size=batch_size,
    )
    return diffusion.train(
        key,
        images.train,
        diffusion.UNet(channels, num_classes=10 * labelled),
        recipe,
        labels=images.labels if labelled else None,
    )


def draw(
    key: jax.Array,
    trained: diffusion.Trained,
    count: int,
    labels: np.ndarray | None = None,
    guidance: float | None = None,
) -> np.ndarray:
    """Samples, one for each label if there are any."""
    shape = trained.denoiser.shape
    size = (count, math.prod(shape))

    @jax.jit
    def sample(
        key: jax.Array, denoiser: diffusion.NetworkDenoiser, labels: Any
    ) -> jax.Array:
        denoise = lambda y, sigma: denoiser.denoise(y, sigma, labels, guidance)
        heun = de.samplers.Heun()
        return de.sample(key, denoise, GRID, heun, size, num_levels=LEVELS)

    return np.asarray(sample(key, trained.denoiser, labels)).reshape(-1, *shape)


def nearest(images: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the nearest known image, root mean square, and which one it is."""
    flat, others = images.reshape(len(images), -1), known.reshape(len(known), -1)
    squares = (flat**2).sum(1)[:, None] + (others**2).sum(1) - 2 * flat @ others.T
    return np.sqrt(np.maximum(squares.min(1), 0) / flat.shape[1]), squares.argmin(1)


def novelty(samples: np.ndarray, images: Images) -> dict[str, float]:
    """Are samples as far from the training's images as unseen ones?"""
    got, want = (nearest(x, images.train)[0] for x in (samples, images.unseen))
    return {
        "distance": float(np.median(got)),
        "unseen": float(np.median(want)),
        "novelty": float(np.median(got) / np.median(want)),
    }


def measure_digits(seed: int, num_steps: int | None) -> tuple[list[dict[str, Any]], Any]:
    """Digits as asked for; the guided ones, and their nearest images of the training."""
    images = digits()
    name = classifier(images)
    right = float(np.mean(name(images.unseen) == images.unseen_labels))
    key, key_train = jax.random.split(jax.random.key(seed))
    begin = time.perf_counter()
    trained = train(key_train, images, "digits", num_steps=num_steps)
    labels = np.repeat(np.arange(10), EACH)
    rows: list[dict[str, Any]] = []
    for guidance in GUIDANCES:
        samples = draw(key, trained, len(labels), labels, guidance)
        row: dict[str, Any] = {"what": f"digits, guidance {guidance:g}"}
        row["seconds"] = time.perf_counter() - begin
        row |= {"named": float(np.mean(name(samples) == labels)), "named_unseen": right}
        rows.append(row | novelty(samples, images))
    shown = samples.reshape(10, EACH, 8, 8)[:, :12].reshape(-1, 8, 8)
    first = samples[::EACH]
    pairs = np.stack([first, images.train[nearest(first, images.train)[1]]], axis=1)
    return rows, (shown, pairs.reshape(-1, 8, 8))


def measure_shapes(
    seed: int, count: int, num_steps: int | None
) -> tuple[dict[str, Any], np.ndarray]:
    """Shapes after a training on so many."""
    images = drawn(count)
    key, key_train = jax.random.split(jax.random.key(seed))
    begin = time.perf_counter()
    trained = train(key_train, images, "shapes", num_steps=num_steps)
    samples = draw(key, trained, 400)
    row: dict[str, Any] = {"what": f"shapes, from {count:,}"}
    row["seconds"] = time.perf_counter() - begin
    return row | novelty(samples, images), samples[:80, :, :, 0]


def report(rows: list[dict[str, Any]]) -> str:
    """Names, distances and seconds."""
    lines = [
        [
            row["what"],
            f"{100 * row['named']:.1f} %" if "named" in row else "-",
            f"{row['distance']:.2f}",
            f"{row['unseen']:.2f}",
            f"{row['novelty']:.2f}",
            f"{row['seconds']:.0f}",
        ]
        for row in rows
    ]
    header = ["what", "named as asked", "from the nearest training image"]
    return table([*header, "of unseen images", "ratio", "s, with training"], lines)


def sheet(digit: Any, shapes: list[np.ndarray]) -> Figure:
    """All samples as pictures."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(1.2, 0.2, 0.8, 0.8))
    few, many = (f"shapes, from {count:,}" for count in FEW_AND_MANY)
    panels = [(digit[0], 12, f"digits, guidance {GUIDANCES[-1]:g}")]
    panels += [(digit[1], 2, "and their\nnearest"), (shapes[0], 8, few)]
    for ax, (images, columns, title) in zip(
        axes, [*panels, (shapes[1], 8, many)], strict=True
    ):
        ax.imshow(tiles(images, columns), cmap="gray", vmin=-1.2, vmax=2.2)
        ax.set(title=title, xticks=[], yticks=[])
    return figure


def tiles(images: np.ndarray, columns: int) -> np.ndarray:
    """Images (N, S, S) in rows, as one image, with a line between them."""
    framed = np.pad(images, ((0, 0), (0, 1), (0, 1)), constant_values=2.2)
    size = framed.shape[1]
    grid = framed.reshape(-1, columns, size, size).swapaxes(1, 2)
    return grid.reshape(-1, columns * size)


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "")
    num_steps = 50 if options.quick else None
    rows, digit = measure_digits(options.seed, num_steps)
    shapes = []
    for count in FEW_AND_MANY:
        row, shown = measure_shapes(options.seed, count, num_steps)
        rows.append(row)
        shapes.append(shown)
    print(report(rows))
    save("images", options, rows)
    if not options.quick:
        sheet(digit, shapes).savefig(FIGURES / "images.png", dpi=110)


if __name__ == "__main__":
    main()

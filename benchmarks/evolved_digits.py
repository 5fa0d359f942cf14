"""Digits as asked for, from a model that knows no labels: its initial noise evolves.

    python benchmarks/evolved_digits.py              # the numbers and the figure
    python benchmarks/evolved_digits.py --quick      # a short training, nothing stored

A small network learns the 8 x 8 digits of scikit-learn without their labels. The genome is
the noise that a sample begins with, 64 numbers; the fitness is the log-probability that a
logistic regression gives to an asked digit, and no slope of either is used. Everybody gets
64 x 16 samples, and a seed is a digit and a first population: random search, CMA-ES of
evosax, and two settings of Diffusion Evolution, the default and one whose last generation
still has noise, for more than one sample.

``best`` is the best log-probability of a run, ``top`` its mean over the 16 best of the last
population (of random search, of all). Is it still a digit? A support vector machine, which
no fitness knows, names the 16; their distance from the nearest image of the training is
beside that of unseen images. Diversity is their mean pairwise distance, beside that of
images of the same digit. With ``sphere`` off a noise may have any length.

Model, levels and settings were chosen on other seeds.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, arguments, prepare_devices, save, table
from images import Images, digits, nearest, tiles
from matplotlib.figure import Figure
from scipy import stats

import diffevo_jax as de
from diffevo_jax import diffusion

SIZE, GENERATIONS, TOP = 64, 16, 16
GRID, LEVELS = de.noise.EDM(0.03, 10.0), 8
FIRST_SEED = 5000
#: Of the library, by name; the others are a search at random, and CMA-ES.
OURS = {
    "default": de.DiffusionEvolution(GENERATIONS),
    "more guidance, noise left": de.DiffusionEvolution(
        GENERATIONS, de.denoisers.Population(guidance=4.0), grid=de.noise.VE(0.3, 4.0)
    ),
}
METHODS = ("random search", "CMA-ES", *OURS)


class Judges(NamedTuple):
    """Weights and biases of the logistic regression, (10, 64) and (10,); what names."""

    weights: jax.Array
    biases: jax.Array
    name: Callable[[np.ndarray], np.ndarray]


def flat(images: np.ndarray) -> np.ndarray:
    """Images as rows."""
    return np.asarray(images).reshape(len(images), -1)


def judges(images: Images) -> Judges:
    """Both trained on the images of the training."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    data = flat(images.train), images.labels
    logistic = LogisticRegression(C=0.01, max_iter=2000).fit(*data)
    weights, biases = jnp.asarray(logistic.coef_), jnp.asarray(logistic.intercept_)
    return Judges(weights, biases, SVC(C=10.0).fit(*data).predict)


def log_probability(
    weights: jax.Array, biases: jax.Array, digit: jax.Array, samples: jax.Array
) -> jax.Array:
    """Of an asked digit, for each sample."""
    logits = de.attention.matmul(samples, weights.T) + biases
    return jax.nn.log_softmax(logits)[:, digit]


def train(key: jax.Array, images: Images, num_steps: int) -> diffusion.NetworkDenoiser:
    """A network of three layers, without labels."""
    recipe = diffusion.Recipe(num_steps=num_steps)
    network = diffusion.MLP((256, 256, 256))
    return diffusion.train(key, flat(images.train), network, recipe).denoiser


def problem_of(
    denoiser: diffusion.NetworkDenoiser, judge: Judges, digit: jax.Array, sphere: bool
) -> de.problems.Generator:
    """The noise for one digit."""
    reward = jax.tree_util.Partial(log_probability, judge.weights, judge.biases, digit)
    genome = de.problems.InitialNoise(sphere)
    return de.problems.Generator(
        denoiser.denoise, reward, 64, genome, GRID, num_levels=LEVELS
    )


def at_random(key: jax.Array, problem: de.problems.Generator) -> tuple[jax.Array, ...]:
    """The best of as many samples, and the best of them all."""
    population = problem.space.sample(key, SIZE * GENERATIONS)
    solutions = problem.space.decode(population)
    evaluation, _ = problem.evaluate(key, (), solutions)
    order = jnp.argsort(-evaluation.fitness)[:TOP]
    fitness = evaluation.fitness[order]
    return fitness[0], fitness.mean(), evaluation.measures[order, 0]


def evolved(
    strategy: de.Strategy, key: jax.Array, problem: de.problems.Generator
) -> tuple[jax.Array, ...]:
    """The best of a run, and the best of its last population."""
    result = de.evolve(key, strategy, problem, population_size=SIZE)
    order = jnp.argsort(-result.fitness)[:TOP]
    samples = problem.draw(problem.space.decode(result.population[order]))[:, 0]
    return result.best_fitness, result.fitness[order].mean(), samples


def cma_es() -> de.Strategy:
    """That of evosax, with its own settings."""
    from evosax.algorithms import CMA_ES

    from diffevo_jax.interop.evosax import from_algorithm

    return from_algorithm(CMA_ES(SIZE, jnp.zeros(64)), GENERATIONS)


def search(name: str) -> Callable[..., tuple[jax.Array, ...]]:
    """One method, of a key and a problem."""
    if name == "random search":
        return at_random
    return functools.partial(evolved, cma_es() if name == "CMA-ES" else OURS[name])


def pairwise(samples: np.ndarray) -> float:
    """Mean distance of two of them, root mean square over the pixels."""
    squares = (samples**2).sum(1)
    between = squares[:, None] + squares - 2 * samples @ samples.T
    total = np.sqrt(np.maximum(between, 0) / samples.shape[1]).sum()
    return float(total / (len(samples) * (len(samples) - 1)))


def measure(
    name: str,
    sphere: bool,
    denoiser: diffusion.NetworkDenoiser,
    judge: Judges,
    images: Images,
    seeds: np.ndarray,
) -> tuple[dict[str, Any], np.ndarray]:
    """All seeds of a method: a row, and the samples (R, 16, 64)."""
    method, asked = search(name), jnp.arange(len(seeds)) % 10

    @jax.jit
    def run(seeds: jax.Array, asked: jax.Array, model: Any) -> tuple[jax.Array, ...]:
        of_one = lambda seed, digit: method(
            jax.random.key(seed), problem_of(model, judge, digit, sphere)
        )
        return jax.lax.map(lambda both: of_one(*both), (seeds, asked))

    begin = time.perf_counter()
    best, top, samples = map(np.asarray, run(jnp.asarray(seeds), asked, denoiser))
    known, labels = flat(images.train), images.labels
    real = [pairwise(known[labels == digit]) for digit in range(10)]
    pairs = list(zip(samples, np.asarray(asked), strict=True))
    away = [np.median(nearest(some, known)[0]) for some in samples]
    return {
        "what": name,
        "sphere": sphere,
        "seconds": time.perf_counter() - begin,
        "best": best.tolist(),
        "top": top.tolist(),
        "diversity": [pairwise(some) / real[digit] for some, digit in pairs],
        "named": [float(np.mean(judge.name(some) == digit)) for some, digit in pairs],
        "distance": np.array(away).tolist(),
    }, samples


def report(rows: list[dict[str, Any]]) -> str:
    """A line a method; the difference from CMA-ES on the same seeds."""
    lines = []
    for row in rows:
        peers = [r for r in rows if r["what"] == "CMA-ES" and r["sphere"] == row["sphere"]]
        peer = peers[0] if peers and peers[0] is not row else None
        lines.append(
            [
                called(row),
                f"{np.mean(row['best']):.4f}",
                "-" if peer is None else difference(row["best"], peer["best"]),
                f"{np.mean(row['top']):.4f}",
                f"{np.mean(row['diversity']):.2f}",
                f"{100 * np.mean(row['named']):.0f} %",
                f"{np.mean(row['distance']):.2f}",
            ]
        )
    header = ["who searches", "best", "less that of CMA-ES (better in)", "the 16 best"]
    header += ["their diversity", "named as asked", "distance from the training"]
    return table(header, lines)


def called(row: dict[str, Any]) -> str:
    """The method of a row, and of which noise."""
    return row["what"] if row["sphere"] else f"{row['what']}, any length"


def difference(ours: list[float], theirs: list[float]) -> str:
    """The mean of the differences with its 95 % interval, and how many are better."""
    apart = np.array(ours) - np.array(theirs)
    half = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart))
    return f"{apart.mean():+.4f} ± {half:.4f} ({np.sum(apart > 0)} of {len(apart)})"


def sheet(shown: dict[str, np.ndarray]) -> Figure:
    """The four best of each digit, by method."""
    figure = Figure(figsize=(12, 3.9), layout="constrained")
    axes = figure.subplots(2, len(shown) // 2).flat
    for ax, (name, samples) in zip(axes, shown.items(), strict=True):
        some = samples[:10, :4].swapaxes(0, 1).reshape(-1, 8, 8)
        ax.imshow(tiles(some, 10), cmap="gray", vmin=-1.2, vmax=2.2)
        ax.set(title=name, xticks=[], yticks=[])
    return figure


def unseen(images: Images) -> float:
    """Median distance of unseen images from the nearest one of the training."""
    return float(np.median(nearest(images.unseen, images.train)[0]))


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "", seeds=20)
    images = digits()
    judge = judges(images)
    begin = time.perf_counter()
    key = jax.random.key(options.seed)
    denoiser = train(key, images, 100 if options.quick else 4000)
    print(f"trained in {time.perf_counter() - begin:.0f} s", flush=True)
    seeds = FIRST_SEED + np.arange(options.seeds)
    rows, shown = [], {}
    for sphere in (True, False):
        for name in METHODS:
            row, samples = measure(name, sphere, denoiser, judge, images, seeds)
            rows.append(row | {"unseen": unseen(images)})
            if sphere or name == "CMA-ES":
                shown[called(row)] = samples
            print(report(rows[-1:]), f"{row['seconds']:.0f} s", flush=True)
    print(report(rows), f"\nunseen images: {unseen(images):.2f} from the training")
    save("evolved_digits", options, rows)
    if not options.quick:
        figure = sheet({"the model, no search": drawn(denoiser, key)} | shown)
        figure.savefig(FIGURES / "evolved_digits.png", dpi=110)


def drawn(denoiser: diffusion.NetworkDenoiser, key: jax.Array) -> np.ndarray:
    """Samples as the model draws them, (10, 4, 64)."""
    sampler = de.samplers.DPMSolver2M()
    draw = lambda key: de.sample(
        key, denoiser.denoise, GRID, sampler, (40, 64), num_levels=LEVELS
    )
    return np.asarray(jax.jit(draw)(key)).reshape(10, 4, 64)


if __name__ == "__main__":
    main()

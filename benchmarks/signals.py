"""A curve out of noise: chains of 100 steps on sums of sinusoids, 50 numbers each.

    python benchmarks/signals.py             # the numbers and the figure
    python benchmarks/signals.py --quick     # short trainings, nothing stored

Networks are trained on a family of curves at the noise levels of a chain of 100 steps: one
predicts the noise, as DDPM does, the other is preconditioned (EDM). Both are sampled with
DDPM's smaller variance, that of a known clean point, with its larger one, beta, and with
that of data of deviation 3, as curves have 2.6 along an axis. "Clipped" answers stay in the
range of the training's values, as in DDPM's code.

Compared are the ten largest eigenvalues of the covariance of 20,000 generated curves with
those of the family, which are known exactly; "drawn from the family" is the error of as
many true curves. All settings were chosen with seed 1000, which is not shown, except for
the network's width, which an earlier version chose with seed 42.
At last, one network sees one curve alone.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, arguments, prepare_devices, save, summary, table
from matplotlib.figure import Figure
from signals_figure import figure

import diffevo_jax as de
from diffevo_jax import diffusion


class Way(NamedTuple):
    """A network, and how it is sampled."""

    training: str
    clipped: bool
    sampler: de.samplers.Ancestral

    def __str__(self) -> str:
        deviation = float(self.sampler.sigma_data)
        variance = {0.0: "smaller variance", 1.0: "larger variance"}.get(deviation)
        text = f"{self.training}, {variance or f'variance for deviation {deviation:g}'}"
        return text + ", clipped" * self.clipped


def cosine_betas(count: int) -> np.ndarray:
    """Variances of the cosine schedule (Nichol and Dhariwal, 2021, eq. 17)."""
    alpha_bars = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - alpha_bars[1:] / alpha_bars[:-1], 0.999)


BETAS = cosine_betas(100)
NETWORK = diffusion.MLP((512, 512, 512))
COUNT, LARGEST = 20_000, 10
#: Of the family, and of one curve.
STEPS = (20_000, 1000)
#: What is predicted, how levels are weighted, and the learning rate.
TRAININGS: dict[str, tuple[Any, str, float]] = {
    "noise prediction": (diffusion.Noise(), "noise", 2e-3),
    "preconditioned": (diffusion.EDM(), "network", 4e-3),
}
WAYS = (
    Way("noise prediction", False, de.samplers.Ancestral(0.0)),
    Way("noise prediction", True, de.samplers.Ancestral(0.0)),
    Way("noise prediction", True, de.samplers.Ancestral(1.0)),
    Way("noise prediction", True, de.samplers.Ancestral(3.0)),
    Way("preconditioned", False, de.samplers.Ancestral(0.0)),
    Way("preconditioned", False, de.samplers.Ancestral(1.0)),
    Way("preconditioned", False, de.samplers.Ancestral(3.0)),
)
#: The one that is shown.
SHOWN = WAYS[-1]


def train(
    key: jax.Array, curves: jax.Array, training: str, num_steps: int
) -> diffusion.Trained:
    """Every step of the chain alike, and what the network predicts."""
    parameterisation, weighting, learning_rate = TRAININGS[training]
    recipe = diffusion.Recipe(
        parameterisation=parameterisation,
        objective=diffusion.Objective(diffusion.beta_levels(BETAS), weighting),
        num_steps=num_steps,
        learning_rate=learning_rate,
    )
    return diffusion.train(key, curves, NETWORK, recipe)


@functools.partial(jax.jit, static_argnums=4)
def generate(
    key: jax.Array,
    denoiser: diffusion.NetworkDenoiser,
    sampler: de.samplers.Ancestral,
    reach: jax.typing.ArrayLike,
    count: int,
) -> de.SamplePath:
    """Down the chain, every step kept; answers are within the reach."""
    denoise = diffusion.clip_denoised(denoiser.denoise, -reach, reach)
    grid, shape = diffusion.beta_levels(BETAS).grid, (count, *denoiser.shape)
    return de.sample_path(key, denoise, grid, sampler, shape, num_levels=len(BETAS))


def eigenvalues(covariance: np.ndarray) -> np.ndarray:
    """The largest eigenvalues, falling."""
    return np.linalg.eigvalsh(covariance)[::-1][:LARGEST]


def exact_covariance(length: int = 50, low: float = 0.5, high: float = 4.0) -> np.ndarray:
    """Of the family: the mean of cos(2 pi f (t - t')) over its frequencies f."""
    times = np.linspace(0, 1, length)
    twice = 2 * (times[:, None] - times)
    return (high * np.sinc(high * twice) - low * np.sinc(low * twice)) / (high - low)


def one_curve(key: jax.Array, count: int) -> jax.Array:
    """A curve of the family, in unit deviation, so many times."""
    curve = diffusion.sinusoids(key, 1)
    return jnp.repeat((curve - curve.mean()) / curve.std(), count, axis=0)


def compared(what: str, seed: int, curves: Any) -> dict[str, Any]:
    """Eigenvalues, their largest relative error, and the longest curve."""
    got = eigenvalues(np.cov(np.asarray(curves, np.float64).T))
    return {
        "what": what,
        "seed": seed,
        "eigenvalues": list(got),
        "error": float(np.abs(got / eigenvalues(exact_covariance()) - 1).max()),
        "longest": float(np.sqrt(np.mean(np.square(curves), axis=1)).max()),
    }


def measure(seed: int, quick: bool) -> tuple[list[dict[str, Any]], tuple[Any, Any]]:
    """Every way of one seed; curves of the family, and generated ones that are shown."""
    keys = jax.random.split(jax.random.key(seed), 4)
    count, steps = (2000, 200) if quick else (COUNT, STEPS[0])
    family = diffusion.sinusoids(keys[0], 10 * count)
    reach, rows, shown = float(jnp.abs(family).max()), [], None
    for training in TRAININGS:
        trained = train(keys[1], family, training, steps)
        for way in WAYS:
            if way.training == training:
                limit = reach if way.clipped else math.inf
                path = generate(keys[2], trained.denoiser, way.sampler, limit, count)
                rows.append(compared(str(way), seed, path.samples))
                if way is SHOWN:
                    shown = np.asarray(path.samples[:6])
    more = diffusion.sinusoids(keys[3], count)
    rows.append(compared("drawn from the family", seed, more))
    return rows, (np.asarray(more[:6]), shown)


def alone(seed: int, quick: bool) -> tuple[float, Any]:
    """A network that has seen one curve: error of the worst of 1,000 samples."""
    keys = jax.random.split(jax.random.key(seed), 3)
    curves = one_curve(keys[0], 1000)
    trained = train(keys[1], curves, SHOWN.training, 200 if quick else STEPS[1])
    path = generate(keys[2], trained.denoiser, SHOWN.sampler, math.inf, len(curves))
    errors = np.sqrt(np.mean((path.samples - curves) ** 2, axis=1))
    return float(np.max(errors)), (np.asarray(curves), path)


def report(result: dict[str, Any]) -> str:
    """Largest errors of the eigenvalues, and the curve that is farthest out."""
    lines = []
    for what in dict.fromkeys(row["what"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["what"] == what]
        errors = [100 * row["error"] for row in rows]
        got, longest = summary(errors), max(row["longest"] for row in rows)
        mean = f"{got['mean']:.1f} ± {got['interval']:.1f} %"
        each = ", ".join(f"{error:.1f}" for error in errors)
        if max(errors) > 1000:
            mean = each = "more than 1,000 %"
        lines.append([what, mean, each, f"{longest:.1f}"])
    header = ["curves", f"{LARGEST} largest eigenvalues, largest error", "of each seed"]
    text = table([*header, "largest root mean square of a curve"], lines)
    one = f"One curve alone comes back within {result['one_curve']:.3f} of its deviation"
    return f"{text}\n\n{one} (root mean square, the worst of 1,000 samples)."


def draw(result: dict[str, Any], shown: Any, one: Any) -> Figure:
    """The figure of the way that is shown, and of one curve there and back."""
    curves, path = one
    forward = de.noise.forward_chain(
        jax.random.key(0), jnp.asarray(curves), jnp.asarray(BETAS)
    )
    got = [row["eigenvalues"] for row in result["rows"] if row["what"] == str(SHOWN)]
    return figure(shown, (eigenvalues(exact_covariance()), got), (forward, path), curves[0])


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "", seeds=5)
    rows, shown = [], None
    for seed in range(options.seed, options.seed + options.seeds):
        more, shown = measure(seed, options.quick)
        rows += more
        print("\n".join(f"{row['what']}: {row['error']:.3f}" for row in more), flush=True)
    error, one = alone(options.seed, options.quick)
    result = {"rows": rows, "one_curve": error}
    print(report(result))
    save("signals", options, result)
    if not options.quick:
        draw(result, shown, one).savefig(FIGURES / "signals.png", dpi=110)


if __name__ == "__main__":
    main()

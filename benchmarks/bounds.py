"""Two theorems evaluated: how far are samples from the data, and how far could they be?

    python benchmarks/bounds.py

The data are four Gaussians of deviation 0.5 on the corners of a square, (±a, ±a); with
a = 0 they are one. The coordinates are independent, so that distances are sums over axes
and can be measured accurately. Denoisers are exact, or wrong in a known way:

    bias          D + 0.2 h, with h = sigma^2 / (sigma^2 + 1)
    ripple        D + 0.2 h sin(3 y)
    other means   exact for means that are 0.1 to the right
    other weights exact for weights of 0.6 and 0.4 along each axis

Measured are W2 of samples of the reverse SDE and of the ODE, and KL of those of the SDE,
from the data with the noise of the last level; beside them the bounds. "none" has no error
but that of the sampler and of so many samples: measurements mean nothing below it. For a
denoiser that is exact for other data ("other ...") theory has the divergence equal to its
bound.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, prepare_devices, save, table

import diffevo_jax as de
from diffevo_jax import diffusion

WIDTH, SIZES = 0.5, (0.0, 0.5, 1.0, 2.0)
MODELS = ("none", "bias", "ripple", "other means", "other weights")
GRID = de.noise.VE(sigma_min=0.05, sigma_max=30.0)
#: Noise rate, sampler, levels.
SAMPLERS = {
    "SDE": (1.0, de.samplers.DDIM(eta=1.0), 600),
    "ODE": (0.0, de.samplers.Heun(), 100),
}
COUNT, POINTS, LEVELS, CELLS = 200_000, 20_000, 200, 60
EVEN, UNEVEN = np.array([0.5, 0.5]), np.array([0.6, 0.4])


def square(size: float, weights: np.ndarray, shift: float = 0.0) -> Any:
    """The mixture whose coordinates are mixtures of two Gaussians each."""
    places = np.array([-size, size]) + shift
    means = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)
    return de.oracles.gaussian_mixture(means, WIDTH**2, np.outer(weights, weights).ravel())


def model(name: str, size: float) -> Any:
    """A denoiser with a known error."""
    data = square(size, EVEN)
    if name == "none":
        return data.denoise
    if name.startswith("other"):
        return square(size, *((UNEVEN,) if "weights" in name else (EVEN, 0.1))).denoise

    def wrong(y: jax.Array, sigma: jax.Array) -> jax.Array:
        height = 0.2 * sigma**2 / (sigma**2 + 1)
        shape = jnp.sin(3 * y) if name == "ripple" else jnp.ones_like(y)
        return data.denoise(y, sigma) + height * shape

    return wrong


def cumulative(size: float, deviation: float, x: np.ndarray) -> np.ndarray:
    """Distribution function of one coordinate of the data, noise included."""
    error = np.vectorize(math.erf)
    sides = [error((x - mean) / (deviation * math.sqrt(2))) for mean in (-size, size)]
    return 0.5 + 0.25 * (sides[0] + sides[1])


def quantiles(size: float, deviation: float, count: int) -> np.ndarray:
    """Values of one coordinate at ``count`` even quantiles."""
    reach = size + 7 * deviation
    x = np.linspace(-reach, reach, 40_001)
    places = (np.arange(count) + 0.5) / count
    return np.interp(places, cumulative(size, deviation, x), x)


def wasserstein(samples: np.ndarray, size: float, deviation: float) -> float:
    """W2 of samples of two independent coordinates from the noisy data."""
    want = quantiles(size, deviation, len(samples))[:, None]
    return float(np.sqrt(np.sum(np.mean((np.sort(samples, axis=0) - want) ** 2, axis=0))))


def divergence(samples: np.ndarray, size: float, deviation: float) -> tuple[float, float]:
    """KL of the noisy data from such samples, by histograms, and its standard error.

    The cells have even mass; they make it smaller, never larger. What the chance of so many
    samples adds on average is subtracted.
    """
    edges = quantiles(size, deviation, 30 * CELLS)[::30][1:]
    total, variance = -samples.shape[1] * (CELLS - 1) / (2 * len(samples)), 0.0
    for axis in samples.T:
        shares = np.bincount(np.searchsorted(edges, axis), minlength=CELLS) / len(axis)
        masses = np.diff(cumulative(size, deviation, edges), prepend=0.0, append=1.0)
        total += float(np.sum(masses * np.log(masses / shares)))
        variance += float(np.sum(masses**2 / shares) - 1) / len(axis)
    return total, math.sqrt(variance)


def start(size: float) -> tuple[float, float]:
    """KL and W2 of the noisy data at the first level from what samples start from."""
    sigma = float(GRID.sigma_max)
    deviation = math.hypot(sigma, WIDTH)
    noise = quantiles(0.0, sigma, 40_000)
    apart = float(np.mean((quantiles(size, deviation, 40_000) - noise) ** 2))
    x = np.linspace(-8 * sigma, 8 * sigma, 40_001)
    density = lambda mean, sd: np.exp(-0.5 * ((x - mean) / sd) ** 2) / sd
    data = (density(-size, deviation) + density(size, deviation)) / 2
    ratio = np.log(data / density(0.0, sigma))
    step = (x[1] - x[0]) / math.sqrt(2 * math.pi)
    return 2 * float(np.sum(data * ratio) * step), math.sqrt(2 * apart)


def ingredients(
    denoise: Any, size: float, key: jax.Array, count: int
) -> tuple[jax.Array, ...]:
    """Noise levels, errors and largest slopes of a model."""
    data, sigmas = square(size, EVEN), GRID.sigmas(LEVELS)
    points = data.sample(key, min(count, POINTS))
    errors = diffusion.denoising_errors(key, denoise, data.denoise, points, sigmas)
    # Coordinates are independent, so slopes along the diagonal are those everywhere.
    line = jnp.linspace(-1.0, 1.0, 2001)[:, None] * jnp.ones(2)

    def slope(sigma: jax.Array) -> jax.Array:
        reach = size + 5 * jnp.hypot(sigma, WIDTH)
        return jnp.max(diffusion.largest_slopes(denoise, reach * line, sigma))

    return sigmas, errors, jax.jit(lambda sigmas: jax.lax.map(slope, sigmas))(sigmas)


def measure(size: float, name: str, seed: int, count: int) -> dict[str, Any]:
    """Distances and bounds of one model."""
    denoise, key = model(name, size), jax.random.key(seed)
    sigmas, errors, slopes = ingredients(denoise, size, key, count)
    kl_start, w2_start = start(size)
    kl = diffusion.kl_bound(sigmas, errors, kl_start)
    deviation = math.hypot(WIDTH, float(sigmas[-1]))
    row: dict[str, Any] = {"size": size, "model": name, "loss": float(kl.error)}
    row["slope"] = float(jnp.max(slopes))
    for label, (rate, sampler, num_levels) in SAMPLERS.items():
        bound = diffusion.wasserstein_bound(sigmas, errors, slopes, w2_start, rate)
        samples = np.asarray(draw(key, denoise, sampler, num_levels, count), np.float64)
        distance = wasserstein(samples, size, deviation)
        row[f"W2 {label}"] = {"measured": distance, "bound": float(bound.total)}
        if rate == 1:
            distance, error = divergence(samples, size, deviation)
            row["KL"] = {"measured": distance, "error": error, "bound": float(kl.total)}
    return row


def draw(key: jax.Array, denoise: Any, sampler: Any, levels: int, count: int) -> jax.Array:
    """Samples with the noise of the last level."""
    return jax.jit(
        lambda key: de.sample(
            key,
            denoise,
            GRID,
            sampler,
            (count, 2),
            num_levels=levels,
            final_denoise=False,
        )
    )(key)


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "")
    count, sizes = (1000, SIZES[:1]) if options.quick else (COUNT, SIZES)
    rows = [
        measure(size, name, options.seed, count)
        for size in sizes
        for name in (MODELS[:2] if options.quick else MODELS)
        if size or name != "other weights"  # of equal Gaussians mean nothing
    ]
    print(report(rows))
    save("bounds", options, rows)


def report(rows: list[dict[str, Any]]) -> str:
    """Every distance, its bound, and how many times larger that is."""
    distances = ("KL", "W2 SDE", "W2 ODE")
    header = ["a", "error", "largest slope", "loss, nats"]
    lines = [
        [
            f"{row['size']:g}",
            row["model"],
            f"{row['slope']:.2f}",
            f"{row['loss']:.3g}",
            *(beside(row[name], row["loss"]) for name in distances),
        ]
        for row in rows
    ]
    return table([*header, *(f"{name} ≤ bound (ratio)" for name in distances)], lines)


def beside(result: dict[str, float], loss: float) -> str:
    """A distance, its bound and their ratio, if there is anything to bound."""
    measured, bound = result["measured"], result["bound"]
    interval = f" ± {1.96 * result['error']:.1g}" if "error" in result else ""
    if loss < 1e-9:
        return f"{measured:.3g}{interval}"
    return f"{measured:.3g}{interval} ≤ {bound:.3g} ({bound / measured:.3g})"


if __name__ == "__main__":
    main()

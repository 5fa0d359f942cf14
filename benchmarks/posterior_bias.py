"""Guided samples beside the exact posterior: how biased is each kind of guidance?

    python benchmarks/posterior_bias.py

Two numbers, of which the first is observed with noise, and priors that are mixtures of
Gaussians, so that the posterior is known. Compared is the second number: the Wasserstein
distance W2 of samples from the exact posterior, the error of the mean, both in deviations
of the posterior, and the ratio of the deviations. The prior's denoiser is exact, so that
what is left is the error of the guidance; the row "exact", the denoiser of the posterior,
has only the errors of the sampler and of so many samples.

Samplers: the reverse SDE in 200 steps, and 50 steps with 4 Langevin corrections each, so
about as many answers.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from common import arguments, prepare_devices, save, table

import diffevo_jax as de
from diffevo_jax import diffusion

COUNT = 20_000
GRID = de.noise.VE(sigma_min=0.01, sigma_max=30.0)
OBSERVED, DEVIATIONS = 0.7, (1.0, 0.3, 0.1)
ANGLES = np.pi / 2 + 2 * np.pi * np.arange(5) / 5
PRIORS = {
    "Gaussian": (np.zeros((1, 2)), np.array([[[1.0, 0.8], [0.8, 1.0]]])),
    "two modes": (np.array([[-1.0, -1.0], [1.0, 1.0]]), 0.25),
    "five modes": (1.5 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), 0.04),
}
SAMPLERS = {
    "SDE": (de.samplers.DDIM(eta=1.0), 200),
    "corrected": (de.samplers.PredictorCorrector(num_corrections=4, step=0.3), 50),
}


def guided(prior: Any, seen: diffusion.LinearObservation) -> dict[str, Any]:
    """Denoisers of the posterior, by the way they are made."""
    deviation = float(np.sqrt(np.trace(prior.covariance()) / 2))
    known = np.array([True, False])
    return {
        "exact": seen.posterior(prior).denoise,
        "linear_posterior": diffusion.linear_posterior(prior.denoise, seen),
        "linear_posterior, one deviation": diffusion.linear_posterior(
            prior.denoise, seen, deviation
        ),
        "posterior_guidance": diffusion.posterior_guidance(
            prior.denoise, seen.log_likelihood
        ),
        "inpaint": diffusion.inpaint(prior.denoise, known, [OBSERVED, 0.0]),
    }


def compare(samples: jax.Array, exact: jax.Array) -> dict[str, float] | None:
    """Distances of the second number's samples from exact ones; None if they diverged."""
    got, want = (np.sort(np.asarray(x[:, 1], np.float64)) for x in (samples, exact))
    if not np.isfinite(got).all():
        return None
    return {
        "w2": float(np.sqrt(np.mean((got - want) ** 2)) / want.std()),
        "mean": float((got.mean() - want.mean()) / want.std()),
        "deviation": float(got.std() / want.std()),
    }


def measure(name: str, deviation: float, seed: int, count: int) -> list[dict[str, Any]]:
    """All kinds of guidance, of one prior by one observation."""
    prior = de.oracles.gaussian_mixture(*PRIORS[name])
    seen = diffusion.known_part([True, False], [OBSERVED, 0.0], deviation)
    key, key_exact = jax.random.split(jax.random.key(seed))
    exact = seen.posterior(prior).sample(key_exact, count)
    rows = []
    for method, denoise in guided(prior, seen).items():
        row: dict[str, Any] = {"prior": name, "noise": deviation, "method": method}
        for label, (sampler, num_levels) in SAMPLERS.items():
            row[label] = compare(draw(denoise, sampler, num_levels, count)(key), exact)
        rows.append(row)
    return rows


def draw(denoise: Any, sampler: Any, num_levels: int, count: int) -> Callable:
    """A compiled sampler of ``count`` points."""
    shape = (count, 2)
    return jax.jit(
        lambda key: de.sample(key, denoise, GRID, sampler, shape, num_levels=num_levels)
    )


def main() -> None:
    prepare_devices()
    options = arguments(__doc__ or "")
    count, names = (500, ["Gaussian"]) if options.quick else (COUNT, list(PRIORS))
    rows = [
        row
        for name in names
        for deviation in DEVIATIONS
        for row in measure(name, deviation, options.seed, count)
    ]
    print(report(rows))
    save("posterior_bias", options, rows)


def report(rows: list[dict[str, Any]]) -> str:
    """W2 of every way, for every deviation of the observation's noise."""
    lines: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        cells = lines.setdefault((row["prior"], row["method"]), [])
        cells += [distance(row[label]) for label in SAMPLERS]
    columns = [f"noise {d:g}, {label}" for d in DEVIATIONS for label in SAMPLERS]
    return table(["prior", "method", *columns], [[*key, *lines[key]] for key in lines])


def distance(result: dict[str, float] | None) -> str:
    """W2, or that there is none."""
    return "diverged" if result is None else f"{result['w2']:.2f}"


if __name__ == "__main__":
    main()

"""Stein repulsion of the answers: whether it keeps both of two peaks.

    python benchmarks/repulsion.py

To the default's answers the repulsion of Stein variational gradient descent is added (Liu
and Wang, 2016, arXiv:1608.04471), as a part of the score: ``strength sigma^2 / (N h^2)
sum_j k(x_j, x_i) (x_i - x_j)``, with a Gaussian kernel of width h among the N individuals,
in units of their mean distance over ``sqrt(2 log(N + 1))``. Two peaks, error and runs kept
as in ``high_dimension.py``, beside the setting of the library that keeps several.
"""

import argparse
import functools
from typing import Any

import jax
import jax.numpy as jnp
from common import arguments, save, summary, table
from high_dimension import SHARE, landscape

import diffevo_jax as de

NAME = "repulsion"
SIZE, GENERATIONS = 256, 50
STRENGTHS, WIDTHS = (1.0, 3.0, 10.0, 30.0), (1.0, 3.0, 10.0)


@de.pytree.dataclass
class Repelled:
    """A denoiser whose answers keep individuals apart."""

    denoiser: de.Denoiser
    strength: de.pytree.Number = de.pytree.number(default=0.0)
    width: de.pytree.Number = de.pytree.number(default=1.0)

    def init(self, key: jax.Array, population: jax.Array) -> Any:
        return self.denoiser.init(key, population)

    def learn(self, key: jax.Array, state: Any, evaluated: Any) -> Any:
        return self.denoiser.learn(key, state, evaluated)

    def denoise(self, state: Any, y: jax.Array, sigma: jax.Array) -> Any:
        answer = self.denoiser.denoise(state, y, sigma)
        away = self.strength * sigma**2 * repulsion(y / jnp.sqrt(1 + sigma**2), self.width)
        return de.replace(answer, clean=answer.clean + away)


def repulsion(points: jax.Array, width: jax.Array) -> jax.Array:
    """``1 / (N h^2) sum_j k(x_j, x_i) (x_i - x_j)`` of points (N, D)."""
    points, count = points - points.mean(axis=0), len(points)
    square = jnp.sum(points**2, axis=1)
    squared = jnp.maximum(square[:, None] + square - 2 * points @ points.T, 0.0)
    variance = width**2 * squared.mean() / (2 * jnp.log(count + 1.0)) + 1e-12
    kernel = jnp.exp(-squared / (2 * variance))
    away = points * kernel.sum(axis=1, keepdims=True) - kernel @ points
    return away / (count * variance)


@functools.partial(jax.jit, static_argnames="dim")
def runs(
    strategy: de.DiffusionEvolution, keys: jax.Array, dim: int
) -> tuple[jax.Array, jax.Array]:
    """Error (R,), and the share of the population at the lonelier peak (R,)."""
    problem, peaks = landscape("two peaks", dim)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = de.evolve(key, strategy, problem, population_size=SIZE).population
        errors = jnp.stack([jnp.mean((found - peak) ** 2, axis=1) for peak in peaks])
        nearest = jax.nn.one_hot(jnp.argmin(errors, axis=0), len(peaks))
        return errors.min(axis=0).mean(), nearest.mean(axis=0).min()

    return jax.vmap(one)(keys)


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The setting that keeps several, and the default under every repulsion."""
    keys, rows = jax.random.split(jax.random.key(options.seed), options.seeds), []
    default = de.DiffusionEvolution(GENERATIONS)
    strategies = {"for_several": de.DiffusionEvolution.for_several(GENERATIONS)}
    for width in WIDTHS:
        for strength in STRENGTHS if width > WIDTHS[0] else (0.0, *STRENGTHS):
            repelled = Repelled(default.denoiser, strength, width)
            name = f"repulsion {strength:g}, width {width:g}" if strength else "default"
            strategies[name] = de.replace(default, denoiser=repelled)
    for dim in (8, 32):
        for name, strategy in strategies.items():
            errors, shares = runs(de.pytree.strong(strategy), keys, dim)
            kept = int((shares >= SHARE).sum())
            rows.append({"dim": dim, "setting": name, "runs": len(keys), "kept": kept})
            rows[-1]["error"] = summary(errors)
            print(*line(rows[-1]), flush=True)
    save(NAME, options, rows)
    return rows


def line(row: dict[str, Any]) -> list[str]:
    """One line of the table."""
    kept = f"{row['kept']} of {row['runs']}"
    return [str(row["dim"]), row["setting"], kept, f"{row['error']['mean']:.4f}"]


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""
    return table(["dimensions", "setting", "kept", "error"], [line(row) for row in rows])


if __name__ == "__main__":
    print(report(run(arguments(__doc__ or "", seeds=16))))

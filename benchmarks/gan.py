"""How many steps the generator of a GAN may take: regression beside the GAN's own loss.

    python benchmarks/gan.py [--only LOSS ...]

A GAN on a ring of eight Gaussians, whose generator takes 1, 5 or 20 steps for each step of
the flow, either of regression on the points that have moved, or down the GAN's own loss
-D(g(z)). Judged by KL(q | p) of 1,024 samples, both seen through a kernel of 0.2, and by
the modes that have a fifth of their share within three deviations; 4 seeds. A run whose
discriminator fails counts as it was when that happened.
"""

import argparse
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, arguments, load, save, stored, table
from matplotlib.figure import Figure
from mixtures import SAMPLES, interval, judged, target

import diffevo_jax as de
from diffevo_jax import flows
from diffevo_jax.flows import gan

NAME = "gan"
STEPS, CHUNKS = 2000, 20
INNER, LOSSES = (1, 5, 20), ("regression", "adversarial")
COLOURS = {1: "#999999", 5: "#0072B2", 20: "#D55E00"}


def recipe(inner: int, loss: str) -> flows.GANRecipe:
    """A GAN's settings."""
    return flows.GANRecipe(
        generator=flows.Generator(num_steps=inner, learning_rate=1e-3),
        discriminator=flows.Discriminator(num_steps=2, learning_rate=2e-3, penalty=0.0),
        divergence=de.flows.ReverseKL(),
        step_size=0.05,
        noise=0.1,
        loss=loss,
    )


def train(
    recipe: flows.GANRecipe, num_steps: int, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Divergence and modes of a GAN after each of the chunks of its training."""
    data = target("ring").sample(jax.random.fold_in(key, 1), 4096)
    state = gan.init_gan(jax.random.fold_in(key, 2), recipe, data)

    def chunk(state: Any, index: jax.Array) -> tuple[Any, Any]:
        step = lambda _, state: gan.gan_step(key, recipe, state, data)
        state = jax.lax.fori_loop(0, num_steps // CHUNKS, step, state)
        key_sample = jax.random.key(3)
        points = recipe.generator.sample(key_sample, state.generator, SAMPLES)
        return state, judged("ring", points)

    return jax.lax.scan(chunk, state, jnp.arange(CHUNKS))[1]


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, and store after every row, so that a run may end early."""
    keys = jax.random.split(jax.random.key(options.seed), options.seeds)
    rows = load(NAME) if options.only and stored(NAME) else []
    num_steps = STEPS // 10 if options.quick else STEPS
    for inner in INNER[: 1 if options.quick else None]:
        for loss in LOSSES:
            if options.only and loss not in options.only:
                continue
            start = time.perf_counter()
            one = functools.partial(train, recipe(inner, loss), num_steps)
            kl, modes = jax.jit(jax.vmap(one))(keys)
            names = {"loss": loss, "inner": inner}
            row = names | {"kl": np.asarray(kl).round(5).tolist(), "modes": modes.tolist()}
            rows = [other for other in rows if not names.items() <= other.items()] + [row]
            print(loss, inner, cells(row), f"{time.perf_counter() - start:.0f} s")
            save(NAME, options, rows)
    return rows


def cells(row: dict[str, Any]) -> list[str]:
    """Divergence, of the best time and at the end, and modes of each run at the end."""
    kl = np.array(row["kl"])
    modes = " ".join(str(run[-1]) for run in row["modes"])
    return [interval(kl.min(axis=1)), interval(kl[:, -1]), modes]


def report(rows: list[dict[str, Any]]) -> str:
    """A table, a row a loss and number of inner steps."""
    lines = [[str(row["inner"]), row["loss"], *cells(row)] for row in rows]
    header = ["inner steps", "loss", "KL at best", "KL at the end", "modes of 8"]
    return table(header, lines)


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Divergence along the training: a panel a loss, a line a number of inner steps."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots(1, len(LOSSES), sharex=True, sharey=True)
    x = STEPS // CHUNKS * np.arange(1, CHUNKS + 1)
    for axis, loss in zip(axes, LOSSES, strict=True):
        for row in rows:
            if row["loss"] == loss:
                kl, colour = np.array(row["kl"]), COLOURS[row["inner"]]
                axis.plot(x, kl.T, color=colour, alpha=0.3, linewidth=0.8)
                label = f"{row['inner']} inner steps"
                axis.plot(x, kl.mean(axis=0), color=colour, label=label)
        axis.set(title=loss, yscale="log", xlabel="steps of the flow")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("KL(q | p), nats")
    axes[0].legend(frameon=False)
    return figure


def main() -> None:
    options = arguments(__doc__ or "", seeds=4, only="losses")
    rows = run(options)
    print(report(rows))
    if not options.quick:
        draw(rows).savefig(FIGURES / f"{NAME}.png", dpi=130)


if __name__ == "__main__":
    main()

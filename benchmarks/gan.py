"""GANs as flows: how many steps a generator may take, and how many modes it keeps.

    python benchmarks/gan.py

Inner steps: a GAN on a ring of eight Gaussians, whose generator takes 1, 5 or 20 steps for
each step of the flow, either of regression on the points that have moved, or down the GAN's
own loss -D(g(z)). Judged by KL(q | p) of 1,024 samples, both seen through a kernel of 0.2,
and by the modes that have a fifth of their share within three deviations; 4 seeds. A run
whose discriminator fails counts as it was when that happened.

Modes: the ring, and a grid of 25, by particles with the ratio of a kernel, by a generator
that regresses on such particles, and by a GAN.
"""

import argparse
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import FIGURES, arguments, load, save, stored, summary, table
from matplotlib.figure import Figure

import diffevo_jax as de
from diffevo_jax import diffusion, flow

NAME = "gan"
WIDTH, SAMPLES, CHUNKS = 0.2, 1024, 20
ANGLES = 2 * np.pi * np.arange(8) / 8
#: Means, deviation of a mode, deviation of the particles at first.
TARGETS = {
    "ring": (2.0 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), 0.15, 1.0),
    "grid": (
        np.stack(np.meshgrid(*[np.linspace(-2, 2, 5)] * 2), axis=-1).reshape(-1, 2),
        0.1,
        1.5,
    ),
}
INNER, LOSSES = (1, 5, 20), ("regression", "adversarial")
FORMS = ("particles, kernel", "generator, kernel", "generator, GAN")
COLOURS = {1: "#999999", 5: "#0072B2", 20: "#D55E00"}


def target(name: str) -> de.oracles.GaussianMixture:
    """The mixture of a name."""
    means, deviation, _ = TARGETS[name]
    return de.oracles.gaussian_mixture(means, deviation**2)


def judged(name: str, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Divergence, and modes kept, of points."""
    means, deviation, _ = TARGETS[name]
    kl = flow.smoothed_kl(jax.random.key(9), points, target(name), WIDTH)
    distance = jnp.linalg.norm(points[:, None] - means, axis=-1)
    near = jnp.sum(distance < 3 * deviation, axis=0)
    return kl, jnp.sum(near >= len(points) / len(means) / 5)


def train(
    name: str, recipe: diffusion.GANRecipe, num_steps: int, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Divergence and modes of a GAN after each of the chunks of its training."""
    data = target(name).sample(jax.random.fold_in(key, 1), 4096)
    state = diffusion.start_gan(jax.random.fold_in(key, 2), recipe, data)

    def chunk(state: Any, index: jax.Array) -> tuple[Any, Any]:
        step = lambda _, state: diffusion.gan_step(key, recipe, state, data)
        state = jax.lax.fori_loop(0, num_steps // CHUNKS, step, state)
        points = recipe.generator.sample(jax.random.key(3), state.generator, SAMPLES)
        return state, judged(name, points)

    return jax.lax.scan(chunk, state, jnp.arange(CHUNKS))[1]


def recipe(inner: int, loss: str) -> diffusion.GANRecipe:
    """A GAN's settings."""
    return diffusion.GANRecipe(
        generator=diffusion.Generator(num_steps=inner, learning_rate=1e-3),
        discriminator=diffusion.Discriminator(num_steps=2, learning_rate=2e-3, penalty=0.0),
        divergence=de.divergences.ReverseKL(),
        step_size=0.05,
        noise=0.1,
        loss=loss,
    )


def particles(
    name: str, num_steps: int, generated: bool, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Divergence and modes of particles, or of a generator that learns where they go."""
    spread = TARGETS[name][2]
    start = spread * jax.random.normal(jax.random.fold_in(key, 1), (512, 2))
    ratio = flow.SmoothedRatio(target(name), WIDTH)
    rate = 0.5 * WIDTH**2
    if not generated:
        options = {"num_steps": num_steps, "step_size": rate}
        return judged(name, flow.particle_flow(key, ratio, start, **options).particles)
    generator = diffusion.Generator((128, 128), num_steps=5, learning_rate=1e-3)
    state = generator.init(jax.random.fold_in(key, 2), start)

    def step(index: jax.Array, state: Any) -> Any:
        latent = jax.random.normal(jax.random.fold_in(key, index), start.shape)
        made = generator.generate(state, latent)
        _, gradient, _ = ratio.estimate(key, (), made)
        return generator.regress(state, latent, made + rate * gradient)

    state = jax.lax.fori_loop(10, 10 + num_steps, step, state)
    return judged(name, generator.sample(jax.random.key(3), state, SAMPLES))


def jobs(quick: bool) -> list[tuple[dict[str, Any], Any]]:
    """Names of a row, and what measures one seed of it."""
    few = 10 if quick else 1
    made = [
        (
            {"part": "inner steps", "loss": loss, "inner": inner},
            functools.partial(train, "ring", recipe(inner, loss), 2000 // few),
        )
        for inner in INNER[: 1 if quick else None]
        for loss in LOSSES
    ]
    for name in TARGETS:
        known = [
            functools.partial(particles, name, 200 // few, False),
            functools.partial(particles, name, 2000 // few, True),
            functools.partial(train, name, recipe(5, "regression"), 4000 // few),
        ]
        made += [
            ({"part": "modes", "target": name, "form": form}, one)
            for form, one in zip(FORMS, known, strict=True)
        ]
    return made


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, and store after every row, so that a run may end early."""
    keys = jax.random.split(jax.random.key(options.seed), options.seeds)
    rows = load(NAME) if options.only and stored(NAME) else []
    for names, one in jobs(options.quick):
        if options.only and not set(map(str, names.values())) & set(options.only):
            continue
        start = time.perf_counter()
        kl, modes = jax.jit(jax.vmap(one))(keys)
        row = names | {"kl": np.asarray(kl).round(5).tolist(), "modes": modes.tolist()}
        rows = [other for other in rows if not names.items() <= other.items()] + [row]
        print(*names.values(), cells(row), f"{time.perf_counter() - start:.0f} s")
        save(NAME, options, rows)
    return rows


def cells(row: dict[str, Any]) -> list[str]:
    """Divergence at the end, and modes kept in each run."""
    kl = summary(np.array(row["kl"]).reshape(len(row["kl"]), -1)[:, -1])
    modes = np.array(row["modes"]).reshape(len(row["kl"]), -1)[:, -1]
    return [f"{kl['mean']:.3f} ± {kl['interval']:.3f}", " ".join(map(str, modes))]


def report(rows: list[dict[str, Any]]) -> str:
    """Two tables."""
    inner = [
        [str(row["inner"]), row["loss"], *cells(row)]
        for row in rows
        if row["part"] == "inner steps"
    ]
    modes = [
        [row["target"], row["form"], *cells(row)] for row in rows if row["part"] == "modes"
    ]
    return "\n\n".join(
        [
            table(["inner steps", "loss", "KL at the end", "modes of 8"], inner),
            table(["target", "form", "KL at the end", "modes of 8, 25"], modes),
        ]
    )


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Divergence along the training: a panel a loss, a line a number of inner steps."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots(1, len(LOSSES), sharex=True, sharey=True)
    x = 100 * np.arange(1, CHUNKS + 1)
    for axis, loss in zip(axes, LOSSES, strict=True):
        for row in rows:
            if row.get("loss") == loss:
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
    options = arguments(__doc__ or "", seeds=4, only="parts, losses, targets or forms")
    rows = run(options)
    print(report(rows))
    if not options.quick:
        draw(rows).savefig(FIGURES / f"{NAME}.png", dpi=130)


if __name__ == "__main__":
    main()

"""Flows to a known density: how the divergence falls, and which modes are kept.

    python benchmarks/flows.py [--only RATIO, TARGET or FORM ...]

Two targets in two dimensions: a ring of eight Gaussians and a grid of 25. Judged by
KL(q | p), both seen through a kernel of width 0.2, and by the modes that have a fifth of
their share within three deviations.

Ratios: 512 particles that flow with the exact ratio, that of the kernel, and a learned one.
"samples" are as many independent samples of the target; "rise" is the largest between two
of 21 times. The "density" is that of the exact flow itself, seen through no kernel.

Forms: what makes 1,024 points at last: those particles, a generator regressed on particles
of the kernel's flow, a GAN trained on 4,096 samples, and ``MonoFlow`` as an evolution
strategy on the log-density as a fitness, with all of the density's power.
"""

import argparse
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import FIGURES, arguments, load, save, stored, table
from matplotlib.figure import Figure
from mixtures import SAMPLES, TARGETS, WIDTH, interval, judged, target

import diffevo_jax as de
from diffevo_jax import flows

NAME = "flows"
SIZE, TIMES = 512, 20
#: Steps of a flow and their length, by ratio; the exact one is as stiff as a mode is thin.
STEPS = {"exact": (1000, 0.002), "kernel": (100, 0.02), "learned": (400, 0.01)}
HIDDEN = (64, 64, 64)
COLOURS = {"exact": "#009E73", "kernel": "#0072B2", "learned": "#D55E00"}
FORMS = ("generator, kernel", "generator, GAN", "evolution strategy")


def exact(name: str) -> flows.ExactRatio:
    """The exact ratio of the flow from where the particles start."""
    start = de.oracles.gaussian_mixture([[0.0, 0.0]], TARGETS[name][2] ** 2)
    return flows.ExactRatio(target(name), start, radius=5.0, cells=200)


def ratio_of(kind: str, name: str) -> flows.FlowRatio:
    """What is known of the ratio."""
    if kind == "exact":
        return exact(name)
    if kind == "kernel":
        return flows.SmoothedRatio(target(name), WIDTH)
    network = flows.Discriminator(num_steps=20, learning_rate=5e-3, penalty=0.0)
    return flows.LearnedRatio(target(name), network, WIDTH)


def along(kind: str, name: str, few: int, key: jax.Array) -> dict[str, jax.Array]:
    """Divergence at 21 times of a flow, and modes at its end; those of samples."""
    steps, length = STEPS[kind]
    start = TARGETS[name][2] * jax.random.normal(jax.random.fold_in(key, 1), (SIZE, 2))
    options = {"num_steps": steps // few, "step_size": length}
    done = flows.particle_flow(key, ratio_of(kind, name), start, **options)
    populations = [*done.path[:: steps // few // TIMES], done.particles]
    kl, modes = jax.lax.map(functools.partial(judged, name), jnp.stack(populations))
    samples = judged(name, target(name).sample(jax.random.fold_in(key, 2), SIZE))[0]
    return {"kl": kl, "modes": modes[-1], "samples": samples}


def density(name: str, few: int) -> np.ndarray:
    """Divergence of the exact flow itself, without particles or a kernel, at 21 times."""
    steps, length = STEPS["exact"][0] // few, STEPS["exact"][1]
    ratio, nobody = exact(name), jnp.zeros((1, 2))

    def later(q: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        after = ratio.estimate(jax.random.key(0), q, nobody, length)[2]
        return after, ratio.divergence(q)

    start = ratio.init(jax.random.key(0), nobody)
    end, kl = jax.jit(lambda start: jax.lax.scan(later, start, length=steps))(start)
    return np.append(kl[:: steps // TIMES], ratio.divergence(end))


@functools.lru_cache
def falling(rate: float, num_steps: int) -> optax.GradientTransformation:
    """Adam whose rate falls to 0 by a cosine; the same object for the same numbers."""
    schedule = optax.cosine_decay_schedule(rate, num_steps)
    parts = optax.clip_by_global_norm(1.0), optax.adam(schedule, b1=0.5)
    return optax.flatten(optax.chain(*parts))


def generated(name: str, few: int, key: jax.Array) -> jax.Array:
    """Points of a generator that learns where particles go."""
    start = TARGETS[name][2] * jax.random.normal(jax.random.fold_in(key, 1), (SIZE, 2))
    ratio, steps = flows.SmoothedRatio(target(name), WIDTH), 800 // few
    length = STEPS["kernel"][1]
    generator = flows.Generator(HIDDEN, num_steps=10, optimizer=falling(5e-3, 10 * steps))
    state = generator.init(jax.random.fold_in(key, 2), start)

    def step(index: jax.Array, state: Any) -> Any:
        latent = jax.random.normal(jax.random.fold_in(key, index), start.shape)
        made = generator.generate(state, latent)
        _, gradient, _ = ratio.estimate(key, (), made, length)
        return generator.regress(state, latent, made + length * gradient)

    state = jax.lax.fori_loop(10, 10 + steps, step, state)
    return generator.sample(jax.random.key(3), state, SAMPLES)


def adversarial(name: str, few: int, key: jax.Array) -> jax.Array:
    """Points of a GAN trained on samples."""
    data, steps = target(name).sample(jax.random.fold_in(key, 1), 4096), 1000 // few
    optimizer = falling(5e-3, 10 * steps)
    recipe = flows.GANRecipe(
        flows.Generator(HIDDEN, num_steps=10, optimizer=optimizer),
        flows.Discriminator(HIDDEN, num_steps=10, penalty=0.0, optimizer=optimizer),
        step_size=0.02,
        noise=WIDTH,
    )
    gan = flows.train_gan(key, data, recipe, num_steps=steps)
    return gan.sample(jax.random.key(3), SAMPLES)


def evolved(name: str, few: int, key: jax.Array) -> jax.Array:
    """A population that evolved with the log-density as its fitness."""
    density = target(name)
    problem = de.problems.Function(lambda x: density.log_density(x[None], 0.0)[0], dim=2)
    start = TARGETS[name][2] * jax.random.normal(jax.random.fold_in(key, 1), (SAMPLES, 2))
    strategy = de.MonoFlow(
        100 // few,
        grid=de.noise.VE(0.05, 0.2),
        shaping=de.shaping.Boltzmann(1.0),
        density_power=1.0,
        rate=1.0,
        noise=0.0,
    )
    return de.evolve(key, strategy, problem, population=start).population


MAKERS = dict(zip(FORMS, (generated, adversarial, evolved), strict=True))


def measure(part: str, what: str, name: str, few: int, keys: jax.Array) -> dict[str, Any]:
    """Divergence and modes of every seed."""
    if part == "ratios":
        got = jax.jit(jax.vmap(functools.partial(along, what, name, few)))(keys)
        if what == "exact":
            got["density"] = density(name, few)
    else:  # training checks itself between two programs, so one seed at a time
        make = functools.partial(MAKERS[what], name, few)
        make = make if what == "generator, GAN" else jax.jit(make)
        points = jnp.stack([make(key) for key in keys])
        kl, modes = jax.jit(jax.vmap(functools.partial(judged, name)))(points)
        got = {"kl": kl, "modes": modes}
    return {field: np.asarray(value).round(5).tolist() for field, value in got.items()}


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, and store after every row, so that a run may end early."""
    keys = jax.random.split(jax.random.key(options.seed), options.seeds)
    rows = load(NAME) if options.only and stored(NAME) else []
    for part, kinds in (("ratios", tuple(STEPS)), ("forms", FORMS)):
        for name in TARGETS:
            for what in kinds:
                if options.only and not {part, name, what} & set(options.only):
                    continue
                start = time.perf_counter()
                names = {"part": part, "target": name, "what": what}
                got = measure(part, what, name, 5 if options.quick else 1, keys)
                rows = [row for row in rows if not names.items() <= row.items()]
                rows.append(names | got)
                print(
                    *names.values(), cells(rows[-1]), f"{time.perf_counter() - start:.0f} s"
                )
                save(NAME, options, rows)
    return rows


def cells(row: dict[str, Any]) -> list[str]:
    """Divergence at the end, largest rise and samples of a flow; modes of each run."""
    kl, modes = np.array(row["kl"]), " ".join(map(str, row["modes"]))
    if row["part"] == "forms":
        return [interval(kl), "-", "-", modes]
    rise = f"{max(np.diff(kl, axis=1).max(), 0.0):.4f}"
    return [interval(kl[:, -1]), rise, interval(row["samples"]), modes]


def report(rows: list[dict[str, Any]]) -> str:
    """A table, a row a target and what flowed to it."""
    name = {kind: f"particles, {kind} ratio" for kind in STEPS}
    lines = []
    for row in sorted(rows, key=lambda row: list(TARGETS).index(row["target"])):
        if "density" in row:
            kl = np.array(row["density"])
            rise = f"{max(np.diff(kl).max(), 0.0):.4f}"
            lines.append(
                [row["target"], "density, exact", f"{abs(kl[-1]):.3f}", rise, "-", "-"]
            )
        lines.append([row["target"], name.get(row["what"], row["what"]), *cells(row)])
    header = ["target", "what", "KL at the end", "rise", "samples", "modes of 8, of 25"]
    return table(header, lines)


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Divergence along the flow: a panel a target, a line a ratio."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots(1, len(TARGETS), sharey=True)
    for axis, name in zip(axes, TARGETS, strict=True):
        some = [row for row in rows if row["part"] == "ratios" and row["target"] == name]
        for row in some:
            steps, length = STEPS[row["what"]]
            kl, x = np.array(row["kl"]), np.linspace(0, steps * length, TIMES + 1)
            axis.plot(x, kl.T, color=COLOURS[row["what"]], alpha=0.3, linewidth=0.8)
            axis.plot(x, kl.mean(axis=0), color=COLOURS[row["what"]], label=row["what"])
        samples = np.mean([row["samples"] for row in some])
        axis.axhline(samples, color="#999999", linestyle="--", label="samples")
        axis.set(title=name, yscale="log", xscale="symlog", xlabel="time of the flow")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("KL(q | p), nats")
    axes[0].legend(frameon=False)
    return figure


def main() -> None:
    options = arguments(__doc__ or "", seeds=4, only="ratios, targets or forms")
    rows = run(options)
    print(report(rows))
    if not options.quick:
        draw(rows).savefig(FIGURES / f"{NAME}.png", dpi=130)


if __name__ == "__main__":
    main()

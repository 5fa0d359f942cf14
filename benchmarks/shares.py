"""What lies between Diffusion Evolution and MonoFlow, and a mixture: do they pay?

    python benchmarks/shares.py [--only STAGE ...]

Four numbers beside the default, on tasks of the study of the design space:

* contraction c: individuals live at ``y / sqrt(1 + c sigma^2)``. 1 is unit variance, as of
  Diffusion Evolution; 0 is MonoFlow's: nothing shrinks;
* shift s: the answer is ``m_w + s (x - m_1)``, with the plain mean m_1 of an individual's
  neighbourhood. 0 is Diffusion Evolution's; at 1, with c 0, an individual moves by
  ``m_w - m_1``, as MonoFlow's do;
* half: guidance that grows while the noise falls, ``g / (1 + (sigma / half)^2)``;
* weight and crossover of a mixture of the population and a fitted Gaussian, without axes.

A stage is one program a task, for all settings and seeds. ``contraction``, ``shift``,
``growing`` and ``mixture`` choose on some seeds; ``fresh`` is what was chosen beside the
default on others, with the same keys. The table has what beats the default, and the
losses.
"""

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import RESULTS, provenance, table
from design_tasks import FRESH, TASKS, Task

import diffevo_jax as de

#: Keys that no other study of this folder uses.
CHOOSING, CONFIRMING = 1_041, 1_042
#: Seeds for choosing, by task.
SEEDS = {"8 dims": 6, "64 dims": 4, "CartPole 5": 16, "Acrobot 5": 4}
#: Seeds for confirming, by task or by its first word.
FRESH_SEEDS = {"CartPole": 128, "Acrobot 5": 48, "Acrobot": 24, "MountainCar": 24, "": 32}


class Setting(NamedTuple):
    """Numbers of a run; the defaults are the library's default strategy."""

    contraction: float = 1.0
    shift: float = 0.0
    guidance: float = 0.75
    half: float = math.inf
    sigma_max: float = 4.0
    weight: float = 0.0
    crossover: float = 0.0


DEFAULT = Setting()


def product(**values: list[float]) -> list[Setting]:
    """The default, and every combination of values."""
    combined = [
        Setting(**dict(zip(values, each, strict=True)))
        for each in itertools.product(*values.values())
    ]
    return [DEFAULT, *combined]


STAGES: dict[str, list[Setting]] = {
    "contraction": product(
        contraction=[0.0, 0.25, 0.5, 0.75, 1.0],
        guidance=[0.0, 0.75, 1.5],
        sigma_max=[1.0, 2.0, 4.0],
    ),
    "shift": product(
        contraction=[0.0, 0.5, 1.0],
        shift=[0.1, 0.3, 1.0],
        guidance=[0.0, 0.75],
        sigma_max=[0.5, 1.0, 4.0],
    ),
    "growing": product(
        guidance=[1.0, 2.0, 4.0],
        half=[0.1, 0.3, 1.0, 3.0],
        contraction=[0.5, 1.0],
    ),
    "mixture": product(weight=[0.25, 0.5, 0.75, 1.0], crossover=[0.0, 0.1, 1.0]),
}


def evolved(
    stage: str, task: Task, key: jax.Array, problem: de.Problem, setting: Setting
) -> jax.Array:
    """The score of a run: the default's loop, with its shares."""
    shifted, mixes = stage == "shift", stage == "mixture"
    scale = lambda sigma: jnp.sqrt(1.0 + setting.contraction * sigma**2)
    plain = de.denoisers.Population(guidance=-1.0)
    fit = de.denoisers.GaussianFit(guidance=setting.guidance, diagonal=True)
    sampler = de.samplers.DDIM()
    sigmas = de.noise.VE(0.01, setting.sigma_max).sigmas(task.num_generations)
    key_problem, key_population, key_strategy = de.setup_keys(key)
    problem_state = problem.init(key_problem)
    x = problem.space.sample(key_population, task.population_size)

    denoiser: de.Denoiser = de.denoisers.Population(
        guidance=setting.guidance, fade=1.0 / jnp.asarray(setting.half)
    )
    if mixes:
        denoiser = de.denoisers.Mixture(denoiser, fit, setting.weight, setting.crossover)

    def generation(carry: Any, k: jax.Array) -> tuple[Any, jax.Array]:
        y, state = carry
        sigma, keys = sigmas[k], de.generation_keys(key, k)
        here = y / scale(sigma)
        solutions = problem.space.decode(here)
        fitness = problem.evaluate(keys[1], problem_state, solutions)[0].fitness
        state = denoiser.learn(
            key_strategy, state, de.Evaluated(here, fitness, here, sigma)
        )
        answer = denoiser.denoise(state, y, sigma)
        clean = answer.clean
        if shifted:
            clean += setting.shift * (here - plain.denoise(state, y, sigma).clean)
        moved = sampler.update(keys[2], y, (), clean, sigmas, k)[0]
        return (jnp.where(answer.sound, moved, y), state), fitness

    start = x * scale(sigmas[0]), denoiser.init(key_strategy, x)
    rounds = jnp.arange(task.num_generations)
    return task.score(jax.lax.scan(generation, start, rounds)[1][-1])


def scores(stage: str, name: str, settings: list[Setting], keys: jax.Array) -> np.ndarray:
    """In points of a hundred, (settings, seeds): the mean over the problems of a task."""
    task: Task = (TASKS | FRESH)[name]
    problem = task.problems()

    def one(key: jax.Array, problem: de.Problem, setting: Setting) -> jax.Array:
        return evolved(stage, task, key, problem, setting)

    runs = jax.vmap(jax.vmap(one, (0, None, None)), (None, None, 0))
    if task.count:
        runs = jax.vmap(runs, (None, de.replace(problem, number=0), None))
    numbers = Setting(*(jnp.array(column) for column in zip(*settings, strict=True)))
    compiled = jax.jit(runs, compiler_options=de.compiler_options())
    got = 100 * np.asarray(compiled(keys, problem, numbers))
    return got.mean(axis=0) if task.count else got


def choose(stage: str, name: str) -> dict[str, Any]:
    """Every setting's mean, and its gain over the default, paired, with its error."""
    keys = jax.random.split(jax.random.key(CHOOSING), SEEDS[name])
    got = scores(stage, name, STAGES[stage], keys)
    gain = got - got[0]
    error = gain.std(axis=1, ddof=1) / math.sqrt(len(keys))
    return {
        "mean": np.round(got.mean(axis=1), 2).tolist(),
        "gain": np.round(gain.mean(axis=1), 2).tolist(),
        "error": np.round(error, 2).tolist(),
    }


#: What was chosen and is confirmed, by what it is called; a program for each stage.
CHOSEN: dict[str, dict[str, Setting]] = {
    "growing": {
        "growing to 2, half at 0.1": Setting(guidance=2.0, half=0.1),
        "growing to 1, half at 0.3": Setting(guidance=1.0, half=0.3),
    },
}


def confirm(stage: str, name: str) -> dict[str, Any]:
    """What was chosen beside the default, with the same keys."""
    words = (name, name.split()[0], "")
    count = next(FRESH_SEEDS[word] for word in words if word in FRESH_SEEDS)
    keys = jax.random.split(jax.random.key(CONFIRMING), count)
    default, *others = scores(stage, name, [DEFAULT, *CHOSEN[stage].values()], keys)
    found = {}
    for what, other in zip(CHOSEN[stage], others, strict=True):
        gain = other - default
        found[what] = {
            "default": round(float(default.mean()), 2),
            "chosen": round(float(other.mean()), 2),
            "gain": round(float(gain.mean()), 2),
            "error": round(float(gain.std(ddof=1)) / math.sqrt(count), 3),
            "runs": count,
        }
    return found


def best(rows: dict[str, Any], stage: str, count: int = 5) -> str:
    """The settings whose worst task is best: mean and least gain over the tasks."""
    tasks = [name for name in SEEDS if f"{stage} | {name}" in rows]
    if not tasks:
        return ""
    gains = np.array([rows[f"{stage} | {name}"]["gain"] for name in tasks])
    order = np.argsort(-(gains.mean(axis=0) + gains.min(axis=0)), kind="stable")
    lines: list[list[str]] = []
    for index in order[: count + 1]:  # the default may be there twice
        setting = STAGES[stage][index]
        changed = {
            field: value
            for field, value in setting._asdict().items()
            if value != getattr(DEFAULT, field)
        }
        words = ", ".join(f"{field} {value:g}" for field, value in changed.items())
        cells = [
            f"{rows[f'{stage} | {name}']['gain'][index]:+.1f} ± "
            f"{2 * rows[f'{stage} | {name}']['error'][index]:.1f}"
            for name in tasks
        ]
        line = [words or "the default", *cells, f"{gains[:, index].mean():+.1f}"]
        if line not in lines and len(lines) < count:
            lines.append(line)
    return table([f"{stage}: gain, points ± 2 se", *tasks, "mean"], lines)


def fresh(rows: dict[str, Any]) -> str:
    """What was chosen beside the default, on fresh seeds."""
    found = [
        (what, key.split(" | ")[2], row)
        for key, each in rows.items()
        if key.startswith("fresh | ")
        for what, row in each.items()
    ]
    if not found:
        return ""
    # Two-sided, Bonferroni: all intervals hold together in 95 of 100 studies.
    width = NormalDist().inv_cdf(1 - 0.025 / len(found))
    lines = []
    for what, task, row in sorted(found, key=lambda each: each[0]):
        low, high = (row["gain"] + sign * width * row["error"] for sign in (-1, 1))
        verdict = "better" if low > 0 else "worse" if high < 0 else "even"
        lines.append(
            [
                what,
                task + " (set apart)" * (task in FRESH),
                str(row["runs"]),
                f"{row['default']:.1f}",
                f"{row['chosen']:.1f}",
                f"{row['gain']:+.1f} ± {2 * row['error']:.1f}",
                verdict,
            ]
        )
    head = ["chosen", "task", "runs", "default", "with it", "gain ± 2 se", "verdict"]
    return table(head, lines)


def report(rows: dict[str, Any]) -> str:
    """All tables; parts that are not measured are left out."""
    parts = [*(best(rows, stage) for stage in STAGES), fresh(rows)]
    return "\n\n".join(part for part in parts if part)


def jobs() -> dict[str, Callable[[], dict[str, Any]]]:
    """What is to be measured, by name."""
    wanted = {
        f"{stage} | {name}": lambda s=stage, n=name: choose(s, n)
        for stage, name in itertools.product(STAGES, SEEDS)
        if (stage, name) != ("mixture", "Acrobot 5")
    }
    return wanted | {
        f"fresh | {stage} | {name}": lambda s=stage, n=name: confirm(s, n)
        for stage, name in itertools.product(CHOSEN, TASKS | FRESH)
        if name not in ("Acrobot 25", "CartPole 25")  # nothing is left to gain there
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one task, not stored")
    parser.add_argument("--only", nargs="*", default=[], help="words of what to measure")
    options = parser.parse_args()
    path = RESULTS / "shares.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    if options.quick:
        SEEDS["8 dims"] = 2
        print(best({"growing | 8 dims": choose("growing", "8 dims")}, "growing"))
        return
    for name, measure in jobs().items():
        if name in rows or not all(word in name for word in options.only):
            continue
        start = time.monotonic()
        rows[name] = measure()
        print(f"{name} ({time.monotonic() - start:.0f} s)", flush=True)
        path.write_text(json.dumps({"provenance": provenance(), "rows": rows}) + "\n")
    print(report(rows))


if __name__ == "__main__":
    main()

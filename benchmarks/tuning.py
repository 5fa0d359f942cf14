"""Search over settings: Diffusion Evolution on itself, random search, and Optuna's TPE.

    python benchmarks/tuning.py

The temperature of the shaping, the dimension of the kernel and the noise of the sampler of
the default strategy before fitness guidance, which is also what searches, on CartPole-v1 as
published but for 64 individuals and 5 generations. Every searcher has 256 settings with 8
inner runs each, and looks at results 8 times, after every 32 settings; TPE also after
every 8. All then do the same: their 8 best settings are
run again on 64 fresh seeds, and the best of these is confirmed on 512 others, which are the
same for all searchers of a repetition. Intervals are of 95 %, over repetitions.

Nothing was chosen on these keys, and no searcher has a setting of its own but its defaults.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, save, table
from guidance_settings import before

import diffevo_jax as de
from diffevo_jax.pytree import paths

FIELDS = {
    "shaping.temperature": (0.01, 10.0, "log"),
    "kernel.dimension": (0.1, 58.0, "log"),
    "sampler.eta": (0.0, 1.0),
}
INNER = {"num_generations": 5, "population_size": 64}
#: Settings between looks, looks, inner runs of a setting.
BATCH, ROUNDS, SEEDS = 32, 8, 8
#: Settings that are run again, on so many seeds; seeds that confirm the best of these.
AGAIN, AGAIN_SEEDS, CONFIRM_SEEDS = 8, 64, 512
#: What a searcher saw: numbers by name, (S,) each, and their scores (S,).
Seen = tuple[dict[str, np.ndarray], np.ndarray]


def tuning(num_seeds: int = SEEDS) -> de.sweeps.Tuning:
    """The problem; on a CPU 64 runs at a time are fastest."""
    return de.sweeps.Tuning(
        before(INNER["num_generations"]),
        de.published.control("CartPole-v1").problem,
        FIELDS,
        num_seeds=num_seeds,
        population_size=INNER["population_size"],
        batch_size=64 if jax.default_backend() == "cpu" else None,
    )


@jax.jit
def scores(key: jax.Array, problem: de.sweeps.Tuning, solutions: Any) -> jax.Array:
    return problem.scores(key, solutions)


@jax.jit
def evolution(key: jax.Array) -> Any:
    """Settings (T, N, D) in unit scale, and their scores (T, N)."""
    result = de.evolve(
        key,
        before(ROUNDS),
        tuning(),
        population_size=BATCH,
        record=("population", "fitness"),
        final=0,
    )
    return result.recorded["population"], result.recorded["fitness"]


def by_evolution(key: jax.Array, number: int) -> Seen:
    population, fitness = evolution(key)
    solutions = tuning().space.decode(population.reshape(-1, len(FIELDS)))
    return jax.device_get((solutions, fitness.reshape(-1)))


def by_chance(key: jax.Array, number: int) -> Seen:
    """Uniform on the scales of the ranges."""
    problem, keys = tuning(), jax.random.split(key, ROUNDS + 1)
    x = jax.random.uniform(keys[0], (ROUNDS, BATCH, len(FIELDS)), minval=-2.0, maxval=2.0)
    seen = []
    for key_scores, part in zip(keys[1:], x, strict=True):
        solutions = problem.space.decode(part)
        seen.append((solutions, scores(key_scores, problem, solutions).mean(axis=1)))
    join = lambda *parts: np.concatenate(parts)
    return jax.tree.map(join, *jax.device_get(seen))


def by_tpe(key: jax.Array, number: int, batch: int = BATCH) -> Seen:
    import optuna

    from diffevo_jax.interop.optuna import optimize

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=number)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    rounds = BATCH * ROUNDS // batch
    optimize(study, key, tuning(), num_batches=rounds, batch_size=batch)
    values = [-np.inf if trial.value is None else trial.value for trial in study.trials]
    numbers = {
        name: np.array([trial.params[name] for trial in study.trials], np.float32)
        for name in FIELDS
    }
    return numbers, np.array(values)


SEARCHERS: dict[str, Callable[[jax.Array, int], Seen]] = {
    "Diffusion Evolution, 32 at a time": by_evolution,
    "random search": by_chance,
    "TPE, 32 at a time": by_tpe,
    "TPE, 8 at a time": lambda key, number: by_tpe(key, number, 8),
}


def best_again(key: jax.Array, seen: Seen) -> dict[str, float]:
    """The best of the best when they are run again."""
    numbers, values = seen
    order = np.argsort(np.where(np.isfinite(values), values, -np.inf))[::-1][:AGAIN]
    chosen = {name: jnp.asarray(column[order]) for name, column in numbers.items()}
    again = np.asarray(scores(key, tuning(AGAIN_SEEDS), chosen)).mean(axis=1)
    return {name: float(column[again.argmax()]) for name, column in chosen.items()}


def repetition(key: jax.Array, number: int) -> dict[str, Any]:
    """All searchers once: what they promised, what is confirmed, and their settings."""
    key_search, key_again, key_confirm = jax.random.split(key, 3)
    default = before(1)
    found = {"default": {name: float(paths.get(default, name)) for name in FIELDS}}
    promised = {"default": float("nan")}
    for searcher, search in SEARCHERS.items():
        seen = search(key_search, number)
        promised[searcher] = float(np.max(seen[1]))
        found[searcher] = best_again(key_again, seen)
    columns = {
        name: np.array([setting[name] for setting in found.values()], np.float32)
        for name in FIELDS
    }
    worth = np.asarray(scores(key_confirm, tuning(CONFIRM_SEEDS), columns)).mean(axis=1)
    return {
        "promised": promised,
        "confirmed": dict(zip(found, worth.tolist(), strict=True)),
        "settings": found,
    }


def rows(repetitions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One for every searcher, over repetitions; gains are paired."""
    column = lambda what, name: np.array([each[what][name] for each in repetitions])
    ours = column("confirmed", next(iter(SEARCHERS)))
    found = []
    for name in ("default", *SEARCHERS):
        confirmed = column("confirmed", name)
        found.append(
            {
                "searcher": name,
                "repetitions": len(repetitions),
                "promised": float(column("promised", name).mean()),
                "confirmed": de.sweeps.interval(confirmed),
                "ours_less": None
                if np.array_equal(ours, confirmed)
                else de.sweeps.interval(ours - confirmed),
                "settings": [each["settings"][name] for each in repetitions],
                "each": confirmed.tolist(),
            }
        )
    return found


def report(rows: list[dict[str, Any]]) -> str:
    """The rows as a table; intervals of 95 %."""

    def shown(values: Any) -> str:
        return "-" if values is None else f"{values[0]:.1f} ± {values[2] - values[0]:.1f}"

    lines = [
        [
            row["searcher"],
            "-" if row["searcher"] == "default" else f"{row['promised']:.1f}",
            shown(row["confirmed"]),
            shown(row["ours_less"]),
        ]
        for row in rows
    ]
    head = ["searcher", "best score seen", "confirmed return", "ours less this"]
    return table(head, lines)


def main() -> None:
    options = arguments(__doc__ or "", seeds=16)
    keys = jax.random.split(jax.random.key(3_026_000 + options.seed), options.seeds)
    repetitions = []
    for number, key in enumerate(keys):
        repetitions.append(repetition(key, number))
        print(number, repetitions[-1]["confirmed"], flush=True)
    measured = rows(repetitions)
    print(report(measured))
    save("tuning", options, measured)


if __name__ == "__main__":
    main()

"""The siblings of Diffusion Evolution beside it at equal evaluations: our tasks and theirs.

    python benchmarks/siblings.py [--only TABLE or SETTING or TASK ...]

Four tables, 16 runs of everything. "tasks": those of the study of the design space
(``design_tasks.py``), 256 individuals, a score with a range of one; "peaks" is the share of
Himmelblau's four peaks that have a twentieth of the final population within 0.5. "minima":
the task of consensus-based optimisation, Ackley's function in 30 dimensions with three
global minima, 200 individuals; how many of them have an individual within 0.1 in the mean
coordinate at the end, and the best cost. "many dimensions": the task of model-based
diffusion, functions of 800 dimensions in a box, 64 individuals and 100 generations; the
cost of the better of the best that was evaluated and of the last plan. Rastrigin's optimum
is where the first plan is: "off the middle" moves all by 0.3 of half the box. "plan": 50
torques for a pendulum that hangs, each held for 4 steps, by 64 individuals in 100
generations: the return of the last plan.

Settings were chosen on other seeds (7); the algorithms' own settings are as published.
"""

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, load, save, stored, summary, table
from design_space import measure
from design_tasks import TASKS, Functions, ackley, levy, rastrigin
from monoflow import peaks_kept

import diffevo_jax as de
from diffevo_jax.denoisers import Population
from diffevo_jax.samplers.ddim import kept_and_fresh

NAME = "siblings"
ORDER = ("suite", "8 dims", "64 dims", "CartPole 5", "CartPole 10")
FLAT = de.kernels.Gaussian(kappa=0.0)


def in_place(num_generations: int) -> de.Consensus:
    """The default, but individuals live in canonical coordinates: they do not contract."""
    low, high = 0.01, 1.0
    ratio = (low / high) ** (1 / max(num_generations - 1, 1))
    kept, tau = kept_and_fresh(1.0, ratio, 1.0)
    return de.Consensus(
        num_generations,
        Population(),
        de.noise.VE(low, high),
        rate=1 - kept,
        noise=0.0,
        fresh=tau / ratio,
    )


def published(num_generations: int, width: float | None = None) -> de.Consensus:
    """Consensus-based optimisation, steps of 0.01, beta 30 that grows, noise of a distance.

    The papers' deviation is 1 for the whole distance in few dimensions; in 30 it is for
    each coordinate.
    """
    shaping = de.shaping.Boltzmann(1 / 30)
    kernel = FLAT if width is None else de.kernels.Gaussian()
    return de.Consensus(
        num_generations,
        Population(kernel, shaping, guidance=0.0),
        de.noise.Constant(1.0 if width is None else width),
        rate=0.01,
        noise=0.1,
        fresh=0.0,
        growth=1.01,
    )


def flow(num_generations: int) -> de.DiffusionEvolution:
    """Flow matching: straight lines, no fresh noise; the population as in the default."""
    sampler, grid = de.samplers.DDIM(eta=0.0), de.noise.Flow(0.02, 0.8)
    return de.DiffusionEvolution(num_generations, sampler=sampler, grid=grid)


Made = Callable[[int], Any]
DEFAULT: dict[str, Made] = {
    "Diffusion Evolution": de.DiffusionEvolution,
    "MonoFlow": de.MonoFlow,
}
SETTINGS: dict[str, Made] = DEFAULT | {
    "in y": in_place,
    "flow matching": flow,
    "Consensus": de.Consensus,
    "consensus, plain": de.Consensus.plain,
    "consensus, polarised": lambda n: de.Consensus.polarised(n, width=0.2),
    "model-based": de.Consensus.model_based,
}
MINIMA: dict[str, Made] = DEFAULT | {
    "for several": lambda n: de.DiffusionEvolution.for_several(n, population_size=200),
    "Consensus": de.Consensus,
    "consensus, plain": de.Consensus.plain,
    "consensus, as published": published,
    **{
        f"consensus, polarised {width:g}": lambda n, width=width: published(n, width)
        for width in (0.5, 1.0, 5.0)
    },
}
DIMENSIONS: dict[str, Made] = DEFAULT | {
    "much guidance": lambda n: de.replace(
        de.DiffusionEvolution(n), guidance=6.0, temperature=0.7, sigma_max=2.0
    ),
    "Consensus": de.Consensus,
    "model-based, as published": lambda n: de.Consensus.model_based(n, temperature=1.0),
}
PLAN: dict[str, Made] = DEFAULT | {
    "Consensus": de.Consensus,
    "consensus, plain": de.Consensus.plain,
    "model-based, as published": de.Consensus.model_based,
    "model-based, temperature 0.5": lambda n: de.Consensus.model_based(n, 0.5),
}
#: Of three global minima: each coordinate of the first, of the second, of the third.
PLACES = np.array([[-2.0] * 30, [0.5] * 30, [2.0] * 15 + [-2.0] * 15], np.float32)
#: Generations that the minima are looked for, with 200 individuals.
BUDGETS = (50, 1000)
#: Half the width of the box of model-based diffusion in its first deviations, sqrt(0.395).
BOX_SCALE = 1.58
#: Cost, lower and upper bound, of 800 numbers.
COSTS = {
    "Rastrigin": (rastrigin, -5.0, 5.0),
    "Ackley": (ackley, -5.0, 10.0),
    "Levy": (lambda x: levy(x - 1.0), -5.0, 5.0),
}


def minima(made: Any, keys: jax.Array, size: int) -> dict[str, list[float]]:
    """How many of the three minima have an individual at the end, and the best cost."""

    def cost(x: jax.Array) -> jax.Array:
        return jnp.min(jnp.stack([ackley(x - place) for place in PLACES]))

    space = de.problems.Space(jnp.zeros(30), scale=2.0)
    problem = de.problems.Function(lambda x: -cost(x), space=space)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        result = de.evolve(key, made, problem, population_size=size)
        points = problem.space.decode(result.population)
        away = jnp.mean(jnp.abs(points[:, None] - PLACES), axis=-1)
        return jnp.sum(away.min(axis=0) < 0.1), -result.best_fitness

    found, costs = quickly(jax.vmap(one))(keys)
    return {"found": rounded(found), "costs": rounded(costs)}


def dimensions(
    made: Any, dim: int, keys: jax.Array
) -> Callable[[str, float], dict[str, list[float]]]:
    """Cost of the better of the best and of the last plan; one program for all of them."""
    space = de.problems.Space(
        jnp.zeros(dim), lower=-1.0, upper=1.0, boundary="clip", bound_scale=BOX_SCALE
    )
    signs = np.where(np.arange(dim) % 2, 1.0, -1.0).astype(np.float32)
    costs = [fn for fn, _, _ in COSTS.values()]

    @de.pytree.dataclass
    class InABox(Functions):
        """Its optimum moved, in a box that is the same for all."""

        low: de.pytree.Number = de.pytree.number(default=-1.0)
        high: de.pytree.Number = de.pytree.number(default=1.0)
        shift: de.pytree.Number = de.pytree.number(default=0.0)

        @property
        def space(self) -> de.problems.Space:
            """The box, each side from -1 to 1."""
            return space

        def evaluate(self, key: jax.Array, problem_state: Any, solutions: jax.Array) -> Any:
            """Fitness of points of the box."""
            moved = solutions - self.shift * signs
            middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
            return Functions.evaluate(self, key, problem_state, middle + half * moved)

    @quickly
    def runs(problem: Any, keys: jax.Array) -> jax.Array:
        def one(key: jax.Array) -> jax.Array:
            result = de.evolve(key, made, problem, population_size=64)
            plan = space.decode(planned(result).mean(axis=0)[None])
            last = problem.evaluate(key, (), plan)[0].fitness[0]
            return -jnp.maximum(last, result.best_fitness)

        return jax.vmap(one)(keys)

    def measured(name: str, shift: float) -> dict[str, list[float]]:
        number, (_, low, high) = list(COSTS).index(name), COSTS[name]
        fns = tuple(lambda x, cost=cost: -cost(x) for cost in costs)
        problem = InABox(fns, dim, jnp.asarray(number), low, high, shift)
        return {"costs": rounded(runs(de.pytree.strong(problem), keys))}

    return measured


def hanging() -> Any:
    """Gymnax's pendulum, which begins at rest and hangs."""
    from gymnax.environments.classic_control.pendulum import Pendulum

    class Hanging(Pendulum):
        """Begins at one state."""

        def reset_env(self, key: jax.Array, params: Any) -> tuple[jax.Array, Any]:
            """At rest, and down."""
            _, state = super().reset_env(key, params)
            zero = jnp.zeros_like(state.theta)
            state = state.replace(theta=zero + jnp.pi, theta_dot=zero)
            return self.get_obs(state), state

    return Hanging()


def plans(made: Any, keys: jax.Array) -> dict[str, list[float]]:
    """Return of the last plan, the mean of what the population thinks."""
    plan = de.problems.ActionSequence(horizon=50, hold=4)
    problem = de.problems.Control(env=hanging(), policy=plan, max_steps=200)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        result = de.evolve(key, made, problem, population_size=64, final=0)
        last = problem.space.decode(planned(result).mean(axis=0)[None])
        returned = problem.evaluate(key, (), last)[0].fitness[0]
        return returned, result.best_fitness

    returned, best = quickly(jax.vmap(one))(keys)
    return {"returns": rounded(returned), "best": rounded(best)}


def planned(result: de.Result) -> jax.Array:
    """(N, D) where each individual's clean point was last seen; or the individuals."""
    return result.state.clean_estimate


def quickly(runs: Callable[..., Any]) -> Callable[..., Any]:
    """As a program that is compiled once and runs few times."""
    options = de.compiler_options(quick=True)
    return jax.jit(runs, compiler_options=options)


def rounded(values: Any) -> list[float]:
    """As they are stored."""
    return [float(f"{value:.6g}") for value in np.asarray(values, float)]


def jobs(options: argparse.Namespace) -> list[tuple[dict[str, Any], Callable[[], Any]]]:
    """What each row is called, and what measures the rest of it."""
    quick, seed, seeds = options.quick, options.seed, options.seeds
    keys = jax.random.split(jax.random.key(seed), seeds)
    found: list[tuple[dict[str, Any], Callable[[], Any]]] = []
    for name, made in SETTINGS.items():
        for task in ORDER[: 1 if quick else None]:
            score = lambda made=made, what=TASKS[task]: {
                "scores": rounded(
                    measure([made(what.num_generations)], what, seed, seeds)[0]
                )
            }
            found.append(({"table": "tasks", "task": task, "setting": name}, score))
        kept = lambda made=made: {"scores": rounded(peaks_kept(made(25), seed, seeds))}
        found.append(({"table": "tasks", "task": "peaks", "setting": name}, kept))
    for name, made in MINIMA.items():
        for budget in BUDGETS[: 1 if quick else None]:
            look = lambda made=made, budget=budget: minima(made(budget), keys, 200)
            found.append(({"table": "minima", "task": budget, "setting": name}, look))
    for name, made in DIMENSIONS.items():
        solve = functools.cache(
            lambda made=made: dimensions(made(100), 16 if quick else 800, keys)
        )
        for function in list(COSTS)[: 1 if quick else None]:
            for shift in (0.0, 0.3):
                task = f"{function}, off the middle" if shift else function
                row = {"table": "many dimensions", "task": task, "setting": name}
                box = lambda solve=solve, f=function, shift=shift: solve()(f, shift)
                found.append((row, box))
    for name, made in PLAN.items():
        generations = 5 if quick else 100
        swing = lambda made=made, generations=generations: plans(made(generations), keys)
        found.append(({"table": "plan", "task": "plan", "setting": name}, swing))
    return found


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure, and store after every row, so that a run may end early."""
    rows = load(NAME) if options.only and stored(NAME) else []
    for names, measured in jobs(options):
        if options.only and not {str(name) for name in names.values()} & set(options.only):
            continue
        start = time.perf_counter()
        got = measured()
        rows = [row for row in rows if not names.items() <= row.items()]
        rows.append(names | got)
        means = {what: float(np.mean(values)) for what, values in got.items()}
        print(*names.values(), means, f"{time.perf_counter() - start:.0f} s", flush=True)
        save(NAME, options, rows)
    return rows


def report(rows: list[dict[str, Any]]) -> str:
    """The four tables."""
    titles = {
        "tasks": "score of 100",
        "minima": "minima found of 3; best cost",
        "many dimensions": "cost",
        "plan": "return",
    }
    parts = []
    for name, title in titles.items():
        chosen = [row for row in rows if row["table"] == name]
        tasks = list(dict.fromkeys(row["task"] for row in chosen))
        settings = list(dict.fromkeys(row["setting"] for row in chosen))
        by_name = {(row["setting"], row["task"]): row for row in chosen}
        heads = [f"{task} generations" if name == "minima" else task for task in tasks]
        lines = [
            [setting, *(cell(by_name.get((setting, task))) for task in tasks)]
            for setting in settings
        ]
        parts.append(table([title, *heads], lines))
    return "\n\n".join(parts)


def cell(row: dict[str, Any] | None) -> str:
    """Means with the half width of their 95 % intervals."""
    if row is None:
        return "-"
    if "scores" in row:
        problems = TASKS[row["task"]].count if row["task"] in TASKS else 1
        scores = np.array(row["scores"]).reshape(max(problems, 1), -1).mean(axis=0)
        return interval(100 * scores, ".1f")
    if "found" in row:
        return f"{interval(row['found'], '.1f')}; {interval(row['costs'], '.2g')}"
    if "returns" in row:
        return f"{interval(row['returns'], '.0f')}; the best {interval(row['best'], '.0f')}"
    return interval(row["costs"], ",.0f" if np.mean(row["costs"]) > 100 else ".3g")


def interval(values: Any, form: str) -> str:
    """Mean, and half the width of its interval."""
    got = summary(values)
    return f"{got['mean']:{form}} ± {got['interval']:{form}}"


if __name__ == "__main__":
    given = arguments(__doc__ or "", seeds=16, only="measure these rows only")
    print(report(run(given)))

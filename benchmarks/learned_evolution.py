"""Evolution by a network that learns while it evolves, beside the population that answers.

    python benchmarks/learned_evolution.py [--only TASK or condition or training ...]

At equal evaluations, 20 seeds a row; settings were chosen on other seeds.

* Tasks: two peaks (the share of runs that end at both), Rastrigin (mean of the best eighth
  of the final population), a double peak whose heights oscillate (best
  fitness of a generation, its mean over those from the 20th on; the higher peak's height
  is 0.83 on average), CartPole (mean return of the final population).
* "condition": a policy for CartPole that also rests at an asked place, steered by the
  population (Bayes) or by the network (its label): how far from there the cart is on
  average over its last 100 steps, and the share of episodes that last to the end.
* "training": how far from the exact answer a network is after six generations of the same
  points, in deviations of them, by how it is trained.
"""

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from common import arguments, load, save, stored, summary, table
from design_tasks import SCALE

import diffevo_jax as de
from diffevo_jax import diffusion
from diffevo_jax.denoisers import Archive, Population, posterior_mean

NAME = "learned_evolution"
PLACES = (-1.0, 0.0, 1.0)


@de.pytree.dataclass
class ChangingPeaks:
    """Two peaks at (-1, -1) and (1, 1), whose heights go from 1 to 1/19 and back, in turn.

    Args:
        period: generations until both are as they were, > 0.
        width: standard deviation of a peak, > 0.
    """

    period: de.pytree.Number = de.pytree.number(default=20.0, above=0.0)
    width: de.pytree.Number = de.pytree.number(default=0.3, above=0.0)

    @property
    def space(self) -> de.problems.Space:
        """Two numbers."""
        return de.problems.Space(jax.ShapeDtypeStruct((2,), jnp.float32), 1.0)

    def init(self, key: jax.Array) -> jax.Array:
        """The generation."""
        return jnp.zeros(())

    def evaluate(
        self, key: jax.Array, problem_state: jax.Array, solutions: jax.Array
    ) -> tuple[de.Evaluation, jax.Array]:
        """Fitness in (0, 1]."""
        swing = 0.9 * jnp.cos(2 * jnp.pi * problem_state / self.period)
        heights = jnp.stack([1 + swing, 1 - swing]) / 1.9
        peaks = jnp.array([[-1.0, -1.0], [1.0, 1.0]])
        squares = jnp.sum((solutions[:, None] - peaks[None]) ** 2, axis=-1)
        fitness = jnp.max(heights * jnp.exp(-0.5 * squares / self.width**2), axis=1)
        return de.Evaluation(fitness=fitness), problem_state + 1


@de.pytree.dataclass
class RestingCart:
    """CartPole, with the mean position of the cart over its last 100 steps as a measure."""

    control: de.problems.Control

    @property
    def space(self) -> de.problems.Space:
        """That of the policy's weights."""
        return self.control.space

    @property
    def noisy(self) -> bool:
        """Starts are drawn."""
        return True

    def init(self, key: jax.Array) -> tuple[()]:
        """No state."""
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: tuple[()], solutions: Any
    ) -> tuple[de.Evaluation, tuple[()]]:
        """The return; the measure is (N,)."""

        def play(key: jax.Array, policy_params: Any) -> tuple[jax.Array, jax.Array]:
            played = self.control.play(key, policy_params, record=True)
            steps, length = jnp.arange(len(played.rewards)), played.episode.length
            last = (steps >= length - 100) & (steps < length)
            position = jnp.mean(played.states.x, where=last)
            return played.episode.total_reward, position

        keys = jax.random.split(key, len(jax.tree.leaves(solutions)[0]))
        total_reward, position = jax.vmap(play)(keys, solutions)
        return de.Evaluation(total_reward, measures=position), ()


class Task(NamedTuple):
    """Something to be good at: the problem, N, T, and from a result to a score."""

    problem: Callable[[], Any]
    population_size: int
    num_generations: int
    score: Callable[[Any], jax.Array]


def both_peaks(result: de.Result) -> jax.Array:
    """Whether a twentieth of the population is at each of two peaks."""
    near = lambda peak: jnp.mean(
        jnp.linalg.norm(result.population - jnp.array(peak), axis=1) < 0.3
    )
    return (jnp.minimum(near([-1.0, -1.0]), near([1.0, 1.0])) >= 0.05).astype(float)


def best_eighth(result: de.Result) -> jax.Array:
    """Mean fitness of the best eighth."""
    return jax.lax.top_k(result.fitness, len(result.fitness) // 8)[0].mean()


TASKS = {
    "two peaks": Task(
        lambda: de.problems.Function(de.problems.landscapes.two_peaks, dim=2),
        128,
        25,
        both_peaks,
    ),
    "Rastrigin": Task(
        lambda: de.problems.Landscape("rastrigin", scale=SCALE), 128, 25, best_eighth
    ),
    "changing peaks": Task(
        ChangingPeaks, 16, 100, lambda result: result.history.best_fitness[20:].mean()
    ),
    "CartPole": Task(
        lambda: de.published.control("cartpole").problem,
        256,
        10,
        lambda result: result.history.mean_fitness[-1],
    ),
}
EVOLUTION, LEARNED = "Diffusion Evolution", "learned evolution"
#: A network that has one number to learn, and answers 0.
SILENT = diffusion.Network(
    init=lambda key, shape: {"nothing": jnp.zeros(())},
    apply=lambda weights, y, c_noise, label: 0.0 * weights["nothing"] * y,
)
ONLINE = diffusion.OnlineNetwork()
MEAN = de.pytree.replace(ONLINE, network=SILENT, num_steps=1)
#: A mild selection and much training, to keep what is far apart.
SEVERAL = diffusion.OnlineNetwork(
    shaping=de.shaping.Standardized(1.0), guidance=0.0, num_steps=300
)
#: Few evaluations a generation: little training, and what was good before counts.
REMEMBERING = diffusion.OnlineNetwork(
    shaping=de.shaping.Standardized(1.0),
    memory=Archive(4, correction=0.0),
    guidance=0.0,
    num_steps=30,
)
#: A population that never settles: it takes noise away, and puts as much back.
UNSETTLED = {"sampler": de.samplers.Consistency(), "grid": de.noise.Constant(0.15)}


def strategies(task: str) -> dict[str, de.DiffusionEvolution]:
    """The rows of a task."""
    evolution = functools.partial(de.DiffusionEvolution, TASKS[task].num_generations)
    made = {EVOLUTION: evolution(), LEARNED: evolution(ONLINE)}
    if task == "two peaks":
        made[f"{EVOLUTION}, for several"] = de.DiffusionEvolution.for_several(25, 128)
        made[f"{LEARNED}, for several"] = evolution(SEVERAL, grid=de.noise.VE(0.02, 8.0))
    elif task == "changing peaks":
        made[f"{EVOLUTION}, constant noise"] = evolution(**UNSETTLED)
        made[f"{LEARNED}, constant noise"] = evolution(REMEMBERING, **UNSETTLED)
    else:
        made["its mean alone"] = evolution(MEAN)
    return made


def runs(options: argparse.Namespace, task: str) -> list[dict[str, Any]]:
    """A row for every strategy of a task."""
    problem, population_size, _, score = TASKS[task]
    keys = jax.random.split(jax.random.key(options.seed), options.seeds)
    rows = []
    for name, strategy in strategies(task).items():

        def one(key: jax.Array, strategy: Any = strategy) -> tuple[jax.Array, jax.Array]:
            result = de.evolve(key, strategy, problem(), population_size=population_size)
            return score(result), result.history.num_diverged.sum()

        start = time.perf_counter()
        scores, diverged = jax.block_until_ready(jax.jit(jax.vmap(one))(keys))
        rows.append(
            {"part": task, "who": name, "score": summary(scores)}
            | {"diverged": int(diverged.sum()), "seconds": time.perf_counter() - start}
        )
    return rows


def steered(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A cart that rests at an asked place, by Bayes and by the network."""
    problem = RestingCart(de.published.control("cartpole").problem)
    keys = jax.random.split(jax.random.key(options.seed), options.seeds)

    def one(
        strategy: de.DiffusionEvolution, scale: float, place: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, ...]:
        target = de.conditions.Target(resting_place, place, scale)
        denoiser = de.pytree.replace(strategy.denoiser, conditions=(target,))
        strategy = de.pytree.replace(strategy, denoiser=denoiser)
        result = de.evolve(key, strategy, problem, population_size=128)
        again, _ = problem.evaluate(
            jax.random.fold_in(key, 1), (), problem.space.decode(result.population)
        )
        return again.fitness, jnp.abs(again.measures - place)

    rows = []
    for name, (denoiser, scale) in STEERED.items():
        program = functools.partial(one, de.DiffusionEvolution(25, denoiser), scale)
        every = jax.jit(jax.vmap(jax.vmap(program, (None, 0)), (0, None)))
        returns, distances = every(jnp.array(PLACES), keys)
        for i, place in enumerate(PLACES):
            rows.append(
                {"part": "condition", "who": name, "place": place}
                | {"median_distance": float(jnp.median(distances[i]))}
                | {"distance": summary(jnp.median(distances[i], axis=1))}
                | {"success": summary(jnp.mean(returns[i] >= 500, axis=1))}
            )
    return rows


#: A network is told the place; it hears of it from more than one generation.
TOLD = diffusion.OnlineNetwork(
    memory=Archive(3, correction=0.0),
    shaping=de.shaping.Standardized(0.5),
    num_steps=100,
)
#: Who is steered, and the scale of the target, which is for the population alone.
STEERED = {EVOLUTION: (Population(), 0.2), LEARNED: (TOLD, 0.2)}


def resting_place(candidates: jax.Array, measures: jax.Array) -> jax.Array:
    """Where a cart rests, (N,)."""
    return measures


#: For what training does alone: no guidance, a mild selection.
PLAIN = diffusion.OnlineNetwork(
    shaping=de.shaping.Standardized(0.7), guidance=0.0, sigma_max=5.0
)
TRAININGS = {
    "from where it stood, drawn by weight": PLAIN,
    "a new one each generation": PLAIN,
    "from where it stood, weights in the loss": PLAIN,
    "none: the Wiener filter": de.pytree.replace(PLAIN, network=SILENT, num_steps=1),
}


def weighted_training(
    key: jax.Array, state: Any, points: jax.Array, log_weight: jax.Array
) -> Any:
    """Weights of a network after a generation's steps, with weights in the loss."""
    weight = jax.nn.softmax(log_weight) * len(points)
    optimizer = diffusion.default_optimizer(PLAIN.learning_rate, PLAIN.num_steps)
    levels = diffusion.LogUniformLevels(PLAIN.sigma_min, PLAIN.sigma_max)

    def loss(weights: Any, key: jax.Array) -> jax.Array:
        index = jax.random.randint(key, (PLAIN.batch_size,), 0, len(points))
        return diffusion.denoising_loss(
            weights,
            jax.random.fold_in(key, 1),
            points[index],
            network=PLAIN.network,
            parameterisation=diffusion.EDM(),
            objective=diffusion.Objective(levels),
            sample_weight=weight[index],
        )

    def step(i: jax.Array, carry: tuple) -> tuple:
        weights, memory, average = carry
        gradient = jax.grad(loss)(weights, jax.random.fold_in(key, i))
        change, memory = optimizer.update(gradient, memory, weights)
        weights = jax.tree.map(lambda old, new: old + new, weights, change)
        decay = (1.0 + i) / (10.0 + i)
        mix = lambda old, new: decay * old + (1 - decay) * new
        return weights, memory, jax.tree.map(mix, average, weights)

    start = state.weights, optimizer.init(state.weights), state.weights
    return jax.lax.fori_loop(0, PLAIN.num_steps, step, start)[2]


def trained(options: argparse.Namespace) -> list[dict[str, Any]]:
    """How far a network is from the exact answer, after six generations."""

    def error(key: jax.Array, how: str) -> jax.Array:
        denoiser = TRAININGS[how]
        points = jax.random.normal(key, (128, 2))
        near = jnp.min(
            jnp.stack([jnp.sum((points - p) ** 2, axis=1) for p in (-1.0, 1.0)]), axis=0
        )
        evaluated = de.Evaluated(points, jnp.exp(-2 * near), points, 1.0)
        state = first = denoiser.init(key, points)
        for generation in range(6):
            key_now, before = jax.random.fold_in(key, generation), state
            if how.startswith("a new"):
                state = de.pytree.replace(state, weights=first.weights)
            state = denoiser.learn(key_now, state, evaluated)
            if how.endswith("loss"):
                units = (points - state.mean) / state.deviation
                weights = weighted_training(key_now, before, units, state.log_weight)
                state = de.pytree.replace(state, weights=weights)
        squares = []
        for sigma in (0.3, 1.0, 2.0):
            index = jax.random.categorical(key, state.log_weight, shape=(256,))
            y = points[index] + sigma * jax.random.normal(key, (256, 2))
            exact = posterior_mean(
                y, points, points, state.log_weight, jnp.asarray(sigma**-2.0), own=False
            )
            answer = denoiser.denoise(state, y, jnp.asarray(sigma))
            squares.append(jnp.mean((answer.clean - exact.clean) ** 2))
        return jnp.sqrt(jnp.mean(jnp.stack(squares))) / state.deviation

    keys = jax.random.split(jax.random.key(options.seed), options.seeds)
    rows = []
    for how in TRAININGS:
        errors = jax.jit(jax.vmap(lambda key, how=how: error(key, how)))(keys)
        rows.append({"part": "training", "who": how, "error": summary(errors)})
    return rows


PARTS: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
    **{task: lambda options, task=task: runs(options, task) for task in TASKS},
    "condition": steered,
    "training": trained,
}


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The parts that are asked for; others are kept as they are stored."""
    rows = load(NAME) if stored(NAME) and not options.quick else []
    for part in options.only or PARTS:
        new = PARTS[part](options)
        rows = [row for row in rows if row["part"] != part] + new
        print(report(new), flush=True)
        save(NAME, options, rows)
    return rows


def said(value: dict[str, float]) -> str:
    """A mean and the half width of its 95 % interval."""
    return f"{value['mean']:.3g} ± {value['interval']:.2g}"


def report(rows: list[dict[str, Any]]) -> str:
    """A table a kind of rows."""
    tasks = [row for row in rows if row["part"] in TASKS]
    steering = [row for row in rows if row["part"] == "condition"]
    training = [row for row in rows if row["part"] == "training"]
    tables = []
    if tasks:
        lines = [[row["part"], row["who"], said(row["score"])] for row in tasks]
        tables.append(table(["task", "who answers", "score"], lines))
    if steering:
        header = ["place", "who answers", "median distance", "success"]
        lines = [
            [
                f"{row['place']:+.0f}",
                row["who"],
                f"{row['median_distance']:.2f}",
                said(row["success"]),
            ]
            for row in steering
        ]
        tables.append(table(header, lines))
    if training:
        lines = [[row["who"], said(row["error"])] for row in training]
        tables.append(table(["training", "error"], lines))
    return "\n\n".join(tables)


def main() -> None:
    options = arguments(__doc__ or "", seeds=20, only="tasks, condition, training")
    run(options)


if __name__ == "__main__":
    main()

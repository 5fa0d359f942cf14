"""The tasks of the study of the design space: problems, budgets, and what counts.

Every score has a range of one. Two-dimensional landscapes: the published fitness, in
[0, 1], mean of the best eighth of the final population. Functions in many dimensions: the
cost on a scale on which the optimum is 1 and a random population 1/2, the same mean. Their
optima lie away from the origin, where averaging alone would find them. Control: the mean
return of the final population over its range.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import diffevo_jax as de

SUITE = ("rosenbrock", "beale", "himmelblau", "ackley", "rastrigin")
#: Solutions are drawn with this deviation from 0.
SCALE = 4.0


@de.pytree.dataclass
class Functions:
    """One of several functions, by number; so one program evolves on all of them."""

    fns: tuple[Callable[[jax.Array], jax.Array], ...] = de.pytree.static()
    dim: int = de.pytree.static()
    number: jax.Array

    @property
    def space(self) -> de.problems.Space:
        """Unbounded, of deviation SCALE."""
        return de.problems.Space(jax.ShapeDtypeStruct((self.dim,), jnp.float32), SCALE)

    def init(self, key: jax.Array) -> tuple[()]:
        """No state."""
        return ()

    def evaluate(
        self, key: jax.Array, problem_state: tuple[()], solutions: jax.Array
    ) -> tuple[de.Evaluation, tuple[()]]:
        """Fitness of all solutions."""
        branches = [jax.vmap(fn) for fn in self.fns]
        fitness = jax.lax.switch(self.number, branches, solutions)
        return de.Evaluation(fitness=fitness), problem_state


class Task(NamedTuple):
    """Something to be good at.

    Attributes:
        problems: evolved on in one program, one result each.
        population_size: N.
        num_generations: rounds of evaluation.
        seeds: independent runs for choosing.
        score: from the fitness of a final population to one number.
    """

    problems: Callable[[], de.Problem]
    count: int
    population_size: int
    num_generations: int
    seeds: int
    score: Callable[[jax.Array], jax.Array]


def best_eighth(fitness: jax.Array) -> jax.Array:
    """Mean of the best eighth."""
    return jax.lax.top_k(fitness, len(fitness) // 8)[0].mean()


def rastrigin(z: jax.Array) -> jax.Array:
    """Cost, 0 at 0."""
    return jnp.sum(z**2 - 10 * jnp.cos(2 * jnp.pi * z) + 10)


def ackley(z: jax.Array) -> jax.Array:
    """Cost, 0 at 0."""
    root = jnp.sqrt(jnp.mean(z**2))
    wave = jnp.exp(jnp.mean(jnp.cos(2 * jnp.pi * z)))
    return 20 - 20 * jnp.exp(-0.2 * root) + jnp.e - wave


def levy(z: jax.Array) -> jax.Array:
    """Cost, 0 at 0 (Levy's function around its optimum)."""
    w = 1 + z / 4
    head, tail = jnp.sin(jnp.pi * w[0]) ** 2, (w[-1] - 1) ** 2
    middle = (w[:-1] - 1) ** 2 * (1 + 10 * jnp.sin(jnp.pi * w[:-1] + 1) ** 2)
    return head + jnp.sum(middle) + tail * (1 + jnp.sin(2 * jnp.pi * w[-1]) ** 2)


def griewank(z: jax.Array) -> jax.Array:
    """Cost, 0 at 0."""
    i = jnp.arange(1, len(z) + 1)
    return jnp.sum(z**2) / 4000 - jnp.prod(jnp.cos(z / jnp.sqrt(i))) + 1


def shifted(cost: Callable[[jax.Array], jax.Array], dim: int) -> Callable:
    """Fitness of a cost: 1 at an optimum off the origin, 1/2 at random, above 0."""
    optimum = 0.5 * SCALE * np.sin(np.arange(1.0, dim + 1.0)).astype(np.float32)
    points = SCALE * np.random.default_rng(0).normal(size=(4096, dim)).astype(np.float32)
    random = float(jax.vmap(cost)(points - optimum).mean())

    def fitness(x: jax.Array) -> jax.Array:
        return jnp.maximum(1 - cost(x - optimum) / (2 * random), 1e-6)

    return fitness


def suite() -> de.Problem:
    """The published landscapes."""

    def published(name: str) -> Callable[[jax.Array], jax.Array]:
        problem = de.problems.Landscape(name, scale=SCALE)
        evaluate = lambda x: problem.evaluate(jax.random.key(0), (), x[None])[0]
        return lambda x: evaluate(x).fitness[0]

    fns = tuple(published(name) for name in SUITE)
    return Functions(fns, 2, jnp.arange(len(fns)))


def functions(dim: int, *costs: Callable[[jax.Array], jax.Array]) -> Callable:
    """Shifted functions in many dimensions."""
    return lambda: Functions(
        tuple(shifted(cost, dim) for cost in costs), dim, jnp.arange(len(costs))
    )


def control(name: str, generations: int, seeds: int, low: float, high: float) -> Task:
    """A control experiment, scored over its range."""
    return Task(
        lambda: de.published.control(name).problem,
        0,
        256,
        generations,
        seeds,
        lambda fitness: (fitness.mean() - low) / (high - low),
    )


def landscape(problems: Callable[[], de.Problem], count: int, seeds: int = 8) -> Task:
    """Functions with 256 individuals and 25 generations."""
    return Task(problems, count, 256, 25, seeds, best_eighth)


CARTPOLE = ("CartPole-v1", 0.0, 500.0)
ACROBOT = ("Acrobot-v1", -500.0, -60.0)
#: What random combinations are chosen on; each choice alone is shown on all.
CHOOSING = ("suite", "8 dims", "CartPole 10")
TASKS = {
    "suite": landscape(suite, len(SUITE)),
    **{
        f"{dim} dims": landscape(functions(dim, rastrigin, ackley), 2) for dim in (2, 8, 64)
    },
    **{
        f"CartPole {n}": control("CartPole-v1", n, 24, *CARTPOLE[1:])
        for n in (5, 7, 10, 25)
    },
    **{f"Acrobot {n}": control("Acrobot-v1", n, 8, *ACROBOT[1:]) for n in (5, 7, 10, 25)},
}
#: Set apart: on these nothing is chosen.
FRESH = {
    **{
        f"Levy, Griewank {dim}": landscape(functions(dim, levy, griewank), 2)
        for dim in (2, 8, 64)
    },
    "MountainCar 10": control("MountainCar-v0", 10, 8, -500.0, -100.0),
}

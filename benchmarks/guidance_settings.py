"""What the study of fitness guidance compares: settings, options, peers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from design_settings import build, published
from design_tasks import TASKS, Task

import diffevo_jax as de
from diffevo_jax.pytree import Number, number

KERNELS = {
    "tempered 1": de.kernels.Tempered(1.0),
    "tempered 2": de.kernels.Tempered(2.0),
    "latent 2": de.kernels.RandomProjection(2),
    "perplexity 15, 2 components": de.kernels.Perplexity(15.0, 2),
    "perplexity 30, 2 components": de.kernels.Perplexity(30.0, 2),
    "perplexity 60, 2 components": de.kernels.Perplexity(60.0, 2),
}
SAMPLERS = {"DDIM 1": de.samplers.DDIM(1.0), "2M 1": de.samplers.DPMSolver2M(1.0)}


def before(num_generations: int) -> de.DiffusionEvolution:
    """The default of before: no guidance, and a grid that begins at much more noise."""
    population = de.denoisers.Population(
        de.kernels.Tempered(1.0), de.shaping.Standardized(0.2), guidance=0.0
    )
    return de.DiffusionEvolution(
        num_generations, population, de.samplers.DDIM(1.0), de.noise.Cosine(1e-4)
    )


def much(num_generations: int) -> de.DiffusionEvolution:
    """For functions in many dimensions and 25 generations or more."""
    population = de.denoisers.Population(shaping=de.shaping.Standardized(0.7), guidance=6.0)
    grid = de.noise.VE(0.01, 2.0)
    return de.DiffusionEvolution(num_generations, population, grid=grid)


def fit(num_generations: int) -> de.DiffusionEvolution:
    """A fitted Gaussian with much guidance."""
    gaussian = de.denoisers.GaussianFit(guidance=4.0)
    return de.DiffusionEvolution(num_generations, gaussian)


def several_far(num_generations: int) -> de.DiffusionEvolution:
    """Several in a hundred dimensions: more neighbours, and more guidance."""
    strategy = de.DiffusionEvolution.for_several(num_generations)
    return de.replace(strategy, neighbours=60.0, guidance=6.0)


#: Strategies of the library, by name: made of a task's name and generations.
STRATEGIES: dict[str, Callable[[str, int], Any]] = {
    "default": lambda task, generations: de.DiffusionEvolution(generations),
    "much guidance": lambda task, generations: much(generations),
    "several": lambda task, generations: de.DiffusionEvolution.for_several(generations),
    "before": lambda task, generations: before(generations),
    "published": lambda task, generations: build(published(task), generations),
    "Gaussian fit": lambda task, generations: fit(generations),
    "several, 60 neighbours": lambda task, generations: several_far(generations),
    "MonoFlow": lambda task, generations: de.MonoFlow(generations),
}


@de.pytree.dataclass
class Optional(de.denoisers.Population):
    """A population whose guidance has what was tried beside one number.

    Args:
        low: noise level below which there is none.
        high: noise level above which there is none.
        bound: on the way beyond Bayes' answer, root mean square, in noise levels.
        power: of ``sigma / sqrt(1 + sigma^2)``, by which guidance falls.
    """

    low: Number = number(default=0.0)
    high: Number = number(default=1e9)
    bound: Number = number(default=1e9)
    power: Number = number(default=0.0)

    def denoise(self, state: Any, y: jax.Array, sigma: jax.Array) -> de.Estimate:
        """Bayes' answer, and what the options leave of the way beyond it."""
        bayes, guided = (
            de.denoisers.Population.denoise(
                de.pytree.replace(self, guidance=guidance), state, y, sigma
            ).clean
            for guidance in (0.0, self.guidance)
        )
        within = (sigma >= self.low) & (sigma <= self.high)
        share = within * (sigma / jnp.sqrt(1 + sigma**2)) ** self.power
        way = share * (guided - bayes)
        length = jnp.sqrt(jnp.mean(way**2, axis=1, keepdims=True))
        way *= jnp.minimum(1.0, self.bound * sigma / jnp.where(length > 0, length, 1.0))
        plain = de.denoisers.Population.denoise(self, state, y, sigma)
        return de.replace(plain, clean=bayes + way)


#: What was tried beside one number.
OPTIONS: dict[str, dict[str, float]] = {
    "one number": {},
    "sigma >= 0.05": {"low": 0.05},
    "sigma >= 0.1": {"low": 0.1},
    "sigma >= 0.3": {"low": 0.3},
    "sigma <= 1": {"high": 1.0},
    "sigma <= 2.5": {"high": 2.5},
    "at most 0.3 sigma": {"bound": 0.3},
    "at most sigma": {"bound": 1.0},
    "at most 3 sigma": {"bound": 3.0},
    "falls like sigma": {"power": 1.0},
    "falls like its root": {"power": 0.5},
}
OPTION_FIELDS = ("low", "high", "bound", "power")
PLAIN = (0.0, 1e9, 1e9, 0.0)


def option_values() -> list[tuple[float, ...]]:
    """The values of all options, one row each."""
    defaults = dict(zip(OPTION_FIELDS, PLAIN, strict=True))
    return [tuple((defaults | some).values()) for some in OPTIONS.values()]


def peer(name: str, task: Task) -> Callable[[jax.Array, de.Problem], jax.Array]:
    """An algorithm of evosax: from a key and a problem to the final population's fitness.

    Its own numbers, a deviation of 1 in unit scale, and the origin or a random population
    at the beginning.
    """
    from evosax import algorithms

    size, generations = task.population_size, task.num_generations

    def run(key: jax.Array, problem: de.Problem) -> jax.Array:
        key_problem, key_population, key = jax.random.split(key, 3)
        problem_state = problem.init(key_problem)
        population = problem.space.sample(key_population, size)
        origin = jnp.zeros(population.shape[1])

        def fitness(key: jax.Array, candidates: jax.Array) -> jax.Array:
            solutions = problem.space.decode(candidates)
            return problem.evaluate(key, problem_state, solutions)[0].fitness

        if name == "CMA-ES":
            algorithm = algorithms.CMA_ES(size, origin)
            params = algorithm.default_params.replace(std_init=1.0)
            state = algorithm.init(key, origin, params)
            rounds = generations
        else:
            algorithm = algorithms.DiffusionEvolution(
                size, origin, num_generations=generations, num_latent_dims=2
            )
            params = algorithm.default_params
            first = fitness(jax.random.fold_in(key, 1), population)
            state = algorithm.init(key, population, -first, params)
            rounds = generations - 1

        def generation(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            keys = jax.random.split(key, 3)
            candidates, state = algorithm.ask(keys[0], state, params)
            got = fitness(keys[1], candidates)
            state, _ = algorithm.tell(keys[2], candidates, -got, state, params)
            return state, got

        return jax.lax.scan(generation, state, jax.random.split(key, rounds))[1][-1]

    return run


PEERS = ("CMA-ES", "Diffusion Evolution, latent")


def problems_of(task: str) -> list[de.Problem]:
    """The problems of a task, one by one."""
    what = TASKS[task]
    made = what.problems()
    if not what.count:
        return [made]
    return [de.replace(made, number=jnp.asarray(number)) for number in range(what.count)]

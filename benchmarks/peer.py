"""The peer: Diffusion Evolution and rollouts of evosax, with gymnax, for the same job.

evosax and gymnax compute when they are imported, and the devices of the host must be made
before that: they are imported in the functions.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import diffevo_jax as de

#: Bounds of observations beyond this count as +-1, as in the paper.
UNBOUNDED = 1e3


def argmax(logits: jax.Array, key: jax.Array | None = None) -> jax.Array:
    return jnp.argmax(logits)


def game(env_name: str, *, hidden: int = 8, max_steps: int | None = None) -> Any:
    """The problem of evosax: a hidden layer, the same limit, observations as they are.

    Its own normalisation by running statistics is off, which is faster.
    """
    import gymnax
    from evosax.problems.networks import MLP
    from evosax.problems.rl.gymnax import GymnaxProblem

    env, params = gymnax.make(env_name)
    policy = MLP(
        layer_sizes=(hidden, env.action_space(params).n),
        activation=jax.nn.relu,
        output_fn=argmax,
    )
    limit = int(params.max_steps_in_episode) if max_steps is None else max_steps
    return GymnaxProblem(env_name, policy, episode_length=limit, use_normalize_obs=False)


def example(problem: Any) -> Any:
    """Zero weights of its policy."""
    weights = jax.eval_shape(problem.sample, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), weights)


def evolution(
    env_name: str = "CartPole-v1", *, size: int = 256, num_generations: int = 10
) -> Callable[[jax.Array], Any]:
    """One evolution, a function of its key: mean and best fitness of every generation.

    Its own algorithm, latent in two dimensions, in one ``lax.scan``.
    """
    problem = game(env_name)
    algorithm, params = strategy(size, example(problem), num_generations, latent=2)

    def run(key: jax.Array) -> Any:
        keys = jax.random.split(key, num_generations)
        draw = lambda leaf: jax.random.normal(key, (size, *leaf.shape))
        population = jax.tree.map(draw, example(problem))
        problem_state = problem.init(key)
        fitness, problem_state, _ = problem.eval(keys[0], population, problem_state)
        state = algorithm.init(key, population, -fitness, params)

        def generation(carry: Any, key: jax.Array) -> tuple[Any, Any]:
            state, problem_state = carry
            population, state = algorithm.ask(key, state, params)
            fitness, problem_state, _ = problem.eval(key, population, problem_state)
            state, _ = algorithm.tell(key, population, -fitness, state, params)
            return (state, problem_state), (fitness.mean(), fitness.max())

        first = fitness.mean(), fitness.max()
        rest = jax.lax.scan(generation, (state, problem_state), keys[1:])[1]
        return tuple(jnp.append(*pair) for pair in zip(first, rest, strict=True))

    return run


def strategy(
    size: int, solution: Any, num_generations: int, *, latent: int | None = None
) -> tuple[Any, Any]:
    """The algorithm of evosax and its parameters; plain if ``latent`` is None."""
    from evosax.algorithms.population_based.diffusion_evolution import (
        DiffusionEvolution,
        cosine_schedule,
    )

    algorithm = DiffusionEvolution(
        size,
        solution,
        num_generations=num_generations,
        alpha_schedule=cosine_schedule,
        num_latent_dims=latent,
    )
    return algorithm, algorithm.default_params


def weights(control: de.problems.Control, ours: Any) -> Any:
    """Our policies as evosax's: the same, with our normalisation in the first layer."""
    factor, offset = normalisation(control.env_name)
    first, *rest = ours
    bias = first["bias"] + offset @ first["weight"]
    layers = [{"bias": bias, "weight": factor[:, None] * first["weight"]}, *rest]
    named = {
        f"Dense_{i}": {"bias": layer["bias"], "kernel": layer["weight"]}
        for i, layer in enumerate(layers)
    }
    return {"params": named}


def normalisation(env_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Factor and offset of ``sqrt(3) (2 (o - low) / (high - low) - 1)``."""
    import gymnax

    env, params = gymnax.make(env_name)
    space = env.observation_space(params)
    low, high = (np.broadcast_to(b, space.shape) for b in (space.low, space.high))
    low, high = np.where(low < -UNBOUNDED, -1.0, low), np.where(high > UNBOUNDED, 1.0, high)
    factor = 2 * np.sqrt(3) / (high - low)
    return factor.astype(np.float32), (-factor * (low + high) / 2).astype(np.float32)

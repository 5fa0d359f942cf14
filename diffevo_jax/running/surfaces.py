"""The surface of a problem of two numbers: fitness on a grid of its solutions."""

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.base import Problem


def heights(problem: Problem, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fitness at the points of a grid, all evaluated at once with one key.

    Args:
        problem: its solutions have two numbers in all, in one array or in two.
        x: (W,) values of the first number, in the units of the solutions.
        y: (H,) values of the second number.

    Returns:
        (H, W), rows along the second number.

    Example:
        >>> import numpy as np, diffevo_jax as de
        >>> from diffevo_jax.running import surfaces
        >>> problem = de.problems.Function(lambda x: x[0] + 10 * x[1], dim=2)
        >>> surfaces.heights(problem, np.arange(3), np.arange(2)).tolist()
        [[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]]
    """
    example = jax.eval_shape(problem.space.decode, jnp.zeros((1, problem.space.dim)))
    leaves, structure = jax.tree.flatten(example)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    columns = [
        jnp.asarray(part, leaf.dtype).reshape(len(grid), *leaf.shape[1:])
        for part, leaf in zip(np.split(grid, ends, axis=1), leaves, strict=True)
    ]
    key = jax.random.key(0)
    solutions = jax.tree.unflatten(structure, columns)
    evaluation, _ = problem.evaluate(key, problem.init(key), solutions)
    return np.asarray(evaluation.fitness).reshape(len(y), len(x))

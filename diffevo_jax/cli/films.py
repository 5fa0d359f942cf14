"""``--film``: the best of an environment as it plays, or a population on its landscape."""

from pathlib import Path

import jax

from diffevo_jax.base import Problem, PyTree
from diffevo_jax.cli.outputs import Output
from diffevo_jax.problems import Control
from diffevo_jax.pytree.files import check_writable
from diffevo_jax.pytree.records import extra
from diffevo_jax.running.arguments import evaluates_on_host
from diffevo_jax.running.evolution import Result, recommended

#: What a film of a population needs of every generation.
_RECORD = ("population", "fitness")


def check(path: Path, problem: Problem) -> None:
    """Find what is wrong with a film before anything runs.

    Raises:
        ImportError: there is no matplotlib.
        ValueError: the file cannot be written, or nobody can draw the problem.
    """
    try:
        from diffevo_jax.plots.writing import check_path

        check_path(path)
    except ImportError as error:
        raise ImportError(f"--film: {extra('viz')}") from error
    except ValueError as error:
        raise ValueError(f"--film: {error}".replace("path: ", "")) from error
    check_writable("--film", path)
    if isinstance(problem, Control):
        return
    shapes, want = problem.space.layout.shapes, "want an environment, or a landscape of two"
    if evaluates_on_host(problem):  # thousands of points are evaluated for the picture
        raise ValueError(f"--film: got a problem that the host evaluates, {want} numbers")
    if shapes != ((2,),):
        raise ValueError(f"--film: got solutions of shapes {shapes}, {want} numbers")


def record(path: Path | None, problem: Problem) -> tuple[str, ...]:
    """What a run keeps of every generation for its film."""
    return () if path is None or isinstance(problem, Control) else _RECORD


def output(path: Path, problem: Problem, result: Result, keys: jax.Array) -> Output:
    """The film of the best of many runs."""

    def write(path: Path) -> None:
        from diffevo_jax import plots

        best = recommended(result)
        one = jax.tree.map(lambda leaf: leaf[best], result)
        if not isinstance(problem, Control):
            plots.film(problem, one, path)
            return
        key = jax.random.fold_in(keys[best], 0)
        state: PyTree = one.problem_state
        played = problem.play(key, one.best_solution, state, record=True)
        plots.episode_film({"best": played}, path=path)

    return Output("--film", path, write)

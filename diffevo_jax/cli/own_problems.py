"""Problems and environments of the user's own: ``module:attribute`` instead of a name."""

import importlib
import os
import sys

from diffevo_jax import pytree
from diffevo_jax.base import Problem, PyTree
from diffevo_jax.cli.errors import UsageError
from diffevo_jax.problems.control.spaces import Environment
from diffevo_jax.running import published
from diffevo_jax.running.published import Experiment
from diffevo_jax.strategies import DiffusionEvolution

#: How a problem is evolved without flags; an environment, as the published ones.
GENERATIONS, POPULATION = 25, 64


def found_at(given: str) -> PyTree:
    """What stands at ``module:attribute``; of a class one is made.

    Modules of the current folder come first.

    Raises:
        UsageError: the module cannot be imported, or has no such attribute.
    """
    module, _, path = given.partition(":")
    if not module or not path:
        raise UsageError(f"got {given!r}, want module:attribute")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: PyTree = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found() if isinstance(found, type) else found
    except Exception as error:  # the module is the user's, and may raise anything
        first = str(error).partition("\n")[0]
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and f"{module}.".startswith(f"{absent}."):
            file = f"{module.replace('.', '/')}.py"
            first += f"; want {file} in the current folder, or a module that is installed"
        raise UsageError(f"{given}: {type(error).__name__}: {first}") from error


def experiment_with(given: str, found: PyTree) -> Experiment:
    """The default strategy on a problem; the published one in an environment.

    Raises:
        UsageError: it is neither.
    """
    if pytree.is_component(found) and pytree.offers(found, Problem):
        return Experiment(DiffusionEvolution(GENERATIONS), found, POPULATION)
    if isinstance(found, Environment):
        return published.control(env=found)
    missing = [
        name
        for name in ("reset_env", "step_env", "observation_space", "action_space")
        if not hasattr(found, name)
    ]
    raise UsageError(
        f"{given}: got {pytree.short(found)}, want a problem such as problems.External or "
        "problems.Function, or of a class made with pytree.dataclass; or an environment "
        f"(it has no {', '.join(missing)})"
    )

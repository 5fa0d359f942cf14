"""Problems of the user's own: ``module:attribute`` in the place of a name."""

import importlib
import os
import sys

from diffevo_jax import pytree
from diffevo_jax.base import Problem, PyTree
from diffevo_jax.cli.errors import UsageError
from diffevo_jax.running.published import Experiment
from diffevo_jax.strategies import DiffusionEvolution

#: How it is evolved without flags.
GENERATIONS, POPULATION = 25, 64


def found_at(given: str) -> PyTree:
    """What stands at ``module:attribute``; modules of the current folder come first.

    Raises:
        UsageError: the module cannot be imported, or has no such attribute.
    """
    module, _, path = given.partition(":")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: PyTree = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except Exception as error:  # the module is the user's, and may raise anything
        raise UsageError(f"{given}: {type(error).__name__}: {error}") from error
    return found


def experiment_with(given: str, found: PyTree) -> Experiment:
    """The default strategy on a problem.

    Raises:
        UsageError: it is no problem with flags.
    """
    if not pytree.is_component(found) or not isinstance(found, Problem):
        raise UsageError(
            f"{given}: got {pytree.short(found)}, want a problem such as problems.External "
            "or problems.Function, or of a class made with pytree.dataclass"
        )
    return Experiment(DiffusionEvolution(GENERATIONS), found, POPULATION)

"""What can be evolved: names of landscapes and environments, and what was published."""

import difflib
import importlib
import os
import sys
from typing import cast

from diffevo_jax.cli.errors import UsageError
from diffevo_jax.problems import landscapes, names
from diffevo_jax.problems.control import brax
from diffevo_jax.problems.control.environments import full_name
from diffevo_jax.problems.control.spaces import Environment
from diffevo_jax.pytree import annotations
from diffevo_jax.running import published


def known_names() -> tuple[str, ...]:
    """All names."""
    return (*landscapes.NAMES, *_environments())


def experiment_of(given: str) -> tuple[str, published.Experiment]:
    """The full name and its published setting; dashes, case and version do not matter.

    Args:
        given: a name, or ``module:attribute``, an environment of the user's own.

    Raises:
        UsageError: there is no such name, or module, or it has no such environment.
    """
    if ":" in given and not given.startswith(brax.PREFIX):
        return given, published.control(env=environment_at(given))
    (name,) = names.matches(given, landscapes.NAMES) or (full_name(given),)
    if name in landscapes.NAMES:
        return name, published.landscape(name)
    if name in _environments():
        return name, published.control(name)
    known = {names.letters(name): name for name in known_names()}
    close = [known[near] for near in difflib.get_close_matches(names.letters(given), known)]
    hint = f"closest: {', '.join(close)}; " if close else ""
    raise UsageError(f"unknown name {given!r}; {hint}see 'diffevo list'")


def environment_at(given: str) -> Environment:
    """The environment at ``module:attribute``; of a class one is made.

    Modules of the current folder can be imported, as with ``python -m``.

    Raises:
        UsageError: the module cannot be imported, has no such attribute, or that is no
            environment.
    """
    module, _, path = given.partition(":")
    if not module or not path:
        raise UsageError(f"got {given!r}, want module:Class")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        made = found() if isinstance(found, type) else found
    except Exception as error:  # the module is the user's, and may raise anything
        first = str(error).partition("\n")[0]
        raise UsageError(f"{given}: {type(error).__name__}: {first}") from error
    annotations.check(given, made, Environment)  # its errors are those of a usage
    return cast("Environment", made)


def _environments() -> tuple[str, ...]:
    import gymnax  # here, not above: it pulls in pandas and seaborn, which takes seconds

    return tuple(gymnax.registered_envs)

"""What can be evolved: names of landscapes and environments, and what was published."""

import inspect

from diffevo_jax.cli import own_problems
from diffevo_jax.cli.errors import UsageError, hint_at
from diffevo_jax.problems import landscapes, names
from diffevo_jax.problems.control import brax
from diffevo_jax.problems.control.environments import full_name
from diffevo_jax.running import published


def known_names() -> tuple[str, ...]:
    """All names."""
    return (*landscapes.NAMES, *_environments())


def experiment_of(given: str) -> tuple[str, published.Experiment]:
    """The full name and its published setting; dashes, case and version do not matter.

    Args:
        given: a name, or ``module:attribute``: a problem or environment of the user's own.

    Raises:
        UsageError: there is no such name, or module, or it has no such thing.
    """
    if ":" in given and not given.startswith(brax.PREFIX):
        return given, own_problems.experiment_with(given, own_problems.found_at(given))
    (name,) = names.matches(given, landscapes.NAMES) or (full_name(given),)
    if name in landscapes.NAMES:
        return name, published.landscape(name)
    if name in _environments():
        return name, published.control(name)
    known = {names.letters(name): name for name in known_names()}
    hint = hint_at(names.letters(given), known, known)
    raise UsageError(f"unknown name {given!r}{hint}; see 'diffevo list'")


def about(name: str) -> str:
    """What the docstring of an environment says in its first line."""
    import gymnax

    env, _ = gymnax.make(name)
    return (inspect.getdoc(type(env)) or "").partition("\n")[0]


def _environments() -> tuple[str, ...]:
    import gymnax  # here, not above: it pulls in pandas and seaborn, which takes seconds

    return tuple(gymnax.registered_envs)

"""What can be evolved: names of landscapes and environments, and what was published."""

import difflib
import re

from diffevo_jax.cli import own_problems
from diffevo_jax.cli.errors import UsageError
from diffevo_jax.problems import landscapes
from diffevo_jax.running import published


def known_names() -> tuple[str, ...]:
    """All names."""
    return (*landscapes.NAMES, *_environments())


def experiment_of(given: str) -> tuple[str, published.Experiment]:
    """The full name and its published setting; dashes, case and version do not matter.

    Args:
        given: a name, or ``module:attribute``, a problem of the user's own.

    Raises:
        UsageError: there is no such name, or no such problem.
    """
    if ":" in given:
        return given, own_problems.experiment_with(given, own_problems.found_at(given))
    letters = lambda name: re.sub(r"-v\d+$|[-_ ]", "", name.lower())
    known = {letters(name): name for name in landscapes.NAMES}
    if letters(given) not in known:
        known |= {letters(name): name for name in _environments()}
    name = known.get(letters(given))
    if name is not None:
        make = published.landscape if name in landscapes.NAMES else published.control
        return name, make(name)
    close = [known[near] for near in difflib.get_close_matches(letters(given), known)]
    hint = f"closest: {', '.join(close)}; " if close else ""
    raise UsageError(f"unknown name {given!r}; {hint}see 'diffevo list'")


def _environments() -> tuple[str, ...]:
    import gymnax  # here, not above: it pulls in pandas and seaborn, which takes seconds

    return tuple(gymnax.registered_envs)

"""Names as people write them: capitals, dashes and the version may be left out."""

import re
from collections.abc import Iterable

_VERSION = re.compile(r"-v\d+$")


def matches(given: str, known: Iterable[str]) -> list[str]:
    """The known names that a name means: itself, else all that differ in what is left out.

    A version that is given must be theirs.

    Args:
        given: a name, whole or without capitals, dashes, spaces and version.
        known: all names.

    Example:
        >>> from diffevo_jax.problems.names import matches
        >>> matches("mountain car", ["MountainCar-v0", "MountainCarContinuous-v0"])
        ['MountainCar-v0']
    """
    known = list(known)
    if given in known:
        return [given]
    version = _VERSION.search(given.lower())
    meant = [name for name in known if letters(name) == letters(given)]
    if version is None:
        return meant
    return [name for name in meant if name.lower().endswith(version.group())]


def letters(name: str) -> str:
    """What of a name counts, without its version.

    Example:
        >>> from diffevo_jax.problems.names import letters
        >>> letters("CartPole-v1")
        'cartpole'
    """
    return re.sub(r"[-_ ]", "", _VERSION.sub("", name.lower()))

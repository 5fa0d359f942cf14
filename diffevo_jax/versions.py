"""Version numbers of packages, also where this one runs from its source tree."""

from importlib.metadata import PackageNotFoundError, version

#: A version of what is not installed: below every other one.
UNKNOWN = "0+unknown"


def number(package: str) -> str:
    """The version of an installed package, or ``UNKNOWN``.

    Example:
        >>> from diffevo_jax import versions
        >>> versions.number("a-package-that-nobody-has")
        '0+unknown'
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return UNKNOWN

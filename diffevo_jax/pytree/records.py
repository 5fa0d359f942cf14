"""What a record of a run holds: components and arrays as strict JSON, and versions."""

import dataclasses
import math
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np

from diffevo_jax.pytree.objects import described


def plain(value: object) -> Any:
    """Turn components and arrays into what strict JSON has; NaN and infinity into null.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree.records import plain
        >>> plain({"kernel": de.kernels.Gaussian(), "best": float("-inf")})
        {'kernel': {'class': 'Gaussian', 'kappa': 1.0, 'floor': None}, 'best': None}
    """
    if dataclasses.is_dataclass(value):
        return {"class": type(value).__name__} | plain(vars(value))
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return plain(np.asarray(value).tolist())
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | str | None) else described(value)


#: A version of what is not installed: below every other one.
UNKNOWN = "0+unknown"


def version_of(package: str) -> str:
    """The version of an installed package, or ``UNKNOWN``.

    Example:
        >>> from diffevo_jax.pytree.records import version_of
        >>> version_of("a-package-that-nobody-has")
        '0+unknown'
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return UNKNOWN


def versions() -> dict[str, str]:
    """The versions on which the numbers of a run depend, by package."""
    packages = ("diffevo-jax", "jax", "jaxlib", "gymnax", "numpy")
    return {package: version_of(package) for package in packages}


def extra(name: str) -> str:
    """How to install what an extra of the library brings; there is no package index.

    Example:
        >>> from diffevo_jax.pytree.records import extra
        >>> extra("viz")
        'install the extra viz: pip install ".[viz]" in a clone of diffevo_jax'
    """
    return f'install the extra {name}: pip install ".[{name}]" in a clone of diffevo_jax'

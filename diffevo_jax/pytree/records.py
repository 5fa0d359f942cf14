"""What a record of a run holds: components and arrays as strict JSON, and versions."""

import dataclasses
import json
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


def read_record(content: bytes, most: int | None = None) -> dict[str, Any]:
    """The names and values of a record in JSON; a file may hold anything.

    Args:
        content: of the file; it need not be longer than ``most`` and one byte.
        most: bytes of a record; None for any number.

    Raises:
        ValueError: it is longer, no JSON, or something else than names and values.

    Example:
        >>> from diffevo_jax.pytree.records import read_record
        >>> read_record(b'{"seeds": 8}')
        {'seeds': 8}
        >>> read_record(b"[8]")
        Traceback (most recent call last):
        ValueError: got a list, want names and values
    """
    if most is not None and len(content) > most:
        raise ValueError(f"got more than {most:,} bytes")
    try:
        found = json.loads(content)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, dict):
        raise ValueError(f"got a {type(found).__name__}, want names and values")
    return found


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

"""Components and arrays as what strict JSON has."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np


def plain(value: Any) -> Any:
    """Turn components and arrays into what strict JSON has; NaN and infinity into null.

    Example:
        >>> import diffevo_jax as de
        >>> from diffevo_jax.pytree.plain import plain
        >>> plain({"kernel": de.kernels.Gaussian(), "best": float("-inf")})
        {'kernel': {'class': 'Gaussian', 'kappa': 1.0}, 'best': None}
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
    return value if isinstance(value, int | str | None) else repr(value)

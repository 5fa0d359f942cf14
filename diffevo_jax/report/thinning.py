"""Some of many, evenly spaced, so that a page stays small."""

import numpy as np


def evenly(total: int, most: int) -> np.ndarray:
    """At most so many of the first ``total`` numbers, evenly, the ends among them.

    Example:
        >>> from diffevo_jax.report import thinning
        >>> thinning.evenly(10, 4), thinning.evenly(2, 4)
        (array([0, 3, 6, 9]), array([0, 1]))
    """
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int))

"""Points of many numbers in two: along which directions they differ most."""

import numpy as np

from diffevo_jax.report.thinning import evenly

#: Points that principal components are of at most, and their numbers.
_POINTS, _NUMBERS = 600, 50_000_000


def principal_components(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The centre (D,), the first two directions (D, 2) and their shares of the variance.

    Of many rows some are taken, evenly: 600, or what has fifty million numbers in all; what
    is not finite is left out. Of each direction the largest number is positive.

    Args:
        rows: (M, D) with D >= 2.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.report import projections
        >>> rows = np.array([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
        >>> _, directions, shares = projections.principal_components(rows)
        >>> directions[:, 0].round(6) + 0.0, shares.round(6)
        (array([0., 1., 0.]), array([1., 0.]))
    """
    most = int(np.clip(_NUMBERS // rows.shape[1], 8, _POINTS))
    rows = np.asarray(rows[evenly(len(rows), most)], float)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        rows = np.zeros((1, rows.shape[1]))
    scale = max(np.abs(rows).max(), 1.0)  # or squares of large numbers overflow
    centre = (rows / scale).mean(axis=0)
    rows, centre = rows / scale - centre, scale * centre
    values, vectors = np.linalg.eigh(rows @ rows.T)  # as many as rows, and not as numbers
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    directions = np.zeros((rows.shape[1], 2))
    for place in range(min(2, len(values))):
        if values[place] > 1e-12 * max(values[0], 1e-300):
            found = rows.T @ vectors[:, place] / np.sqrt(values[place])
            directions[:, place] = found * np.sign(found[np.abs(found).argmax()])
    shares = np.zeros(2)
    whole = values.sum()
    shares[: len(values)] = values[:2] / whole if whole > 0 else 0.0
    return centre, directions, shares

"""What all pictures share: a figure without pyplot, and colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours that the colour-blind can tell apart (Okabe and Ito, 2008).
ORANGE, BLUE, GREEN, INK = "#D55E00", "#0072B2", "#009E73", "#222222"


def blank(width: float, height: float) -> Figure:
    """A new figure, of so many inches."""
    from matplotlib.figure import Figure  # which pyplot does not know

    return Figure(figsize=(width, height), layout="constrained")


def evenly(generations: Sequence[int], count: int, total: int) -> list[int]:
    """The generations given, or so many evenly spaced."""
    return list(generations) or np.unique(np.linspace(1, total, count, dtype=int)).tolist()

"""What the generations of a run were like, and what is wrong with them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, cast

import numpy as np

from diffevo_jax.base import Info
from diffevo_jax.plots.canvas import BLUE, blank, open_frame
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running.diagnosis import diagnose
from diffevo_jax.running.evolution import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

#: What is drawn: fields of a history, what they are called, and the scale of their axis.
PANELS = (
    ("sigma", "noise level sigma", "log"),
    ("effective_sample_size", "effective sample size", "log"),
    ("self_weight", "self weight", "linear"),
    ("num_failed", "failed evaluations", "linear"),
)
#: Letters a line below the axes.
WIDTH = 140


@checked
def diagnostics(
    history: Info | Result, *, title: str = "", figure: FigureBase | None = None
) -> Figure:
    """Draw what a run was like, and say what is wrong with it.

    Four axes over generations: noise level, effective sample size, self weight and failed
    evaluations, each the median over runs, with their extremes as a band. Below stands what
    :func:`diffevo_jax.diagnose` says.

    Args:
        history: a result, or its history; leaves (generations,) or (runs, generations).
        title: above all.
        figure: an empty figure or subfigure to draw in.

    Raises:
        ValueError: the history has another shape.

    Example:
        >>> import jax, diffevo_jax as de
        >>> problem = de.problems.Landscape("himmelblau")
        >>> strategy = de.DiffusionEvolution(10)
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=32)
        >>> [ax.get_title() for ax in de.plots.diagnostics(result).axes][:2]
        ['noise level sigma', 'effective sample size']
    """
    said = diagnose(history)
    record = history.history if isinstance(history, Result) else history
    figure = figure or blank(9.6, 3.4)
    axes = figure.subplots(1, len(PANELS))
    for ax, (field, words, scale) in zip(axes, PANELS, strict=True):
        values = np.atleast_2d(np.asarray(vars(record)[field], float))
        generations = np.arange(1, values.shape[1] + 1)
        low, median, high = np.quantile(values, (0, 0.5, 1), axis=0)
        if len(values) > 1:
            ax.fill_between(generations, low, high, color=BLUE, alpha=0.2, lw=0)
        ax.plot(generations, median, color=BLUE, lw=2)
        positive = bool((low > 0).all())
        ax.set(xlabel="generation", yscale=scale if positive else "linear")
        ax.set_title(words, fontsize=10)
        ax.locator_params(axis="x", integer=True, nbins=5)
        open_frame(ax)
    axes[1].set_ylim(0.8, max(12.0, 1.3 * axes[1].get_ylim()[1]))
    axes[2].set_ylim(-0.03, 1.03)
    most = max(4.0, axes[3].get_ylim()[1])
    axes[3].set_ylim(-0.03 * most, most)
    axes[3].locator_params(axis="y", integer=True)
    lines = [line for sentence in said for line in textwrap.wrap(sentence, WIDTH)]
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=10)
    if title:
        figure.suptitle(title)
    return cast("Figure", figure.figure)

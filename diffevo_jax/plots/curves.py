"""Learning curves: one run and its spread, or algorithms beside each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from diffevo_jax.base import Info
from diffevo_jax.plots.canvas import BLUE, ORANGE, Numbers, blank, look, open_frame
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.running.evolution import Result
from diffevo_jax.sweeps.tables import half_width, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

#: What one algorithm came to: a result, its history, or numbers (runs, generations).
Curve = Result | Info | Numbers
#: Numbers for each of several curves: by name, or in their order.
PerCurve = Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike] | npt.ArrayLike
#: Most curves whose names may stand within the axes; of more, they stand beside them.
INSIDE = 4
#: What can be along the axis.
AXES = ("evaluations", "generation", "seconds")


class Band(NamedTuple):
    """A mean over runs and its interval: arrays (generations,), NaN where there is none."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def mean_band(values: npt.ArrayLike) -> Band:
    """Mean over runs with the 95 % interval of the mean, by Student's t.

    Where a run is not finite there is no mean: a mean over the runs that are left would
    be of the better ones.

    Args:
        values: (runs, generations). Of one run there is no interval.

    Example:
        >>> from diffevo_jax.plots import curves
        >>> band = curves.mean_band([[0.0, 1.0], [2.0, 1.0]])
        >>> band.mean.tolist(), band.high.round(2).tolist()
        ([1.0, 1.0], [13.71, 1.0])
    """
    values = np.asarray(values, float)
    known = np.where(np.isfinite(values).all(axis=0), values, np.nan)
    unit = unit_of(known)
    mean = unit * (known / unit).mean(axis=0)
    half = half_width(known) if len(known) > 1 else np.full_like(mean, np.nan)
    with np.errstate(over="ignore"):  # the ends may be larger than any number
        return Band(mean, mean - half, mean + half)


@checked
def learning_curve(
    results: Curve | Mapping[str, Curve] | Sequence[Curve],
    *,
    labels: Sequence[str] | None = None,
    x: str | None = None,
    value: str = "mean_fitness",
    evaluations: PerCurve | None = None,
    seconds: PerCurve | None = None,
    ax: Axes | None = None,
    title: str = "",
    ylabel: str = "",
    noisy: bool = False,
) -> Figure:
    """Draw fitness over generations: of one algorithm, or of several to compare them.

    Of one the line is the median over runs of the mean fitness, the bands are its quartiles
    and its extremes, and dashed is the median of the best fitness of each generation. Of
    several each line is the mean over runs of ``value``, and its band the 95 % interval of
    this mean, by Student's t. A mean has a gap where a run has no finite number. A run that
    was stopped early stays where it was.

    Args:
        results: of one algorithm or, by name or in a sequence, of several: a
            :class:`diffevo_jax.Result`, its ``history``, or an array of what is to be drawn
            ``(runs, generations)`` or ``(generations,)``, as of other libraries. They may
            have different numbers of runs and of generations.
        labels: names of the curves, if ``results`` has none.
        x: what is along the axis: ``"evaluations"``, the default of several,
            ``"generation"``, the default of one, or ``"seconds"``.
        value: which field of a history is drawn; ``"best_so_far"`` is the highest
            ``best_fitness`` up to a generation. Under noise the best is the luckiest.
        evaluations: of each curve, how many a generation has, or ``(generations,)`` how
            many there were by its end; a Result knows, and a final evaluation does not
            count. Of one curve itself; of several as ``results`` are, by name or in a
            sequence, or one number for all.
        seconds: likewise, how long all generations took, or ``(generations,)`` how much had
            passed at the end of each. No result knows.
        ax: where to draw.
        title: above the axes.
        ylabel: of the axis of values; empty is the name of what is drawn.
        noisy: of one: whether fitness depends on luck: then the best of a generation is the
            luckiest, and is left out.

    Raises:
        ValueError: a shape, a name or a number of labels is wrong, or what is to be along
            the axis is not known.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax import plots
        >>> ours, theirs = np.ones((8, 10)), np.zeros((8, 25))
        >>> figure = plots.learning_curve(
        ...     {"ours": ours, "theirs": theirs},
        ...     evaluations={"ours": 256, "theirs": 100},
        ... )
        >>> [float(line.get_xdata()[-1]) for line in figure.axes[0].lines]
        [2560.0, 2500.0]
    """
    if isinstance(results, Curve) and labels is None:
        curves = {"": results}
    else:
        curves = _named(results, labels)
    single = list(curves) == [""]
    x = x or ("generation" if single else "evaluations")
    if x not in AXES:
        raise ValueError(f"x: got {x!r}, want one of {', '.join(map(repr, AXES))}")
    given = _per_curve(x, curves, {"evaluations": evaluations, "seconds": seconds}.get(x))
    numbers = {
        name: _numbers(_called(name), curve, value) for name, curve in curves.items()
    }
    places = {
        name: _places(_called(name), curve, x, given[name], numbers[name].shape[1])
        for name, curve in curves.items()
    }
    is_given = ax is not None
    ax = ax or blank(6.0, 3.4).add_subplot()
    if single:
        history = curves[""].history if isinstance(curves[""], Result) else curves[""]
        both = value == "mean_fitness" and not noisy
        best = history.best_fitness if isinstance(history, Info) and both else None
        _draw_spread(ax, places[""], numbers[""], best, _words(curves, value))
    else:
        _draw_means(ax, places, numbers)
    if x == "generation":
        ax.locator_params(axis="x", integer=True)
    elif x == "evaluations":
        ax.xaxis.set_major_formatter("{x:,.0f}")
    plain = single and value == "mean_fitness"
    ax.set(xlabel=x, ylabel=ylabel or ("fitness" if plain else _words(curves, value)))
    ax.set_title(title)
    open_frame(ax)
    if not (single or is_given):  # beside axes of others there may be no room
        _clear_legend(ax)
    return cast("Figure", ax.figure)


def _called(name: str) -> str:
    return f"results[{name!r}]" if name else "results"


def _named(
    results: Curve | Mapping[str, Curve] | Sequence[Curve], labels: Sequence[str] | None
) -> dict[str, Curve]:
    """The curves of several algorithms, by name."""
    if isinstance(results, Mapping):
        if labels is not None:
            raise ValueError("labels: got some, want none, as results have names")
        curves = dict(results)
    else:
        several = [results] if isinstance(results, Curve) else list(results)
        names = (
            [f"{n + 1}" for n in range(len(several))] if labels is None else list(labels)
        )
        if len(names) != len(several):
            raise ValueError(f"labels: got {len(names)}, want {len(several)}, one a curve")
        if len(set(names)) < len(names):
            raise ValueError(f"labels: got {names}, want each once")
        curves = dict(zip(names, several, strict=True))
    if not curves:
        raise ValueError("results: got none, want at least one")
    return curves


def _per_curve(
    x: str, names: Iterable[str], given: PerCurve | None
) -> dict[str, npt.ArrayLike | None]:
    """What is said of each curve, by its name; None where nothing is."""
    names = list(names)
    if isinstance(given, Mapping):
        if unknown := set(given) - set(names):
            known = ", ".join(map(repr, names))
            raise ValueError(f"{x}: got the name {min(unknown)!r}, want some of {known}")
        return {name: given.get(name) for name in names}
    each = cast("npt.ArrayLike | None", given)
    if each is None or names == [""] or np.isscalar(each):
        return dict.fromkeys(names, each)
    several = list(cast("Sequence[npt.ArrayLike]", each))
    if len(several) != len(names):
        raise ValueError(f"{x}: got {len(several)}, want {len(names)}, one a curve")
    return dict(zip(names, several, strict=True))


def _numbers(called: str, curve: Curve, value: str) -> np.ndarray:
    """What is drawn of a curve, (runs, generations)."""
    history = curve.history if isinstance(curve, Result) else curve
    if isinstance(history, Info):
        fields = [field.name for field in dataclasses.fields(history)]
        if value not in (*fields, "best_so_far"):
            known = ", ".join(("best_so_far", *fields))
            raise ValueError(f"value: got {value!r}, want one of {known}")
        name = "best_fitness" if value == "best_so_far" else value
        numbers = np.asarray(vars(history)[name], float)
        if value == "best_so_far":
            numbers = np.maximum.accumulate(numbers, axis=-1)
    else:
        numbers = np.asarray(history, float)
    if numbers.ndim not in (1, 2) or not numbers.size:
        raise ValueError(f"{called}: got shape {numbers.shape}, want (runs, generations)")
    return np.atleast_2d(numbers)


def _places(
    called: str, curve: Curve, x: str, given: npt.ArrayLike | None, generations: int
) -> np.ndarray:
    """Where the generations of a curve stand along the axis, (generations,)."""
    count = np.arange(1, generations + 1)
    if x == "generation":
        return count
    if given is None and x == "evaluations" and isinstance(curve, Result):
        given = curve.fitness.shape[-1]
    if given is None:
        raise ValueError(f'{x}: got none for {called}, want {x}=..., or x="generation"')
    places = np.asarray(given, float)
    if places.ndim == 0:
        return count * places if x == "evaluations" else count * (places / generations)
    if places.shape != (generations,):
        want = f"a number, or ({generations},) as {called} has generations"
        raise ValueError(f"{x}: got shape {places.shape}, want {want}")
    return places


def _words(curves: Mapping[str, Curve], value: str) -> str:
    """What is drawn, in words."""
    if all(isinstance(curve, Numbers) for curve in curves.values()):
        return "fitness"
    return "best fitness so far" if value == "best_so_far" else value.replace("_", " ")


def _draw_spread(
    ax: Axes, places: np.ndarray, values: np.ndarray, best: npt.ArrayLike | None, words: str
) -> None:
    """One algorithm: the median over runs, quartiles and extremes."""
    runs = len(values)
    with np.errstate(invalid="ignore"):  # -inf where every evaluation failed: a gap
        low, first, median, third, high = np.quantile(values, np.linspace(0, 1, 5), axis=0)
    if runs > 1:
        ax.fill_between(places, low, high, color=BLUE, alpha=0.12, lw=0, label="all runs")
        ax.fill_between(
            places, first, third, color=BLUE, alpha=0.3, lw=0, label="quartiles"
        )
    label = words + f", median of {runs} runs" * (runs > 1)
    ax.plot(places, median, color=BLUE, lw=2, label=label)
    if best is not None:
        with np.errstate(invalid="ignore"):
            best = np.median(np.atleast_2d(best), axis=0)
        ax.plot(places, best, color=ORANGE, lw=1.5, ls="--", label="best fitness")
    ax.legend(frameon=False, fontsize="small")


def _draw_means(
    ax: Axes, places: Mapping[str, np.ndarray], numbers: Mapping[str, np.ndarray]
) -> None:
    """Several algorithms: the mean over runs of each, and the interval of this mean."""
    counts = {len(values) for values in numbers.values()}
    for place, (name, values) in enumerate(numbers.items()):
        color, dashes, marker = look(place)
        band, along = mean_band(values), places[name]
        runs = f"{len(values)} runs" if len(values) > 1 else "1 run"
        if len(values) > 1:
            ax.fill_between(along, band.low, band.high, color=color, alpha=0.18, lw=0)
        ax.plot(
            along,
            band.mean,
            color=color,
            ls=dashes,
            lw=1.8,
            marker=marker,
            ms=4,
            markevery=max(1, len(along) // 8),
            label=name if len(counts) == 1 else f"{name}, {runs}",
        )
    each = f" of {min(counts)} runs" if len(counts) == 1 else " over runs"
    heading = f"mean{each}, 95 % interval" if max(counts) > 1 else None
    legend = ax.legend(
        title=heading,
        edgecolor="none",
        framealpha=0.8,
        fontsize="small",
        title_fontsize="small",
    )
    if len(numbers) > INSIDE:
        _put_beside(legend)


def _clear_legend(ax: Axes) -> None:
    """Put the names beside the axes if a line or a band is behind them."""
    figure = cast("Figure", ax.figure)
    figure.draw_without_rendering()  # where all of it stands is known only then
    legend = cast("Legend", ax.get_legend())
    box = legend.get_window_extent()
    drawn = [(line.get_path(), line.get_transform()) for line in ax.lines]
    for band in ax.collections:
        drawn += [(path, band.get_transform()) for path in band.get_paths()]
    if any(place.transform_path(path).intersects_bbox(box) for path, place in drawn):
        _put_beside(legend)


def _put_beside(legend: Legend) -> None:
    legend.set_loc("center left")
    legend.set_bbox_to_anchor((1.0, 0.5))

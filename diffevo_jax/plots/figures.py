"""Pictures: learning curves, landscapes, populations, trajectories, films, episodes.

Each function draws on axes of yours, or on a new figure, and returns the figure (a film the
animation). No pyplot, no settings, no window. Populations are given in unit scale, as
results hold them, and drawn in the units of the solutions; generations count from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from diffevo_jax.base import Info, Problem
from diffevo_jax.noise import canonical_scale
from diffevo_jax.problems.control import Trajectory
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.files import written_whole
from diffevo_jax.running.distinct import Solutions
from diffevo_jax.running.evolution import Result

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that the colour-blind can tell apart (Okabe and Ito, 2008).
ORANGE, BLUE, GREEN, INK = "#D55E00", "#0072B2", "#009E73", "#222222"


@checked
def learning_curve(
    history: Info, *, ax: Axes | None = None, title: str = "", noisy: bool = False
) -> Figure:
    """Draw fitness over generations: the typical run, and how far the runs spread.

    The line is the median over runs of the mean fitness, the bands its quartiles and its
    extremes; dashed is the median of the best fitness of each generation.

    Args:
        history: of a result; leaves are (generations,) or (runs, generations).
        ax: where to draw.
        title: above the axes.
        noisy: whether fitness depends on luck: then the best of a generation is the
            luckiest, and is left out.
    """
    mean, best = map(np.atleast_2d, (history.mean_fitness, history.best_fitness))
    if mean.ndim != 2:
        raise ValueError(f"history: got shape {mean.shape}, want (runs, generations)")
    ax = ax or _figure(6.0, 3.4).add_subplot()
    x, runs = np.arange(1, mean.shape[1] + 1), len(mean)
    with np.errstate(invalid="ignore"):  # -inf where every evaluation failed: a gap
        low, first, median, third, high = np.quantile(mean, np.linspace(0, 1, 5), axis=0)
        best = np.median(best, axis=0)
    if runs > 1:
        ax.fill_between(x, low, high, color=BLUE, alpha=0.12, lw=0, label="all runs")
        ax.fill_between(x, first, third, color=BLUE, alpha=0.3, lw=0, label="quartiles")
    label = "mean fitness" + f", median of {runs} runs" * (runs > 1)
    ax.plot(x, median, color=BLUE, lw=2, label=label)
    if not noisy:
        ax.plot(x, best, color=ORANGE, lw=1.5, ls="--", label="best fitness")
    ax.locator_params(axis="x", integer=True)
    ax.set(xlabel="generation", ylabel="fitness", title=title)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small")
    return cast("Figure", ax.figure)


@checked
def landscape(
    problem: Problem,
    extent: Sequence[float] | None = None,
    *,
    ax: Axes | None = None,
    levels: Sequence[float] | None = None,
) -> Figure:
    """Draw the fitness of a two-dimensional problem: the darker, the fitter.

    Args:
        problem: its solutions are vectors (2,); anything else raises ValueError.
        extent: left, right, bottom, top; None is the box, or two deviations each way.
        ax: where to draw.
        levels: fitness values between the greys; None takes twelve even steps.
    """
    space, key = problem.space, jax.random.key(0)
    if (shapes := space.layout.shapes) != ((2,),):
        raise ValueError(f"problem: got solutions of shapes {shapes}, want ((2,),)")
    ax = ax or _figure(4.5, 4.5).add_subplot()
    whole = _decode(problem, [[-2.0, -2.0], [2.0, 2.0]])
    if space.bounded:
        edges = jax.tree.leaves((space.lower, space.upper))
        whole = np.stack([np.broadcast_to(edge, 2) for edge in edges])
    if extent is not None and len(extent) != 4:
        raise ValueError(f"extent: got {extent}, want left, right, bottom and top")
    left, right, bottom, top = whole.T.ravel() if extent is None else extent
    x, y = np.linspace(left, right, 200), np.linspace(bottom, top, 200)
    points = jnp.asarray(np.stack(np.meshgrid(x, y), axis=-1), space.layout.dtypes[0])
    solutions = jax.tree.unflatten(space.layout.treedef, [points.reshape(-1, 2)])
    evaluation, _ = problem.evaluate(key, problem.init(key), solutions)
    height = np.ma.masked_invalid(np.reshape(evaluation.fitness, (len(y), len(x))))
    if levels is None:
        levels = np.linspace(height.min(), float(height.max()) + 1e-9, 13).tolist()
    greys = [str(grey) for grey in np.linspace(1.0, 0.62, len(levels) - 1)]
    ax.contourf(x, y, height, levels=levels, colors=greys)
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    return cast("Figure", ax.figure)


@checked
def population(
    problem: Problem,
    population: npt.ArrayLike,
    fitness: npt.ArrayLike | None = None,
    *,
    ax: Axes | None = None,
    color: npt.ArrayLike = BLUE,
    size: float = 9.0,
) -> Figure:
    """Draw a population, coloured by fitness.

    Args:
        problem: see :func:`landscape`.
        population: (N, 2) in unit scale.
        fitness: (N,), from dark (low) to bright (high); None takes ``color``.
        ax: where to add the points; None draws the landscape first.
        color: a colour, or N of them.
        size: area of a point, in square points.
    """
    ax = ax or landscape(problem).axes[0]
    x, y = _decode(problem, population).T
    colors: dict[str, Any] = (
        {"c": color} if fitness is None else {"c": fitness, "cmap": "plasma"}
    )
    ax.scatter(x, y, size, lw=0, alpha=0.85, zorder=2, **colors)
    return cast("Figure", ax.figure)


@checked
def trajectories(
    problem: Problem,
    result: Result,
    individuals: Sequence[int] = (0,),
    *,
    generations: Sequence[int] = (),
    ax: Axes | None = None,
    colors: Sequence[str] = (ORANGE, BLUE, GREEN, INK),
) -> Figure:
    """Draw the paths of individuals, where they are drawn to, and whom they listen to.

    An arrow leads from an individual to its clean estimate. A disc is its neighbourhood,
    one deviation ``sigma = sqrt(1 - alpha_bar) / sqrt(alpha_bar)`` of the exact kernel
    around ``y = x / sqrt(alpha_bar)``, where the kernel compares it with the others.

    Args:
        problem: see :func:`landscape`.
        result: one run, with ``record=("population", "clean_estimate")``.
        individuals: whom to follow.
        generations: where to draw arrows and discs; none given takes five, evenly spaced.
        ax: where to draw; None draws the landscape first.
        colors: of the individuals in turn.
    """
    from matplotlib.patches import Ellipse

    paths, clean = (_path(problem, result, n) for n in ("population", "clean_estimate"))
    ax = ax or landscape(problem).axes[0]
    zero, one = _decode(problem, [[0.0, 0.0], [1.0, 1.0]])
    rounds = np.subtract(_evenly(generations, 5, len(paths)), 1)
    arrow = {"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0}
    for n, i in enumerate(individuals):
        color = colors[n % len(colors)]
        ax.plot(*paths[: rounds[-1] + 1, i].T, color=color, lw=1.1, alpha=0.8, zorder=3)
        for g in rounds:
            x, sigma = paths[g, i], float(result.history.sigma[g])
            centre = zero + (x - zero) * float(canonical_scale(sigma))
            size = 2 * sigma * (one - zero)
            ax.add_patch(Ellipse(centre, *size, fc=(color, 0.12), ec=(color, 0.6)))
            if np.linalg.norm(clean[g, i] - x) > 0.02 * np.ptp(ax.get_xlim()):
                ax.annotate("", clean[g, i], x, arrowprops=arrow)
            ax.plot(*x, "o", color=color, mec="white", ms=6, zorder=6)
    return cast("Figure", ax.figure)


@checked
def film(
    problem: Problem,
    result: Result,
    *,
    generations: Sequence[int] = (),
    ax: Axes | None = None,
) -> FuncAnimation:
    """Film a population: ``film(...).save("film.gif", writer="pillow", dpi=70)``.

    Args:
        problem: see :func:`landscape`.
        result: one run, with ``record=("population", "fitness")``.
        generations: one a frame; none given takes 25, evenly spaced.
        ax: where to draw; None draws the landscape first.
    """
    from matplotlib.animation import FuncAnimation

    paths = _path(problem, result, "population")
    fitness = np.ma.masked_invalid(result.recorded["fitness"])
    ax = ax or landscape(problem).axes[0]
    figure = population(problem, result.recorded["population"][0], fitness[0], ax=ax)
    points = ax.collections[-1]
    points.set(clim=(fitness.min(), fitness.max()), alpha=None, antialiased=False)

    def draw(generation: int) -> list[Any]:
        points.set_offsets(paths[generation - 1])
        points.set_array(fitness[generation - 1])
        return [points, ax.set_title(f"generation {generation} of {len(paths)}")]

    return FuncAnimation(figure, draw, _evenly(generations, 25, len(paths)), interval=150)


@checked
def parallel_coordinates(found: Solutions, *, ax: Axes | None = None) -> Figure:
    """Draw solutions as lines, one a solution, over its numbers: where they differ.

    Every number has its own axis, from the least to the largest value in the list, which
    are written at its ends, categories in alphabetical order; the fitter, the brighter,
    and the fittest is drawn last.

    Args:
        found: of :func:`diffevo_jax.solutions`, of at least one.
        ax: where to draw.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if not len(found):
        raise ValueError("found: got no solutions, want at least one")
    columns = {name: _on_axis(column) for name, column in found.named.items()}
    values = np.stack([places for places, _ in columns.values()], axis=1)
    low, high = values.min(axis=0), values.max(axis=0)
    heights = np.where(
        high > low, (values - low) / np.where(high > low, high - low, 1), 0.5
    )
    ax = ax or _figure(max(4.0, 0.9 * len(columns) + 1.0), 3.4).add_subplot()
    x = np.arange(len(columns))
    ax.vlines(x, 0, 1, color="0.8", lw=1, zorder=0)
    shades = ScalarMappable(Normalize(found.fitness.min(), found.fitness.max()), "plasma")
    for row in range(len(found) - 1, -1, -1):
        color = shades.to_rgba(found.fitness[row])
        ax.plot(x, heights[row], "o-", color=color, lw=1.5, ms=3, alpha=0.85)
    for place, (_, names) in enumerate(columns.values()):
        for value, height, align in ((low, -0.04, "top"), (high, 1.04, "bottom")):
            end = value[place]
            text = f"{end:.3g}" if names is None else names[int(end)]
            ax.text(float(place), height, text, ha="center", va=align, fontsize=8)
    ax.set_xticks(x, list(columns), rotation=45 * (len(columns) > 8))
    ax.set(yticks=[], ylim=(-0.15, 1.15), xlim=(-0.5, len(x) - 0.5))
    ax.spines[["top", "right", "left", "bottom"]].set_visible(False)
    ax.figure.colorbar(shades, ax=ax, label="fitness")
    return cast("Figure", ax.figure)


def _on_axis(column: np.ndarray) -> tuple[np.ndarray, list[str] | None]:
    """Values (K,) on an axis; of categories their places, and the names of these."""
    if np.issubdtype(column.dtype, np.number):
        return np.asarray(column, float), None
    names, places = np.unique(column.astype(str), return_inverse=True)
    return places.astype(float), names.tolist()


@checked
def episode(states: Mapping[str, Any], *, num_frames: int = 6) -> Figure:
    """Draw episodes of CartPole, one a row, as strips of frames from start to end.

    Args:
        states: by title, (steps, 4): position, velocity, angle, angular velocity.
        num_frames: frames a row.

    Example:
        >>> from diffevo_jax.plots import figures
        >>> figure = figures.episode({"a pole at rest": [[0, 0, 0, 0]] * 500}, num_frames=3)
        >>> [ax.get_xlabel() for ax in figure.axes]
        ['step 0', 'step 250', 'step 499']
    """
    figure = _figure(1.5 * num_frames, 1.05 * len(states))
    rows = figure.subfigures(len(states), squeeze=False).flat
    for part, (title, path) in zip(rows, states.items(), strict=True):
        part.suptitle(title, x=0.004, ha="left", fontsize=10)
        steps = np.linspace(0, len(path) - 1, num_frames).round().astype(int)
        frames = part.subplots(1, num_frames, squeeze=False)[0]
        for ax, step in zip(frames, steps, strict=True):
            x, _, angle, _ = np.asarray(path[step])
            ax.axhline(0, color="0.7", lw=1, zorder=0)
            ax.fill_between([x - 0.4, x + 0.4], 0.0, 0.3, color=INK, lw=0)
            ax.plot([x, x + np.sin(angle)], [0.3, 0.3 + np.cos(angle)], color=ORANGE, lw=4)
            ax.set(xlim=(-2.5, 2.5), ylim=(-0.2, 1.5), aspect="equal", xticks=[], yticks=[])
            ax.set_xlabel(f"step {step}", fontsize=8)
    return figure


@checked
def episode_film(
    trajectory: Trajectory,
    draw: Callable[[Axes, Trajectory, int], object],
    path: str | Path | None = None,
    *,
    steps: Sequence[int] = (),
    fps: int = 15,
    dpi: int = 80,
    ax: Axes | None = None,
) -> FuncAnimation:
    """Film an episode in any environment, as you draw it.

    Args:
        trajectory: one episode: ``problem.play(key, policy_params, record=True)``.
        draw: ``draw(ax, trajectory, step)`` draws a frame on axes that are empty; the
            arrays of the trajectory are NumPy's, ``step`` counts from 0.
        path: of a GIF, which is written in whole or not at all; None writes nothing, as
            ``film.save("film.gif", writer="pillow")`` can do later.
        steps: one a frame; none given takes every step of the episode.
        fps: frames a second.
        dpi: pixels an inch; the film is 4 inches wide and high, unless ``ax`` is given.
        ax: where to draw.

    Example:
        >>> import jax, tempfile, diffevo_jax as de
        >>> problem = de.problems.Control("cartpole", max_steps=3)
        >>> weights = problem.space.decode(problem.space.sample(jax.random.key(0), 1))
        >>> weights = jax.tree.map(lambda leaf: leaf[0], weights)
        >>> played = problem.play(jax.random.key(1), weights, record=True)
        >>> draw = lambda ax, played, step: ax.plot(*played.observations[step, :2], "o")
        >>> film = de.plots.episode_film(played, draw, tempfile.mkdtemp() + "/film.gif")
    """
    from matplotlib.animation import FuncAnimation, PillowWriter

    if np.shape(trajectory.valid)[:-1] != ():
        raise ValueError(
            f"trajectory: got shape {np.shape(trajectory.valid)}, want one episode"
        )
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    played: Trajectory = jax.tree.map(
        lambda leaf: leaf if is_key(leaf) else np.asarray(leaf), trajectory
    )
    length = int(played.length)
    if wrong := [step for step in steps if not 0 <= step < length]:
        raise ValueError(f"steps: got {wrong[0]}, want one of the episode's {length}")
    if path is not None and Path(path).suffix.lower() != ".gif":
        raise ValueError(f"path: got {path}, want a name that ends in .gif")
    ax = ax or _figure(4.0, 4.0).add_subplot()
    drawn: Axes = ax

    def frame(step: int) -> list[Any]:
        drawn.clear()
        draw(drawn, played, step)
        return list(drawn.get_children())

    figure = cast("Figure", ax.figure)
    frame(steps[0] if steps else 0)  # here, or a writer without frames hides its errors
    film = FuncAnimation(
        figure, frame, list(steps) or range(length), interval=1000 / fps, repeat=False
    )
    if path is not None:
        with written_whole(path) as unfinished:
            film.save(unfinished, writer=PillowWriter(fps=fps), dpi=dpi)
    return film


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # which pyplot does not know

    return Figure(figsize=(width, height), layout="constrained")


def _evenly(generations: Sequence[int], count: int, total: int) -> list[int]:
    """The generations given, or so many evenly spaced."""
    return list(generations) or np.unique(np.linspace(1, total, count, dtype=int)).tolist()


def _decode(problem: Problem, points: npt.ArrayLike) -> np.ndarray:
    """Points (N, 2) in unit scale, in the units of the solutions."""
    return np.asarray(jax.tree.leaves(problem.space.decode(jnp.asarray(points)))[0])


def _path(problem: Problem, result: Result, name: str) -> np.ndarray:
    """What a run recorded under a name, (generations, N, 2)."""
    if name not in result.recorded:
        raise ValueError(f"result: got no {name!r}, want record=({name!r}, ...) in evolve")
    return np.stack([_decode(problem, points) for points in result.recorded[name]])

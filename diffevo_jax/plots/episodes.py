"""Episodes: as strips of frames, and as films."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from diffevo_jax.plots.canvas import INK, ORANGE, blank
from diffevo_jax.problems.control import Trajectory
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.files import written_whole

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checked
def episode(states: Mapping[str, Any], *, num_frames: int = 6) -> Figure:
    """Draw episodes of CartPole, one a row, as strips of frames from start to end.

    Args:
        states: by title, (steps, 4): position, velocity, angle, angular velocity.
        num_frames: frames a row.

    Example:
        >>> from diffevo_jax import plots
        >>> figure = plots.episode({"a pole at rest": [[0, 0, 0, 0]] * 500}, num_frames=3)
        >>> [ax.get_xlabel() for ax in figure.axes]
        ['step 0', 'step 250', 'step 499']
    """
    figure = blank(1.5 * num_frames, 1.05 * len(states))
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
    ax = ax or blank(4.0, 4.0).add_subplot()
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

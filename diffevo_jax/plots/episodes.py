"""Episodes: as strips of frames, and as films."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from diffevo_jax.plots.canvas import blank
from diffevo_jax.plots.drawings import HEIGHTS, Draw, cart_and_pole, drawing_of
from diffevo_jax.plots.writing import check_path, filmed
from diffevo_jax.problems.control import Trajectory
from diffevo_jax.pytree.annotations import Index, checked

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@checked
def episode(states: Mapping[str, npt.ArrayLike], *, num_frames: int = 6) -> Figure:
    """Draw episodes of CartPole, one a row, as strips of frames from start to end.

    Args:
        states: by title, (steps, 4): position, velocity, angle, angular velocity.
        num_frames: frames a row.

    Raises:
        ValueError: states have another shape.

    Example:
        >>> from diffevo_jax import plots
        >>> figure = plots.episode({"a pole at rest": [[0, 0, 0, 0]] * 500}, num_frames=3)
        >>> [ax.get_xlabel() for ax in figure.axes]
        ['step 0', 'step 250', 'step 499']
    """
    for title, path in states.items():
        if len(np.shape(path)) != 2 or np.shape(path)[1] != 4 or not len(np.shape(path)):
            raise ValueError(
                f"states[{title!r}]: got shape {np.shape(path)}, want (steps, 4)"
            )
    figure = blank(1.5 * num_frames, 1.05 * len(states))
    rows = figure.subfigures(len(states), squeeze=False).flat
    for part, (title, path) in zip(rows, states.items(), strict=True):
        part.suptitle(title, x=0.004, ha="left", fontsize=10)
        places = np.asarray(path)
        steps = np.linspace(0, len(places) - 1, num_frames).round().astype(int)
        frames = part.subplots(1, num_frames, squeeze=False)[0]
        for ax, step in zip(frames, steps, strict=True):
            cart_and_pole(ax, places[step, 0], places[step, 2])
            ax.set_xlabel(f"step {step}", fontsize=8)
    return figure


@checked
def episode_film(
    trajectory: Trajectory | Mapping[str, Trajectory],
    draw: Callable[[Axes, Trajectory, int], object] | None = None,
    path: str | Path | None = None,
    *,
    steps: Sequence[Index] = (),
    fps: int = 15,
    dpi: int = 80,
    ax: Axes | Sequence[Axes] | None = None,
) -> FuncAnimation:
    """Film an episode in any environment, or several beside each other.

    What is drawn follows from the environment: CartPole, Acrobot, Pendulum and MountainCar
    of gymnax as what they are, observations that are images or grids, such as those of
    MinAtar, as pictures, and any others over time. Above stand the step and the sum of
    rewards so far. With ``draw`` a frame is as you draw it.

    Args:
        trajectory: one episode: ``problem.play(key, policy_params, record=True)``; or some
            by their titles, ``{"best": ..., "poor": ...}``. One that has ended stays at its
            last step while others go on.
        draw: ``draw(ax, trajectory, step)`` draws a frame on axes that are empty; the
            arrays of the trajectory are NumPy's, ``step`` counts from 0. None draws what
            :mod:`diffevo_jax.plots.drawings` has for it.
        path: of a GIF, or of an MP4 where there is ffmpeg, which is written in whole or not
            at all; None writes nothing, as ``film.save("film.gif", writer="pillow")``
            can do later.
        steps: one a frame; none given takes every step of the longest episode.
        fps: frames a second.
        dpi: pixels an inch; each episode is 4 inches wide and at most as high,
            unless ``ax`` is given.
        ax: where to draw; of several episodes one for each.

    Raises:
        ValueError: a trajectory is of several episodes, a step is none of theirs, or the
            path cannot be written.

    Example:
        >>> import jax, tempfile, diffevo_jax as de
        >>> problem = de.problems.Control("cartpole", max_steps=3)
        >>> weights = problem.space.decode(problem.space.sample(jax.random.key(0), 1))
        >>> weights = jax.tree.map(lambda leaf: leaf[0], weights)
        >>> played = problem.play(jax.random.key(1), weights, record=True)
        >>> film = de.plots.episode_film(played, path=tempfile.mkdtemp() + "/film.gif")
        >>> draw = lambda ax, played, step: ax.plot(*played.observations[step, :2], "o")
        >>> film = de.plots.episode_film(played, draw, tempfile.mkdtemp() + "/own.gif")
    """
    titled = trajectory if isinstance(trajectory, Mapping) else {"": trajectory}
    if not titled:
        raise ValueError("trajectory: got none, want at least one")
    for title, one in titled.items():
        if np.shape(one.valid)[:-1] != ():
            called = f"trajectory[{title!r}]" if title else "trajectory"
            raise ValueError(f"{called}: got shape {np.shape(one.valid)}, want one episode")
    played = [_on_host(one) for one in titled.values()]
    longest = max(int(one.length) for one in played)
    if wrong := [step for step in steps if not 0 <= step < longest]:
        raise ValueError(f"steps: got {wrong[0]}, want one of the episode's {longest}")
    check_path(path)
    draws: list[Draw] = [draw or drawing_of(one) for one in played]
    above = 0.05 + 0.2 * (2 if any(titled) else 1)  # the lines of the title
    height = max(min(HEIGHTS.get(how, 4.0) + above, 4.0) for how in draws)
    places = _axes(ax, len(played), height)

    def frame(step: int) -> Iterable[Artist]:
        for place, title, one, how in zip(places, titled, played, draws, strict=True):
            now = min(step, int(one.length) - 1)
            place.clear()
            how(place, one, now)
            own = place.get_title() if draw else _told(one, now, longest)
            words = "\n".join(part for part in (title, own) if part)
            place.set_title(words, fontsize=10 if draw is None or title else None)
        return [artist for place in places for artist in place.get_children()]

    figure = cast("Figure", places[0].figure)
    return filmed(
        figure,
        frame,
        list(steps) or range(longest),
        path,
        fps=fps,
        dpi=dpi,
        repeat=False,
        still=draw is None,  # one's own labels may be wider in a later frame
    )


def _axes(ax: Axes | Sequence[Axes] | None, count: int, height: float) -> list[Axes]:
    """Where to draw: the axes given, or new ones."""
    if ax is None:
        return list(blank(4.0 * count, height).subplots(1, count, squeeze=False)[0])
    given = list(ax) if isinstance(ax, Sequence | np.ndarray) else [ax]
    if len(given) != count:
        raise ValueError(f"ax: got {len(given)}, want {count}, one an episode")
    return given


def _told(played: Trajectory, step: int, longest: int) -> str:
    """The step, and what has come of it."""
    so_far = float(np.sum(played.rewards[: step + 1]))
    ended = ", ended" if step == int(played.length) - 1 < longest - 1 else ""
    return f"step {step}, return {so_far:.4g}{ended}"


def _on_host(trajectory: Trajectory) -> Trajectory:
    """The same with arrays of NumPy, and keys as they are."""
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    played: Trajectory = jax.tree.map(
        lambda leaf: leaf if is_key(leaf) else np.asarray(leaf), trajectory
    )
    return played

"""Drawings of environments: a frame of an episode on axes that are empty.

Each is called as ``draw(ax, trajectory, step)``, as :func:`diffevo_jax.plots.episode_film`
wants it. The environments of classic control are drawn as they are with their default
parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import numpy as np

from diffevo_jax.plots.canvas import BLUE, COLORS, INK, ORANGE, look
from diffevo_jax.problems.control import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: How a frame is drawn.
Draw = Callable[["Axes", Trajectory, int], object]
#: Colours of the channels of a grid, in turn.
CHANNELS = (*COLORS, "#F0E442", "#999999", "#8B4513")
#: Numbers of an observation that are drawn as lines; more are an image.
LINES = 12


def drawing_of(trajectory: Trajectory) -> Draw:
    """The drawing that suits an episode: by its environment, else by its observations."""
    module = type(trajectory.states).__module__
    package, _, name = module.rpartition(".")
    if package == "gymnax.environments.classic_control" and name in CLASSIC:
        return CLASSIC[name]
    leaves = jax.tree.leaves(trajectory.observations)
    shape = np.shape(leaves[0])[1:]
    if len(leaves) == 1 and len(shape) in (2, 3) and min(shape[:2]) > 1:
        return grid
    return observations


def cart_and_pole(ax: Axes, x: float, angle: float) -> None:
    """A cart at ``x`` and its pole, ``angle`` radians from upright."""
    ax.axhline(0, color="0.7", lw=1, zorder=0)
    ax.fill_between([x - 0.4, x + 0.4], 0.0, 0.3, color=INK, lw=0)
    ax.plot([x, x + np.sin(angle)], [0.3, 0.3 + np.cos(angle)], color=ORANGE, lw=4)
    ax.set(xlim=(-2.5, 2.5), ylim=(-0.2, 1.5), xticks=[], yticks=[])
    ax.set(aspect="equal", anchor="S")  # what is left stands above, where the title is


def cartpole(ax: Axes, trajectory: Trajectory, step: int) -> None:
    """CartPole: a pole on a cart; it ends beyond the ticks, or 12 degrees from upright."""
    states = trajectory.states
    cart_and_pole(ax, float(states.x[step]), float(states.theta[step]))
    ax.vlines([-2.4, 2.4], -0.1, 0.1, color="0.5", lw=1)


def acrobot(ax: Axes, trajectory: Trajectory, step: int) -> None:
    """Acrobot: two links that hang; the tip is to be swung above the line."""
    states = trajectory.states
    first = float(states.joint_angle1[step])
    second = first + float(states.joint_angle2[step])
    elbow = np.array([np.sin(first), -np.cos(first)])
    tip = elbow + np.array([np.sin(second), -np.cos(second)])
    ax.axhline(1.0, color="0.6", lw=1, ls="--", zorder=0)
    ax.plot([0, elbow[0]], [0, elbow[1]], "o-", color=INK, lw=4, ms=6)
    ax.plot([elbow[0], tip[0]], [elbow[1], tip[1]], "o-", color=ORANGE, lw=4, ms=6)
    ax.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal", xticks=[], yticks=[])


def pendulum(ax: Axes, trajectory: Trajectory, step: int) -> None:
    """Pendulum: a rod that is to stand, and the torque that turns it, as an arc."""
    from matplotlib.patches import Arc

    angle = float(trajectory.states.theta[step])
    torque = float(np.clip(np.ravel(trajectory.actions[step])[0], -2.0, 2.0))
    ax.plot([0, np.sin(angle)], [0, np.cos(angle)], color=ORANGE, lw=6, zorder=2)
    ax.plot(0, 0, "o", color=INK, ms=8, zorder=3)
    first, last = (
        (90.0, 90.0 + 60.0 * torque) if torque > 0 else (90.0 + 60.0 * torque, 90.0)
    )
    ax.add_patch(Arc((0, 0), 0.6, 0.6, theta1=first, theta2=last, color=BLUE, lw=3))
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xticks=[], yticks=[])


def mountain_car(ax: Axes, trajectory: Trajectory, step: int) -> None:
    """MountainCar, with either kind of actions: a car in a valley, and its goal."""
    x = float(trajectory.states.position[step])
    ground = np.linspace(-1.2, 0.6, 100)
    height = lambda place: 0.45 * np.sin(3 * place) + 0.55
    # The goal is at 0.5, or at 0.45 if actions are continuous.
    goal = (
        0.45
        if type(trajectory.states).__module__.endswith("continuous_mountain_car")
        else 0.5
    )
    ax.fill_between(ground, height(ground), 0.0, color="0.88", lw=0)
    ax.plot(ground, height(ground), color="0.6", lw=1)
    ax.plot([goal, goal], [height(goal), height(goal) + 0.2], color=BLUE, lw=2)
    ax.plot(goal + 0.03, height(goal) + 0.17, ">", color=BLUE, ms=7)
    ax.plot(x, height(x) + 0.04, "o", color=ORANGE, mec=INK, ms=11)
    ax.set(xlim=(-1.25, 0.65), ylim=(0.0, 1.35), aspect="equal", xticks=[], yticks=[])


#: By the names of the modules of gymnax.
CLASSIC: dict[str, Draw] = {
    "cartpole": cartpole,
    "acrobot": acrobot,
    "pendulum": pendulum,
    "mountain_car": mountain_car,
    "continuous_mountain_car": mountain_car,
}


#: Inches that a drawing is high where it is 4 wide, without a title; others are as high.
HEIGHTS: dict[Draw, float] = {cartpole: 1.4, mountain_car: 2.9}


def grid(ax: Axes, trajectory: Trajectory, step: int) -> None:
    """Observations ``(H, W)`` or ``(H, W, C)``: an image, or a colour for each channel."""
    (images,) = jax.tree.leaves(trajectory.observations)
    image = np.asarray(images, float)
    low, high = image.min(axis=(0, 1, 2)), image.max(axis=(0, 1, 2))
    level = (image[step] - low) / np.where(high > low, high - low, 1.0)
    if level.ndim == 2 or level.shape[-1] == 1:
        ax.imshow(level.reshape(level.shape[:2]), cmap="gray", vmin=0, vmax=1)
    elif level.shape[-1] == 3 and not np.isin(image, (0.0, 1.0)).all():
        top = 255.0 if image.max() > 1 else 1.0
        ax.imshow(np.clip(image[step] / top, 0, 1))
    else:
        ax.imshow(composite(level))
    ax.set(xticks=[], yticks=[])


def composite(level: np.ndarray) -> np.ndarray:
    """Channels ``(H, W, C)`` in [0, 1] as colours ``(H, W, 3)``; later ones lie above.

    Example:
        >>> import numpy as np
        >>> from diffevo_jax.plots import drawings
        >>> drawings.composite(np.zeros((1, 1, 2))).tolist()
        [[[1.0, 1.0, 1.0]]]
    """
    from matplotlib.colors import to_rgb

    image = np.ones((*level.shape[:2], 3))
    for channel in range(level.shape[-1]):
        cover = level[..., channel, None]
        color = np.array(to_rgb(CHANNELS[channel % len(CHANNELS)]))
        image = (1 - cover) * image + cover * color
    return image


def observations(ax: Axes, trajectory: Trajectory, step: int) -> None:
    """Any observations, over the steps of the episode: so far, and faint what comes."""
    length = int(trajectory.length)
    leaves = [
        np.asarray(leaf, float)[:length].reshape(length, -1)
        for leaf in jax.tree.leaves(trajectory.observations)
    ]
    values = np.concatenate(leaves, axis=1)
    steps = np.arange(length)
    if values.shape[1] > LINES:
        extent = (-0.5, length - 0.5, values.shape[1] - 0.5, -0.5)
        ax.imshow(values.T, aspect="auto", extent=extent, interpolation="none")
        ax.axvline(step, color=ORANGE, lw=2)
    else:
        for number, column in enumerate(values.T):
            color, dashes, _ = look(number)
            ax.plot(steps, column, color=color, lw=1, ls=dashes, alpha=0.25)
            ax.plot(steps[: step + 1], column[: step + 1], color=color, ls=dashes)
            ax.plot(step, column[step], "o", color=color, ms=5)
    ax.set(xlabel="step", ylabel="observation", xlim=(-0.5, max(length - 0.5, 0.5)))

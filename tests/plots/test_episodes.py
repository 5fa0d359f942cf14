"""Films and strips of episodes, of any environment."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments.classic_control import (
    acrobot,
    cartpole,
    continuous_mountain_car,
    mountain_car,
    pendulum,
)
from matplotlib import animation
from matplotlib.figure import Figure
from own_environments import Rooms
from PIL import Image

import diffevo_jax as de
from diffevo_jax import plots
from diffevo_jax.plots import drawings
from diffevo_jax.problems.control import Trajectory
from diffevo_jax.problems.control.episode import Episode


def walk(steps: int = 3) -> Trajectory:
    problem = de.problems.Control(env=Rooms(rooms=9), max_steps=steps)
    weights = jnp.zeros((1, problem.space.dim))
    weights = jax.tree.map(lambda leaf: leaf[0], problem.space.decode(weights))
    return problem.play(jax.random.key(0), weights, record=True)


def played(states, observations, length=None, actions=None) -> Trajectory:
    """An episode as ``play`` gives it, of states and observations that are given."""
    rows = len(jax.tree.leaves(observations)[0])
    length = rows if length is None else length
    valid = np.arange(rows) < length
    return Trajectory(
        states=states,
        observations=observations,
        actions=np.zeros(rows, int) if actions is None else actions,
        rewards=np.where(valid, 1.0, 0.0),
        valid=valid,
        final_state=states,
        final_observation=observations,
        episode=Episode(np.float32(length), np.int32(length), np.bool_(True)),
    )


ROWS = np.linspace(0.0, 0.4, 4)
CLASSIC = {
    "cartpole": (cartpole.EnvState(ROWS, ROWS, ROWS, ROWS, np.arange(4)), None),
    "acrobot": (acrobot.EnvState(ROWS, ROWS, ROWS, ROWS, np.arange(4)), None),
    "pendulum": (pendulum.EnvState(ROWS, ROWS, ROWS, np.arange(4)), 4 * ROWS[:, None] - 1),
    "mountain car": (mountain_car.EnvState(ROWS, ROWS, np.arange(4)), None),
    "continuous": (continuous_mountain_car.EnvState(ROWS, ROWS, np.arange(4)), None),
}


def frames(path):
    """The frames of a GIF, (N, H, W, 3)."""
    with Image.open(path) as picture:
        found = []
        for number in range(picture.n_frames):
            picture.seek(number)
            found.append(np.asarray(picture.convert("RGB"), int))
    return np.stack(found)


def test_an_episode_film_has_a_frame_a_step_as_it_is_drawn(tmp_path):
    drawn = []

    def draw(ax, played, step):
        assert not ax.lines
        assert isinstance(played.observations, np.ndarray)
        drawn.append(step)
        ax.plot(step, played.observations[step], "o")

    plots.episode_film(walk(), draw, tmp_path / "walk.gif")
    assert len(frames(tmp_path / "walk.gif")) == 3
    assert drawn[-3:] == [0, 1, 2]
    plots.episode_film(walk(), draw, tmp_path / "few.gif", steps=[0, 2])
    assert drawn[-2:] == [0, 2]


@pytest.mark.parametrize("name", CLASSIC)
def test_classic_control_is_filmed_as_what_it_is(name, tmp_path):
    states, actions = CLASSIC[name]
    episode = played(states, ROWS[:, None], actions=actions)
    assert drawings.drawing_of(episode) in drawings.CLASSIC.values()
    plots.episode_film(episode, path=tmp_path / "film.gif", dpi=40)
    pictures = frames(tmp_path / "film.gif")
    assert len(pictures) == 4
    drawn = pictures[:, 30:]  # below the title, where the step is
    assert (np.abs(np.diff(drawn, axis=0)).max(axis=(1, 2, 3)) > 50).all()


def test_an_acrobot_that_hangs_and_one_that_stands():
    zeros = np.zeros(2)
    states = acrobot.EnvState(zeros, np.array([0.0, np.pi]), zeros, zeros, zeros)
    for step, height in ((0, -2.0), (1, 2.0)):
        ax = Figure().add_subplot()
        drawings.acrobot(ax, played(states, zeros[:, None]), step)
        assert ax.lines[-1].get_ydata()[-1] == pytest.approx(height)


def test_the_goal_of_a_car_is_where_its_environment_has_it():
    for states, goal in (
        (CLASSIC["mountain car"][0], 0.5),
        (CLASSIC["continuous"][0], 0.45),
    ):
        ax = Figure().add_subplot()
        drawings.mountain_car(ax, played(states, ROWS[:, None]), 0)
        assert goal in [line.get_xdata()[0] for line in ax.lines]


def test_the_best_and_a_poor_one_are_beside_each_other(tmp_path):
    states, _ = CLASSIC["cartpole"]
    episodes = {
        "best": played(states, ROWS[:, None]),
        "poor": played(states, ROWS[:, None], length=2),
    }
    film = plots.episode_film(episodes, path=tmp_path / "film.gif", dpi=40)
    assert len(frames(tmp_path / "film.gif")) == 4
    best, poor = film._fig.axes
    assert best.get_title() == "best\nstep 3, return 4"
    assert poor.get_title() == "poor\nstep 1, return 2, ended"


def test_axes_stay_where_they_are_and_fill_the_film(tmp_path):
    states, _ = CLASSIC["cartpole"]
    episodes = {name: played(states, ROWS[:, None]) for name in ("best", "poor")}
    plots.episode_film(episodes, path=tmp_path / "film.gif", dpi=80)
    # rows that are dark from side to side are the upper and lower edges of the axes
    dark = (frames(tmp_path / "film.gif").max(axis=-1) < 128).mean(axis=2) > 0.9
    assert (dark == dark[0]).all()
    rows = np.flatnonzero(dark[0])
    assert len(rows) >= 2
    assert dark.shape[1] - rows.max() < 10  # no white space below


def test_a_title_of_ones_own_stands_below_the_name():
    draw = lambda ax, played, step: ax.set_title(f"at {step}")
    film = plots.episode_film({"best": played((), ROWS)}, draw)
    film._draw_frame(3)
    assert film._fig.axes[0].get_title() == "best\nat 3"
    film._draw_was_started = True  # it is not to be shown, and need not warn of that


def test_channels_of_a_grid_are_colours():
    seen = np.zeros((2, 10, 10, 4), np.float32)
    seen[:, 9, 4, 0], seen[0, 2, 3, 1], seen[1, 3, 3, 1] = 1, 1, 1
    episode = played((), seen)
    assert drawings.drawing_of(episode) is drawings.grid
    ax = Figure().add_subplot()
    drawings.grid(ax, episode, 0)
    image = ax.images[0].get_array()
    assert image.shape == (10, 10, 3)
    colors = {tuple(image[place].round(3)) for place in ((9, 4), (2, 3), (0, 0))}
    assert len(colors) == 3
    assert tuple(image[0, 0]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("shape", [(3, 5, 6), (3, 5, 6, 1), (3, 5, 6, 3)])
def test_images_are_drawn_as_images(shape):
    seen = np.linspace(0.0, 1.0, np.prod(shape)).reshape(shape)
    episode = played((), seen)
    ax = Figure().add_subplot()
    drawings.drawing_of(episode)(ax, episode, 1)
    np.testing.assert_allclose(ax.images[0].get_array(), seen[1].squeeze())


@pytest.mark.parametrize(("numbers", "lines", "images"), [(3, 9, 0), (40, 1, 1)])
def test_any_other_observations_are_drawn_over_time(numbers, lines, images):
    episode = played((), {"seen": np.outer(ROWS, np.arange(numbers))}, length=3)
    ax = Figure().add_subplot()
    drawings.drawing_of(episode)(ax, episode, 1)
    assert (len(ax.lines), len(ax.images)) == (lines, images)
    if images:
        assert ax.images[0].get_array().shape == (40, 3), "the steps that were taken"


def test_a_film_that_cannot_be_drawn_leaves_no_file(tmp_path):
    def draw(ax, played, step):
        if step:
            raise RuntimeError("of the user's own")

    with pytest.raises(RuntimeError, match="own"):
        plots.episode_film(walk(), draw, tmp_path / "walk.gif")
    assert not list(tmp_path.iterdir())


def test_a_mistake_in_the_first_frame_is_the_error_that_is_seen(tmp_path):
    def draw(ax, played, step):
        raise RuntimeError("of the user's own")

    with pytest.raises(RuntimeError, match="own"):
        plots.episode_film(walk(), draw, tmp_path / "walk.gif")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": [3]}, "steps: got 3, want one of the episode's 3"),
        ({"fps": 0}, "fps: got 0, want an int >= 1"),
        ({"path": "film.avi"}, "path: got film.avi, want a name that ends in .gif or .mp4"),
        ({"ax": [Figure().add_subplot()] * 2}, "ax: got 2, want 1, one an episode"),
    ],
)
def test_an_episode_film_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        plots.episode_film(played((), ROWS[:3]), lambda *_: None, **options)


def test_several_episodes_in_one_trajectory_are_refused():
    one = played((), ROWS)
    several = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), one)
    with pytest.raises(
        ValueError, match=re.escape("trajectory: got shape (2, 4), want one")
    ):
        plots.episode_film(several)
    with pytest.raises(ValueError, match=re.escape("trajectory['all']: got shape (2, 4)")):
        plots.episode_film({"all": several})


def test_without_ffmpeg_a_film_wants_to_be_a_gif(monkeypatch, tmp_path):
    monkeypatch.setattr(animation.FFMpegWriter, "isAvailable", classmethod(lambda _: False))
    message = "film.mp4, but there is no ffmpeg; want .gif, or install it"
    with pytest.raises(ValueError, match=message):
        plots.episode_film(played((), ROWS), path=tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not animation.FFMpegWriter.isAvailable(), reason="there is no ffmpeg")
def test_with_ffmpeg_a_film_may_be_an_mp4(tmp_path):
    plots.episode_film(played((), ROWS), path=tmp_path / "film.mp4", dpi=40)
    assert b"ftyp" in (tmp_path / "film.mp4").read_bytes()[:16]


def test_episode_draws_cart_and_pole_where_they_are():
    states = np.zeros((11, 4))
    states[:, 0] = np.linspace(0, 1, 11)
    states[:, 2] = np.linspace(0, 0.2, 11)
    figure = plots.episode({"one": states, "two": states[:3]}, num_frames=2)
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "step 0",
        "step 10",
        "step 0",
        "step 2",
    ]
    pole = figure.axes[1].lines[1].get_xydata()
    np.testing.assert_allclose(pole[1] - pole[0], [np.sin(0.2), np.cos(0.2)])
    assert pole[0, 0] == 1.0


def test_episode_wants_states_of_cartpole():
    message = "states['walk']: got shape (5, 2), want (steps, 4)"
    with pytest.raises(ValueError, match=re.escape(message)):
        plots.episode({"walk": np.zeros((5, 2))})

"""Pictures show what they say; nothing global is touched."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from own_environments import Rooms
from PIL import Image

import diffevo_jax as de
from diffevo_jax.plots import figures
from diffevo_jax.problems.control import Trajectory

PROBLEM = de.problems.Landscape("two_peaks", scale=1.5)
STRATEGY = de.DiffusionEvolution(
    6, denoiser=de.denoisers.Population(shaping=de.shaping.Identity())
)


@pytest.fixture(scope="module")
def results():
    """Of five runs, in one program."""
    record = ("population", "fitness", "clean_estimate")

    def run(key):
        return de.evolve(key, STRATEGY, PROBLEM, population_size=16, record=record)

    return jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 5))


@pytest.fixture
def history(results):
    return results.history


@pytest.fixture
def result(results):
    return jax.tree.map(lambda leaf: leaf[0], results)


@pytest.fixture(autouse=True)
def nothing_global_changes():
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def lines(figure):
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].lines}


def test_learning_curve_draws_the_median_of_the_mean_and_of_the_best(history):
    drawn = lines(figures.learning_curve(history, title="five runs"))
    mean = drawn["mean fitness, median of 5 runs"]
    np.testing.assert_array_equal(mean[:, 0], np.arange(1, 7))
    np.testing.assert_allclose(mean[:, 1], np.median(history.mean_fitness, axis=0))
    best = drawn["best fitness"]
    np.testing.assert_allclose(best[:, 1], np.median(history.best_fitness, axis=0))


@pytest.mark.parametrize(
    ("label", "low", "high"), [("quartiles", 25, 75), ("all runs", 0, 100)]
)
def test_learning_curve_draws_bands_over_the_runs(history, label, low, high):
    axes = figures.learning_curve(history).axes[0]
    (band,) = (b for b in axes.collections if b.get_label() == label)
    drawn = band.get_paths()[0].vertices
    at_end = drawn[drawn[:, 0] == 6][:, 1]
    want = np.percentile(history.mean_fitness[:, -1], [low, high])
    np.testing.assert_allclose([at_end.min(), at_end.max()], want, rtol=1e-5)


def test_learning_curve_of_one_run_has_no_bands(result):
    figure = figures.learning_curve(result.history)
    assert not figure.axes[0].collections
    np.testing.assert_allclose(
        lines(figure)["mean fitness"][:, 1], result.history.mean_fitness
    )


def test_learning_curve_leaves_a_gap_where_every_evaluation_failed(history):
    failed = history.mean_fitness.at[:, 2].set(-jnp.inf)
    drawn = lines(figures.learning_curve(de.replace(history, mean_fitness=failed)))
    mean = drawn["mean fitness, median of 5 runs"][:, 1]
    assert not np.isfinite(mean[2])
    assert np.isfinite(np.delete(mean, 2)).all()


def test_learning_curve_names_a_history_of_the_wrong_shape(history):
    wrong = jax.tree.map(lambda leaf: leaf[None], history)
    with pytest.raises(ValueError, match=r"history: got shape \(1, 5, 6\)"):
        figures.learning_curve(wrong)


def test_the_luckiest_is_not_drawn(history):
    axes = figures.learning_curve(history, noisy=True).axes[0]
    assert len(axes.lines) == 1


def test_axes_of_the_caller_are_used(history):
    figure = Figure()
    first, second = figure.subplots(1, 2)
    assert figures.learning_curve(history, ax=second) is figure
    assert figures.landscape(PROBLEM, ax=first) is figure
    assert first.collections
    assert second.lines


def test_landscape_shows_two_deviations_in_the_units_of_the_solutions():
    axes = figures.landscape(PROBLEM).axes[0]
    assert axes.get_xlim() == (-3.0, 3.0)
    assert axes.get_ylim() == (-3.0, 3.0)


def test_landscape_shows_the_box_of_a_bounded_space():
    space = de.problems.Space(jnp.zeros(2), lower=jnp.array([0.0, -1.0]), upper=4.0)
    problem = de.problems.Function(lambda x: x.sum(), space=space)
    axes = figures.landscape(problem).axes[0]
    assert axes.get_xlim() == (0.0, 4.0)
    assert axes.get_ylim() == (-1.0, 4.0)


def test_landscape_is_darker_where_it_is_fitter():
    problem = de.problems.Function(lambda x: x[0], dim=2)
    contours = figures.landscape(problem, (0, 1, 0, 1)).axes[0].collections[0]
    assert (np.diff(contours.levels) > 0).all()
    assert (np.diff(contours.get_facecolor()[:, 0]) < 0).all()


def test_landscape_names_a_problem_of_another_dimension():
    with pytest.raises(ValueError, match=r"got solutions of shapes \(\(3,\),\)"):
        figures.landscape(de.problems.Function(lambda x: x.sum(), dim=3))


def test_population_draws_solutions_coloured_by_fitness(result):
    axes = figures.population(PROBLEM, result.population, result.fitness).axes[0]
    points = axes.collections[-1]
    np.testing.assert_allclose(points.get_offsets(), 1.5 * result.population, rtol=1e-6)
    np.testing.assert_allclose(points.get_array(), result.fitness)
    assert len(axes.collections) == 2, "the landscape is below"


def test_trajectories_follow_an_individual(result):
    figure = figures.trajectories(PROBLEM, result, [3], generations=[2, 5])
    path = 1.5 * result.recorded["population"][:5, 3]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xydata(), path, rtol=1e-6)


def test_trajectories_point_at_the_clean_estimate(result):
    figure = figures.trajectories(PROBLEM, result, [3], generations=[2])
    (arrow,) = figure.axes[0].texts
    start, end = (result.recorded[n][1, 3] for n in ("population", "clean_estimate"))
    np.testing.assert_allclose(arrow.xyann, 1.5 * start, rtol=1e-6)
    np.testing.assert_allclose(arrow.xy, 1.5 * end, rtol=1e-6)


def test_the_neighbourhood_is_one_sigma_of_the_kernel_and_shrinks(result):
    figure = figures.trajectories(PROBLEM, result, [3], generations=range(1, 7))
    discs = [p for p in figure.axes[0].patches if isinstance(p, Ellipse)]
    radii = np.array([disc.width / 2 for disc in discs])
    np.testing.assert_allclose(radii, 1.5 * result.history.sigma, rtol=1e-5)
    assert (np.diff(radii) < 0).all()
    y = result.recorded["population"][:, 3] * jnp.sqrt(1 + result.history.sigma**2)[:, None]
    np.testing.assert_allclose([disc.center for disc in discs], 1.5 * y, rtol=1e-5)


def test_trajectories_say_what_was_not_recorded(result):
    blank = de.replace(result, recorded={})
    with pytest.raises(ValueError, match="got no 'population', want record="):
        figures.trajectories(PROBLEM, blank)


def test_film_shows_the_generations_asked_for(result, tmp_path):
    film = figures.film(PROBLEM, result, generations=[1, 3, 6])
    film.save(tmp_path / "film.gif", writer="pillow", dpi=40)
    film.save(tmp_path / "film.png", writer="pillow", dpi=40)
    for name in ("film.gif", "film.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.n_frames == 3
    axes = film._fig.axes[0]
    assert axes.get_title() == "generation 6 of 6"
    last = 1.5 * result.recorded["population"][-1]
    np.testing.assert_allclose(axes.collections[-1].get_offsets(), last, rtol=1e-6)
    np.testing.assert_allclose(axes.collections[-1].get_array(), result.fitness)


def walk(steps: int = 3) -> Trajectory:
    problem = de.problems.Control(env=Rooms(rooms=9), max_steps=steps)
    weights = jnp.zeros((1, problem.space.dim))
    weights = jax.tree.map(lambda leaf: leaf[0], problem.space.decode(weights))
    return problem.play(jax.random.key(0), weights, record=True)


def test_an_episode_film_has_a_frame_a_step_as_it_is_drawn(tmp_path):
    drawn = []

    def draw(ax, played, step):
        assert not ax.lines
        assert isinstance(played.observations, np.ndarray)
        drawn.append(step)
        ax.plot(step, played.observations[step], "o")

    figures.episode_film(walk(), draw, tmp_path / "walk.gif")
    with Image.open(tmp_path / "walk.gif") as picture:
        assert picture.n_frames == 3
    assert drawn[-3:] == [0, 1, 2]
    figures.episode_film(walk(), draw, tmp_path / "few.gif", steps=[0, 2])
    assert drawn[-2:] == [0, 2]


def test_a_film_that_cannot_be_drawn_leaves_no_file(tmp_path):
    def draw(ax, played, step):
        if step:
            raise RuntimeError("of the user's own")

    with pytest.raises(RuntimeError, match="own"):
        figures.episode_film(walk(), draw, tmp_path / "walk.gif")
    assert not list(tmp_path.iterdir())


def test_a_mistake_in_the_first_frame_is_the_error_that_is_seen(tmp_path):
    def draw(ax, played, step):
        raise RuntimeError("of the user's own")

    with pytest.raises(RuntimeError, match="own"):
        figures.episode_film(walk(), draw, tmp_path / "walk.gif")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": [3]}, "steps: got 3, want one of the episode's 3"),
        ({"fps": 0}, "fps: got 0, want an int >= 1"),
        ({"path": "film.mp4"}, "path: got film.mp4, want a name that ends in .gif"),
    ],
)
def test_an_episode_film_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        figures.episode_film(walk(), lambda *_: None, **options)


def test_episode_draws_cart_and_pole_where_they_are():
    states = np.zeros((11, 4))
    states[:, 0] = np.linspace(0, 1, 11)
    states[:, 2] = np.linspace(0, 0.2, 11)
    figure = figures.episode({"one": states, "two": states[:3]}, num_frames=2)
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "step 0",
        "step 10",
        "step 0",
        "step 2",
    ]
    pole = figure.axes[1].lines[1].get_xydata()
    np.testing.assert_allclose(pole[1] - pole[0], [np.sin(0.2), np.cos(0.2)])
    assert pole[0, 0] == 1.0


def test_importing_the_library_does_not_import_matplotlib():
    code = (
        "import sys, diffevo_jax, diffevo_jax.plots;"
        "late = {'matplotlib', 'gymnax', 'jax.experimental.pallas'};"
        "sys.exit(bool(late & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_parallel_coordinates_draw_a_line_a_solution_and_the_best_last():
    found = de.Solutions(
        points=np.zeros((2, 2)),
        solutions={"rate": np.array([1.0, 3.0]), "same": np.array([2.0, 2.0])},
        named={"rate": np.array([1.0, 3.0]), "kind": np.array(["sgd", "adam"])},
        fitness=np.array([5.0, 4.0]),
        violation=None,
        measures=(),
        count=np.array([1, 1]),
        num_evaluations=0,
    )
    ax = figures.parallel_coordinates(found).axes[0]
    assert [line.get_ydata().tolist() for line in ax.lines] == [[1.0, 0.0], [0.0, 1.0]]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["rate", "kind"]
    assert [text.get_text() for text in ax.texts] == ["1", "3", "adam", "sgd"]
    nothing = jax.tree.map(
        lambda leaf: np.asarray(leaf)[:0], de.replace(found, num_evaluations=np.zeros(1))
    )
    with pytest.raises(ValueError, match="found: got no solutions"):
        figures.parallel_coordinates(nothing)

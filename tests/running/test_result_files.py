"""Results in files: whole or not at all, the same numbers again, clear words where not."""

import json
import zipfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_results import made

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.pytree import archives

PROBLEM = de.problems.Landscape("himmelblau")
STRATEGY = de.DiffusionEvolution(6)


@pytree.dataclass
class NoisySphere:
    space: de.problems.Space
    noisy: bool = pytree.static(default=True)

    def init(self, key: jax.Array) -> tuple[()]:
        return ()

    def evaluate(self, key: jax.Array, problem_state: tuple[()], solutions: jax.Array):
        luck = jax.random.normal(key, (len(solutions),))
        return de.Evaluation(luck - jnp.sum(solutions**2, axis=1)), problem_state


@pytest.fixture(scope="module")
def results() -> de.Result:
    """Of three runs."""
    return made(3, 8, 2, scale=4.0)


@pytest.fixture
def result(results) -> de.Result:
    return jax.tree.map(lambda leaf: leaf[0], results)


@pytest.fixture
def saved(results, tmp_path) -> de.Saved:
    path = tmp_path / "result.npz"
    notes = {"name": "himmelblau", "seeds": 3}
    de.save(
        path, results, strategy=STRATEGY, problem=PROBLEM, notes=notes, command="diffevo x"
    )
    return de.load(path)


def test_all_numbers_of_a_result_come_back(results, saved) -> None:
    names = set(vars(results)) - {"state", "problem_state", "history"}
    for name in names:
        chex.assert_trees_all_equal(getattr(saved.result, name), getattr(results, name))
    chex.assert_trees_all_equal(vars(saved.result.history), vars(results.history))


def test_the_state_says_how_it_ended(results, saved) -> None:
    assert saved.result.reason == ("finished",) * 3
    np.testing.assert_array_equal(saved.result.num_generations, results.num_generations)
    np.testing.assert_array_equal(
        saved.result.state.best_solution, results.state.best_solution
    )


def test_what_was_run_is_said(saved) -> None:
    assert saved.config["name"] == "himmelblau"
    assert saved.config["seeds"] == 3
    assert saved.config["strategy"]["class"] == "DiffusionEvolution"
    assert saved.config["problem"]["name"] == "himmelblau"
    assert saved.command == "diffevo x"
    assert saved.versions["jax"] == jax.__version__
    assert saved.noisy is False


def test_the_last_population_is_decoded(results, saved) -> None:
    decoded = jax.vmap(PROBLEM.space.decode)(results.population)
    np.testing.assert_allclose(saved.solutions, decoded, rtol=1e-6)  # one ulp, of fusion


def test_a_problem_of_two_numbers_has_a_landscape(results, saved) -> None:
    plane = saved.plane
    decoded = jax.vmap(jax.vmap(PROBLEM.space.decode))(results.recorded["population"])
    np.testing.assert_allclose(plane.points, decoded, rtol=1e-6)
    assert (plane.lower < plane.upper).all()
    corner = jnp.asarray([[plane.upper[0], plane.lower[1]]])
    fitness = PROBLEM.evaluate(jax.random.key(0), (), corner)[0].fitness
    # rows go along the second number, from its lower end
    np.testing.assert_allclose(plane.height[0, -1], fitness[0], rtol=1e-5)


def test_a_box_is_shown_whole(tmp_path) -> None:
    space = {"a": de.problems.Range(-1.0, 2.0), "b": de.problems.Range(0.0, 5.0)}
    fitness = lambda x: -(x["a"] ** 2) - x["b"]
    problem = de.problems.Function(fitness, space=de.problems.Space(space))
    result = de.replace(made(None, 8, 2), best_solution={"a": 1.0, "b": 2.0})
    de.save(tmp_path / "r.npz", result, problem=problem)
    plane = de.load(tmp_path / "r.npz").plane
    np.testing.assert_allclose([plane.lower, plane.upper], [[-1, 0], [2, 5]], rtol=1e-6)
    assert plane.height[0].argmax() == 32  # a = 0 is a third of the way


def test_one_run_alone_comes_back(result, tmp_path) -> None:
    de.save(tmp_path / "r.npz", result)
    saved = de.load(tmp_path / "r.npz")
    assert saved.result.reason == "finished"
    assert saved.solutions is None
    assert saved.plane is None
    assert saved.noisy is None
    found = {name: values.tolist() for name, values in saved.named.items()}
    assert found == {f"x[{n}]": [float(result.best_solution[n])] for n in (0, 1)}


def test_choices_are_words(tmp_path) -> None:
    kinds = de.problems.Categorical(("adam", "sgd"))
    space = {"kind": kinds, "rate": de.problems.Range(0.0, 1.0)}
    fitness = lambda x: x["rate"] + 9.0 * x["kind"]
    problem = de.problems.Function(fitness, space=de.problems.Space(space))
    best = {"kind": np.int32(1), "rate": np.float32(0.25)}
    result = de.replace(made(None, 8, 3), best_solution=best)
    de.save(tmp_path / "r.npz", result, problem=problem)
    named = de.load(tmp_path / "r.npz").named
    assert named["kind"].tolist() == ["sgd"]
    assert named["rate"].tolist() == [0.25]


def test_noise_has_a_final_evaluation_and_no_landscape(tmp_path) -> None:
    problem = NoisySphere(de.problems.Space(jnp.zeros(2)))
    result = made(None, 8, 2, final=True)
    de.save(tmp_path / "r.npz", result, problem=problem)
    saved = de.load(tmp_path / "r.npz")
    chex.assert_trees_all_equal(vars(saved.result.final), vars(result.final))
    assert saved.noisy
    assert saved.plane.height is None


def test_numpy_reads_it_without_this_library(results, saved, tmp_path) -> None:
    with np.load(tmp_path / "result.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(
            file["history.mean_fitness"], results.history.mean_fitness
        )
        assert json.loads(file["meta"].tobytes())["kind"] == "result"


def test_a_file_that_is_there_stays_if_a_result_cannot_be_saved(result, tmp_path) -> None:
    path = tmp_path / "r.npz"
    path.write_text("before")
    broken = de.replace(result, recorded={"odd": "a word"})
    with pytest.raises(TypeError, match=r"^recorded\.odd: got a str, want"):
        de.save(path, broken)
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["r.npz"]


def test_another_problem_is_refused(result, tmp_path) -> None:
    with pytest.raises(
        ValueError, match=r"^problem: got one of 5 numbers for a result of 2"
    ):
        de.save(tmp_path / "r.npz", result, problem=de.problems.Function(jnp.sum, dim=5))


def test_a_changed_bit_is_said(saved, tmp_path) -> None:
    path = tmp_path / "result.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^path: got .*want a whole file of a result: its"
    ):
        de.load(path)


def test_another_npz_is_said(tmp_path) -> None:
    np.savez(tmp_path / "r.npz", a=np.ones(3))
    with pytest.raises(ValueError, match="want a whole file of a result"):
        de.load(tmp_path / "r.npz")


def test_a_newer_format_is_said(saved, tmp_path) -> None:
    path = tmp_path / "result.npz"
    sealed = archives.read_sealed(path)
    arrays = dict(np.load(path))
    del arrays["meta"]
    text = sealed.text | {"schema": 2, "versions": {"diffevo-jax": "9.0"}}
    archives.write_sealed(path, arrays, text)
    with pytest.raises(ValueError, match=r"schema 2, want 1: diffevo-jax 9\.0 wrote"):
        de.load(path)


def test_nothing_in_it_is_a_pickle(saved, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "result.npz") as archive:
        heads = {name: archive.read(name)[:128] for name in archive.namelist()}
    assert len(heads) > 20
    assert not [name for name, head in heads.items() if b"|O" in head]


@pytest.mark.slow
def test_a_run_that_was_computed_comes_back(tmp_path, key) -> None:
    record = ("population", "fitness", "clean_estimate")
    run = lambda key: de.evolve(key, STRATEGY, PROBLEM, population_size=8, record=record)
    results = jax.jit(jax.vmap(run))(jax.random.split(key, 2))
    de.save(tmp_path / "r.npz", results, strategy=STRATEGY, problem=PROBLEM)
    found = de.load(tmp_path / "r.npz").result
    chex.assert_trees_all_equal(vars(found.history), vars(results.history))
    chex.assert_trees_all_equal(found.recorded, results.recorded)
    assert found.reason == results.reason


@pytest.mark.parametrize(
    "change",
    [
        {"parts": 3},
        {"parts": {"final": None, "history": None, "state": None}},
        {"parts": {"final": {"array": "x", "shape": [], "dtype": "no"}}},
        {"schema": 2, "versions": 3},
    ],
    ids=["parts", "history", "dtype", "versions"],
)
def test_a_sealed_file_of_something_else_is_said(saved, tmp_path, change) -> None:
    text, archive = archives.read_sealed(tmp_path / "result.npz")
    path = tmp_path / "other.npz"
    archives.write_sealed(path, {}, text | change)
    archive.close()
    with pytest.raises(ValueError, match=r"^path: .*other\.npz"):
        de.load(path)


def test_a_sealed_file_without_a_text_of_names_is_said(tmp_path) -> None:
    path = tmp_path / "other.npz"
    archives.write_sealed(path, {}, [1, 2])  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"^path: .*other\.npz.*its text cannot be read: got a list"
    ):
        de.load(path)


def test_a_name_that_no_file_can_have_is_said() -> None:
    with pytest.raises(ValueError, match=r"^path: got "):
        de.load("a\0b.npz")


def test_what_is_no_number_is_named(result, tmp_path) -> None:
    odd = pytree.replace(result, measures={"a": np.array([None])})
    with pytest.raises(TypeError, match=r"measures\.a: got object, want numbers"):
        de.save(tmp_path / "a.npz", odd)


def test_without_a_box_what_is_shown_is_little_more_than_the_points(tmp_path) -> None:
    problem = de.problems.Function(lambda x: -(x**2).sum(), dim=2)
    path = tmp_path / "free.npz"
    de.save(path, made(2, 64, 2), problem=problem)
    plane = de.load(path).plane
    assert plane is not None
    points = plane.points.reshape(-1, 2)
    outside = (points < plane.lower) | (points > plane.upper)
    assert outside.mean() < 0.1  # nine of ten are inside, and a margin
    assert (plane.upper - plane.lower < 1.2 * np.ptp(points, axis=0)).all()

"""A run in a folder: whatever ends it, the same call comes to the same bits."""

import json
import shutil
from functools import partial

import jax
import numpy as np
import pytest
from often import often

import diffevo_jax as de
from diffevo_jax import pytree
from diffevo_jax.pytree.folders import FolderError

KEY = jax.random.key(5)
STRATEGY = de.DiffusionEvolution(
    12, de.denoisers.Population(memory=de.denoisers.Archive(24))
)
PROBLEM = de.problems.Landscape("himmelblau")
RECORD = ("population",)
ARGUMENTS = {"population_size": 8, "record": RECORD}


def run(folder=None, key=KEY, strategy=STRATEGY, problem=PROBLEM, **options):
    return de.run(key, strategy, problem, folder=folder, **ARGUMENTS | options)


def some(folder, count, key=KEY, problem=PROBLEM, **options):
    """A run that is left after ``count`` looks."""
    results = de.iterate(key, STRATEGY, problem, folder=folder, **ARGUMENTS | options)
    for _, result in zip(range(count), results, strict=False):
        last = result
    results.close()
    return last


def same(one, other):
    return de.pytree.equal(one, other)


@pytest.fixture(scope="module")
def whole():
    return run()


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder of a run that was left after seven generations."""
    folder = tmp_path_factory.mktemp("begun")
    some(folder, 7)
    return folder


@pytest.fixture
def folder(begun, tmp_path):
    return shutil.copytree(begun, tmp_path / "run")


def test_a_folder_changes_no_bit(tmp_path, whole):
    assert same(run(tmp_path), whole)


@pytest.mark.parametrize("chunk_size", [1, 5])
def test_a_run_goes_on_with_the_bits_of_one_that_was_not_left(folder, whole, chunk_size):
    assert same(run(folder, chunk_size=chunk_size), whole)


def test_what_was_reached_comes_first(folder):
    results = de.iterate(KEY, STRATEGY, PROBLEM, folder=folder, **ARGUMENTS)
    assert len(next(results).history.done) == 7
    assert len(next(results).history.done) == 8
    results.close()


def test_a_finished_run_gives_its_result_again(folder, whole):
    run(folder)
    assert same(run(folder), whole)


def test_a_run_that_was_stopped_stays_stopped(tmp_path):
    stop = lambda result: len(result.history.done) >= 3
    first = run(tmp_path, stop=stop)
    assert same(run(tmp_path, stop=stop), first)


@pytest.mark.slow
def test_many_runs_go_on_together(tmp_path):
    keys = jax.random.split(KEY, 3)
    some(tmp_path, 4, key=keys)
    assert same(run(tmp_path, key=keys), run(key=keys))


@pytest.mark.slow
def test_a_known_fitness_is_told_once(tmp_path):
    population = PROBLEM.space.sample(KEY, 8)
    known = {"population": population, "population_size": None}
    known["fitness"] = np.linspace(0, 1, 8, dtype=np.float32)
    some(tmp_path, 3, **known)
    assert same(run(tmp_path, **known), run(**known))


def test_checkpoints_are_as_far_apart_as_is_asked(tmp_path):
    results = de.iterate(KEY, STRATEGY, PROBLEM, folder=tmp_path, every=5, **ARGUMENTS)
    there = []
    for _ in range(11):
        next(results)
        there.append(len(list(tmp_path.glob("checkpoint-*"))))
    assert there == [0] * 4 + [1] * 5 + [2] * 2
    results.close()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"strategy": de.DiffusionEvolution(30)},
            "is 12 there and 30 here; .*parent=",
        ),
        ({"problem": de.problems.Landscape("beale")}, "problem.name is himmelblau there"),
        (
            {"problem": de.problems.Landscape("himmelblau", scale=3.0)},
            "problem.scale is 4.0",
        ),
        ({"key": jax.random.key(6)}, r"key is \[0, 5\] there and \[0, 6\] here"),
        ({"population_size": 16}, "start.population_size is 8 there and 16 here"),
        ({"record": ()}, r"start.record is \['population'\] there and \[\] here"),
    ],
)
def test_another_run_is_refused_by_what_differs(begun, change, told):
    with pytest.raises(FolderError, match=f"holds another run: .*{told}"):
        run(begun, **change)


def test_another_version_is_refused_by_name(folder):
    manifest = json.loads((folder / "run.json").read_text())
    manifest["versions"]["jax"] = "0.1"
    (folder / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(FolderError, match=r"versions\.jax is 0.1 there"):
        run(folder)


@pytest.mark.slow
def test_other_code_of_the_same_name_is_refused(tmp_path):
    def problem(factor):
        def fitness(x):
            return -factor * (x**2).sum()

        return de.problems.Function(fitness, dim=2)

    some(tmp_path, 2, problem=problem(1))
    with pytest.raises(FolderError, match="the code of a function that it calls"):
        run(tmp_path, problem=problem(2))


def test_two_at_once_are_refused(folder):
    results = de.iterate(KEY, STRATEGY, PROBLEM, folder=folder, **ARGUMENTS)
    next(results)
    with pytest.raises(FolderError, match="in use by another run"):
        run(folder)
    results.close()
    run(folder)


def test_a_damaged_checkpoint_costs_a_warning(folder, whole):
    last = max(folder.glob("checkpoint-*"))
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="is damaged: .*; checkpoint-0.* is taken"):
        assert same(run(folder), whole)


def test_a_full_disk_ends_no_run(folder, whole, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diffevo_jax.pytree.archives.write_sealed", full)
    with pytest.warns(UserWarning, match=r"generation \d+ was not written .* generation 7"):
        assert same(run(folder), whole)


@pytest.mark.parametrize("given", ["", "\0", __file__, "/proc/nothing"])
def test_a_folder_that_cannot_be_is_refused_at_once(given):
    with pytest.raises(ValueError, match="folder: got"):
        de.iterate(KEY, STRATEGY, PROBLEM, folder=given, **ARGUMENTS)


def test_every_needs_a_folder():
    with pytest.raises(ValueError, match="every: got it without folder"):
        run(every=2)


# Evaluated on the host


def evaluate(calls, solutions):
    calls.append(solutions)
    return -(np.round(solutions, 1) ** 2).sum(axis=1), {"first": solutions[:, 0]}


def external(calls, remember=False):
    space = de.problems.Space(np.zeros(2, np.float32))
    fn = partial(evaluate, calls)
    like = {"first": np.float32(0)}
    return de.problems.External(fn, space, measures=like, remember=remember)


@pytest.mark.parametrize("remember", often(1, [False, True]))
def test_the_host_is_asked_only_for_the_rest(tmp_path, remember):
    calls, again = Calls(), Calls()
    wanted = run(problem=external(Calls(), remember))
    some(tmp_path, 5, problem=external(calls, remember))
    found = run(tmp_path, problem=external(again, remember))
    assert (len(calls), len(again)) == (5, 7)
    leaves = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    assert all(np.array_equal(a, b) for a, b in leaves)


class Calls(list):
    """Of which all are alike in words."""

    def __repr__(self):
        return "calls"


# Going on from another run


def test_a_run_goes_on_from_the_end_of_another(folder, tmp_path, whole):
    run(folder)
    more = partial(run, key=jax.random.key(9), parent=folder, renoise=8)
    found = more(tmp_path / "more")
    assert len(found.history.done) == 4
    assert json.loads((tmp_path / "more" / "run.json").read_text())["parent"] == str(folder)
    assert found.best_fitness >= whole.best_fitness
    assert same(more(), found)


def test_it_goes_on_as_renoise_says(folder):
    last = run(folder)
    key = jax.random.key(9)
    found = run(key=key, parent=folder, renoise=11)
    state = de.strategies.renoise(
        STRATEGY, de.running.ask_tell.setup_keys(key)[2], last.state, 11
    )
    ask = de.generation_keys(key, 11)[0]
    candidates, _ = de.ask(STRATEGY, ask, state)
    repaired = PROBLEM.space.repair(candidates)
    np.testing.assert_allclose(found.population, repaired, rtol=1e-5, atol=1e-6)


@pytree.dataclass
class Peak:
    """A fitness whose optimum moves, and how high it is."""

    place: float = 0.0
    height: float = 1.0

    def __call__(self, x):
        return self.height - ((x - self.place) ** 2).sum()


def test_the_best_by_another_measure_is_forgotten(tmp_path):
    def at(peak, key, **options):
        problem = de.problems.Function(peak, dim=2)
        return de.run(jax.random.key(key), STRATEGY, problem, population_size=8, **options)

    at(Peak(), 0, folder=tmp_path)
    moved = at(Peak(2.0, 0.0), 1, parent=tmp_path, renoise=4)
    assert moved.best_fitness == moved.history.best_fitness.max() <= 0.0


@pytest.mark.slow
def test_the_best_is_forgotten_too_if_the_code_of_the_problem_is_another(tmp_path):
    def of(fn, key, **options):
        problem = de.problems.Function(fn, dim=2)
        return de.run(jax.random.key(key), STRATEGY, problem, population_size=8, **options)

    def worth(x):
        return 1.0 - (x**2).sum()

    first = worth

    def worth(x):
        return -1.0 - (x**4).sum()

    of(first, 0, folder=tmp_path)
    assert of(worth, 1, parent=tmp_path, renoise=8).best_fitness <= -1.0


def test_a_run_goes_not_on_in_the_folder_of_its_parent(begun):
    with pytest.raises(
        ValueError, match=r"folder: got .*, that of the parent, want another"
    ):
        run(begun, key=jax.random.key(9), parent=begun, renoise=8)


def test_the_parent_of_a_key_is_not_of_the_same(folder):
    with pytest.raises(ValueError, match="key: got that of the parent"):
        run(parent=folder, renoise=8)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"renoise": None}, "parent: got it without renoise"),
        ({"parent": None}, "renoise: got it without parent"),
        ({"renoise": 12}, r"renoise: got 12, want one in \[0, 11\]"),
        ({"population_size": 16}, "parent: .* whose population_size is 8, want 16"),
        ({"parent": "nowhere"}, "parent: got nowhere, which is no folder of a run"),
    ],
)
def test_a_parent_that_does_not_fit_is_refused(begun, change, told):
    with pytest.raises(ValueError, match=told):
        run(key=jax.random.key(9), **{"parent": begun, "renoise": 8} | change)

"""Loggers: each generation once, on disk, whatever happens to the run or to the disk."""

import dataclasses
import json
import math
import struct
import sys
import time
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import cli

T, N = 6, 8
#: As the command has it, so that all share a few programs.
PUBLISHED = de.published.landscape("himmelblau", num_generations=T)
STRATEGY, PROBLEM = PUBLISHED.strategy, PUBLISHED.problem
#: A temperature at which every fitness is NaN.
FAILING = de.pytree.replace(PROBLEM, temperature=1e38)
KEYS = jax.random.split(jax.random.key(0), 2)
INTS = ("num_failed", "num_weightless", "num_diverged", "num_clipped")


def run(*loggers: de.loggers.Logger, **options: Any) -> de.Result:
    options = {"key": KEYS[0], "problem": PROBLEM, "population_size": N} | options
    return de.run(strategy=STRATEGY, loggers=loggers, **options)


def on_from(generation: int, *loggers: de.loggers.Logger, **start: Any) -> None:
    """A run that was killed, from its last checkpoint on, before a generation."""
    results = de.iterate(KEYS[0], STRATEGY, PROBLEM, population_size=N)
    begin = de.loggers.Start(generation=generation, num_generations=T, **start)
    for _ in de.loggers.logged(results, loggers, begin):
        pass


def rows_of(path: Path) -> list[dict[str, Any]]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no strict JSON")

    lines = path.read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


# Any function


@pytest.mark.parametrize("chunk_size", [1, 4])
def test_a_function_sees_each_generation_once_and_in_order(chunk_size) -> None:
    seen = []
    result = run(lambda *all_: seen.append(all_), chunk_size=chunk_size)
    assert [generation for generation, _, _ in seen] == [1, 2, 3, 4, 5, 6]
    for row, (_, info, _) in enumerate(seen):
        wanted = jax.tree.map(lambda rows, row=row: rows[row], result.history)
        chex.assert_trees_all_equal(info, wanted)
    ends = {1: [1, 2, 3, 4, 5, 6], 4: [4, 4, 4, 4, 6, 6]}
    assert [len(so_far.history.done) for _, _, so_far in seen] == ends[chunk_size]


def test_a_log_changes_no_bits(tmp_path) -> None:
    logs = de.loggers.jsonl(tmp_path / "a"), de.loggers.populations(tmp_path, every=2)
    chex.assert_trees_all_equal(run(*logs), run())


def test_a_log_that_fails_is_warned_of_once_and_costs_nothing_else(tmp_path) -> None:
    calls = []

    def brittle(generation: int, info: de.Info, result: de.Result) -> None:
        calls.append(generation)
        raise OSError("no space left")

    words = "test_.*brittle failed at generation 1, and the run goes on: OSError: no space"
    with pytest.warns(RuntimeWarning, match=words) as caught:
        result = run(brittle, de.loggers.jsonl(tmp_path / "log"))
    assert len(caught) == 1
    assert calls == [1, 2, 3, 4, 5, 6]  # the disk may have room again
    assert len(rows_of(tmp_path / "log")) == T
    assert bool(result.state.done)


def test_loggers_end_whatever_ends_the_run() -> None:
    told = []

    class Log:
        def begin(self, start: de.loggers.Start) -> None:
            told.append(("begin", start.num_generations))

        def __call__(self, generation: int, info: de.Info, result: de.Result) -> None:
            told.append(generation)

        def end(self) -> None:
            told.append("end")

    def interrupt(generation: int, info: de.Info, result: de.Result) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Log(), interrupt)
    assert told == [("begin", T), 1, "end"]
    told.clear()
    with pytest.raises(ValueError, match="every"):  # and where another cannot begin
        run(Log(), de.loggers.populations("nowhere", every=1), chunk_size=4)
    assert told == [("begin", T), "end"]


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"loggers\[0\]: got 'log.jsonl', want a fun"):
        de.run(KEYS[0], STRATEGY, PROBLEM, population_size=N, loggers=["log.jsonl"])


# Lines of JSON


def test_a_line_has_the_numbers_of_its_generation(tmp_path) -> None:
    result = run(de.loggers.jsonl(tmp_path / "log"))
    rows = rows_of(tmp_path / "log")
    assert [row["generation"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["evaluations"] for row in rows] == [8, 16, 24, 32, 40, 48]
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    for name, values in vars(result.history).items():
        assert [row[name] for row in rows] == values.tolist()


def test_of_many_runs_a_line_has_lists(tmp_path) -> None:
    result = run(de.loggers.jsonl(tmp_path / "log"), key=KEYS)
    rows = rows_of(tmp_path / "log")
    got = np.transpose([row["mean_fitness"] for row in rows])
    np.testing.assert_array_equal(got.astype(np.float32), result.history.mean_fitness)
    assert rows[-1]["evaluations"] == T * N  # of each


def ended_early(*loggers: de.loggers.Logger) -> None:
    """Two runs, of which the second has ended after the fourth generation."""
    *_, result = de.iterate(KEYS, STRATEGY, PROBLEM, population_size=N)
    state = de.pytree.replace(result.state, generation=jnp.array([T, 4]))
    told = dataclasses.replace(result, state=state)
    assert list(de.loggers.logged([told], loggers)) == [told]


def test_a_run_that_has_ended_while_others_go_on_is_not_logged(tmp_path) -> None:
    logs = de.loggers.jsonl(tmp_path / "log"), de.loggers.tensorboard(tmp_path / "curves")
    ended_early(*logs)
    rows = rows_of(tmp_path / "log")
    ends = [[value is None for value in row["num_failed"]] for row in rows]
    assert ends == [[False, False]] * 4 + [[False, True]] * 2
    assert len(curves(tmp_path / "curves" / "run-000")["sigma"]) == T
    assert len(curves(tmp_path / "curves" / "run-001")["sigma"]) == 4


def test_what_is_not_finite_is_null(tmp_path) -> None:
    run(de.loggers.jsonl(tmp_path / "log"), problem=FAILING)
    row = rows_of(tmp_path / "log")[0]
    assert (row["mean_fitness"], row["num_failed"]) == (None, N)


def test_a_fitness_that_was_given_is_no_evaluation(tmp_path) -> None:
    given = {"population": jnp.zeros((N, 2)), "fitness": jnp.ones(N)}
    run(de.loggers.jsonl(tmp_path / "log"), population_size=None, **given)
    rows = rows_of(tmp_path / "log")
    assert [row["evaluations"] for row in rows] == [0, 8, 16, 24, 32, 40]


def test_a_run_that_goes_on_from_another_counts_on(tmp_path) -> None:
    *_, result = de.iterate(KEYS[0], STRATEGY, PROBLEM, population_size=N)
    start = de.loggers.Start(generation=11, skipped=10)
    logs = de.loggers.jsonl(tmp_path / "log"), de.loggers.populations(tmp_path, every=16)
    list(de.loggers.logged([result], logs, start))
    rows = rows_of(tmp_path / "log")
    assert [row["generation"] for row in rows] == [11, 12, 13, 14, 15, 16]
    assert [row["evaluations"] for row in rows] == [8, 16, 24, 32, 40, 48]
    assert rows[0]["sigma"] == float(result.history.sigma[0])
    assert de.loggers.read_populations(tmp_path).generation.tolist() == [16]


def test_under_noise_there_is_no_luckiest(tmp_path) -> None:
    run(de.loggers.jsonl(tmp_path / "quiet"))
    assert "best_fitness" in rows_of(tmp_path / "quiet")[0]
    on_from(1, de.loggers.jsonl(tmp_path / "log"), noisy=True)
    assert not any("best_fitness" in row for row in rows_of(tmp_path / "log"))


@pytest.mark.parametrize("left", [b'{"generation": 6, "eval', b'{"gen', b"", b"\0\0\0"])
def test_a_run_that_goes_on_has_each_generation_once(tmp_path, left) -> None:
    path = tmp_path / "log"
    run(de.loggers.jsonl(path), stop=lambda result: len(result.history.done) == 5)
    before = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(before) + left)  # killed in the midst of a line
    on_from(4, de.loggers.jsonl(path), seconds=1000.0)  # the checkpoint was after 3
    rows = rows_of(path)
    assert [row["generation"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert path.read_bytes().startswith(b"".join(before[:3]))
    assert rows[2]["seconds"] < 1000.0 < rows[3]["seconds"]


def test_a_run_from_the_start_begins_the_file_anew(tmp_path) -> None:
    log = de.loggers.jsonl(tmp_path / "log")
    run(log)
    run(log, key=KEYS[1], stop=lambda result: len(result.history.done) == 2)
    assert [row["generation"] for row in rows_of(tmp_path / "log")] == [1, 2]


@pytest.mark.parametrize("text", ["notes", "notes\n", '{"a": 1}\n', "[3]\n{}\n"])
def test_a_file_that_is_no_log_is_refused_and_left_as_it_is(tmp_path, text) -> None:
    (tmp_path / "notes").write_text(text)
    with pytest.raises(ValueError, match=r"path: got .*notes, whose line 1 is none of a"):
        run(de.loggers.jsonl(tmp_path / "notes"))
    assert (tmp_path / "notes").read_text() == text


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path) -> None:
    path = tmp_path / "none" / "log"
    with pytest.raises(
        ValueError, match=r"path: got .*log, which cannot be written: No su"
    ):
        run(de.loggers.jsonl(path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_ends_no_run() -> None:
    with pytest.warns(RuntimeWarning, match=r"jsonl\('/dev/full'\) failed at generation 1"):
        result = run(de.loggers.jsonl("/dev/full"))
    assert bool(result.state.done)


def test_half_a_line_is_taken_back_where_the_disk_is_full(tmp_path) -> None:
    resource = pytest.importorskip("resource")
    result, log = run(), de.loggers.jsonl(tmp_path / "log")
    for _ in de.loggers.logged([result], [log]):
        size = (tmp_path / "log").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 20, limits[1]))
    try:
        with pytest.warns(RuntimeWarning, match="at generation 6, .* no room for a line"):
            list(de.loggers.logged([result], [log]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [row["generation"] for row in rows_of(tmp_path / "log")] == [1, 2, 3, 4, 5]


def test_zeros_of_a_machine_that_stopped_are_no_reason_to_refuse(tmp_path) -> None:
    (tmp_path / "log").write_bytes(bytes(500))
    result = run()
    list(de.loggers.logged([result], [de.loggers.jsonl(tmp_path / "log")]))
    assert [row["generation"] for row in rows_of(tmp_path / "log")] == [1, 2, 3, 4, 5, 6]


def test_two_logs_on_one_file_write_each_line_once(tmp_path) -> None:
    path = tmp_path / "log"
    with pytest.warns(RuntimeWarning, match="another log or process writes there too"):
        run(de.loggers.jsonl(path), de.loggers.jsonl(path))
    assert [row["generation"] for row in rows_of(path)] == [1, 2, 3, 4, 5, 6]


# TensorBoard


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder: (step, value) by name."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = events.EventAccumulator(str(folder)).Reload()
    return {
        name: [(event.step, event.value) for event in read.Scalars(name)]
        for name in read.Tags()["scalars"]
    }


def test_tensorboard_shows_the_curves_by_evaluations(tmp_path) -> None:
    result = run(de.loggers.tensorboard(tmp_path))
    shown = curves(tmp_path)
    for name in ("mean_fitness", "best_fitness", "sigma", *INTS):
        values = getattr(result.history, name).tolist()
        assert shown[name] == list(zip(range(8, 49, 8), values, strict=True))
    assert [value for _, value in shown["generation"]] == [1, 2, 3, 4, 5, 6]
    assert shown["seconds"][0][1] > 0


def test_tensorboard_has_a_folder_for_each_of_many_runs(tmp_path) -> None:
    result = run(de.loggers.tensorboard(tmp_path / "new" / "folder"), key=KEYS)
    for run_, name in enumerate(("run-000", "run-001")):
        shown = curves(tmp_path / "new" / "folder" / name)["mean_fitness"]
        assert [v for _, v in shown] == result.history.mean_fitness[run_].tolist()


def test_tensorboard_shows_each_step_of_a_run_that_goes_on_once(tmp_path) -> None:
    run(
        de.loggers.tensorboard(tmp_path),
        stop=lambda result: len(result.history.done) == 5,
    )
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-7])  # killed in the midst of a record
    on_from(4, de.loggers.tensorboard(tmp_path), seconds=1000.0)
    shown = curves(tmp_path)
    assert [step for step, _ in shown["mean_fitness"]] == [8, 16, 24, 32, 40, 48]
    assert shown["seconds"][2][1] < 1000.0 < shown["seconds"][3][1]


def test_tensorboard_leaves_out_what_is_not_finite(tmp_path) -> None:
    run(de.loggers.tensorboard(tmp_path), problem=FAILING)
    shown = curves(tmp_path)
    assert "mean_fitness" not in shown
    assert [value for _, value in shown["num_failed"]] == [N] * T


# Weights & Biases


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No messages, and nothing of this machine's user."""
    for name, value in {"SILENT": "true", "ERROR_REPORTING": "false"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WANDB_MODE", raising=False)


def records(path: Path) -> list[bytes]:
    """The records of a log of LevelDB, which W&B writes, after its head of seven bytes."""
    data, at, found, part = path.read_bytes(), 7, [], b""
    while at + 7 <= len(data):
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if 32768 - at % 32768 < 7 or kind == 0:  # what is left of a block is empty
            at += 32768 - at % 32768
            continue
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found, part = [*found, part], b""
    return found


def stored(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run that W&B has in a folder; another process writes them."""
    proto = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    rows = []
    for _ in range(200):
        read = [proto.Record.FromString(record) for record in records(path)]
        kinds = [record.WhichOneof("record_type") for record in read]
        if kinds[-1:] == ["exit"]:
            break
        time.sleep(0.05)
    for record in read:
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            named = {i.key or ".".join(i.nested_key): i.value_json for i in items}
            rows.append({name: json.loads(text) for name, text in named.items()})
    return rows


def test_wandb_keeps_on_disk_what_it_would_send(tmp_path, offline) -> None:
    pytest.importorskip("wandb")
    log = de.loggers.wandb("landscapes", id="one", folder=tmp_path, config={"note": 3})
    result = run(log, key=KEYS)
    rows = stored(tmp_path)
    assert [row["_step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["evaluations"] for row in rows] == [8, 16, 24, 32, 40, 48]
    fitness = np.asarray(result.history.mean_fitness, float)
    mean, sd = fitness.mean(axis=0), fitness.std(axis=0, ddof=1)
    np.testing.assert_allclose([row["mean_fitness"] for row in rows], mean, rtol=1e-6)
    np.testing.assert_allclose([row["mean_fitness_sd"] for row in rows], sd, rtol=1e-5)
    whole = next(tmp_path.glob("wandb/offline-run-*-one/run-one.wandb")).read_bytes()
    assert b"himmelblau" in whole  # the settings
    assert b"note" in whole


def test_wandb_goes_on_by_its_id(tmp_path, offline) -> None:
    pytest.importorskip("wandb")
    two = lambda result: len(result.history.done) == 2
    log = lambda part: de.loggers.wandb("landscapes", id="one", folder=tmp_path / part)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    run(log("first"), stop=two)
    on_from(3, log("second"), seconds=1000.0)
    first, second = stored(tmp_path / "first"), stored(tmp_path / "second")
    assert [row["_step"] for row in [*first, *second]] == [1, 2, 3, 4, 5, 6]
    assert first[-1]["seconds"] < 1000.0 < second[0]["seconds"]
    names = [path.name for path in tmp_path.glob("*/wandb/offline-run-*/run-*.wandb")]
    assert names == ["run-one.wandb"] * 2


def test_wandb_has_the_mean_of_the_runs_that_go_on(tmp_path, offline) -> None:
    pytest.importorskip("wandb")
    ended_early(de.loggers.wandb("landscapes", folder=tmp_path))
    result = run(key=KEYS)
    rows = stored(tmp_path)
    assert ["sigma_sd" in row for row in rows] == [True] * 4 + [False] * 2
    wanted = float(result.history.mean_fitness[0, -1])
    assert rows[-1]["mean_fitness"] == pytest.approx(wanted)


def test_a_mode_that_wandb_has_not_is_refused() -> None:
    pytest.importorskip("wandb")
    with pytest.raises(ValueError, match="mode: got 'on', want None or one of offline, on"):
        de.loggers.wandb("landscapes", mode="on")


@pytest.mark.parametrize(
    ("name", "package"), [("tensorboard", "tensorboardX"), ("wandb",) * 2]
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    monkeypatch, name, package
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    wanted = rf"loggers.{name} needs {package}: install the extra log"
    with pytest.raises(ImportError, match=wanted):
        getattr(de.loggers, name)("somewhere")


# Populations


def test_kept_populations_are_those_of_the_run(tmp_path) -> None:
    seen = []
    log = de.loggers.populations(tmp_path / "kept", every=2)
    run(log, lambda _, __, result: seen.append((result.population, result.fitness)))
    kept = de.loggers.read_populations(tmp_path / "kept")
    assert kept.generation.tolist() == [2, 4, 6]
    for row, (population, fitness) in enumerate(seen[1::2]):
        np.testing.assert_array_equal(kept.population[row], population)
        np.testing.assert_array_equal(kept.fitness[row], fitness)
    assert kept.violation is None
    one = de.loggers.read_populations(tmp_path / "kept", generations=[4])
    np.testing.assert_array_equal(one.population[0], kept.population[1])


def test_kept_populations_of_many_runs_have_a_leading_run_axis(tmp_path) -> None:
    result = run(de.loggers.populations(tmp_path, 3), key=KEYS)
    kept = de.loggers.read_populations(tmp_path)
    np.testing.assert_array_equal(kept.population[:, -1], result.population)
    assert kept.fitness.shape == (2, 2, N)


def test_kept_populations_have_their_violation_and_measures_by_name(tmp_path) -> None:
    measures = {"norm": jnp.ones((N, 3)), "ends": {"done": jnp.zeros(N, bool)}}
    result = run()
    told = dataclasses.replace(result, violation=jnp.arange(8.0), measures=measures)
    list(de.loggers.logged([told], [de.loggers.populations(tmp_path, every=6)]))
    kept = de.loggers.read_populations(tmp_path)
    np.testing.assert_array_equal(kept.violation, [np.arange(8.0)])
    assert {name: rows.shape for name, rows in kept.measures.items()} == {
        "norm": (1, N, 3),
        "ends.done": (1, N),
    }


def test_a_generation_within_a_chunk_is_refused_before_anything_runs(tmp_path) -> None:
    wanted = "every: got 3, and generation 3 is within a chunk of 2, want a multiple of ch"
    with pytest.raises(ValueError, match=wanted):
        run(de.loggers.populations(tmp_path, every=3), chunk_size=2)
    assert not list(tmp_path.iterdir())
    run(de.loggers.populations(tmp_path, every=6), chunk_size=4)  # the last is an end


def test_a_run_from_the_start_leaves_no_populations_of_another(tmp_path) -> None:
    run(de.loggers.populations(tmp_path, every=1))
    (tmp_path / "generation-1.npz").write_text("another's")
    two = lambda result: len(result.history.done) == 2
    run(de.loggers.populations(tmp_path, every=1), stop=two)
    assert de.loggers.read_populations(tmp_path).generation.tolist() == [1, 2]
    assert (tmp_path / "generation-1.npz").exists()


def test_reading_what_is_not_kept_says_what_is(tmp_path) -> None:
    with pytest.raises(ValueError, match="which has no populations, want one of them"):
        de.loggers.read_populations(tmp_path)
    run(de.loggers.populations(tmp_path, every=3))
    with pytest.raises(ValueError, match="generations: got 4, want some of 3, 6"):
        de.loggers.read_populations(tmp_path, generations=[3, 4])


# The command


SIZES = (f"--population-size={N}", f"--num-generations={T}", "--chunk-size=1")
COMMAND = ("evolve", "himmelblau", *SIZES)


def test_the_command_logs(tmp_path, capsys) -> None:
    flags = ("--seeds=2", f"--log={tmp_path / 'log'}", f"--tensorboard={tmp_path / 'tb'}")
    assert cli.main([*COMMAND, *flags, f"--json={tmp_path / 'json'}"]) == 0
    history = json.loads((tmp_path / "json").read_text())["history"]
    rows = rows_of(tmp_path / "log")
    assert [row["mean_fitness"][1] for row in rows] == history["mean_fitness"][1]
    shown = curves(tmp_path / "tb" / "run-001")["mean_fitness"]
    assert [value for _, value in shown] == history["mean_fitness"][1]
    assert math.isfinite(rows[0]["seconds"])


def test_the_command_takes_no_file_for_a_log_that_is_none(tmp_path, capsys) -> None:
    (tmp_path / "notes").write_text("notes\n")
    assert cli.main([*COMMAND, f"--log={tmp_path / 'notes'}"]) == 2
    assert "want a log or a new file" in capsys.readouterr().err

"""How a command ends: saved before shown, whatever its streams, its disk and Ctrl-C do."""

import contextlib
import errno
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import xarray

import diffevo_jax as de
from diffevo_jax import cli
from diffevo_jax.cli import (
    evolve_command,
    evolve_summary,
    interrupts,
    outputs,
    streams,
    sweep_command,
)
from diffevo_jax.pytree.files import written_whole
from diffevo_jax.running import bars
from diffevo_jax.sweeps import tables

pytestmark = pytest.mark.usefixtures("signals_as_before")

EVOLVE = ("evolve", "beale", "--population-size=8", "--num-generations=2", "--seeds=2")
SWEEP = ("sweep", "beale", "--population-size=8", "--num-generations=2", "--seeds=2")
SCORES, FLAGS = ("final_mean", "final_best"), ("failed", "missing")
COMMAND = (sys.executable, "-m", "diffevo_jax.cli")


class Stream(io.StringIO):
    """A standard output that takes no text, or only that of an encoding."""

    encoding = "utf-8"

    def __init__(self, error: int | None = None, encoding: str = "utf-8") -> None:
        super().__init__()
        self.error, self.encoding = error, encoding

    def write(self, text: str) -> int:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        text.encode(self.encoding)
        return super().write(text)


@pytest.fixture(scope="module")
def ended() -> tuple[Any, Any]:
    """What an evolution and a sweep might end with."""
    strategy, problem = de.DiffusionEvolution(2), de.problems.Landscape("beale")
    evolve = lambda key: de.evolve(key, strategy, problem, population_size=8)
    shapes = jax.eval_shape(jax.vmap(evolve), jax.random.split(jax.random.key(0), 2))
    result = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    config = {"name": "beale", "strategy": strategy, "problem": problem, "seeds": 2}
    config |= {"population_size": 8, "seed": 0}
    table = {name: (("setting", "seed"), np.ones((1, 2))) for name in SCORES}
    table |= {name: (("setting", "seed"), np.zeros((1, 2), bool)) for name in FLAGS}
    dataset = xarray.Dataset(table | {"evaluations": ("setting", [16])})
    return evolve_summary.Ended(config, result, [1.0, 2.0], False), dataset


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch, ended) -> None:
    told, dataset = ended
    monkeypatch.setattr(evolve_command, "follow", lambda *_: told)
    monkeypatch.setattr(sweep_command, "execute", lambda *_, **__: dataset.copy())


def targets(folder: Path, words: tuple[str, ...]) -> list[str]:
    """Flags of all files that a command can write, with their paths."""
    if words[0] == "evolve":
        return [f"--json={folder / 'out.json'}", f"--plot={folder / 'curve.png'}"]
    return [f"--out={folder / 'out.nc'}"]


both = pytest.mark.parametrize("words", [EVOLVE, SWEEP])


@both
def test_outputs_are_saved_before_they_are_shown(monkeypatch, tmp_path, words) -> None:
    flags, seen = targets(tmp_path, words), []
    monkeypatch.setattr(
        streams, "say", lambda text: seen.append((text, len(list(tmp_path.iterdir()))))
    )
    assert cli.main([*words, *flags]) == 0
    assert [count for _, count in seen] == [len(flags)]
    assert "best" in seen[0][0]


@both
@pytest.mark.parametrize(
    ("stream", "code", "said"),
    [
        (Stream(errno.ENOSPC), 1, "the output was not written: No space left on device"),
        (Stream(errno.EIO), 1, "the output was not written: Input/output error"),
        (Stream(errno.EPIPE), 141, ""),
        (Stream(encoding="ascii"), 0, ""),
        (Stream(encoding="latin-1"), 0, ""),
        (None, 0, ""),
    ],
)
def test_no_output_loses_what_was_to_be_saved(
    monkeypatch, tmp_path, words, stream, code, said
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", err := io.StringIO())
    assert cli.main([*words, *targets(tmp_path, words)]) == code
    assert err.getvalue() == (f"diffevo: error: {said}\n" if said else "")
    assert len(list(tmp_path.iterdir())) == len(targets(tmp_path, words))


@both
def test_a_closed_output_is_no_error(monkeypatch, tmp_path, words) -> None:
    (closed := Stream()).close()
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main([*words, *targets(tmp_path, words)]) == 0
    assert cli.main([*words, "--nonsense"]) == 2
    assert cli.main([words[0], "beale", "--help"]) == 0
    assert len(list(tmp_path.iterdir())) == len(targets(tmp_path, words))


@pytest.mark.parametrize("line", ["--help", "--version", "list", "evolve beale --help"])
@pytest.mark.parametrize(("error", "code"), [(errno.EPIPE, 141), (errno.ENOSPC, 1)])
def test_all_that_speaks_says_by_its_code_that_it_was_not_heard(
    monkeypatch, line, error, code
) -> None:
    monkeypatch.setattr(sys, "stdout", Stream(error))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert cli.main(line.split()) == code


def test_letters_that_the_output_lacks_are_written_otherwise(monkeypatch) -> None:
    for encoding, text in (("ascii", "+/- 3 \\u03b1"), ("utf-8", "± 3 α")):
        monkeypatch.setattr(sys, "stdout", out := Stream(encoding=encoding))
        streams.say("± 3 α")
        assert out.getvalue() == text
    streams.say("\udcff")  # of a file name that is no text


@both
@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_loses_neither_the_table_nor_the_file_before(
    monkeypatch, capsys, tmp_path, words, there
) -> None:
    """Half of a file is written, and then there is no room."""

    def fail(path: Path, content: Any, write: Any) -> None:
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_text, write_bytes = Path.write_text, Path.write_bytes
    monkeypatch.setattr(Path, "write_text", lambda p, c: fail(p, c, write_text))
    monkeypatch.setattr(Path, "write_bytes", lambda p, c: fail(p, c, write_bytes))
    path = Path(targets(tmp_path, words)[0].partition("=")[2])
    if there:
        write_text(path, "before")
    assert cli.main([*words, *targets(tmp_path, words)]) == 1
    out, err = capsys.readouterr()
    assert "best" in out
    assert f"{path} was not written: No space left on device" in err
    assert err.count("\n") == 1  # a second file is not affected
    assert path.exists() == there
    assert not there or path.read_text() == "before"
    others = [other for other in tmp_path.iterdir() if other != path]
    assert [other.name for other in others] == ["curve.png"] * (words == EVOLVE)


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_fails_half_way_is_not_left(
    monkeypatch, capsys, tmp_path, there, ended
) -> None:
    path = tmp_path / "out.zarr"
    if there:
        tables.save(ended[1], path)

    def to_zarr(dataset: Any, path: Path, **_: Any) -> None:
        path.mkdir()
        (path / "zarr.json").write_text("{}")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(xarray.Dataset, "to_zarr", to_zarr)
    assert cli.main([*SWEEP, f"--out={path}"]) == 1
    assert "final mean" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path] * there
    if there:
        with xarray.open_zarr(path, consolidated=False) as found:
            assert found.sizes == ended[1].sizes


@pytest.mark.parametrize(
    ("violations", "taken"), [([2.0, 0.5], 1), ([0.0, math.inf], 0), ([3.0, 3.0], 0)]
)
def test_the_json_file_has_the_violation_of_each_solution(
    ended, tmp_path, violations, taken
) -> None:
    result = de.replace(ended[0].result, best_violation=np.array(violations))
    told = ended[0]._replace(result=result)
    (output,) = evolve_summary.outputs(told, tmp_path / "out.json", None, None)
    output.write(output.path)
    record = json.loads(output.path.read_text())
    written = [math.inf if one is None else one for one in record["violations"]]
    assert written == violations
    assert record["recommended"]["run"] == taken
    assert record["recommended"]["violation"] == violations[taken]


def test_the_summary_has_the_solution_to_take_and_the_files(capsys, tmp_path, ended):
    told = ended[0]
    better = {"best_fitness": [0.25, 0.5], "best_violation": [0.0, 0.0]}
    better["best_solution"] = [[1.0, 2.0], [3.00004, 0.5]]
    made = {name: np.array(values) for name, values in better.items()}
    told = told._replace(result=de.replace(told.result, **made))
    evolve_summary.show(told, [tmp_path / "a.npz", tmp_path / "b.png"])
    lines = capsys.readouterr().out.splitlines()
    assert "solution     3, 0.5; of run 2 of 2, the best" in lines
    assert lines[-1] == f"saved        {tmp_path / 'a.npz'}, {tmp_path / 'b.png'}"


def test_a_solution_that_breaks_a_limit_is_shown_with_its_violation(capsys, ended):
    evolve_summary.show(ended[0])  # of ones, and so is the violation
    out = capsys.readouterr().out
    assert "; infeasible, violation 1\n" in out
    assert "saved" not in out


def test_what_is_wrong_with_a_run_is_said_in_lines_that_fit(capsys, monkeypatch, ended):
    monkeypatch.setenv("COLUMNS", "60")
    evolve_summary.show(ended[0])  # a self weight of 1 in all generations
    lines = capsys.readouterr().out.splitlines()
    (place,) = [n for n, line in enumerate(lines) if line.startswith("diagnosis    self")]
    assert lines[place + 1].startswith(" " * 13)
    assert len(lines[place + 1]) <= 60


def test_a_run_that_went_well_has_no_diagnosis(capsys, ended):
    history = de.replace(
        ended[0].result.history,
        self_weight=np.full((2, 2), 0.1, np.float32),
        effective_sample_size=np.full((2, 2), 4.0, np.float32),
        mean_fitness=np.array([[0.0, 1.0], [0.0, 1.0]], np.float32),
        **{
            name: np.zeros((2, 2), np.int32)
            for name in ("num_failed", "num_weightless", "num_diverged", "num_clipped")
        },
    )
    result = de.replace(ended[0].result, history=history, best_violation=np.zeros(2))
    evolve_summary.show(ended[0]._replace(result=result))
    assert "diagnosis" not in capsys.readouterr().out


def test_no_solution_is_shown_where_every_evaluation_failed(capsys, ended):
    result = de.replace(ended[0].result, best_fitness=np.full(2, -np.inf))
    evolve_summary.show(ended[0]._replace(result=result))
    assert "solution" not in capsys.readouterr().out


def test_of_a_solution_of_many_numbers_it_is_said_which_files_keep_it(capsys, ended):
    problem = de.problems.Function(lambda x: x.sum(), dim=9)
    config = ended[0].config | {"problem": problem}
    evolve_summary.show(ended[0]._replace(config=config))
    told = "solution     9 numbers, which --json FILE and --out FILE keep\n"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("solution", "line"),
    [
        (2.5, "2.5"),
        ([1.0, 123456.7], "1, 1.235e+05"),
        ({"bore": 1.80396, "fluid": "oil", "count": 9}, "bore 1.804, count 9, fluid oil"),
        ({"at": np.array([1.0, 2.0])}, "at 1, 2"),
    ],
)
def test_a_solution_in_a_line(solution, line) -> None:
    assert evolve_summary.in_a_line(solution) == line


def test_a_file_that_was_not_written_is_not_said_to_be_saved(capsys, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("of a library")

    monkeypatch.setattr(evolve_summary, "_plot", fail)
    words = (f"--json={tmp_path / 'a.json'}", f"--plot={tmp_path / 'b.png'}")
    assert cli.main([*EVOLVE, *words]) == 1
    assert f"saved        {tmp_path / 'a.json'}\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["run.csv", "run.json", "run.v2"])
def test_a_result_goes_to_a_file_that_a_report_can_read(capsys, tmp_path, name) -> None:
    assert cli.main([*EVOLVE, f"--out={tmp_path / name}"]) == 2
    assert "want a name that ends in .npz, or has no ending" in capsys.readouterr().err


def test_every_output_is_tried_and_any_error_is_told(capsys, tmp_path) -> None:
    def fail(path: Path) -> None:
        raise RuntimeError("of a library")

    wanted = [
        outputs.Output("--json", tmp_path / "a", fail),
        outputs.Output("--plot", tmp_path / "b", Path.touch),
    ]
    assert outputs.save_and_show(wanted, lambda: None) == 1
    assert "--json: " in (err := capsys.readouterr().err)
    assert "was not written: RuntimeError: of a library" in err
    assert (tmp_path / "b").exists()


def test_what_runs_out_of_memory_says_so(monkeypatch, capsys) -> None:
    for error in (
        MemoryError(),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."),
    ):

        def follow(*_: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(evolve_command, "follow", follow)
        assert cli.main([*EVOLVE]) == 1
        assert "memory" in capsys.readouterr().err


def test_what_would_run_says_what_it_takes_and_runs_nothing(
    monkeypatch, capsys, tmp_path
) -> None:
    folder, huge = tmp_path / "kept", de.Footprint(needed=10**9, results=10**7, free=2)
    words = ["beale", "--dry-run", f"--folder={folder}", "--num-generations=2"]
    assert cli.main(["evolve", *words]) == 0
    assert cli.main(["sweep", *words, "--seeds=3"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "it fits" in first
    assert second.startswith("3 runs, ")
    monkeypatch.setattr(evolve_command, "footprint", lambda *_, **__: huge)
    monkeypatch.setattr(sweep_command, "footprint", lambda *_, **__: (1, huge))
    for command in ("evolve", "sweep"):
        assert cli.main([command, *words]) == 1
        assert "takes 1.0 GB" in capsys.readouterr().out
    assert not folder.exists()


# Bars


def test_a_bar_that_nobody_can_see_ends_no_run(monkeypatch, ended) -> None:
    for stream in (None, Stream(errno.EIO), Stream(encoding="ascii")):
        monkeypatch.setattr(sys, "stdout", stream)
        with bars.show_runs(2, 0, True) as advance:
            advance(2)
        assert list(bars.show_generations(iter([ended[0].result]), 2)) == [ended[0].result]


# Ctrl-C


@pytest.fixture
def handler(monkeypatch):
    """The handler of a process, and the codes with which it ends itself."""
    codes: list[int] = []
    monkeypatch.setattr(interrupts.os, "_exit", codes.append)
    interrupts.install()
    return signal.getsignal(signal.SIGINT), codes


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_jax_ends_the_process_and_elsewhere_is_an_exception(
    handler, capsys
) -> None:
    interrupts.at_the_end(lambda: "3 of 4 batches are stored")
    jax.eval_shape(lambda x: press() or x, 0.0)
    assert handler[1] == [130]
    assert capsys.readouterr().err == "diffevo: 3 of 4 batches are stored\n"
    with pytest.raises(KeyboardInterrupt):
        press()
    assert handler[1] == [130]


def test_the_first_ctrl_c_only_asks_once_there_is_something_to_keep(
    handler, capsys
) -> None:
    interrupts.only_ask()
    assert not interrupts.is_asked()
    press()
    assert interrupts.is_asked()
    assert "waiting for the generations under way" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        press()


def test_who_ignores_ctrl_c_goes_on_ignoring_it_and_who_answers_answers() -> None:
    for before in (signal.SIG_IGN, lambda *_: None):
        old = signal.signal(signal.SIGINT, before)
        try:
            interrupts.install()
            assert signal.getsignal(signal.SIGINT) is before
            interrupts.only_ask()
            press()
            assert not interrupts.is_asked()
        finally:
            signal.signal(signal.SIGINT, old)


def test_a_process_has_all_three_streams_and_ends_at_once_if_not_well(monkeypatch) -> None:
    from diffevo_jax.cli import __main__ as entrance

    ended, opened = [], []

    def missing(number: int) -> None:
        if number != 1:
            raise OSError(errno.EBADF, "")

    system = {"_exit": ended.append, "open": lambda *_: opened.append(1), "fstat": missing}
    known = {"devnull": os.devnull, "O_RDWR": os.O_RDWR}
    monkeypatch.setattr(entrance, "os", SimpleNamespace(**system, **known))
    monkeypatch.setattr(entrance.interrupts, "install", lambda: None)
    for code in (0, 130):
        monkeypatch.setattr(entrance, "main", lambda code=code: code)
        entrance.process()
    assert ended == [130]
    assert len(opened) == 4


def test_a_warning_is_a_line_without_a_place_in_a_file(monkeypatch, capsys) -> None:
    from diffevo_jax.cli import __main__ as entrance

    def main() -> int:
        warnings.warn("folder: the disk\nis full", stacklevel=1)
        return 0

    monkeypatch.setattr(entrance, "main", main)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    warnings.simplefilter("always")
    entrance.process()
    assert capsys.readouterr().err == "diffevo: warning: folder: the disk is full\n"


@pytest.fixture
def written(tmp_path):
    """Three outputs; while the second is written, Ctrl-C is pressed so many times."""

    def written(count: int) -> list[outputs.Output]:
        def write(path: Path) -> None:
            with written_whole(path) as unfinished:
                unfinished.write_text("half")
                for _ in range(count):
                    press()
                unfinished.write_text("whole")

        paths = [tmp_path / name for name in ("a", "b", "c")]
        writers = [Path.touch, write, Path.touch]
        return [outputs.Output("--out", *each) for each in zip(paths, writers, strict=True)]

    return written


def test_ctrl_c_while_a_file_is_written_waits_for_it_and_says_so_once(
    handler, written, capsys, tmp_path
) -> None:
    interrupts.only_ask()
    assert outputs.save_and_show(written(1), lambda: streams.say("shown")) == 0
    said, line = capsys.readouterr(), f"the runs have ended; {tmp_path / 'b'} is being wr"
    assert said.out == "shown"
    assert said.err.startswith(f"diffevo: {line}")
    assert said.err.count("\n") == 1
    assert (tmp_path / "b").read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_a_second_ctrl_c_leaves_no_half_of_a_file_and_names_what_is_not_written(
    handler, written, capsys, tmp_path
) -> None:
    interrupts.only_ask()
    assert outputs.save_and_show(written(2), lambda: streams.say("shown")) == 130
    out, err = capsys.readouterr()
    assert out == ""
    lost = f"interrupted; not written: {tmp_path / 'b'}, {tmp_path / 'c'}"
    assert err.splitlines()[1:] == [f"diffevo: {lost}"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_ctrl_c_before_the_files_counts_as_the_first(handler, written, capsys) -> None:
    interrupts.only_ask()
    press()
    assert outputs.save_and_show(written(1), lambda: None) == 130
    assert capsys.readouterr().err.count("not written") == 1
    assert interrupts.is_asked()


# Processes


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.0, 0.1, 0.5])
def test_ctrl_c_in_a_process_leaves_a_whole_file_of_what_it_says(tmp_path, wait) -> None:
    words = ("evolve", "beale", "--num-generations=200000", "--chunk-size=1000")
    log, out = tmp_path / "log.jsonl", tmp_path / "result.npz"
    files = (f"--log={log}", f"--out={out}", "--population-size=8")
    process = subprocess.Popen(
        (*COMMAND, *words, *files),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (log.exists() and log.read_text().count("\n") > 1000):  # a second chunk
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    shown, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err.count("\n") == err.count("waiting for the generations under way") == 1
    saved = de.load(out).result
    assert f"after {saved.history.sigma.shape[1]} of 200000 generations" in shown
    assert np.ravel(saved.reason).tolist() == ["interrupted"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "result.npz"]


@pytest.mark.slow
def test_a_process_without_streams_saves(tmp_path) -> None:
    path = tmp_path / "out.json"
    line = " ".join([*COMMAND, *EVOLVE, f"--json={path}", "<&- >&- 2>&-"])
    assert subprocess.run(line, shell=True, check=False).returncode == 0
    assert json.loads(path.read_text())["summary"]["generations"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--folder", "runs")])
def test_ctrl_c_in_a_running_sweep_ends_in_130(tmp_path, flags) -> None:
    code = (
        "import sys; from diffevo_jax.cli.__main__ import process; "
        "print('imported', file=sys.stderr, flush=True); process()"
    )
    line = (sys.executable, "-c", code, *SWEEP, "--axis=sampler.eta=linspace(0,1,9000)")
    for wait in np.linspace(1.0, 8.0, 4):
        process = subprocess.Popen(
            (*line, "--batch-size=1", *flags),
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert (
            process.stderr.readline() == "imported\n"
        )  # what Python does before is its own
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "interrupted" in err
        assert not list(tmp_path.glob("*/.unfinished-*"))


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["nc", "zarr", "csv", "parquet"])
def test_a_real_disk_that_is_full_leaves_nothing(tmp_path, ending) -> None:
    """No file may be longer than a few bytes, which the system enforces."""
    path = tmp_path / f"out.{ending}"
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)); "
    code = f"{limit}from diffevo_jax import cli; sys.exit(cli.main(sys.argv[1:]))"
    line = (sys.executable, "-c", code, *SWEEP, f"--out={path}")
    run = subprocess.run(line, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    assert "final mean" in run.stdout
    assert f"{path} was not written: " in run.stderr
    assert "Traceback" not in run.stderr
    with contextlib.suppress(FileNotFoundError):
        assert list(tmp_path.iterdir()) == []

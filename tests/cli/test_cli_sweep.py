"""The command ``diffevo sweep``: axes, files, shards, what is stored, what is told.

Most tests need no real runs: their program is replaced by one that makes results up.
"""

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np
import pytest
import xarray

import diffevo_jax as de
from diffevo_jax import cli
from diffevo_jax.base import Info
from diffevo_jax.cli import axes, sweep_command
from diffevo_jax.running.bars import show_runs
from diffevo_jax.sweeps import execution
from diffevo_jax.sweeps.batches import KeptRuns, Program
from diffevo_jax.sweeps.folder import Folder

CARTPOLE = de.published.control("CartPole-v1")
BEALE = de.published.landscape("beale")
#: Six settings of three seeds, in batches of four runs: five batches.
SWEEP = (
    *("beale", "--num-generations=2", "--seeds=3", "--batch-size=4"),
    *("--axis=sampler.eta=0,0.5,1", "--axis=problem.scale=2,3"),
)
REAL = (
    *("beale", "--population-size=8", "--num-generations=2", "--seeds=2"),
    *("--axis=sampler.eta=0.5,1", "--batch-size=1", "--devices=1"),
)


@pytest.fixture
def pretend(monkeypatch):
    """Make results up: a run's fitness is 10 times its setting plus its seed.

    Returns the list of the (setting, seed) that have run.
    """
    ran: list[tuple[int, int]] = []

    def program(key, group, runs, how) -> Program:
        def call(setting: np.ndarray, seed: np.ndarray, count: int) -> KeptRuns:
            number = np.array(group.numbers)[setting]
            ran.extend(zip(number.tolist(), seed.tolist(), strict=True))
            fitness = np.where(seed < 1000, 10.0 * number + seed, 100.0 + seed % 2)
            rows = np.repeat(fitness[:, None], group.num_generations, axis=1)
            blank = {name: np.zeros(rows.shape, kind) for name, kind in INFO.items()}
            told = dict.fromkeys(("mean_fitness", "best_fitness"), rows.astype("f4"))
            best = (fitness + 1).astype("f4")
            return KeptRuns(history=Info(**blank | told), best=best, kept={})

        return Program(call, min(how.batch_size or 4, runs))

    monkeypatch.setattr(execution, "program", program)
    return ran


#: Dtypes of what a generation tells.
INFO = {
    field.name: {"num": "i4", "done": "?"}.get(field.name.split("_")[0], "f4")
    for field in dataclasses.fields(Info)
}


@pytest.fixture
def read(monkeypatch, capsys):
    """What a command line asks for, without running it: (settings, plan)."""

    def read(*args: Any) -> tuple[Any, Any]:
        seen = []

        def run(name, settings, plan, *rest):
            seen.append((settings, plan))
            return 0

        monkeypatch.setattr(sweep_command, "run", run)
        code = cli.main(["sweep", *map(str, args)])
        assert code == 0, capsys.readouterr().err
        return seen[0]

    return read


@pytest.fixture
def fail(capsys):
    """Run a command line that is wrong and return its one line of complaint."""

    def fail(*args: Any) -> str:
        assert cli.main(["sweep", *map(str, args)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("diffevo: error: ")
        assert err.count("\n") == 1
        return err

    return fail


@pytest.fixture
def write(tmp_path):
    """Write a TOML file."""

    def write(text: str) -> Path:
        path = tmp_path / "sweep.toml"
        path.write_text(text)
        return path

    return write


def sweep(*args: Any) -> int:
    return cli.main(["sweep", *map(str, args)])


# Axes


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("sampler.eta=0,0.5", [0.0, 0.5]),
        ("sampler.eta=linspace(0,1,3)", [0.0, 0.5, 1.0]),
        ("sampler.eta=logspace(-2,0,3)", np.logspace(-2, 0, 3).tolist()),
        ("sampler.eta=0,geomspace(0.25,1,3)", [0.0, 0.25, 0.5, 1.0]),
        ("population-size=range(8,32,8)", [8, 16, 24]),
        ("population_size=linspace(8,16,3)", [8, 12, 16]),
        ("kernel.floor=None,1e-9", [None, 1e-9]),
        ("denoiser.shaping.temperature=1,2", [1.0, 2.0]),
        ("gravity=5,10", [5.0, 10.0]),
        ("problem.policy.hidden=8,8 4,", [(8,), (8, 4), ()]),
        ("problem.env-params.gravity=5,10", [5.0, 10.0]),
    ],
)
def test_words_are_the_values_of_an_axis(text, values) -> None:
    exact = de.replace(CARTPOLE.strategy, kernel=de.kernels.Gaussian())
    found = axes.parse(exact, CARTPOLE.problem, 8, [text])
    assert list(found.values()) == [values]
    kinds = [type(value) for value in values]
    assert [type(value) for value in next(iter(found.values()))] == kinds


def test_a_part_is_named_as_by_its_flag_and_may_say_its_numbers() -> None:
    text = "kernel=tempered,gaussian(kappa=2),random-projection"
    chosen = de.replace(CARTPOLE.strategy, kernel=de.kernels.RandomProjection(5))
    found = axes.parse(chosen, CARTPOLE.problem, 8, [text])["kernel"]
    # Of the class that is there already, it is the part that is there.
    want = [de.kernels.Tempered(), de.kernels.Gaussian(2.0), de.kernels.RandomProjection(5)]
    chex.assert_trees_all_equal(found, want)


def test_flags_of_a_part_and_strategies_are_values_of_an_axis() -> None:
    fit = de.replace(BEALE.strategy, denoiser=de.denoisers.GaussianFit())
    texts = ["diagonal=true,false", "strategy=diffusion-evolution,monoflow(rate=3)"]
    found = axes.parse(fit, BEALE.problem, 8, texts)
    assert found["diagonal"] == [True, False]
    chex.assert_trees_all_equal(found["strategy"][0], fit)
    chex.assert_trees_all_equal(found["strategy"][1], de.MonoFlow(25, rate=3.0))


def test_a_part_without_defaults_wants_its_numbers(fail, monkeypatch) -> None:
    @de.pytree.dataclass
    class Sharp:
        """Weights of one's own."""

        size: float = de.pytree.number(above=0.0)

        def log_weight(self, fitness: jax.Array) -> jax.Array:
            return self.size * fitness

    monkeypatch.setattr(Sharp, "__module__", de.shaping.__name__)
    monkeypatch.setattr(de.shaping, "Sharp", Sharp, raising=False)
    assert "want sharp(size=...)" in fail("beale", "--axis=shaping=sharp")
    found = axes.parse(BEALE.strategy, BEALE.problem, 8, ["shaping=sharp(size=3)"])
    assert found["shaping"][0].size == 3.0


def test_fields_that_go_together_are_joined_by_colons() -> None:
    text = "sampler.eta,population-size=linspace(0,1,2):range(8,10),0.5:4"
    found = axes.parse(CARTPOLE.strategy, CARTPOLE.problem, 8, [text])
    assert found == {("sampler.eta", "population_size"): [(0.0, 8), (1.0, 9), (0.5, 4)]}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("shaping.temprature=1", "closest: shaping.temperature"),
        ("kernel.temperature=1", "closest: shaping.temperature"),
        ("floor=1", "--axis: 'floor' is ambiguous, want one of: denoiser.kernel.floor, "),
        ("problem.env_params.gravty=1", "closest: problem.env_params.gravity"),
        ("sampler.eta", "want FIELD=VALUE,VALUE"),
        ("sampler.eta=", "sampler.eta: got '', want a number"),
        ("sampler.eta=range(0)", "want a sequence of values"),
        ("sampler.eta=2", "--axis: setting 0 (sampler.eta=2.0): DDIM.eta: got 2.0"),
        ("sampler.eta=linspace(0,1)", "want linspace(first,last,count)"),
        ("population-size=linspace(8,15,3)", "got '11.5', want an int"),
        ("kernel=temperd", "got 'temperd'; closest: tempered"),
        ("kernel=tempered(dimensn=2)", "got 'dimensn=2'; closest: dimension"),
        ("kernel=tempered(dimension=x)", "dimension: got 'x', want a number"),
        ("conditions=1", "sweep it from Python"),
        ("strategy=1", "got '1', want one of consensus, diffusion-evolution, mono-flow"),
        ("problem=1", "sweep it from Python"),
        ("sampler.eta,scale=1:2:3", "want sampler.eta:scale"),
        ("sampler.eta,scale=linspace(0,1,3):1", "equally many"),
    ],
)
def test_a_bad_axis_gets_one_line_and_exit_code_2(fail, text, hint) -> None:
    assert hint in fail("cartpole", "--kernel=gaussian", "--axis", text)


def test_an_axis_given_twice_is_an_error(fail) -> None:
    assert "given twice" in fail("beale", "--axis=scale=1", "--axis=scale=2")
    twice = "--axis=eta=1", "--axis=sampler.eta,scale=1:1"
    assert "--axis: 'sampler.eta' is swept twice" in fail("beale", *twice)


def test_axes_multiply_and_a_part_is_chosen_before_its_numbers(read) -> None:
    _, plan = read(
        *("beale", "--kernel=tempered", "--axis=kernel.dimension=1,2"),
        *("--axis=kernel=tempered(dimension=9)", "--axis=population-size=8,16"),
    )
    found = [
        (setting.strategy.denoiser.kernel.dimension, setting.population_size)
        for setting in plan.settings
    ]
    assert found == [(1.0, 8), (1.0, 16), (2.0, 8), (2.0, 16)]


def test_without_an_axis_there_is_one_setting(read) -> None:
    settings, plan = read("cartpole", "--env-params.gravity=9", "--seeds=3")
    assert (len(plan.settings), plan.num_runs) == (1, 3)
    assert plan.settings[0].problem.env_params.gravity == 9.0
    assert settings.options.population_size == 256


def test_a_thousand_settings_check_their_shapes_once(read, monkeypatch) -> None:
    traced = []
    monkeypatch.setattr(
        de.problems.Control, "check_shapes", lambda problem: traced.append(problem)
    )
    axes = ("--axis=sampler.eta=linspace(0,1,25)", "--axis=problem.scale=linspace(1,2,40)")
    _, plan = read("cartpole", *axes)
    assert len(plan.settings) == 1000
    assert len(plan.groups) == 1
    assert len(traced) == 2  # as it is, and in the trace of a run


def test_a_wrong_number_in_a_late_setting_is_found(fail) -> None:
    line = fail("cartpole", "--axis=problem.env_params.gravity=1,2,nan")
    assert "setting 2" in line
    assert "want finite numbers" in line


# Files


TOML = """
name = "cartpole"
seeds = 4
seed = 3
population-size = 16
mode = "map"
progress = false

[strategy]
num_generations = 5
denoiser.memory = {class = "archive", generations = 2}
kernel = {class = "tempered", dimension = 3}
"sampler.eta" = 0.5

[problem]
hidden = [8, 4]
env-params.gravity = 9

[axes]
"shaping.temperature" = "logspace(-1,1,3)"
"sampler.eta, memory.correction" = [[0, 1], [0.5, "0.2"]]
problem.policy.hidden = [[8], [8, 4]]
kernel = ["tempered", "gaussian(kappa=2)"]
"""
FLAGS = (
    *("cartpole", "--seeds=4", "--seed=3", "--population-size=16", "--mode=map"),
    *("--no-progress", "--num-generations=5", "--kernel=tempered"),
    *("--memory=archive", "--memory.generations=2"),
    *("--kernel.dimension=3", "--sampler.eta=0.5"),
    *("--hidden", "8", "4", "--env-params.gravity=9"),
    *("--axis=shaping.temperature=logspace(-1,1,3)", "--axis"),
    *("sampler.eta,memory.correction=0:1,0.5:0.2", "--axis"),
    *("problem.policy.hidden=8,8 4", "--axis", "kernel=tempered,gaussian(kappa=2)"),
)


def test_a_file_says_what_the_flags_say(read, write) -> None:
    (settings, plan), (wanted, wanted_plan) = read(write(TOML)), read(*FLAGS)

    chex.assert_trees_all_equal(settings.strategy, wanted.strategy)
    chex.assert_trees_all_equal(settings.problem, wanted.problem)
    own = {"axis": (), "config": None}  # axes are compared below; one of both has a file
    assert vars(settings.options) | own == vars(wanted.options) | own
    assert len(plan.settings) == 3 * 2 * 2 * 2
    pairs = zip(plan.settings, wanted_plan.settings, strict=True)
    assert all(one.values == two.values for one, two in pairs)


def test_the_command_line_overrides_the_file(read, write) -> None:
    settings, plan = read(
        *(write(TOML), "--seeds=2", "--kernel=gaussian", "--hidden", "3"),
        *("--axis=kernel=gaussian", "--axis=problem.policy.hidden=5"),
        "--axis=sampler.eta,memory.correction=1:1",
    )
    assert settings.options.seeds == 2
    assert settings.options.seed == 3
    # A class that the command line names has its own numbers, not those of the file.
    chex.assert_trees_all_equal(settings.strategy.denoiser.kernel, de.kernels.Gaussian())
    assert settings.problem.policy.hidden == (3,)
    assert [setting.values["shaping.temperature"] for setting in plan.settings] == [
        pytest.approx(value) for value in (0.1, 1.0, 10.0)
    ]


FLOW = """
name = "beale"

[strategy]
class = "monoflow"
num_generations = 5
rate = 3
shaping = {class = "rank"}
"""


def test_a_file_may_name_the_strategy(read, write) -> None:
    settings, _ = read(write(FLOW))
    wanted = de.MonoFlow(5, rate=3.0, shaping=de.shaping.Rank())
    chex.assert_trees_all_equal(settings.strategy, wanted)


def test_a_strategy_of_the_command_line_has_its_own_numbers_but_not_its_length(
    read, write
) -> None:
    settings, _ = read(write(TOML.partition("[axes]")[0]), "--strategy=monoflow")
    chex.assert_trees_all_equal(settings.strategy, de.MonoFlow(5))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("name = 'beale'\nsede = 1", "got 'sede'; closest: seed"),
        (
            "name = 'beale'\n[option]\nseeds = 1",
            "got 'option', want name, an option, [strategy]",
        ),
        (
            "name = 'beale'\n[strategy]\nkernl = 'tempered'",
            "[strategy] got 'kernl'; closest",
        ),
        ("name = 'beale'\n[strategy]\nkernel.kapa = 1", "closest: kernel.kappa"),
        ("name = 'beale'\n[strategy]\nkernel = {class = 'x'}", "'gaussian'"),
        ("name = 'beale'\n[strategy]\nscale = 1", "[strategy] got 'scale'"),
        ("name = 'beale'\n[strategy]\nfloor = 1", "strategy.floor: 'floor' is ambiguous"),
        (
            "name = 'beale'\n[strategy]\nclass = 'monoflow'\nsampler.eta = 1",
            "[strategy] got 'sampler.eta'",
        ),
        (
            "name = 'beale'\n[strategy]\ndenoiser = 'gaussian-fit'\nkernel.kappa = 1",
            "[strategy] got 'kernel.kappa'",
        ),
        ("name = 'beale'\n[problem]\nsclae = 1", "[problem] got 'sclae'; closest: scale"),
        (
            "name = 'beale'\n[problem]\nscale = 'wide'",
            "problem.scale: got 'wide', want a num",
        ),
        ("name = 'beale'\n[problem]\nscale = -1", "problem.scale: got -1.0, want a n"),
        ("name = 'cartpole'\n[problem.env_params]\ngravty = 1", "env_params.gravity"),
        ("name = 'beale'\n[axes]\nshaping.temprature = [1]", "got 'shaping.temprature'"),
        ("name = 'beale'\n[axes]\npopulation_size = [8.5]", "got 8.5, want an int"),
        ("name = 'beale'\naxes = 1", "want a table [axes]"),
        ("name = 'beal'", "closest: beale"),
        ("seeds = 1", "want name ="),
        ("name = ", "sweep.toml: Invalid value"),
    ],
)
def test_a_bad_file_gets_one_line_and_exit_code_2(fail, write, text, hint) -> None:
    assert hint in fail(write(text))


def test_a_file_that_is_not_there_gets_one_line(fail, tmp_path) -> None:
    assert "No such file" in fail(tmp_path / "absent.toml")


# Options


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ("", "want a NAME or a FILE.toml"),
        ("--seeds 3 beale", "want a NAME or a FILE.toml"),
        ("beal", "closest: beale"),
        ("beale --sedes 3", "closest: --seeds"),
        ("beale --seeds 0", "--seeds: got 0"),
        ("beale --seed -1", "--seed: got -1"),
        ("beale --top -1", "--top: got -1"),
        ("beale --confirm 1", "--confirm: got 1, want an int >= 2"),
        ("beale --batch-size 0", "--batch-size: got 0"),
        ("beale --devices 1000", "--devices: got 1000, want 1 to"),
        ("beale --mode pmap", "'vmap', 'map'"),
        ("beale --shard 0/2", "want one that all shards share"),
        ("beale --folder X --shard 2/2", "got '2/2', want i/n with 0 <= i < n"),
        ("beale --folder X --shard 0/0", "got '0/0'"),
        ("beale --folder X --shard 1", "got '1'"),
        ("beale --folder X --shard -1/2", "got '-1/2'"),
        # What no memory holds.
        ("beale --seeds 2000000000000", "--seeds: got 1 settings and 2,000,000,000,0"),
        ("beale --axis=scale=range(1,1000000000000)", "got 'range(1,1000000000000)', 999,"),
        ("beale --axis=scale=range(0,-1000000000000,-1)", ", 1,000,000,000,000 values"),
        ("beale --axis=scale=linspace(1,2,1000000000000)", "takes at least 400,000 GB"),
        (
            "beale --axis=scale=range(1,999) --axis=eta=linspace(0,1,999) "
            "--axis=temperature=range(1,999) --axis=kappa=linspace(0,1,999)",
            "--axis: got 994,012,988,004 settings, which takes at least",
        ),
        ("beale --axis=num-generations=8,1000000000000", "seeds of 1,000,000,000,000 gen"),
        ("beale --confirm 1000000000000", "--confirm: got 1,000,000,000,000, which takes"),
        ("beale --batch-size 1000000000000", "--batch-size: got 1,000,000,000,000; "),
        ("beale --axis=population-size=8,1000000000000", "--population-size: got 1,000"),
        ("beale --support best --count 9 --population-size 8", "--count: got 9"),
        ("beale --kernel principal-components --kernel.dim 5", "--kernel.dim: got 5"),
        ("beale --axis=kernel=gaussian,principal-components(dim=5)", "dim: got 5"),
        ("beale --out sweep.xyz", "--out: got sweep.xyz, want an ending among .nc"),
        ("beale --out no/such/folder.nc", "--out: got no/such/folder.nc, which cannot"),
    ],
)
def test_bad_options_get_one_line_before_anything_runs(
    fail, monkeypatch, tmp_path, flags, hint
) -> None:
    monkeypatch.chdir(tmp_path)
    assert hint in fail(*flags.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.nc", "out.zarr"])
def test_a_path_of_the_wrong_kind_is_refused(fail, tmp_path, name) -> None:
    path = tmp_path / name
    path.touch() if name == "out.zarr" else path.mkdir()
    assert "cannot be written" in fail("beale", "--out", path)


@pytest.mark.parametrize(
    ("name", "package"),
    [("a.nc", "h5netcdf"), ("a.zarr", "zarr"), ("a.parquet", "pyarrow")],
)
def test_a_missing_package_is_named_before_anything_runs(
    fail, monkeypatch, name, package
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert "install the extra sweep" in fail("beale", "--out", name)


def test_the_help_has_axes_and_the_flags_of_the_name(capsys, write) -> None:
    for target in ("beale", write("name = 'beale'")):
        assert sweep(target, "--help") == 0
        shown = capsys.readouterr().out
        for flag in ("--axis ", "--shard ", "--kernel.kappa ", "--scale "):
            assert flag in shown


# Shards, stops


def test_shards_end_in_the_table_of_the_whole(pretend, capsys, tmp_path) -> None:
    out, merged = tmp_path / "whole.nc", tmp_path / "merged.nc"
    assert sweep(*SWEEP, "--out", out) == 0
    folder = ("--folder", tmp_path / "runs", "--out", merged)

    # Two of three shards: what is missing is said, and no table is written.
    assert sweep(*SWEEP, *folder, "--shard=0/3") == 0
    assert sweep(*SWEEP, *folder, "--shard=2/3") == 0
    told = capsys.readouterr().out
    assert "shard 2/3 is done; 2 of 5 batches (6 of 18 runs) are missing in" in told
    assert "the same command without --shard" in told
    assert not merged.exists()

    # The last shard makes the table; merging then runs nothing.
    assert sweep(*SWEEP, *folder, "--shard=1/3") == 0
    assert merged.exists()
    merged.unlink()
    pretend.clear()
    assert sweep(*SWEEP, *folder) == 0
    assert pretend == []
    assert "18 runs were stored before" in capsys.readouterr().out
    with xarray.open_dataset(out) as one, xarray.open_dataset(merged) as two:
        xarray.testing.assert_identical(one, two)


def test_without_a_shard_missing_batches_are_run(pretend, tmp_path) -> None:
    folder = ("--folder", tmp_path / "runs")
    sweep(*SWEEP, *folder, "--shard=0/2")
    done = set(pretend)
    pretend.clear()
    assert sweep(*SWEEP, *folder) == 0
    # The last batch repeats a run to be full.
    assert set(pretend) | done == {(i, j) for i in range(6) for j in range(3)}
    assert set(pretend) & done == set()


def test_what_another_job_stores_meanwhile_is_not_run(
    pretend, monkeypatch, tmp_path
) -> None:
    sweep(*SWEEP, "--folder", tmp_path / "other")
    pretend.clear()
    write = Folder.write

    def write_both(self: Folder, number: int, outcome: Any) -> None:
        write(self, number, outcome)
        if number == 0:
            name = "batch-000001.npz"
            shutil.copy(tmp_path / "other" / name, tmp_path / "runs" / name)

    monkeypatch.setattr(Folder, "write", write_both)
    assert sweep(*SWEEP, "--folder", tmp_path / "runs") == 0
    assert len(pretend) == 18 - 4


def test_ctrl_c_keeps_what_is_stored(pretend, monkeypatch, capsys, tmp_path) -> None:
    folder, write = tmp_path / "runs", Folder.write

    def stop(self: Folder, number: int, outcome: Any) -> None:
        if number == 2:
            raise KeyboardInterrupt
        write(self, number, outcome)

    monkeypatch.setattr(Folder, "write", stop)
    assert sweep(*SWEEP, "--folder", folder, "--out", tmp_path / "out.nc") == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"diffevo: interrupted; 2 of 5 batches (8 of 18 runs) are stored in {folder}; the "
        "same command goes on from there\n"
    )
    monkeypatch.setattr(Folder, "write", write)
    pretend.clear()
    assert sweep(*SWEEP, "--folder", folder, "--out", tmp_path / "out.nc") == 0
    assert len(pretend) == 18 - 8


def test_ctrl_c_without_a_folder_says_how_to_keep_more(
    pretend, monkeypatch, capsys
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(execution.tables, "flat", stop)
    assert sweep(*SWEEP) == 130
    assert "nothing is stored: with --folder DIR" in capsys.readouterr().err


def test_a_folder_of_another_sweep_is_refused(pretend, fail, capsys, tmp_path) -> None:
    sweep(*SWEEP, "--folder", tmp_path)
    capsys.readouterr()
    line = fail(*SWEEP, "--folder", tmp_path, "--seed=1")
    assert "holds another sweep: other key" in line


def test_a_damaged_batch_is_named_in_one_line(pretend, fail, capsys, tmp_path) -> None:
    sweep(*SWEEP, "--folder", tmp_path)
    capsys.readouterr()
    (tmp_path / "batch-000001.npz").write_bytes(b"half")
    assert "batch-000001.npz is damaged" in fail(*SWEEP, "--folder", tmp_path)


# What is told


def test_the_best_settings_come_first_with_intervals_over_seeds(pretend, capsys) -> None:
    assert sweep(*SWEEP, "--top=2", "--confirm=4") == 0
    out, err = capsys.readouterr()
    rows = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│")]
    # Setting 5 has the fitness 50, 51, 52: Student's t of 2 degrees of freedom is 4.303.
    assert [cell.strip() for cell in rows[0]] == ["5", "1", "3", "51 ± 2.5", "52 ± 2.5"]
    assert [row[0].strip() for row in rows] == ["5", "4"]
    assert "18 (settings: 6, seeds: 3)" in out
    assert f"{18 * 2 * 512:,}" in out
    # On fresh seeds the fitness is 100, 101, 100, 101.
    assert "confirmed    setting 5: 100.5 ± 0.92 on 4 fresh seeds" in out
    assert err == ""


def test_one_seed_has_no_interval(pretend, capsys) -> None:
    assert sweep("beale", "--axis=sampler.eta=0,1") == 0
    out = capsys.readouterr().out
    assert "one seed" in out
    assert "±" not in out


def test_failed_runs_are_told_and_not_ranked(pretend, monkeypatch, capsys) -> None:
    flat = execution.tables.flat

    def failing(outcome: Any) -> Any:
        arrays = flat(outcome)
        return {name: np.where(True, np.nan, rows) for name, rows in arrays.items()}

    monkeypatch.setattr(execution.tables, "flat", failing)
    assert sweep(*SWEEP, "--confirm=2") == 0
    out = capsys.readouterr().out
    assert "failed       18 runs, of 6 settings, which are not ranked" in out
    assert "confirmed" not in out
    assert "│" not in out


@pytest.mark.parametrize("ending", ["nc", "zarr", "parquet", "csv"])
def test_the_table_is_saved(pretend, capsys, tmp_path, ending) -> None:
    path = tmp_path / f"out.{ending}"
    for _ in range(2):  # a file that is there is written over
        assert sweep(*SWEEP, "--out", path) == 0
        assert f"saved        {path}" in capsys.readouterr().out
    assert path.exists()


def test_a_saved_table_says_what_was_swept(pretend, tmp_path) -> None:
    sweep("cartpole", "--axis=sampler.eta=0,1", "--out", tmp_path / "out.nc")
    with xarray.open_dataset(tmp_path / "out.nc") as dataset:
        assert dataset["sampler.eta"].values.tolist() == [0.0, 1.0]
        assert dataset.attrs["name"] == "CartPole-v1"
        assert " at 0x" not in dataset.attrs["config"]  # the same in every process
        config = json.loads(dataset.attrs["config"])
        assert config["strategy"]["denoiser"]["kernel"] == {
            "class": "RandomProjection",
            "dim": 2,
        }
        assert json.loads(dataset.attrs["versions"])["jax"] == jax.__version__


@pytest.mark.parametrize(
    ("flags", "terminal", "visible"),
    [([], True, True), ([], False, False), (["--no-progress"], True, False)],
)
def test_the_bar_is_for_terminals_and_counts_runs(
    pretend, monkeypatch, tmp_path, flags, terminal, visible
) -> None:
    show_runs, seen = execution.show_runs, []

    def record(total: int, done: int, visible: bool) -> Any:
        seen.append((total, done, visible))
        return show_runs(total, done, False)

    monkeypatch.setattr(execution, "show_runs", record)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    folder = ("--folder", tmp_path)
    assert sweep(*SWEEP, *folder, "--shard=0/2", *flags) == 0
    assert sweep(*SWEEP, *folder, *flags) == 0
    # Batches 0, 2 and 4 are 4 + 4 + 2 runs.
    assert seen == [(10, 0, visible), (18, 10, visible)]


def test_the_bar_advances_as_the_device_takes_runs(pretend, monkeypatch) -> None:
    advanced: list[int] = []

    @contextlib.contextmanager
    def record(total: int, done: int, visible: bool) -> Any:
        yield advanced.append

    monkeypatch.setattr(execution, "show_runs", record)
    assert sweep("beale", "--seeds=3", "--axis=sampler.eta=0,0.5,1") == 0
    assert advanced == [4, 4, 1]  # all nine are one batch, and the device takes four


def test_the_bar_shows_runs(capsys) -> None:
    with show_runs(10, 4, True) as advance:
        advance(3)
        advance(2)
    assert "9/10" in capsys.readouterr().out


# Real runs


def test_it_is_de_sweep(capsys, tmp_path) -> None:
    """The same bits, from flags, in shards of which one is run again, and from Python."""
    folder, out = ("--folder", tmp_path / "runs"), tmp_path / "out.nc"
    assert sweep(*REAL, *folder, "--shard=0/2") == 0
    (tmp_path / "runs" / "batch-000002.npz").unlink()  # as if it had been stopped
    assert sweep(*REAL, *folder, "--out", out) == 0

    experiment = de.published.landscape("beale", num_generations=2)
    wanted = de.sweep(
        jax.random.key(0),
        experiment.strategy,
        experiment.problem,
        axes={"sampler.eta": [0.5, 1.0]},
        num_seeds=2,
        population_size=8,
        batch_size=1,
    )
    with xarray.open_dataset(out) as found:
        found.attrs = {}
        xarray.testing.assert_identical(found.load(), wanted)


@pytest.mark.slow
def test_a_killed_process_leaves_a_folder_that_resumes() -> None:
    """Small sizes of the benchmark, in real processes, of which one is killed."""
    script = Path(__file__).parents[2] / "benchmarks" / "sweep_shards.py"
    command = [sys.executable, str(script), "--quick"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "killed with" in run.stdout
    assert "the tables are identical" in run.stdout

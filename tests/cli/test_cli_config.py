"""Settings in a file, printed and read back; and words that run the best setting again."""

import shlex

import jax
import pytest

import diffevo_jax as de
from diffevo_jax import cli
from diffevo_jax.cli import evolve_command, sweep_command
from diffevo_jax.cli.entry import asked
from diffevo_jax.cli.evolve_command import EvolveOptions
from diffevo_jax.cli.sweep_command import SweepOptions
from diffevo_jax.problems import landscapes
from diffevo_jax.pytree.keys import key_of_seed
from diffevo_jax.pytree.records import plain

#: Of the others some take seconds to build, and have nothing of their own.
ENVIRONMENTS = (
    "cartpole",
    "pendulum",
    "acrobot",
    "mountaincar",
    "catch-bsuite",
    "asterix-minatar",
)
FLAGS = (
    "--seeds=3 --json=a.json --no-progress --kernel=tempered --kernel.dimension=3",
    "--strategy=monoflow --rate=3 --grid.sigma-max=0.4 --shaping=rank --target=0.5",
    "--denoiser=gaussian-fit --diagonal --memory=archive --memory.generations=2",
    "--denoiser=online-network --network.hidden 8 4 --shaping=boltzmann --floor=None",
    "--kernel=self-conditioned --kernel.kernel=perplexity --kernel.kernel.neighbours=9",
)


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    """What --print-config prints, in a file."""
    monkeypatch.chdir(tmp_path)

    def printed(*words: str) -> str:
        assert cli.main([*words, "--print-config"]) == 0, capsys.readouterr().err
        (tmp_path / "run.toml").write_text(capsys.readouterr().out)
        return "run.toml"

    return printed


def same(one, two) -> None:
    assert one.name == two.name
    left, right = (plain(each.request.options) | {"config": None} for each in (one, two))
    assert left == right
    assert plain(one.request.strategy) == plain(two.request.strategy)
    assert plain(one.request.problem) == plain(two.request.problem)
    assert de.equal(one.request.strategy, two.request.strategy)


@pytest.mark.parametrize("name", [*landscapes.NAMES, *ENVIRONMENTS])
def test_a_printed_file_is_the_same_run_for_every_name(printed, name) -> None:
    file = printed("evolve", name)
    same(asked("evolve", EvolveOptions, [file]), asked("evolve", EvolveOptions, [name]))


@pytest.mark.parametrize("flags", FLAGS)
def test_a_printed_file_is_the_same_run_with_flags(printed, flags) -> None:
    words = ["beale", *flags.split()]
    file = printed("evolve", *words)
    given = asked("evolve", EvolveOptions, words)
    same(asked("evolve", EvolveOptions, [file]), given)
    same(asked("evolve", EvolveOptions, ["--config", file]), given)


def test_parameters_of_an_environment_and_of_its_policy_are_in_the_file(printed) -> None:
    file = printed("evolve", "pendulum", "--env-params.g=9", "--hidden")
    problem = asked("evolve", EvolveOptions, [file]).request.problem
    assert problem.env_params.g == 9.0
    assert problem.policy.hidden == ()


def test_the_axes_of_a_sweep_are_in_the_file(printed) -> None:
    words = ["beale", "--axis=sampler.eta=0,1", "--seeds=2"]
    words += ["--axis=scale,population_size=1:8,2:9"]
    file = printed("sweep", *words)
    one, two = (asked("sweep", SweepOptions, each) for each in ([file], words))
    plans = [sweep_command.plan_of(each.request, each.axes) for each in (one, two)]
    values = [[setting.values for setting in plan.settings] for plan in plans]
    assert values[0] == values[1]
    assert len(values[0]) == 4


def test_flags_of_the_command_line_win_over_a_file(printed) -> None:
    file = printed(
        "evolve", "beale", "--kernel=tempered", "--kernel.dimension=3", "--seeds=3"
    )
    found = asked("evolve", EvolveOptions, ["--config", file, "--seeds=5"]).request
    assert found.options.seeds == 5
    assert found.strategy.denoiser.kernel.dimension == 3.0
    found = asked("evolve", EvolveOptions, [file, "--kernel=tempered"]).request
    assert found.strategy.denoiser.kernel.dimension == 2.0  # its own
    assert asked("evolve", EvolveOptions, ["ackley", f"--config={file}"]).name == "ackley"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("evolve --config none.toml", "none.toml: No such file"),
        ("evolve --config", "--config: got no value"),
        ("evolve sweep.toml --config=evolve.toml", "got 'evolve.toml' and 'sweep.toml'"),
        ("evolve beale --config a b", "--config: got 'a b'"),
        ("evolve sweep.toml", "sweep.toml: got [axes], which are for diffevo sweep"),
        ("sweep evolve.toml", "evolve.toml: got 'json'"),
    ],
)
def test_a_file_of_something_else_is_refused(
    capsys, tmp_path, monkeypatch, words, hint
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep.toml").write_text("name = 'beale'\n[axes]\nscale = [1]")
    (tmp_path / "evolve.toml").write_text("name = 'beale'\njson = 'a.json'")
    assert cli.main(words.split()) == 2
    assert hint in capsys.readouterr().err


SWEEP = (
    "sweep cartpole --env-params.gravity=12 --num-generations=2 --hidden 4 4 --seeds=2 "
    "--axis problem.scale=1,0.3 --axis kernel=tempered(dimension=3),perplexity "
    "--axis observation,population_size=none:8,space:16 --memory=archive"
)


def test_the_words_that_are_told_ask_for_the_best_setting(
    capsys, monkeypatch, tmp_path
) -> None:
    import xarray

    words, plans, best = [*shlex.split(SWEEP), "--seed=3"], [], 7

    def execute(plan, store, **_):
        plans.append(plan)
        scores = [[0.0, 0.0]] * len(plan.settings)
        scores[best] = [1.0, 1.0]
        both, blank = ("setting", "seed"), [[False, False]] * len(scores)
        table = dict.fromkeys(("final_mean", "final_best"), (both, scores))
        table |= dict.fromkeys(("failed", "missing"), (both, blank))
        table |= {"evaluations": ("setting", [16] * len(scores))}
        return xarray.Dataset(table)

    monkeypatch.setattr(sweep_command, "execute", execute)
    assert cli.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("best again"))
    told = shlex.split(line.removeprefix("best again"))
    assert told[:2] == ["diffevo", "evolve"]
    found = asked("evolve", EvolveOptions, told[2:]).request
    wanted = plans[0].settings[best]
    assert wanted.values["problem.scale"] == 0.3
    assert found.options.population_size == wanted.population_size == 16
    assert found.options.seeds == 2
    runs = key_of_seed(found.options.seed)  # of which evolve splits keys
    assert (jax.random.split(runs, 2)[1] == jax.random.fold_in(plans[0].key, 1)).all()
    assert de.equal(found.strategy, wanted.strategy)
    assert plain(found.problem) == plain(wanted.problem)
    evolve_command.check_request(found)


@pytest.mark.parametrize(
    "words",
    [
        ("evolve", "run.toml", "--json", "run.toml"),
        ("evolve", "--config", "run.toml", "--out", "./run.toml"),
        ("evolve", "run.toml", "--log", "link.toml"),
    ],
)
def test_no_output_takes_the_place_of_the_file(
    tmp_path, monkeypatch, capsys, words
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run.toml"
    file.write_text("name = 'beale'\n")
    (tmp_path / "link.toml").symlink_to(file)
    assert cli.main(list(words)) == 2
    assert "where config goes too" in capsys.readouterr().err
    assert file.read_text() == "name = 'beale'\n"


@pytest.mark.parametrize(
    "table",
    [
        "num-generations = 3\nnum_generations = 4",
        "'kernel.kappa' = 1.0\nkernel = {kappa = 2.0}",
        "'denoiser.kernel' = 'tempered'\nkernel = {class = 'gaussian'}",
    ],
)
def test_a_field_that_a_file_has_twice_is_said(tmp_path, capsys, table) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f"name = 'beale'\n[strategy]\n{table}\n")
    assert cli.main(["show", str(file)]) == 2
    assert "got it twice, the other time as strategy." in capsys.readouterr().err


def test_a_key_that_is_like_none_is_told_where_to_look(tmp_path, capsys) -> None:
    file = tmp_path / "run.toml"
    file.write_text("name = 'beale'\n[problem]\nquite_another = 1\n")
    assert cli.main(["show", str(file)]) == 2
    assert "want a key that --print-config prints" in capsys.readouterr().err

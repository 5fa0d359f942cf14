"""The command: names, flags, errors, the table, the files, Ctrl-C."""

import contextlib
import dataclasses
import importlib.metadata
import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffevo_jax as de
from diffevo_jax import cli
from diffevo_jax.cli import evolve_command, evolve_summary
from diffevo_jax.problems import landscapes
from diffevo_jax.pytree.records import plain
from diffevo_jax.running import plan

#: Sizes that the tests share, and with them the compiled programs.
LANDSCAPE = ("himmelblau", "--population-size=8", "--num-generations=24", "--chunk-size=8")
CONTROL = (
    *("cartpole", "--population-size=16", "--num-generations=2", "--max-steps=20"),
    *("--seeds=2", "--kernel=tempered", "--hidden", "--env-params.gravity=9"),
)
PARTS = {
    "denoiser": (de.denoisers, de.Denoiser),
    "memory": (de.denoisers, de.denoisers.Memory),
    "support": (de.denoisers, de.denoisers.Support),
    "grid": (de.noise, de.Grid),
    "kernel": (de.kernels, de.Kernel),
    "shaping": (de.shaping, de.Shaping),
    "sampler": (de.samplers, de.Sampler),
}


#: What needs functions or arrays, which no flag can say.
NEEDS_FUNCTIONS = (
    de.noise.Chain,
    de.noise.Levels,
    de.noise.SDE,
    de.samplers.Optax,
    de.denoisers.Fixed,
)


def components(module: Any, contract: type) -> list[type]:
    """All component classes of a module that keep a contract."""
    promises = [name for name in vars(contract) if not name.startswith("_")]
    found = [value for value in vars(module).values() if isinstance(value, type)]
    found = [cls for cls in found if cls.__module__.startswith(module.__name__)]
    found = [cls for cls in found if all(hasattr(cls, name) for name in promises)]
    found = [cls for cls in found if hasattr(cls, "__is_component__")]
    return [cls for cls in found if cls not in NEEDS_FUNCTIONS]


def kebab(name: str) -> str:
    """Write a class name or a field name as on the command line."""
    dashed = re.sub(r"([a-z])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3-\2\4", name)
    return dashed.lower().replace("_", "-")


@pytest.fixture
def read(monkeypatch, capsys):
    """What a command line asks for, without running it: (name, settings)."""

    def read(*args: str) -> tuple[str, Any]:
        seen = []

        def follow(name: str, settings: Any, keys: jax.Array) -> None:
            seen.append((name, settings))
            raise KeyboardInterrupt

        monkeypatch.setattr(evolve_command, "follow", follow)
        assert cli.main(["evolve", *args]) == 130
        capsys.readouterr()
        return seen[0]

    return read


@pytest.fixture
def evolve(tmp_path):
    """Run a command line and return its JSON file."""

    def evolve(*args: str, code: int = 0) -> dict[str, Any]:
        path = tmp_path / "out.json"
        assert cli.main(["evolve", *args, "--json", str(path)]) == code
        return json.loads(path.read_text())

    return evolve


@pytest.fixture
def fail(capsys):
    """Run a command line that is wrong and return its one line of complaint."""

    def fail(*args: str) -> str:
        assert cli.main(list(args)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("diffevo: error: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err

    return fail


# Names


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("cartpole", "CartPole-v1"),
        ("CARTPOLE-V1", "CartPole-v1"),
        ("acrobot", "Acrobot-v1"),
        ("mountaincar", "MountainCar-v0"),
        ("mountaincar-continuous", "MountainCarContinuous-v0"),
        ("pendulum", "Pendulum-v1"),
        ("asterix-minatar", "Asterix-MinAtar"),
        ("two-peaks", "two_peaks"),
        *((name, name) for name in landscapes.NAMES),
    ],
)
def test_a_name_may_leave_out_case_dashes_and_version(read, given, name) -> None:
    full, settings = read(given)
    assert full == name
    problem = settings.problem
    assert name == getattr(problem, "name", None) or name == problem.env_name


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCarContinuous-v0", "ackley"])
def test_without_flags_it_is_the_published_experiment(read, name) -> None:
    make = de.published.landscape if name == "ackley" else de.published.control
    _, settings = read(name)
    experiment = make(name)
    chex.assert_trees_all_equal(settings.strategy, experiment.strategy)
    chex.assert_trees_all_equal(settings.problem, experiment.problem)
    assert settings.options.population_size == experiment.population_size


def test_list_prints_every_name(capsys) -> None:
    import gymnax

    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = {line.split()[0]: line.split(maxsplit=1)[1:] for line in lines if line}
    assert {*landscapes.NAMES, *gymnax.registered_envs, "mono-flow"} <= set(listed)
    assert [name for name, about in listed.items() if not about] == []


# Flags


@pytest.mark.parametrize("part", PARTS)
def test_every_class_of_a_module_has_a_flag_for_every_number(capsys, part) -> None:
    classes = components(*PARTS[part])
    assert classes
    for cls in classes:
        assert (
            cli.main(["evolve", "beale", f"--{part}", kebab(cls.__name__), "--help"]) == 0
        )
        shown = capsys.readouterr().out
        numbers = [
            f for f in dataclasses.fields(cls) if "number" in f.metadata or f.type is int
        ]
        prefix = "" if part == "denoiser" else f"{part}."
        for field in numbers:
            assert f"--{prefix}{kebab(field.name)} " in shown


def test_the_help_has_a_flag_for_every_number_of_a_control_problem(capsys) -> None:
    experiment = de.published.control("Pendulum-v1")
    env_params = de.problems.control.environment("Pendulum-v1")[1]
    wanted = [field.name for field in dataclasses.fields(experiment.strategy)]
    wanted += [field.name for field in dataclasses.fields(experiment.strategy.denoiser)]
    wanted += [field.name for field in dataclasses.fields(experiment.problem)]
    wanted += ["hidden", "activation", *(f"env_params.{name}" for name in vars(env_params))]
    assert cli.main(["evolve", "pendulum", "--help-all"]) == 0
    shown = capsys.readouterr().out
    absent = [name for name in wanted if not re.search(f"--{kebab(name)}[ ,]", shown)]
    # Functions, what the name of the problem says, and what has flags of its own.
    assert absent == ["conditions", "attention", "env_name", "env_params", "env"]


def test_the_help_fits_the_terminal_and_explains(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.main(["evolve", "cartpole", "--help-all"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    assert "fraction of fresh noise" in shown  # of the docstring of DDIM
    assert "`" not in shown


def test_the_help_shows_only_the_flags_of_the_chosen_class(capsys) -> None:
    assert cli.main(["evolve", "beale", "--kernel=random-projection", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--kernel.dim " in shown
    assert "--kernel.kappa" not in shown


def test_flags_reach_every_component(read) -> None:
    flags = "--num-generations 4 --population-size 7 --grid linear --grid.min-noise 1e-3"
    flags += " --kernel gaussian --kernel.kappa 0.5 --kernel.floor 1e-5"
    flags += " --shaping boltzmann --shaping.temperature 2 --sampler ddim --sampler.eta 0.5"
    flags += " --memory archive --memory.generations 2 --memory.correction 0.5"
    flags += " --support best --support.count 5 --guidance 1.5"
    flags += " --temperature 3 --dim 4 --scale 2"
    _, settings = read("rastrigin", *flags.split())
    assert settings.options.population_size == 7
    wanted = de.DiffusionEvolution(
        num_generations=4,
        denoiser=de.denoisers.Population(
            kernel=de.kernels.Gaussian(kappa=0.5, floor=1e-5),
            shaping=de.shaping.Boltzmann(temperature=2.0),
            memory=de.denoisers.Archive(generations=2, correction=0.5),
            support=de.denoisers.Best(count=5),
            guidance=1.5,
        ),
        grid=de.noise.Linear(min_noise=1e-3),
        sampler=de.samplers.DDIM(eta=0.5),
    )
    chex.assert_trees_all_equal(settings.strategy, wanted)
    landscape = de.problems.Landscape("rastrigin", dim=4, temperature=3.0, scale=2.0)
    chex.assert_trees_all_equal(settings.problem, landscape)


def test_a_chosen_class_has_its_own_defaults_and_a_kept_one_the_published(read) -> None:
    _, settings = read("beale", "--kernel", "tempered", "--sampler", "ddim")
    chex.assert_trees_all_equal(settings.strategy.denoiser.kernel, de.kernels.Tempered())
    assert settings.strategy.sampler.eta == 0.1


def test_a_new_class_appears_by_itself(read, fail, monkeypatch) -> None:
    @de.pytree.dataclass
    class TargetESS:
        """Weights with a given effective sample size."""

        size: float = de.pytree.number(above=0.0)

        def log_weight(self, fitness: jax.Array) -> jax.Array:
            return fitness

    monkeypatch.setattr(TargetESS, "__module__", de.shaping.__name__)
    monkeypatch.setattr(de.shaping, "TargetESS", TargetESS, raising=False)
    _, settings = read("beale", "--shaping", "target-ess", "--shaping.size", "5")
    assert isinstance(settings.strategy.denoiser.shaping, TargetESS)
    assert settings.strategy.denoiser.shaping.size == 5.0
    assert "--shaping.size" in fail("evolve", "beale", "--shaping", "target-ess")


def test_none_is_a_value(read) -> None:
    _, settings = read("beale", "--kernel.floor", "None")
    assert settings.strategy.denoiser.kernel.floor is None
    assert settings.strategy.denoiser.shaping.floor == 1e-9


def test_another_denoiser_has_flags_of_its_own(read) -> None:
    flags = "--denoiser gaussian-fit --diagonal --shaping rank --memory archive"
    _, settings = read("beale", *flags.split())
    wanted = de.denoisers.GaussianFit(
        shaping=de.shaping.Rank(), memory=de.denoisers.Archive(), diagonal=True
    )
    chex.assert_trees_all_equal(settings.strategy.denoiser, wanted)


def test_a_network_that_learns_while_evolving_has_flags_of_its_own(read) -> None:
    flags = "--denoiser online-network --num-steps 7 --network.hidden 8 8 --shaping rank"
    _, settings = read("beale", *flags.split(), "--denoiser.sigma-max=3")
    wanted = de.diffusion.OnlineNetwork(
        de.diffusion.MLP((8, 8)), shaping=de.shaping.Rank(), num_steps=7, sigma_max=3.0
    )
    chex.assert_trees_all_equal(settings.strategy.denoiser, wanted)


def test_a_kernel_around_a_kernel_is_put_around_the_one_that_is_there(read) -> None:
    flags = "--kernel self-conditioned --kernel.kernel perplexity"
    _, settings = read("beale", *flags.split(), "--kernel.kernel.neighbours=9")
    wanted = de.kernels.SelfConditioned(de.kernels.Perplexity(9.0))
    chex.assert_trees_all_equal(settings.strategy.denoiser.kernel, wanted)
    kernel = read("beale", "--kernel=self-conditioned")[1].strategy.denoiser.kernel
    chex.assert_trees_all_equal(kernel.kernel, de.kernels.Gaussian(floor=1e-9))


def test_monoflow_is_a_strategy_with_flags_of_its_own(read, capsys) -> None:
    flags = "--rate 3 --grid.sigma-max 0.4 --shaping rank --ratio.kernel gaussian"
    _, settings = read("beale", "--strategy", "monoflow", *flags.split())
    wanted = de.MonoFlow(
        num_generations=25,  # as published, and not its own
        grid=de.noise.VE(0.02, 0.4),
        shaping=de.shaping.Rank(),
        ratio=de.flows.KernelRatio(de.kernels.Gaussian()),
        rate=3.0,
    )
    chex.assert_trees_all_equal(settings.strategy, wanted)
    assert cli.main(["evolve", "beale", "--strategy=monoflow", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--longest-step" in shown
    assert "--sampler" not in shown


@pytest.mark.slow
def test_monoflow_evolves(evolve) -> None:
    record = evolve("beale", "--strategy=monoflow", "--population-size=8", "--seeds=2")
    assert record["config"]["strategy"]["class"] == "MonoFlow"
    assert np.shape(record["history"]["mean_fitness"]) == (2, 25)


@pytest.mark.parametrize(
    "flags",
    [
        "--kernel tempered --kernel.dimension 3 --sampler.eta 0.5",
        "--denoiser.kernel=Tempered --dimension 3 --eta 0.5",
        "--kernel.dimension=3 --strategy.eta 0.5 --strategy.kernel=tempered",
    ],
)
def test_a_flag_may_be_any_ending_of_a_path_and_a_class_be_written_as_in_python(
    read, flags
) -> None:
    _, settings = read("beale", *flags.split())
    chex.assert_trees_all_equal(settings.strategy.denoiser.kernel, de.kernels.Tempered(3.0))
    assert settings.strategy.sampler.eta == 0.5


def test_an_ending_may_say_no(read) -> None:
    flags = ("--denoiser=gaussian-fit", "--denoiser.no-diagonal")
    assert not read("beale", *flags)[1].strategy.denoiser.diagonal


def test_hidden_layers_change_the_number_of_weights(read) -> None:
    sizes = {"": 10, "8": 58, "128 128": 17_410}
    for hidden, size in sizes.items():
        _, settings = read("cartpole", "--hidden", *hidden.split(), "--activation", "tanh")
        assert settings.problem.space.dim == size
        assert settings.problem.policy.activation == "tanh"


# Errors


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("", "want 'evolve', 'sweep'"),
        ("evolv cartpole", "closest: evolve"),
        ("evolve", "want a NAME"),
        ("evolve --seeds 3 cartpole", "want a NAME"),
        ("evolve cartpol", "closest: CartPole-v1"),
        ("evolve himelblau", "closest: himmelblau"),
        ("evolve beale --populaton-size 8", "closest: --population-size"),
        ("evolve beale --kernel.kapa 1", "closest: --kernel.kappa"),
        ("evolve beale --no-progres", "closest: --no-progress"),
        ("evolve beale --archive 2", "it is now memory = archive, with memory.generations"),
        ("evolve beale --self-conditioned", "it is now kernel = self-conditioned"),
        ("evolve beale --hidden 3", "--hidden"),
        # What means nothing for what was chosen.
        ("evolve beale --denoiser gaussian-fit --kernel tempered", "--kernel"),
        ("evolve beale --denoiser gaussian-fit --kernel.kappa 1", "--kernel.kappa"),
        ("evolve beale --memory.generations 2", "--memory.generations"),
        ("evolve beale --diagonal", "--diagonal"),
        ("evolve beale --strategy monoflow --sampler.eta 0", "--sampler.eta"),
        ("evolve beale --strategy monoflow --denoiser population", "--denoiser"),
        ("evolve beale --strategy cma-es", "'mono-flow'"),
        (
            "evolve beale --floor 1e-9",
            "ambiguous, want one of: denoiser.kernel.floor, denoiser.shaping.floor",
        ),
        ("evolve beale 3", "3"),
        ("evolve beale --kernel gausian", "'gaussian'"),
        ("evolve beale --scale wide", "--scale"),
        ("evolve beale --scale", "--scale"),
        ("evolve beale --scale -1", "--scale: got -1.0, want a number > 0"),
        ("evolve beale --sampler.eta 2", "--sampler.eta: got 2.0"),
        ("evolve beale --dim 3", "--dim: got 3"),
        ("evolve beale --population-size 0", "--population-size: got 0"),
        ("evolve beale --support best --count 9 --population-size 8", "--count: got 9"),
        (
            "evolve beale --kernel principal-components --kernel.dim 3",
            "--kernel.dim: got 3",
        ),
        # What no memory holds.
        ("evolve beale --seeds 2000000000000", "--seeds: got 2,000,000,000,000; num_gen"),
        ("evolve beale --num-generations 1000000000000", "which takes at least 120,000 GB"),
        ("evolve beale --population-size 1000000000000", "got 1,000,000,000,000 of 2 numb"),
        ("evolve rastrigin --dim 10000000000", "--population-size: got 512 of 10,000,000"),
        ("evolve rastrigin --dim 1" + 40 * "0", "of memory, want what fits into"),
        ("evolve cartpole --hidden 10000000 10000000", "of memory, want what fits into"),
        ("evolve beale --num-generations 0", "--num-generations: got 0"),
        ("evolve beale --seeds 0", "--seeds: got 0"),
        ("evolve beale --seed -1", "--seed: got -1"),
        ("evolve beale --chunk-size 0", "--chunk-size: got 0"),
        ("evolve cartpole --activation gelu", "'relu', 'tanh'"),
        ("evolve cartpole --observation raw", "'space', 'running', 'none'"),
        ("evolve cartpole --env-params.gravty 1", "closest: --env-params.gravity"),
    ],
)
def test_a_bad_command_line_gets_one_line_and_exit_code_2(fail, line, hint) -> None:
    assert hint in fail(*line.split())


def test_what_only_tracing_shows_is_wrong_is_told_before_anything_runs(
    fail, monkeypatch
) -> None:
    def working(*args: Any, **kwargs: Any) -> Any:
        raise ValueError("dim: got 5 for 2 numbers")

    monkeypatch.setattr(evolve_command, "working", working)
    assert "dim: got 5 for 2 numbers" in fail("evolve", *LANDSCAPE)


@pytest.mark.parametrize("flag", ["--json", "--plot"])
@pytest.mark.parametrize("path", ["no/such/folder/out.png", "", "file/out.png"])
def test_a_bad_path_fails_before_the_evolution(
    fail, monkeypatch, tmp_path, flag, path
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(
        evolve_command, "planned", lambda *args, **kwargs: pytest.fail("it ran")
    )
    assert flag in fail("evolve", *LANDSCAPE, flag, str(tmp_path / path))


def test_a_plot_of_unknown_kind_fails_before_the_evolution(fail, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    assert ".png" not in fail("evolve", *LANDSCAPE, "--plot", str(tmp_path / "curve.abc"))


def test_a_plot_without_matplotlib_says_what_to_install(fail, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    line = fail("evolve", *LANDSCAPE, "--plot", "curve.png")
    assert line.startswith("diffevo: error: --plot: install the extra viz: pip install")


# Runs


def test_a_run_ends_with_a_thinned_table_and_a_summary(capsys) -> None:
    assert cli.main(["evolve", *LANDSCAPE, "--seeds", "3"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split("│") for line in out.splitlines() if line.startswith("│")]
    assert len(rows) == 20
    assert (rows[0][1].strip(), rows[-1][1].strip()) == ("1", "24")
    assert "3 runs" in out
    assert "20 of 24 generations" in out
    for word in ("final mean", "best so far", "192 a run", "wall time"):
        assert word in out
    assert "failed" not in out
    assert err == ""


def test_seeds_are_independent_runs_of_the_split_key(evolve) -> None:
    record = evolve(*LANDSCAPE, "--seeds", "3", "--seed", "7")
    experiment = de.published.landscape("himmelblau", num_generations=24)
    keys = jax.random.split(jax.random.key(7), 3)
    *_, result = de.iterate(
        keys, experiment.strategy, experiment.problem, population_size=8, chunk_size=8
    )
    np.testing.assert_array_equal(
        record["history"]["mean_fitness"], result.history.mean_fitness
    )
    np.testing.assert_array_equal(
        record["summary"]["best_fitness"]["runs"], result.best_fitness
    )


def test_the_json_file_has_everything(evolve) -> None:
    record = evolve(*CONTROL, "--seed", "3")
    assert record["config"]["name"] == "CartPole-v1"
    assert record["config"]["strategy"]["denoiser"]["kernel"] == {
        "class": "Tempered",
        "dimension": 2.0,
    }
    assert record["config"]["problem"]["policy"]["hidden"] == []
    sizes = ("population_size", "seeds", "seed")
    assert [record["config"][name] for name in sizes] == [16, 2, 3]
    for package in ("diffevo-jax", "jax", "jaxlib", "gymnax", "numpy"):
        assert record["versions"][package] == importlib.metadata.version(package)
    assert "python" in record["versions"]
    assert jax.default_backend() in record["device"]
    assert set(record["history"]) == {field.name for field in dataclasses.fields(de.Info)}
    assert {np.shape(rows) for rows in record["history"].values()} == {(2, 2)}
    summary = record["summary"]
    final = [run[-1] for run in record["history"]["mean_fitness"]]
    assert summary["mean_fitness"]["runs"] == final
    assert summary["mean_fitness"]["mean"] == pytest.approx(np.mean(final))
    assert summary["mean_fitness"]["sd"] == pytest.approx(np.std(final, ddof=1))
    assert summary["evaluations_per_run"] == 32
    assert summary["num_failed"] == 0
    assert not summary["interrupted"]
    assert min(summary["seconds_first_chunk"], summary["seconds_later_chunks"]) > 0
    assert all(0 <= share <= 1 for share in summary["success"]["runs"])


def test_parameters_of_the_environment_change_the_result(evolve) -> None:
    light, heavy = evolve(*CONTROL), evolve(*CONTROL, "--env-params.gravity", "40")
    gravity = [r["config"]["problem"]["env_params"]["gravity"] for r in (light, heavy)]
    assert gravity == [9.0, 40.0]
    assert light["history"]["mean_fitness"] != heavy["history"]["mean_fitness"]


def test_a_default_parameter_of_the_environment_changes_nothing(read) -> None:
    assert read("cartpole", "--env-params.gravity", "9.8")[1].problem.env_params is None


def test_failed_evaluations_are_counted_and_null_in_the_json_file(evolve, capsys) -> None:
    # Given a temperature at which every fitness is NaN
    record = evolve(*LANDSCAPE, "--seeds", "3", "--temperature", "1e38")
    assert record["summary"]["num_failed"] == 3 * 24 * 8
    assert record["summary"]["mean_fitness"] == {
        "mean": None,
        "sd": None,
        "runs": [None] * 3,
    }
    assert "576 evaluations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("env_name", "share"),
    [("CartPole-v1", 0.25), ("Acrobot-v1", 0.75), ("MountainCar-v0", 0.75)],
)
def test_success_is_the_step_limit_on_cartpole_and_the_end_elsewhere(
    env_name, share
) -> None:
    measures = SimpleNamespace(terminated=np.array([[[True], [True], [False], [True]]]))
    problem = de.problems.Control(env_name)
    assert evolve_summary.success(problem, measures).tolist() == [share]


@pytest.mark.parametrize(
    "problem", [de.problems.Control("Pendulum-v1"), de.problems.Landscape("ackley")]
)
def test_success_is_not_defined_everywhere(problem) -> None:
    assert (
        evolve_summary.success(problem, SimpleNamespace(terminated=np.ones((1, 1, 1))))
        is None
    )


def test_plot_writes_a_picture(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "curve.png"
    assert cli.main(["evolve", *LANDSCAPE, "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "terminal", "bars"),
    [([], True, 1), ([], False, 0), (["--no-progress"], True, 0)],
)
def test_the_bar_is_for_terminals(monkeypatch, flags, terminal, bars) -> None:
    shown = []

    def show_generations(results: Any, num_generations: int, noisy: bool) -> Any:
        shown.append(num_generations)
        return results

    monkeypatch.setattr(evolve_command, "show_generations", show_generations)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert cli.main(["evolve", *LANDSCAPE, *flags]) == 0
    assert shown == [24] * bars


# Ctrl-C


@pytest.fixture
def interrupt(monkeypatch):
    """Press Ctrl-C after so many chunks."""

    def interrupt(chunks: int) -> None:
        @contextlib.contextmanager
        def interrupted(*args: Any, **kwargs: Any) -> Any:
            def some(results: Any) -> Any:
                yield from itertools.islice(results, chunks)
                raise KeyboardInterrupt

            with plan.working(*args, **kwargs) as results:
                yield some(results)

        monkeypatch.setattr(evolve_command, "working", interrupted)

    return interrupt


def test_ctrl_c_keeps_the_generations_so_far(evolve, interrupt, capsys, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    interrupt(chunks=2)
    plot = tmp_path / "curve.png"
    record = evolve(*LANDSCAPE, "--plot", str(plot), code=130)
    out, err = capsys.readouterr()
    assert "after 16 of 24 generations" in out
    assert record["summary"]["interrupted"]
    assert record["summary"]["generations"] == len(record["history"]["sigma"][0]) == 16
    assert plot.exists()
    assert err == ""


def test_ctrl_c_before_the_first_chunk_says_so(interrupt, capsys, tmp_path) -> None:
    interrupt(chunks=0)
    path = tmp_path / "out.json"
    assert cli.main(["evolve", *LANDSCAPE, "--json", str(path)]) == 130
    assert capsys.readouterr() == ("", "diffevo: interrupted before there was a result\n")
    assert not path.exists()


# Start


def test_the_version_comes_without_gymnax() -> None:
    code = "import sys; from diffevo_jax import cli; cli.main(['--version']);"
    code += "print('gymnax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["diffevo", de.__version__, "False"]


@pytest.mark.parametrize("line", ["--help", "evolve --help"])
def test_help_without_a_name_explains_the_command(capsys, line) -> None:
    assert cli.main(line.split()) == 0
    assert capsys.readouterr().out == cli.USAGE


def test_plain_is_strict_json() -> None:
    value = {
        "path": Path("a"),
        "numbers": (np.float32(1), math.nan, None, True, jax.numpy.ones(2)),
    }
    assert plain(value)["numbers"] == [1.0, None, None, True, [1.0, 1.0]]
    json.dumps(plain(value), allow_nan=False)


# Stops


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--target=0", "--seeds=2"), "target"),
        (("--max-evaluations=100",), "evaluations"),
        (("--max-seconds=1e-6", "--patience=0.2"), "time"),
    ],
)
def test_a_stop_ends_a_run_and_is_told(evolve, capsys, flags, reason) -> None:
    record = evolve(*LANDSCAPE, *flags)
    summary, runs = record["summary"], record["config"]["seeds"]
    assert summary["reasons"] == [reason] * runs
    assert summary["num_generations"] == [8] * runs
    assert summary["evaluations_per_run"] == 64
    assert not summary["interrupted"]
    which = "2 of 2 runs, " if runs == 2 else ""
    assert f"stopped      {which}{reason}, after 8 of 24" in capsys.readouterr().out
    assert len(record["config"]["stop"]) == len([f for f in flags if "seeds" not in f])


def test_patience_is_the_share_of_a_stagnation(read) -> None:
    (stop,) = evolve_command.stops_of(read("beale", "--patience", "0.3")[1].options)
    assert de.pytree.equal(stop, de.stops.Stagnation(0.3))
    assert evolve_command.stops_of(read("beale")[1].options) == ()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--target=nan", "error: --target: got nan, want a finite number"),
        ("--target=abc", "error: --target: got 'abc', want a number or None; see"),
        (
            "--target=it's int",
            """error: --target: got "it's int", want a number or None; see""",
        ),
        (
            "--max-evaluations=10",
            "error: --max-evaluations: got Evaluations(count=10) where",
        ),
        ("--max-evaluations=0", "error: --max-evaluations: got 0, want an int >= 1"),
        (
            "--max-evaluations=1e3",
            "error: --max-evaluations: got '1e3', want an int or None; see",
        ),
        ("--max-seconds=0", "error: --max-seconds: got 0.0, want a number > 0"),
        ("--max-seconds=8h", "error: --max-seconds: got '8h', want a number or None; see"),
        (
            "--patience=50",
            "--patience: got 50.0, want a number > 0 and <= 1, a share of the",
        ),
        ("--dim=0", "error: --dim: got 0, want an int >= 1"),
        ("--seeds=two", "error: --seeds: got 'two', want an int; see"),
        ("--kernel.kappa=two", "error: --kernel.kappa: got 'two', want a number; see"),
    ],
)
def test_a_stop_that_cannot_be_is_refused(fail, flag, message) -> None:
    assert message in fail("evolve", *LANDSCAPE, flag)


@pytest.mark.slow
def test_failures_of_runs_that_have_stopped_count_once(key, capsys) -> None:
    failing = de.problems.Function(lambda x: jnp.nan * x.sum(), dim=2)
    strategy = de.DiffusionEvolution(4)
    early = lambda result: result.history.done.shape[-1] >= np.array([1, 3])
    result = de.run(jax.random.split(key), strategy, failing, population_size=8, stop=early)
    config = {"problem": failing, "strategy": strategy, "population_size": 8}
    told = evolve_summary.Ended(config | {"name": "failing"}, result, [1.0, 2.0], False)
    summary = evolve_summary.summarise(told)
    assert summary["num_failed"] == 8 * (1 + 3)
    assert summary["evaluations_per_run"] == 16
    evolve_summary.show(told)
    out = " ".join(capsys.readouterr().out.split())
    assert "16 a run on average" in out
    assert "what has stopped keeps its last row" in out
    assert "2 of 2 runs, own function, after 1 to 3 of 4 generations" in out

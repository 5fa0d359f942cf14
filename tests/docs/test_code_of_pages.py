"""The code of the pages runs, and comes to what they say."""

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from code_of_pages import ROOT, blocks_of, names_of

import diffevo_jax as de
from diffevo_jax import cli
from diffevo_jax.cli import sweep_command


def test_the_code_of_the_readme_runs() -> None:
    names = names_of("../README.md")
    assert float(names["result"].best_fitness) > -1e-3
    assert len(names["keys"]) == 1000


@pytest.mark.slow
def test_the_code_of_the_tour_runs(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    names = names_of("tour.md")
    assert bool(names["state"].done)
    assert float(names["result"].best_fitness) > -1e-3
    design = names["design"]  # at most three layers, of which four would be best
    assert float(design.best_violation) == 0.0
    assert int(design.best_solution["layers"]) == 3


@pytest.mark.slow
def test_the_code_of_the_page_on_guidance_runs() -> None:
    # A sphere in 64 dimensions: guidance leaves less than half of the error.
    names = names_of("guidance.md")
    left = {
        strategy: -de.evolve(
            names["key"], names[strategy], names["problem"], population_size=256
        ).fitness.mean()
        for strategy in ("bayes", "guided")
    }
    assert left["guided"] < 0.5 * left["bayes"]


@pytest.mark.slow
def test_the_code_of_the_page_on_learned_evolution_runs() -> None:
    names = names_of("learned_evolution.md")
    assert float(names["result"].best_fitness) > -0.02
    assert names["more"].shape == (1000, 2)
    # steered by Bayes and by a label: to where the first number is 2
    for population in (names["by_bayes"].population, names["by_label"].population):
        assert abs(float(np.median(population[:, 0])) - 2.0) < 0.3


@pytest.mark.slow
def test_the_code_of_the_page_on_quality_and_diversity_runs() -> None:
    evidence = names_of("quality_diversity.md")["evidence"]
    assert evidence.descriptors.shape == (64 + 256, 2)
    # the elites are wherever the arm can be, and their angles are alike
    apart = np.linalg.norm(evidence.descriptors[64:], axis=1)
    assert np.quantile(apart, 0.1) < 0.4
    assert np.quantile(apart, 0.9) > 0.9
    assert evidence.fitness[64:].mean() > -0.2


@pytest.mark.slow
def test_the_code_of_the_page_on_spaces_runs() -> None:
    names = names_of("spaces.md")
    # The best is 0: the rate of some optimizer, the size, and no dropout.
    assert float(names["result"].best_fitness) > -0.02
    assert len(names["space"].names) == 13
    known = names["space"].decode(names["known"])
    assert names["space"].as_python(known)[1]["optimizer"] == "sgd"
    assert names["columns"]["batch"].shape == (256,)


@pytest.mark.slow
def test_the_code_of_the_page_on_long_runs_runs() -> None:
    # The page compares runs that were left with those that were not.
    names = names_of("long_runs.md")
    assert len(names["result"].history.done) == 8


def test_the_code_of_the_page_on_constraints_runs() -> None:
    # The cheapest design is as high as it may be, and just bears its load: it costs 1/2.
    result = names_of("constraints.md")["result"]
    assert float(result.best_violation) == 0.0
    assert -0.55 < float(result.best_fitness) <= -0.5 + 1e-6


@pytest.mark.slow
def test_the_code_of_the_page_on_an_honest_best_runs() -> None:
    names = names_of("honest_best.md")
    result, measured = names["result"], names["measured"]
    assert float(result.final.low) <= float(result.best_fitness)
    # nothing is worth more than 0, and the luckiest claims it
    assert float(measured.state.best_fitness) > 1.0
    assert float(measured.final.low) < 0.0


@pytest.mark.slow
def test_the_code_of_the_page_on_stopping_runs() -> None:
    names = names_of("stopping.md")
    assert names["result"].reason == "target"
    assert float(names["result"].best_fitness) >= 0.99
    assert set(names["results"].reason) <= {"own function", "finished"}


@pytest.mark.slow
def test_the_code_of_the_page_on_own_environments_runs(tmp_path, monkeypatch) -> None:
    pytest.importorskip("flatbuffers")  # by which jax.export writes programs
    monkeypatch.chdir(tmp_path)
    names = names_of("own_environment.md")
    means = names["result"].history.mean_fitness
    assert means[-1] > means[0] / 4  # of a cost: less than a quarter is left
    assert (tmp_path / "nav.gif").stat().st_size > 1000
    assert names["action"].shape == (2,)
    assert len(blocks_of("own_environment.md")[1].splitlines()) <= 10


@pytest.mark.slow
def test_the_code_of_the_page_on_different_solutions_runs(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    found = names_of("different_solutions.md")["found"]
    assert len(found) == 4  # Himmelblau's minima, each to 1e-4
    assert float(found.fitness.min()) > -1e-4
    assert (tmp_path / "found.csv").exists()


@pytest.mark.slow
def test_the_code_of_the_page_on_devices_runs() -> None:
    assert float(names_of("devices.md")["result"].best_fitness) > 0.9


@pytest.mark.slow
def test_the_code_of_the_page_on_evosax_runs() -> None:
    names = names_of("evosax.md")
    assert float(names["metrics"]["best_fitness"]) < 1e-2
    assert float(names["result"].best_fitness) > -0.5


@pytest.mark.slow
def test_the_code_of_the_page_on_learned_diffusion_runs(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    names = names_of("diffusion.md")
    assert de.equal(names["denoiser"], names["trained"].denoiser)
    # a thousand short steps, a thousand samples: within a tenth of the data's deviation
    ratio = names["samples"].std(axis=0) / names["data"].std(axis=0)
    assert float(abs(ratio - 1).max()) < 0.1
    assert names["conditioned"](names["samples"], 1.0).shape == (1000, 2)


@pytest.mark.slow
def test_the_code_of_the_page_on_images_runs(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    names = names_of("images.md")
    assert names["pixels"].shape == (100, 8, 8, 1)
    assert names["images"].classes == tuple("0123456789")
    # Levels that are all alike cost 4.09 bits, a Gaussian 2.95.
    assert float(names["bits"].mean()) < 3.1
    assert de.equal(names["denoiser"], names["trained"].denoiser)
    # what is known is kept, within five deviations of a number within a level
    apart = (names["fills"].reshape(-1, 8, 8, 1) - names["truth"])[:, names["known"]]
    assert float(abs(apart).max()) < 5 * names["within"]
    assert len([line for line in blocks_of("images.md")[1].splitlines() if line]) <= 20


@pytest.mark.slow
def test_the_code_of_the_page_on_large_policies_runs() -> None:
    names = names_of("large_policies.md")
    assert (names["problem"].space.dim, names["num_weights"]) == (130, 1_056_770)
    means = names["result"].history.mean_fitness
    assert means[0] < 50.0
    assert means[-1] > 150.0  # of at most 200
    assert names["actions"][0] == names["actions"][1]
    assert names["tuned"].history.mean_fitness[0] > 2 * means[0]  # what was found is kept
    assert names["recurrent"].space.dim == 16 + 16 + 4 * 2


@pytest.mark.slow
def test_the_code_of_the_page_on_models_of_others_runs() -> None:
    names = names_of("models.md")
    # a third of the samples at each point of the ring, and all of them near one
    apart = np.linalg.norm(names["samples"][:, None] - names["target"].means, axis=-1)
    assert (apart.min(axis=1) < 1.0).mean() > 0.99
    assert (np.bincount(apart.argmin(axis=1)) > 100).all()
    best = names["tuned"].history.best_fitness
    assert best[-1] > best[0]


@pytest.mark.slow
def test_the_code_of_the_page_on_logs_runs(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    names = names_of("logs.md")
    assert names["curve"].evaluations.tolist() == list(range(128, 128 * 31, 128))
    assert names["curve"].mean_fitness.iloc[-1] > names["curve"].mean_fitness[0]
    assert names["kept"].generation.tolist() == [10, 20, 30]
    assert float(names["rewound"].best_fitness) > 0.9
    assert names["means"].tolist() == sorted(names["means"])
    text = (ROOT / "docs" / "logs.md").read_text()
    for line in re.findall(r"^diffevo (evolve .*)$", text, re.MULTILINE):
        assert cli.main([*shlex.split(line), "--population-size=8"]) == 0
    assert (tmp_path / "curves" / "run-003").is_dir()


@pytest.mark.slow
def test_the_code_of_the_page_on_reports_runs(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    names = names_of("report.md")
    assert names["saved"].result.reason == ("finished",) * 4
    assert names["saved"].plane is not None
    assert "<title>Four runs</title>" in names["html"]
    text = (ROOT / "docs" / "report.md").read_text()
    commands = re.findall(r"^diffevo (.*)$", text, re.MULTILINE)
    for line in commands:
        small = ["--population-size=8"] * line.startswith("evolve")
        assert cli.main([*shlex.split(line), *small]) == 0
    assert "identity, standardized" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_code_of_the_page_on_flows_runs() -> None:
    names = names_of("flows.md")
    assert float(names["climbed"].best_fitness) > 0.99
    assert names["more"].shape == (1000, 2)
    assert float(names["divergence"]) < 0.02
    # particles, individuals and generated points are at all eight modes
    for points in (
        names["flowed"].particles,
        names["sampled"].population,
        names["samples"],
    ):
        apart = points[:, None] - names["ring"].means
        near = ((apart**2).sum(axis=-1) < 0.45**2).sum(axis=0)
        assert int((near >= len(points) / 40).sum()) == 8


@pytest.mark.slow
def test_the_code_of_the_page_on_siblings_runs() -> None:
    names = names_of("siblings.md")
    peaks = np.array([[3, 2], [-2.805, 3.131], [-3.779, -3.283], [3.584, -1.848]])
    kept = {}
    for name, result in names["results"].items():
        assert float(result.best_fitness) > 0.999
        points = names["problem"].space.decode(result.population)
        near = np.linalg.norm(np.asarray(points)[:, None] - peaks, axis=-1) < 0.5
        kept[name] = int((near.mean(axis=0) > 0.05).sum())
    assert (kept["plain"], kept["redrawn"], kept["polarised"]) == (1, 1, 4)
    assert float(names["trajectory"].rewards.sum()) > 90.0  # the car is on the hill


@pytest.mark.slow
def test_the_page_on_sweeps_runs(shards_asked_for, monkeypatch, tmp_path) -> None:
    """All its blocks in their order; what has a folder is asked for, and not run."""
    text = (ROOT / "docs" / "sweeps.md").read_text()
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for kind, block in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL):
        if kind == "python":
            exec(compile(block, "sweeps.md", "exec"), names)
        elif kind == "toml":
            (tmp_path / "sweep.toml").write_text(block)
        else:
            lines = block.replace("\\\n", "")
            for line in re.findall(r"diffevo (sweep .*?)(?:\"\]|\n)", lines):
                assert cli.main(shlex.split(os.path.expandvars(line))) == 0
    assert names["result"].final_mean.shape == (4, 4)
    assert names["table"].final_mean.shape == (6, 2)
    assert shards_asked_for == [(3, 8), (3, 8), *((i, 8) for i in range(8)), (0, 1)]


@pytest.fixture
def shards_asked_for(monkeypatch):
    """A list of them; with a submitit that runs jobs at once, as task number 3."""
    asked, run = [], sweep_command.run

    def record(name, settings, plan, store, shard) -> int:
        if store is None:
            return run(name, settings, plan, store, shard)
        asked.append(shard)
        return 0

    class AutoExecutor:
        def __init__(self, folder: str) -> None: ...

        def update_parameters(self, **_: int) -> None: ...

        def map_array(self, function, values) -> list:
            with monkeypatch.context() as patch:
                command = lambda words, check: cli.main(words[1:])
                patch.setattr(subprocess, "run", command)
                return [function(value) for value in values]

    monkeypatch.setattr(sweep_command, "run", record)
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=AutoExecutor))
    for name in ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"):
        monkeypatch.setenv(name, "3")
    return asked


@pytest.mark.slow
def test_the_code_of_the_page_on_own_evaluators_runs(monkeypatch, tmp_path) -> None:
    (module,) = blocks_of("own_evaluator.md", "python simulator.py")
    (tmp_path / "simulator.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = names_of("own_evaluator.md")
    # a tenth of 640 evaluations did not converge, within five standard errors
    assert 26 < names["result"].history.num_failed.sum() < 102
    assert float(names["result"].best_fitness) > -0.8
    assert names["settled"].best_fitness == names["result"].best_fitness
    counts = names["careful"].problem_state
    assert int(counts.num_evaluated + counts.num_rejected + counts.num_cached) == 640
    assert float(names["joblibs"].best_fitness) > -0.05
    assert float(names["state"].best_fitness) > -0.05
    if (submitit := find_spec("submitit")) is not None:
        (block,) = blocks_of("own_evaluator.md", "python submitit")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(submitit.origin).parents[1]}")
        exec(compile(block, "own_evaluator.md", "exec"), names)
        assert names["jobs"].fitness.shape == (4,)
        assert np.isfinite(names["jobs"].fitness).any()


@pytest.mark.slow
def test_the_code_of_the_page_to_start_with_runs(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    results = names_of("start.md")["results"]
    assert results.best_fitness.shape == (8,)
    assert float(results.best_fitness.mean()) > 450.0  # of at most 500
    assert (tmp_path / "cartpole.png").stat().st_size > 10_000


def test_ten_lines_are_enough_to_start_with() -> None:
    (block,) = blocks_of("start.md")
    assert len([line for line in block.splitlines() if line.strip()]) <= 10


@pytest.mark.slow
def test_the_code_of_the_page_on_own_functions_runs() -> None:
    names = names_of("own_function.md")
    np.testing.assert_allclose(names["polished"].x, 0.5, atol=1e-4)
    assert float(names["result"].best_fitness) > -0.1
    noisy = names["found"]
    assert noisy.final.low <= noisy.best_fitness <= noisy.final.high


@pytest.mark.slow
def test_the_code_of_the_page_on_parts_of_your_own_runs() -> None:
    # It checks its own parts; the ball is thrown to where it shall land.
    names = names_of("write_your_own.md")
    assert float(names["thrown"].best_fitness) > -0.01

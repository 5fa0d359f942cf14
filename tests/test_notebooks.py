"""Every notebook runs, survives its obvious edits, and agrees with its pair.

``make notebooks`` runs them all, and their edits; by default the first one runs. Here, too,
one is run as Colab runs it: from its badge to its last cell, where the library has to be
installed first, from a local wheel in place of the network.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {path.stem: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))}
#: Where a file of one machine would be.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])/(home|Users|root|tmp|work|opt|mnt|usr)/|[A-Z]:\\\\"
)
DEFAULT = r"de\.DiffusionEvolution\(num_generations="
MONOFLOW = {DEFAULT: "de.MonoFlow(num_generations="}
CONSENSUS = {DEFAULT: "de.Consensus(num_generations="}

#: What a reader changes first, in each notebook: patterns in its source, and what is put in
#: their place. A pattern that no longer matches fails.
EDITS = {
    "01_quickstart": {
        "another landscape": {r"landscapes\.himmelblau": "landscapes.rastrigin"},
        "a valley": {r"landscapes\.himmelblau": "landscapes.rosenbrock"},
        "MonoFlow": MONOFLOW,
        "Consensus": CONSENSUS,
        "fewer individuals": {r"SIZE = 64 if": "SIZE = 24 if"},
    },
    "02_diffusion_evolution": {
        "another landscape": {r'"two_peaks"': '"himmelblau"'},
        "one peak": {r'"two_peaks"': '"beale"'},
        "many peaks": {r'"two_peaks", scale=1.5': '"rastrigin", scale=4.0'},
        "another grid": {r"de\.noise\.Linear\(\)": "de.noise.Cosine()"},
        "fewer generations": {r"num_generations=100": "num_generations=20"},
        "fewer individuals": {r"SIZE = 96 if": "SIZE = 32 if"},
    },
    "03_cartpole": {
        "another environment": {r'"CartPole-v1"': '"Acrobot-v1"'},
        "continuous actions": {r'"CartPole-v1"': '"Pendulum-v1"'},
        "MonoFlow": MONOFLOW,
        "Consensus": CONSENSUS,
        "fewer individuals": {r"= \(64, 3\) if": "= (24, 2) if"},
        "a larger network": {r"MLP\(\(8,\)\)": "MLP((16, 16))"},
    },
    "04_high_dimension": {
        "another function": {
            r"-jnp\.minimum\(.*\)\n": "-de.problems.landscapes.rastrigin(x) / x.size\n"
        },
        "another kernel": {r"de\.kernels\.Tempered\(\)": "de.kernels.RandomProjection(2)"},
        "fewer individuals": {r"RUNS = \(64,": "RUNS = (32,"},
    },
    "05_design_space": {
        "another landscape": {r'"himmelblau"': '"two_peaks"'},
        "many peaks": {r'"himmelblau"': '"rastrigin"'},
        "another sampler": {
            r"sampler, grid, key = de\.samplers\.DPMSolver2M\(\)": (
                "sampler, grid, key = de.samplers.DDIM()"
            )
        },
        "fewer individuals": {r"RUNS = \(32,": "RUNS = (16,"},
    },
    "06_learned_diffusion": {
        "DDPM's prediction": {r"= diffusion\.EDM\(\)": "= diffusion.Noise()"},
        "another sampler": {r"de\.samplers\.Heun\(\)": "de.samplers.DPMSolver2M()"},
        "without guidance": {r"GUIDANCE = 1\.0": "GUIDANCE = 0.0"},
        "another landscape": {r'"himmelblau"': '"beale"'},
    },
    "07_score_sdes": {
        "another mixture": {r"arange\(5\) / 5": "arange(3) / 3"},
        "another prediction": {r"diffusion\.EDM\(\)": "diffusion.Velocity()"},
        "fewer samples": {r"COUNT = 300 if": "COUNT = 128 if"},
    },
    "08_monoflow_and_gans": {
        "another divergence": {r"= flows\.ReverseKL\(\)": "= flows.Arcsinh()"},
        "another mixture": {r"arange\(8\) / 8": "arange(5) / 5"},
        "another strategy": {
            r"de\.DiffusionEvolution\(GENERATIONS\)": "de.Consensus(GENERATIONS)"
        },
    },
    "09_niching": {
        "another landscape": {r"landscapes\.himmelblau": "landscapes.rastrigin"},
        "one peak": {r"landscapes\.himmelblau": "landscapes.beale"},
        "another strategy": {
            r"de\.DiffusionEvolution\(GENERATIONS\)": "de.MonoFlow(GENERATIONS)"
        },
        "more individuals": {r"GENERATIONS = \(128,": "GENERATIONS = (160,"},
    },
    "10_evosax": {
        "another problem": {r'"rastrigin"': '"sphere"'},
        "other dimensions": {r"DIM = 8": "DIM = 3"},
        "another algorithm": {r"Open_ES": "PGPE", r"OpenAI-ES": "PGPE"},
        "another strategy": {
            r"de\.DiffusionEvolution\(GENERATIONS\)": "de.Consensus(GENERATIONS)"
        },
    },
    "11_own_evaluator": {
        "MonoFlow": MONOFLOW,
        "Consensus": CONSENSUS,
        "processes": {
            r"from concurrent.*\n": "from joblib.externals import loky\n",
            r"ThreadPoolExecutor\(2\), timeout=60\.0": "loky.get_reusable_executor",
        },
        "another cost": {r"path\.y\[0\] \*\* 2 \+": "np.abs(path.y[0]) +"},
        "more individuals": {r"= \(16, 6\) if": "= (24, 4) if"},
    },
}

each_notebook = pytest.mark.parametrize("source", SOURCES.values(), ids=list(SOURCES))


def of_notebook(stem, *values, **parameters):
    """Parameters of a test that runs a notebook: one worker has all tests of one of them,
    since an edited notebook shares most of its programs with the original."""
    marks = [*parameters.pop("marks", ()), pytest.mark.xdist_group(stem)]
    return pytest.param(*values, marks=marks, **parameters)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """What makes notebooks keep their compiled programs, for those that run after them."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@pytest.fixture(scope="module")
def build():
    """The module that fills in and runs notebooks."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def executed(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def outputs(source):
    return [out for cell in executed(source).cells for out in cell.get("outputs", [])]


def edited(text, edit):
    """A source with all of an edit's patterns replaced."""
    for pattern, replacement in edit.items():
        text, count = re.subn(pattern, lambda _, new=replacement: new, text)
        assert count, f"nothing in the notebook matches {pattern!r}"
    return text


#: A warning of evosax's PGPE, which calls optax by an old name.
THEIRS = "ignore:optax.global_norm is deprecated:DeprecationWarning"


def run_script(script, folder, *words, **variables):
    """Run a notebook's source in the fast mode, warnings as errors."""
    small = {"DIFFEVO_FAST": "1", "MPLBACKEND": "Agg"}
    small["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # its time is compiling
    return subprocess.run(
        [*(words or (sys.executable,)), "-W", "error", "-W", THEIRS, script],
        env=os.environ | small | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_there_are_notebooks():
    assert SOURCES.keys() == EDITS.keys()


@pytest.mark.parametrize(
    "source",
    [
        of_notebook(stem, path, id=stem, marks=[pytest.mark.notebooks] if i else [])
        for i, (stem, path) in enumerate(SOURCES.items())
    ],
)
def test_it_runs_as_a_script(source, tmp_path, compiled):
    done = run_script(source, tmp_path, **compiled)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir()), "a notebook leaves no files"


@pytest.mark.notebooks
@pytest.mark.parametrize(
    ("stem", "edit"),
    [
        of_notebook(stem, stem, edit, id=f"{stem}, {name}")
        for stem, edits in EDITS.items()
        for name, edit in edits.items()
    ],
)
def test_it_survives_its_obvious_edit(stem, edit, tmp_path, compiled):
    script = tmp_path / "edited.py"
    script.write_text(edited(SOURCES[stem].read_text(), edit))
    done = run_script(script, tmp_path, **compiled)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stem", list(EDITS))
def test_its_edits_are_of_the_notebook(stem):
    text = SOURCES[stem].read_text()
    for name, edit in EDITS[stem].items():
        assert edited(text, edit) != text, name


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["01_quickstart", "03_cartpole", "10_evosax"])
def test_from_the_badge_to_the_last_cell_on_colab(stem, tmp_path):
    pip = [sys.executable, "-m", "pip"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--quiet", "-w", tmp_path, ROOT], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    python = without_the_library(tmp_path / "colab")
    absent = subprocess.run(
        [python, "-c", "import diffevo_jax"],
        env=os.environ | {"PYTHONPATH": ""},
        cwd=tmp_path,
        capture_output=True,
    )
    assert absent.returncode == 1, "the library is there without an installation"

    script = tmp_path / "on_colab.py"
    script.write_text(
        textwrap.dedent(f"""\
            import runpy, sys, types
            from importlib.metadata import version
            for name in ("google", "google.colab", "google.colab.output"):
                sys.modules[name] = types.ModuleType(name)
            sys.modules["google.colab"].output = sys.modules["google.colab.output"]
            versions = [version(name) for name in ("jax", "jaxlib", "numpy")]
            runpy.run_path({str(SOURCES[stem])!r})
            assert versions == [version(name) for name in ("jax", "jaxlib", "numpy")]
            import diffevo_jax
            print("from", diffevo_jax.__file__)
            """)
    )
    local = {"DIFFEVO_WHEEL": wheel.as_uri(), "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1"}
    done = run_script(script, tmp_path, python, PYTHONPATH="", **local)
    assert done.returncode == 0, done.stderr
    assert f"from {tmp_path / 'colab'}" in done.stdout


def without_the_library(folder):
    """An interpreter with all that is installed here, but the library."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    found = subprocess.run(where, capture_output=True, text=True, check=True)
    site = Path(found.stdout.strip())
    for kind in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(kind).iterdir():
            if "diffevo_jax" not in path.name:
                (site / path.name).symlink_to(path)
    return python


@each_notebook
def test_it_would_notice_a_failure(source):
    sections = source.read_text().split("# %% [markdown]\n# ## ")[1:-1]
    assert sections
    for section in sections:
        assert "assert " in section, f"nothing is checked in: {section.splitlines()[0]}"


@each_notebook
def test_both_files_have_the_same_cells(source):
    pair = (jupytext.read(source, fmt="py:percent"), executed(source))
    ours, theirs = ([(cell.cell_type, cell.source) for cell in nb.cells] for nb in pair)
    assert ours == theirs, "run notebooks/build.py"


@each_notebook
def test_its_outputs_are_there_small_and_clean(source):
    kinds = {output.output_type for output in outputs(source)}
    assert kinds
    assert "error" not in kinds
    assert not [out.text for out in outputs(source) if out.get("name") == "stderr"]
    assert source.with_suffix(".ipynb").stat().st_size < 300_000
    ran = [c.execution_count for c in executed(source).cells if c.cell_type == "code"]
    assert ran == list(range(1, len(ran) + 1)), "executed once, from top to bottom"


@each_notebook
def test_it_names_no_path_of_one_machine(source):
    words = [source.read_text()]
    for output in outputs(source):
        words.append(output.get("text", ""))
        words += [text for kind, text in output.get("data", {}).items() if "text" in kind]
    assert not MACHINE_PATH.search("\n".join(words))


@each_notebook
def test_badge_and_first_cell_are_those_of_all_notebooks(build, source):
    text = source.read_text()
    assert text == build.fill_in(text, source.stem), "run notebooks/build.py --fill"
    assert re.findall(r"https://colab\S+/github/\S+", text) == [build.badge(source.stem)]


def test_text_alone_is_taken_over_without_a_run(build, tmp_path):
    for path in SOURCES["01_quickstart"].parent.glob("01_*"):
        shutil.copy(path, tmp_path)
    source = tmp_path / "01_quickstart.py"
    before = executed(source).cells
    source.write_text(source.read_text().replace("# # Quick start", "# # Slow start"))
    build.retell(source)
    after = executed(source).cells
    assert after[0].source.startswith("# Slow start")
    assert after[1:] == before[1:], "outputs are kept"

    source.write_text(source.read_text().replace("import jax\n", "import jax as jax\n"))
    with pytest.raises(SystemExit, match="its code has changed"):
        build.retell(source)


def test_installing_keeps_the_jax_that_is_there(build):
    install = build.install_cell("01_quickstart")
    assert '{name}=={version(name)}" for name in ("jax", "jaxlib")' in install
    assert not re.search(r"\"(-U|--upgrade|--force-reinstall)\"", install)


def numbers(stem, words):
    """The numbers of what a notebook, unedited and whole, has printed after some words."""
    texts = [out.text for out in outputs(SOURCES[stem]) if "text" in out]
    (line,) = (row for text in texts for row in text.splitlines() if words in row)
    return [float(word) for word in re.findall(r"-?\d+\.?\d*", line.split(words)[1])]


# What a notebook says of its own setting; an edited one differs, and its asserts want less.


def test_samples_of_the_learned_curves_are_smooth_and_answers_are_learned():
    _, samples, noise = numbers("06_learned_diffusion", "of samples, of noise: ")
    assert samples < 0.3 * noise
    (percent,) = numbers("06_learned_diffusion", "they differ by ")
    assert percent < 20


def test_who_samples_is_nearest_to_the_density():
    lines = ("it samples: mean fitness ", "it selects: mean fitness ")
    samples, selects = (numbers("08_monoflow_and_gans", line)[-1] for line in lines)
    _, diffusion = numbers("08_monoflow_and_gans", "Diffusion Evolution: mean fitness ")
    assert samples < min(selects, diffusion)

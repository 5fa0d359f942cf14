"""Every notebook runs, and its two files agree with each other and with pyproject.toml."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
#: Where a file of one machine would be.
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])/(home|Users|root|tmp|work|opt|mnt|usr)/|[A-Z]:\\\\"
)

each_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def executed(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def outputs(source):
    return [out for cell in executed(source).cells for out in cell.get("outputs", [])]


def repository():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"][
        "Repository"
    ]


def test_there_are_notebooks():
    assert SOURCES


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(path, id=path.stem, marks=pytest.mark.slow if i else ())
        for i, path in enumerate(SOURCES)
    ],
)
def test_it_runs_as_a_script(source, tmp_path):
    small = {"DIFFEVO_FAST": "1", "MPLBACKEND": "Agg"}
    small["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # its time is compiling
    done = subprocess.run(
        [sys.executable, "-W", "error", source],
        env=os.environ | small,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir()), "a notebook leaves no files"


@each_notebook
def test_it_would_notice_a_failure(source):
    sections = source.read_text().split("# %% [markdown]\n# ## ")[1:-1]
    assert sections
    for section in sections:
        assert "\nassert " in section, f"nothing is checked in: {section.splitlines()[0]}"


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
def test_badge_and_install_line_are_of_the_repository(source):
    text = source.read_text()
    place = repository().removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{place}/blob/main/notebooks"
    assert re.findall(r"https://colab\S+/github/\S+", text) == [
        f"{colab}/{source.stem}.ipynb"
    ]
    assert re.findall(r"git\+[^\s\"]+", text) == [f"git+{repository()}"]


@each_notebook
def test_installing_keeps_the_jax_that_is_there(source):
    text = source.read_text()
    install = text[
        text.index('if "google.colab" in sys.modules') : text.index("import jax\n")
    ]
    assert '{name}=={version(name)}" for name in ("jax", "jaxlib")' in install
    assert not re.search(r"\"(-U|--upgrade|--force-reinstall)\"", install)

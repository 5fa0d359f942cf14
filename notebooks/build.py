"""Fill in what all notebooks share, run them, and write the paired ``.ipynb`` files.

    python notebooks/build.py            # all notebooks
    python notebooks/build.py 01 03      # those whose names start so
    python notebooks/build.py --fill     # what they share alone
    python notebooks/build.py --text     # what is changed text alone, without running it

The ``.py`` file is the source. Its badge and its first code cell are made here, from
``INSTALL`` and from one entry of ``pyproject.toml``: ``Repository``.
"""

import os
import re
import sys
import time
import tomllib
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
MOST_BYTES = 300_000
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
#: What a notebook needs beyond matplotlib.
EXTRAS = {"03_cartpole": "viz,sweep", "10_evosax": "viz,evosax"}
#: The first code cell. pip takes another JAX than the one that is there for a conflict, and
#: DIFFEVO_WHEEL is the address of a wheel to take in place of the repository.
INSTALL = """\
# %matplotlib inline
import os
import subprocess
import sys
from importlib.metadata import version

if "google.colab" in sys.modules:  # install the library, and leave Colab's JAX alone
    repository = "git+{repository}"
    library = f"{name}[{extras}] @ {{os.environ.get('DIFFEVO_WHEEL', repository)}}"
    jax_as_it_is = [f"{{name}}=={{version(name)}}" for name in ("jax", "jaxlib")]
    install = [sys.executable, "-m", "pip", "install", "-q", library, *jax_as_it_is]
    subprocess.run(install, check=True)

import matplotlib.pyplot as plt

plt.rcParams.update({{"figure.dpi": 72, "figure.constrained_layout.use": True}})
plt.rcParams.update({{"axes.spines.top": False, "axes.spines.right": False}})
plt.rcParams.update({{"legend.frameon": False}})
FAST = os.environ.get("DIFFEVO_FAST") == "1"  # smaller sizes, for tests
"""
#: Where the first code cell stands.
MARK = '# %% tags=["install"]\n'


def badge(notebook: str) -> str:
    """Where Colab opens a notebook."""
    place = _project()["urls"]["Repository"].removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{place}/blob/main/notebooks"
    return f"{colab}/{notebook}.ipynb"


def install_cell(notebook: str) -> str:
    """What installs the library on Colab, and nothing elsewhere."""
    project = _project()
    return INSTALL.format(
        repository=project["urls"]["Repository"],
        name=project["name"],
        extras=EXTRAS.get(notebook, "viz"),
    )


def fill_in(source: str, notebook: str) -> str:
    """Put the badge's address and the first code cell into a notebook's source."""
    if source.count(MARK) != 1:
        sys.exit(f"{notebook}: want one cell {MARK.strip()!r}")
    address = re.compile(r"https://colab\.research\.google\.com/github/\S+\.ipynb")
    cell = re.compile(f"{re.escape(MARK)}.*?(?=\n# %%)", re.DOTALL)
    filled = MARK + install_cell(notebook)
    return cell.sub(lambda _: filled, address.sub(badge(notebook), source))


def fill(path: Path) -> str:
    """Fill in one source, and return it."""
    source = path.read_text()
    if (filled := fill_in(source, path.stem)) != source:
        path.write_text(filled)
    return filled


def build(path: Path) -> None:
    """Fill in, run and write one notebook."""
    notebook = cells_of(path)
    begin = time.perf_counter()
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", record_timing=False
    )
    client.execute(cwd=str(HERE))
    seconds = time.perf_counter() - begin
    size = write(path, notebook)
    print(f"{path.stem}: {seconds:.0f} s, {size / 1000:.0f} kB")
    if size > MOST_BYTES:
        sys.exit(f"{path.stem}: {size} bytes, want at most {MOST_BYTES}")


def retell(path: Path) -> None:
    """Fill in one source, and take its text into the notebook that is stored."""
    notebook = cells_of(path)
    stored = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    ours, theirs = (
        [cell for cell in one.cells if cell.cell_type == "code"]
        for one in (notebook, stored)
    )
    if [cell.source for cell in ours] != [cell.source for cell in theirs]:
        sys.exit(f"{path.stem}: its code has changed, want it run, without --text")
    for new, old in zip(ours, theirs, strict=True):
        new.outputs, new.execution_count = old.outputs, old.execution_count
    write(path, notebook)


def cells_of(path: Path) -> nbformat.NotebookNode:
    """Fill in one source, and return its cells, numbered."""
    notebook = jupytext.reads(fill(path), fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
    return notebook


def write(path: Path, notebook: nbformat.NotebookNode) -> int:
    """Write the ``.ipynb`` file of a source, and return its size in bytes."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    text = nbformat.writes(notebook) + "\n"
    path.with_suffix(".ipynb").write_text(text)
    return len(text.encode())


def _project() -> dict:
    return tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]


if __name__ == "__main__":
    os.environ.pop("DIFFEVO_FAST", None)  # what is published is the whole notebook
    words = sys.argv[1:]
    prefixes = tuple(word for word in words if not word.startswith("--")) or ("",)
    work = fill if "--fill" in words else retell if "--text" in words else build
    for path in sorted(HERE.glob("[0-9][0-9]_*.py")):
        if path.name.startswith(prefixes):
            work(path)

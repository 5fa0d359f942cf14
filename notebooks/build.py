"""Fill in the addresses of the notebooks, run them, and write the paired ``.ipynb`` files.

    python notebooks/build.py            # all notebooks
    python notebooks/build.py 01         # those whose name starts so

The ``.py`` file is the source. Its badge and its install line are made from one entry of
``pyproject.toml``: ``Repository``.
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


def addresses(notebook: str) -> tuple[str, str]:
    """Where Colab opens a notebook, and what pip installs."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    repository = project["urls"]["Repository"]
    place = repository.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{place}/blob/main/notebooks"
    return f"{colab}/{notebook}.ipynb", f"{project['name']} @ git+{repository}"


def fill_in(source: str, notebook: str) -> str:
    """Put the addresses into a notebook's source."""
    colab, install = addresses(notebook)
    badge = re.compile(r"https://colab\.research\.google\.com/github/\S+\.ipynb")
    line = re.compile(r"[\w-]+ @ git\+https://[^\s\"]+")
    return line.sub(install, badge.sub(colab, source))


def build(path: Path) -> None:
    """Fill in, run and write one notebook."""
    source = path.read_text()
    if (filled := fill_in(source, path.stem)) != source:
        path.write_text(filled)
    notebook = jupytext.reads(filled, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
    begin = time.perf_counter()
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", record_timing=False
    )
    client.execute(cwd=str(HERE))
    seconds = time.perf_counter() - begin
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    text = nbformat.writes(notebook) + "\n"
    if (size := len(text.encode())) > MOST_BYTES:
        sys.exit(f"{path.stem}: {size} bytes, want at most {MOST_BYTES}")
    path.with_suffix(".ipynb").write_text(text)
    print(f"{path.stem}: {seconds:.0f} s, {size / 1000:.0f} kB")


if __name__ == "__main__":
    os.environ.pop("DIFFEVO_FAST", None)  # what is published is the whole notebook
    prefix = sys.argv[1] if len(sys.argv) > 1 else ""
    for path in sorted(HERE.glob(f"{prefix}*.py")):
        if re.match(r"\d\d_", path.name):
            build(path)

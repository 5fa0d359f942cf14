"""Print constraints for pip: the oldest version of everything that a project allows."""

import re
import sys
import tomllib
from pathlib import Path


def oldest(project: dict) -> list[str]:
    """Lower bounds of the dependencies, and of those of the extras, as exact versions."""
    extras = project["optional-dependencies"].values()
    lines = sum(extras, start=project["dependencies"])
    bounds = (re.match(r"([\w.-]+)>=([\d.]+)", line) for line in lines)
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound]


if __name__ == "__main__":
    print(*oldest(tomllib.loads(Path(sys.argv[1]).read_text())["project"]), sep="\n")

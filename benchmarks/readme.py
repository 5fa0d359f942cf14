"""Write the tables of the README from the stored results.

    python benchmarks/readme.py

Between ``<!-- name -->`` and ``<!-- end -->`` of README.md stands the table of
``benchmarks/results/name.json``. A result of an accelerator, ``name_gpu``, has a section
if it is stored.
"""

import re
from collections.abc import Callable
from typing import Any

import estimator
import first_result
import main_job
import paper_control
import paper_landscapes
import paper_steps
import rollouts
import roofline
import scaling
from common import ROOT, load, stored

PUBLISHED: dict[str, Callable[[Any], str]] = {
    "paper_control": paper_control.report,
    "paper_landscapes": lambda rows: paper_landscapes.report(rows["compared"]),
    "paper_steps": paper_steps.report,
}
SPEED: dict[str, Callable[[Any], str]] = {
    "main_job": main_job.report,
    "rollouts": rollouts.report,
    "estimator": estimator.report,
    "first_result": first_result.report,
    "roofline": roofline.report,
    "scaling": scaling.report,
}
GPU = {f"{name}_gpu": report for name, report in SPEED.items() if stored(f"{name}_gpu")}
TABLES = PUBLISHED | SPEED | GPU


def fill(text: str) -> str:
    """The text with every table replaced by its stored result."""
    for name, report in TABLES.items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        section = pattern.search(text)
        if section is None:
            raise ValueError(f"README.md: got no section {name!r}, want <!-- {name} -->")
        before, after = text[: section.end(1)], text[section.start(2) :]
        text = f"{before}{report(load(name))}\n{after}"
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text()))

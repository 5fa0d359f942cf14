"""Write the tables of the README from the stored results.

    python benchmarks/readme.py

Between ``<!-- name -->`` and ``<!-- end -->`` of README.md stands the table of
``benchmarks/results/name.json``.
"""

import re

import paper_control
import paper_landscapes
import paper_steps
import speed
from common import ROOT, load

TABLES = {
    "paper_control": lambda rows: paper_control.report(rows),
    "paper_landscapes": lambda rows: paper_landscapes.report(rows["compared"]),
    "paper_steps": lambda rows: paper_steps.report(rows),
    "speed": lambda rows: speed.report(rows),
}


def fill(text: str) -> str:
    """The text with every table replaced by its stored result."""
    for name, report in TABLES.items():
        pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"README.md: got no section {name!r}, want <!-- {name} -->")
        body = report(load(name)) + "\n"
        text = pattern.sub(lambda match, body=body: match[1] + body + match[2], text)
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text()))

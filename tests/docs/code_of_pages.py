"""The pages, and the code that is in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/*.md"))


def blocks_of(page: str, kind: str = "python") -> list[str]:
    """The blocks of a page in docs that are of a kind."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def names_of(page: str) -> dict:
    """Run the Python of a page in docs; what it has named."""
    names: dict = {}
    for block in blocks_of(page):
        exec(compile(block, page, "exec"), names)
    return names

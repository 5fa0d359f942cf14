"""The documents say what is true: their code runs, their links and tables are current."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_the_code_of_the_readme_runs(capsys) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert blocks
    assert bool(names["state"].done)
    assert float(names["result"].best_fitness) > -1e-3


@pytest.mark.parametrize("name", ["devices"])
def test_the_code_of_a_page_runs(name) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text()
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, f"{name}.md", "exec"), names)
    assert float(names["result"].best_fitness) > 0.9


def test_the_code_of_the_page_on_evosax_runs() -> None:
    text = (ROOT / "docs" / "evosax.md").read_text()
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "evosax.md", "exec"), names)
    assert float(names["metrics"]["best_fitness"]) < 1e-2
    assert float(names["result"].best_fitness) > -0.5


def test_the_tables_of_the_documents_are_the_stored_results(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import readme

    assert {path: readme.fill(path) for path in readme.DOCUMENTS} == {
        path: path.read_text() for path in readme.DOCUMENTS
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert missing == []


def test_every_place_named_in_the_claims_exists() -> None:
    text = (ROOT / "docs" / "claims.md").read_text()
    places = set(re.findall(r"`([\w./]+/[\w.]+\.\w+)`", text))
    assert len(places) > 8
    assert [place for place in places if not (ROOT / place).exists()] == []

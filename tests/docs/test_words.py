"""The short pages: their code runs, their numbers are those of the stored results."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/*.md"))


def names_of(page: str) -> dict:
    """Run the code of a page in docs; what it has named."""
    names: dict = {}
    text = (ROOT / "docs" / page).read_text()
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.mark.slow
def test_the_code_of_the_page_to_start_with_runs(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    results = names_of("start.md")["results"]
    assert results.best_fitness.shape == (8,)
    assert float(results.best_fitness.mean()) > 450.0  # of at most 500
    assert (tmp_path / "cartpole.png").stat().st_size > 10_000


def test_ten_lines_are_enough_to_start_with() -> None:
    (block,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "start.md").read_text(), re.DOTALL
    )
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


def tables() -> dict[str, str]:
    """The generated tables of all documents, by page and by the name of their results."""
    found: dict[str, str] = {}
    for path in [ROOT / "README.md", *PAGES]:
        for name, table in re.findall(
            r"<!-- (\w+) -->\n(.*?)<!-- end -->", path.read_text(), re.DOTALL
        ):
            found[f"{name}.json"] = table
            found[path.name] = found.get(path.name, "") + table
    return found


NUMBER = re.compile(r"(?<![\w.,/])[+-]?\d+(?:,\d{3})*(?:\.\d+)?(?:/\d+)?(?![\w/])")
#: Words of a claim that are no measurement: dimensions, generations, temperatures, counts.
SETTING = re.compile(
    r"(?:in|of|from|to|all|temperature|with|of the|after)(?: a temperature of)? \d[\d.,]*"
    r"(?: \w+)?|\d+ (?:dimensions|generations|runs|policies|peaks)"
)


@pytest.mark.parametrize("number", range(2))
def test_the_numbers_that_choices_rest_on_are_the_stored_ones(number) -> None:
    """In the table of a result or of a page that the row names, to the digits it gives."""
    text = (ROOT / "docs" / "which.md").read_text()
    section = re.split(r"^## ", text, flags=re.MULTILINE)[1 + number]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 10
    measured, known = 0, tables()
    for row in rows:
        claim, source = row[-2], row[-1]
        (page,) = re.findall(r"\]\(([\w.]+)\)|`([\w.]+)`", source)
        table = known["".join(page)]
        wanted = NUMBER.findall(SETTING.sub(" ", claim))
        missing = [one for one in wanted if one.lstrip("+") not in table]
        assert missing == [], (row[0], claim)
        measured += len(wanted)
    assert measured >= len(rows)


def test_nothing_is_said_to_be_on_a_package_index() -> None:
    wrong = [
        f"{path.name}: {line.strip()}"
        for path in [*PAGES, ROOT / "llms.txt"]
        for line in path.read_text().splitlines()
        if re.search(r"pip install [^@]*\"?diffevo[-_]jax(?!.*@ git\+)", line)
    ]
    assert wrong == []


def test_the_map_for_language_models_names_every_page() -> None:
    text = (ROOT / "llms.txt").read_text()
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert [target for target in targets if not (ROOT / target).exists()] == []
    pages = {f"docs/{path.name}" for path in PAGES} - {"docs/index.md"}
    assert [page for page in sorted(pages) if page not in text] == []

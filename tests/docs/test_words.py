"""What documents say is true: numbers, tables, links, and places that they name."""

import re
from pathlib import Path

import pytest
from code_of_pages import PAGES, ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *PAGES])


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

"""The site, as far as it can be seen without building it: what `make docs` is given."""

import inspect
import json
import posixpath
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from test_house import ROOMS

import diffevo_jax as de

ROOT = Path(__file__).parent.parent
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
TOCTREE = re.compile(
    r"```\{toctree\}\n(.*?)```|\.\. toctree::\n(.*?)\n(?=\S|\Z)", re.DOTALL
)
LINK = re.compile(r"(?:\]\(|\b(?:src|srcset|href)=\")([^)\s\"#:]*)(?:#([^)\s\"]*))?[)\s\"]")
#: Contracts, states, promises and the like; there may be fewer.
MOST_WITHOUT_EXAMPLE = 68


@pytest.fixture(scope="module")
def site(request):
    """Modules that lay out the site, and its sources by place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs" / "_site"))
        import assemble
        import catalogue
    return catalogue, assemble, assemble.sources()


def words_of(place: str, content: str) -> str:
    """The Markdown of a page or of a notebook."""
    if not place.endswith(".ipynb"):
        return content
    cells = json.loads(content)["cells"]
    return "\n\n".join(c["source"] for c in cells if c["cell_type"] == "markdown")


def listed(sources: dict) -> set[str]:
    """The pages that a toctree names, without their suffixes."""
    pages = {posixpath.splitext(place)[0] for place in sources}
    found = set()
    for place, content in sources.items():
        folder = posixpath.dirname(place)
        if isinstance(content, str) and not place.endswith(".ipynb"):
            for groups in TOCTREE.findall(content):
                for line in "".join(groups).split("\n"):
                    entry = line.strip()
                    if entry and not entry.startswith(":"):
                        pattern = re.escape(posixpath.join(folder, entry)).replace(
                            r"\*", ".*"
                        )
                        matches = {page for page in pages if re.fullmatch(pattern, page)}
                        assert matches, (
                            f"{place}: a toctree names {entry}, which is no page"
                        )
                        found |= matches
    return found


def anchors(text: str) -> set[str]:
    """Those that headings have, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    lowered = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in lowered}


def test_every_page_is_in_a_toctree(site) -> None:
    _, _, sources = site
    pages = {
        posixpath.splitext(place)[0]
        for place in sources
        if place.endswith((".md", ".rst", ".ipynb"))
    }
    assert pages - listed(sources) == {"index"}


def test_every_link_leads_to_a_page_and_to_a_heading_of_it(site) -> None:
    _, _, sources = site
    broken = []
    for place, content in sources.items():
        if not place.endswith((".md", ".ipynb")):
            continue
        text = FENCED.sub("", words_of(place, content))
        for path, anchor in LINK.findall(text):
            other = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
            other = other if path else place
            if other not in sources:
                broken.append(f"{place}: {path}")
            elif anchor and anchor not in anchors(words_of(other, sources[other])):
                broken.append(f"{place}: {path}#{anchor}")
    assert broken == []


def test_links_out_of_the_site_lead_to_files_of_the_repository(site) -> None:
    _, assemble, sources = site
    pattern = rf"{assemble.REPOSITORY}/(?:blob|tree)/main/([^)\s\"#]*)"
    targets = {
        target
        for content in sources.values()
        if isinstance(content, str)
        for target in re.findall(pattern, content)
    }
    assert len(targets) > 50
    assert [target for target in sorted(targets) if not (ROOT / target).exists()] == []


@pytest.mark.parametrize(
    "badge",
    [
        "[![Open in Colab](https://other.org/badge.svg)](https://other.org/01.ipynb)",
        "[![Open in Colab][badge]][colab]",
    ],
)
def test_a_badge_becomes_its_words(site, badge) -> None:
    _, assemble, _ = site
    found = assemble.relinked(badge, "notebooks/01.ipynb", "notebooks/01.ipynb", {})
    assert found in (
        "[Open in Colab](https://other.org/01.ipynb)",
        "[Open in Colab][colab]",
    )


def test_every_public_name_of_every_room_is_in_the_reference(site) -> None:
    """Read from the modules that are imported, and not from their source."""
    catalogue, _, sources = site
    missing = []
    for module in catalogue.modules():
        if not catalogue.is_package(module):
            continue
        (page,) = (one for one in catalogue.pages() if one.module == module)
        text = sources[f"{page.file}.rst"]
        room = __import__(module, fromlist=["_"])
        for name, value in vars(room).items():
            if name.startswith("_") or not re.search(rf"^\* :\w+:`{name} <", text, re.M):
                submodule = isinstance(value, ModuleType)  # what imports leave behind
                if not name.startswith("_") and not submodule:
                    missing.append(f"{module}.{name}")
    assert missing == []


def test_every_object_is_shown_in_full_once(site) -> None:
    catalogue, _, sources = site
    text = "\n".join(text for place, text in sources.items() if place.endswith(".rst"))
    shown = re.findall(r"^\.\. auto(?:class|function):: (\S+)$", text, re.MULTILINE)
    constants = re.findall(r"^\.\. py:data:: (\S+)\n   :module: (\S+)$", text, re.MULTILINE)
    shown += [f"{module}.{name}" for name, module in constants]
    wanted = {
        catalogue.shown_as(export)
        for page in catalogue.pages()
        for group in page.groups
        for export in group.exports
        if not isinstance(export.value, ModuleType)
    }
    assert len(shown) == len(set(shown)) > 400
    assert set(shown) == wanted


def test_no_more_objects_lack_an_example(site) -> None:
    catalogue, _, _ = site
    without = {
        catalogue.shown_as(export)
        for page in catalogue.pages()
        for group in page.groups
        for export in group.exports
        if (inspect.isclass(export.value) or inspect.isfunction(export.value))
        and ">>> " not in (export.value.__doc__ or "")
    }
    assert len(without) <= MOST_WITHOUT_EXAMPLE, sorted(without)


def test_every_picture_is_in_the_gallery_with_a_command_that_exists() -> None:
    text = (ROOT / "docs" / "gallery.md").read_text()
    pictures = {path.name for path in (ROOT / "docs" / "figures").glob("*.png")}
    assert pictures == set(re.findall(r"\]\(figures/([\w.]+)\)", text))
    scripts = re.findall(r"^\.venv/bin/python (\S+)", text, re.MULTILINE)
    assert len(scripts) >= len(pictures) - 1
    assert [script for script in scripts if not (ROOT / script).exists()] == []


def test_every_stored_result_of_a_table_is_in_the_evidence(monkeypatch) -> None:
    """By the page that has the table, so that all of them can be found from one."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import readme

    text = (ROOT / "docs" / "evidence.md").read_text()
    pages = {path.name for path in readme.DOCUMENTS if path.parent.name == "docs"}
    assert [
        page for page in sorted(pages - {"evidence.md"}) if f"({page}" not in text
    ] == []


def test_the_order_of_the_site_is_that_of_the_house(site) -> None:
    catalogue, _, _ = site
    assert catalogue.ROOMS == ROOMS


@pytest.mark.slow
def test_the_code_of_the_first_page_runs() -> None:
    text = (ROOT / "docs" / "index.md").read_text()
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "index.md", "exec"), names)
    assert np.allclose(names["result"].best_solution, 1.0, atol=0.05)
    assert names["many"].best_fitness.shape == (1000,)
    assert isinstance(names["result"], de.Result)

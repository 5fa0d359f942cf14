"""Lay out the sources of the site: pages, notebooks, and the reference.

    python docs/_site/assemble.py build/site

Pages in ``docs`` and notebooks link to each other, to source files and to the documents of
the root as files of the repository, so that the links work where the repository is read.
Here they become links of the site, or of the repository's address. The reference is written
from the catalogues of the package.
"""

import json
import posixpath
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import catalogue
from catalogue import ROOT, Export, Group, Page

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
#: Documents of the root that are pages of the site.
DOCUMENTS = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
FENCED = re.compile(r"(^```.*?^```$|^~~~.*?^~~~$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\(|\b(?:src|srcset|href)=\")([^)\s\"#]*)(#[^)\s\"]*)?(?=[)\s\"])")
#: A picture that another site serves.
BADGE = re.compile(r"\[!\[([^\]]*)\](?:\(https?://[^)]*\)|\[\w+\])\](\([^)]*\)|\[\w+\])")


def places() -> dict[str, str]:
    """Files of the repository that are on the site, and where, both as posix paths."""
    found = dict(DOCUMENTS)
    for path in sorted((ROOT / "docs").rglob("*")):
        inside = path.relative_to(ROOT / "docs").as_posix()
        if path.is_file() and not inside.startswith("_") and path.suffix != ".py":
            found[f"docs/{inside}"] = inside
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        found[f"notebooks/{path.name}"] = f"notebooks/{path.name}"
    return found


def relinked(text: str, origin: str, place: str, known: dict[str, str]) -> str:
    """A page's text with links that lead somewhere on the site, or in the repository.

    Args:
        text: Markdown.
        origin: the page's path in the repository.
        place: its path on the site.
        known: what :func:`places` returns.
    """

    def target(found: re.Match[str]) -> str:
        before, path, anchor = found[1], found[2], found[3] or ""
        for address in (f"{REPOSITORY}/blob/main/", f"{REPOSITORY}/tree/main/"):
            if path.startswith(address) and path.removeprefix(address) in known:
                path = posixpath.relpath(
                    path.removeprefix(address), posixpath.dirname(origin) or "."
                )
        if not path or ":" in path:
            return found[0]
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        if inside in known:
            start = posixpath.dirname(place) or "."
            return f"{before}{posixpath.relpath(known[inside], start)}{anchor}"
        if (ROOT / inside).exists():
            kind = "tree" if (ROOT / inside).is_dir() else "blob"
            return f"{before}{REPOSITORY}/{kind}/main/{inside}{anchor}"
        return found[0]

    def outside_code(part: str) -> str:
        return (
            part if FENCED.fullmatch(part) else LINK.sub(target, BADGE.sub(r"[\1]\2", part))
        )

    return "".join(map(outside_code, FENCED.split(text)))


def relinked_notebook(text: str, change: Callable[[str], str]) -> str:
    """A notebook of which the cells of Markdown are changed."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = change("".join(cell["source"]))
    return json.dumps(notebook, indent=1, ensure_ascii=False)


def underlined(title: str, mark: str) -> str:
    return f"{title}\n{mark * len(title)}\n"


def constant(export: Export, name: str) -> str:
    """A name that is no class, function or module: its value, and what is said of it."""
    path = catalogue.path_of(export.source)
    comments = catalogue.comments_of(path)
    lines = path.read_text().splitlines()
    (line, *_) = [
        number
        for number, text in enumerate(lines, 1)
        if re.match(rf"{export.name}\b\s*[:=]", text)
    ]
    said: list[str] = []
    while comments.get(line - 1, "").startswith("#:"):
        line -= 1
        said.insert(0, comments[line].removeprefix("#:").strip())
    value = " ".join(repr(export.value).split())
    shown = f"   :value: {value}\n" if len(value) <= 72 else ""
    module, _, last = name.rpartition(".")
    words = " ".join(said) or export.reason
    return f".. py:data:: {last}\n   :module: {module}\n{shown}\n   {words}\n"


def described(export: Export) -> str:
    """What shows an object in full."""
    name = catalogue.shown_as(export)
    if isinstance(export.value, type):
        return f".. autoclass:: {name}\n   :members:\n"
    if callable(export.value) and hasattr(export.value, "__code__"):
        return f".. autofunction:: {name}\n"
    if callable(export.value) and hasattr(export.value, "__wrapped__"):
        return f".. autofunction:: {name}\n"
    return constant(export, name)


def line_of(export: Export) -> str:
    """A name in its group: a link, and the reason to take it."""
    name = catalogue.shown_as(export)
    module = isinstance(export.value, ModuleType)
    link = (
        f":doc:`{export.name} </api/{name}>`"
        if module
        else f":obj:`{export.name} <{name}>`"
    )
    return f"* {link}" + (f": {export.reason}" if export.reason else "") + "\n"


def section(page: Page, group: Group) -> str:
    """A group of a page: what there is, and then each in full that is at home here."""
    listed = (
        "".join(map(line_of, group.exports)) if catalogue.is_package(page.module) else ""
    )
    full = [
        described(export)
        for export in group.exports
        if catalogue.home(export) == page.module
        and not isinstance(export.value, ModuleType)
    ]
    title = underlined(group.heading, "-") if group.heading else ""
    return "\n".join([title, listed, *full])


def reference(page: Page) -> str:
    """The text of a page of the reference."""
    parts = [
        underlined(page.module, "="),
        f".. automodule:: {page.module}\n",
        *(section(page, group) for group in page.groups),
    ]
    if files := catalogue.files_of(page):
        parts.append(underlined("The ideas, file by file", "-"))
        for file in files:
            parts.append(underlined(file.removeprefix(f"{catalogue.PACKAGE}."), "~"))
            parts.append(f".. automodule:: {file}\n")
    return "\n".join(parts)


def contents(pages: tuple[Page, ...]) -> str:
    """The first page of the reference: all others, in the order of the house."""
    intro = (
        "Every public name, with its docstring and its example. The rooms stand in the\n"
        "order in which the idea is told; most programs need what the first page has.\n"
    )
    entries = "".join(f"   {page.module}\n" for page in pages)
    return "\n".join(
        [underlined("Reference", "="), intro, ".. toctree::\n   :maxdepth: 1\n", entries]
    )


def sources() -> dict[str, str | Path]:
    """All files of the site: their text, or the file that they are a copy of."""
    known = places()
    found: dict[str, str | Path] = {}
    for origin, place in known.items():
        path = ROOT / origin

        def change(text: str, origin: str = origin, place: str = place) -> str:
            return relinked(text, origin, place, known)

        if path.suffix == ".md":
            found[place] = change(path.read_text())
        elif path.suffix == ".ipynb":
            found[place] = relinked_notebook(path.read_text(), change)
        else:
            found[place] = path
    pages = catalogue.pages()
    found |= {f"{page.file}.rst": reference(page) for page in pages}
    found["api/index.rst"] = contents(pages)
    return found


def write(folder: Path) -> None:
    """Write those that have changed, and remove what is there of pages that are no more."""
    wanted = sources()
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
    for place, content in wanted.items():
        path = folder / place
        new = content.read_bytes() if isinstance(content, Path) else content.encode()
        if not path.exists() or path.read_bytes() != new:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(new)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

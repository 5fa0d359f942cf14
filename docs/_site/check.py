"""Check the built site: links and anchors lead somewhere, and all that is public is shown.

    python docs/_site/check.py build/docs

No network is used; addresses of other sites are not looked at. An object is shown if its
name is an anchor of its page, and each line of its example stands there.
"""

import doctest
import html
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import FunctionType, ModuleType
from urllib.parse import unquote, urlsplit

import catalogue

#: Pages that are not read, but searched, or listed by the alphabet.
MADE = {"search", "genindex", "py-modindex"}


class Reader(HTMLParser):
    """The anchors of a page, where its links and pictures lead, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src", "srcset") and value:
                self.targets.append(value)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def broken(pages: dict[Path, Reader]) -> list[str]:
    """Links to files that are not there, or to anchors that a page does not have."""
    found = []
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            other = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not other.exists():
                found.append(f"{path}: {target}: no such file")
            elif anchor and other in pages and anchor not in pages[other].anchors:
                found.append(f"{path}: {target}: no such anchor")
    return found


def examples(value: object) -> list[str]:
    """The lines of code in the docstring of an object, and of its public methods."""
    if not isinstance(value, type | FunctionType):
        return []
    docstrings = [value.__doc__ or ""]
    if isinstance(value, type):
        docstrings += [
            member.__doc__ or ""
            for name, member in vars(value).items()
            if callable(member) and not name.startswith("_")
        ]
    parsed = doctest.DocTestParser()
    return [
        line
        for docstring in docstrings
        for example in parsed.get_examples(docstring)
        for line in example.source.splitlines()
    ]


def missing(pages: dict[Path, Reader], site: Path) -> list[str]:
    """Public names without an entry, and lines of their examples that are nowhere."""
    found = []
    for page in catalogue.pages():
        for group in page.groups:
            for export in group.exports:
                if isinstance(export.value, ModuleType):
                    continue
                name = catalogue.shown_as(export)
                path = (site / "api" / f"{catalogue.home(export)}.html").resolve()
                if name not in pages[path].anchors:
                    found.append(f"{path}: no entry of {name}")
                words = " ".join("".join(pages[path].words).split())
                found += [
                    f"{path}: {name}: its example is not shown: {line}"
                    for line in examples(export.value)
                    if " ".join(line.split()) not in words
                ]
    return found


def main(site: Path) -> int:
    """Print what is wrong; 1 if anything is."""
    pages = {
        path.resolve(): Reader(path.read_text())
        for path in site.rglob("*.html")
        if path.stem not in MADE and "_static" not in path.parts
    }
    wrong = list(dict.fromkeys(broken(pages) + missing(pages, site)))
    for line in wrong:
        print(html.unescape(line))
    links = sum(len(page.targets) for page in pages.values())
    print(f"{len(pages)} pages, {links} links: {len(wrong)} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""What is public: the names of every catalogue, in their groups, and where each is shown.

The ``__init__.py`` of a room exports one name a line, with a reason, under comments that
head groups. This reads them, and decides on which page of the site each object is.
"""

import ast
import functools
import importlib
import inspect
import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = "diffevo_jax"
#: Public modules that no catalogue exports: what the root is made of, the bridges, and what
#: a strategy of one's own is written on.
MORE = (
    "base",
    "compilation",
    "interop.diffrax",
    "interop.gymnasium",
    "interop.optuna",
    "strategies.shell",
)


def rooms() -> tuple[str, ...]:
    """The rooms in the order of the house, which CONTRIBUTING's table of them has."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (table,) = re.findall(r"\| room \|.*\n(?:\|.*\n)+", text)
    first = (row.split("|")[1] for row in table.splitlines()[2:])
    names = (name for cell in first for name in re.findall(r"`([^`]+)`", cell))
    return tuple(name.removesuffix("/").removesuffix(".py") for name in names)


#: Their order is that of the site.
ROOMS = rooms()


@dataclass(frozen=True)
class Export:
    """One public name.

    Attributes:
        name: without its module.
        reason: why to take it, as its catalogue says.
        source: the module that it is imported from.
        value: what it is.
    """

    name: str
    reason: str
    source: str
    value: Any


@dataclass(frozen=True)
class Group:
    """Names under one heading; the heading is empty where a catalogue has none."""

    heading: str
    exports: tuple[Export, ...]


@dataclass(frozen=True)
class Page:
    """One page of the reference: a public module, and what is shown in full on it."""

    module: str
    groups: tuple[Group, ...]

    @property
    def file(self) -> str:
        """Where it is on the site, without its suffix."""
        return f"api/{self.module}"


def path_of(module: str) -> Path:
    """The file of a module of the package."""
    bare = ROOT.joinpath(*module.split("."))
    return bare / "__init__.py" if bare.is_dir() else bare.with_suffix(".py")


def is_package(module: str) -> bool:
    return path_of(module).name == "__init__.py"


@functools.cache
def comments_of(path: Path) -> dict[int, str]:
    """Comments by line; those that have a line of their own begin with ``#``."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            found[token.start[0]] = token.string if alone else token.string.lstrip("# ")
    return found


def origin(module: str, name: str) -> str:
    """The file that a name comes from, through the catalogues that pass it on."""
    if module.split(".")[0] != PACKAGE or not is_package(module):
        return module
    for node in ast.parse(path_of(module).read_text()).body:
        passed_on = isinstance(node, ast.ImportFrom) and node.module not in (None, module)
        if passed_on and any(alias.asname == name for alias in node.names):
            return origin(node.module, name)
    return module


def exported(module: str) -> tuple[Group, ...]:
    """The groups of a catalogue, from its source."""
    path = path_of(module)
    comments = comments_of(path)
    groups: list[tuple[str, list[Export]]] = []
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        above = node.lineno - 1
        heading = []
        while comments.get(above, "").startswith("# "):
            heading.insert(0, comments[above].lstrip("# "))
            above -= 1
        if heading or not groups:
            groups.append((" ".join(heading).rstrip("."), []))
        for alias in node.names:
            if alias.asname != alias.name:
                continue
            last = node.end_lineno if len(node.names) == 1 else alias.lineno
            reason = comments.get(alias.lineno) or comments.get(last or 0) or ""
            value = getattr(importlib.import_module(module), alias.name)
            source = origin(node.module, alias.name)
            groups[-1][1].append(Export(alias.name, reason, source, value))
    return tuple(Group(heading, tuple(exports)) for heading, exports in groups if exports)


def defined(module: str) -> tuple[Group, ...]:
    """What a plain module defines for others: functions, classes, documented constants."""
    path = path_of(module)
    comments = comments_of(path)
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            documented = comments.get(node.lineno - 1, "").startswith("#:")
            name = target.id if documented and isinstance(target, ast.Name) else "_"
        else:
            continue
        if not name.startswith("_"):
            value = getattr(importlib.import_module(module), name)
            found.append(Export(name, "", module, value))
    return (Group("", tuple(found)),) if found else ()


@functools.cache
def modules() -> tuple[str, ...]:
    """All public modules: the root, then room by room."""
    packages = (ROOT / PACKAGE).rglob("__init__.py")
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in packages}
    found |= {f"{PACKAGE}.{name}" for name in MORE}
    for package in sorted(found):
        if is_package(package):
            for group in exported(package):
                for export in group.exports:
                    if isinstance(export.value, ModuleType):
                        found.add(export.value.__name__)

    def place(module: str) -> tuple[int, str]:
        parts = module.split(".")
        return (ROOMS.index(parts[1]) if len(parts) > 1 else -1, module)

    return tuple(sorted(found, key=place))


def key_of(export: Export) -> object:
    """The same for all names of one object, where it is one of the package's own."""
    owner = getattr(export.value, "__module__", None)
    if isinstance(owner, str) and owner.startswith(PACKAGE):
        return id(export.value)
    return (export.source, export.name)


@functools.cache
def names() -> dict[object, tuple[str, ...]]:
    """All public names of each object, the shortest first."""
    found: dict[object, list[str]] = {}
    for module in modules():
        for group in exported(module) if is_package(module) else defined(module):
            for export in group.exports:
                found.setdefault(key_of(export), []).append(f"{module}.{export.name}")
    return {key: tuple(sorted(all_, key=len)) for key, all_ in found.items()}


def home(export: Export) -> str:
    """The public module on whose page an object is shown in full."""
    if isinstance(export.value, ModuleType):
        return export.value.__name__
    if export.source in modules() and not is_package(export.source):
        return export.source
    homes = [name.rpartition(".")[0] for name in names()[key_of(export)]]
    own = [module for module in homes if export.source.startswith(f"{module}.")]
    return max(own or homes, key=lambda module: module.count("."))


@functools.cache
def pages() -> tuple[Page, ...]:
    """All pages of the reference."""
    return tuple(
        Page(module, exported(module) if is_package(module) else defined(module))
        for module in modules()
    )


def shown_as(export: Export) -> str:
    """The full name under which an object is shown: the shortest that is public."""
    if isinstance(export.value, ModuleType):
        return export.value.__name__
    own = home(export)
    return next(
        name
        for name in names()[key_of(export)]
        if f"{own}.".startswith(f"{name.rpartition('.')[0]}.")
    )


def files_of(page: Page) -> list[str]:
    """The files that define what is shown on a page, in the order of their first name."""
    sources = [
        export.source
        for group in page.groups
        for export in group.exports
        if home(export) == page.module
        and not isinstance(export.value, ModuleType)
        and export.source not in modules()
        and not is_package(export.source)
        and inspect.getdoc(importlib.import_module(export.source))
    ]
    return list(dict.fromkeys(sources))

"""The house: what may import what, and what no file may have.

``python tests/test_house.py`` prints the graph of the rooms.
"""

import ast
import pydoc
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "diffevo_jax"
#: In the order in which the idea is told: a room imports only from those before it.
ROOMS = (
    "pytree",
    "base",
    "compilation",
    "metrics",
    "noise",
    "attention",
    "kernels",
    "shaping",
    "denoisers",
    "samplers",
    "diffusion",
    "flows",
    "strategies",
    "problems",
    "running",
    "sweeps",
    "plots",
    "report",
    "testing",
    "interop",
    "cli",
)
#: Imports that go up or in a circle, and why: (importer, imported) -> reason.
ALLOWED = {
    ("diffevo_jax.cli.sweep_summary", "diffevo_jax.cli.sweep_command"): "type of options",
}
#: What a command runs enters by the door of its room.
ENTRANCES = {"diffevo_jax.cli.__main__"}
#: There were 227 when parts had no contracts.
MOST_ANY = 85
#: Rooms of the parts, which ask each other by contracts alone.
PARTS = ("strategies", "denoisers", "kernels", "shaping")
ASKING = re.compile(r"strategy: Any|hasattr\(|getattr\(")
REFERENCE = re.compile(r":(?:class|func|meth|mod):`~?([\w.]+)`")
CLASS = re.compile(r"^class (\w+)", re.MULTILINE)
#: An import statement of a catalogue, its comments too, and the names that it exports.
EXPORT = re.compile(r"^from [\w.]+ import (?:\((?s:.*?)^\)|).*", re.MULTILINE)
EXPORTED = re.compile(r"(\w+) as \1\b")


def module(path: Path) -> str:
    parts = path.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module(path): path for path in sorted(HOUSE.rglob("*.py"))}


def imports(name: str) -> set[str]:
    """Modules of the house that a file imports: for types and in functions too."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: a relative import, want an absolute one"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in FILES else str(node.module))
    return {one for one in found if one in FILES}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def executed(name: str) -> Iterator[str]:
    """Files that must have run before one runs: whoever enters a room passes its door."""
    for imported in imports(name):
        yield imported
        door = imported.rpartition(".")[0]
        while room(door) and not name.startswith(f"{door}.") and name != door:
            yield door
            door = door.rpartition(".")[0]


def graph() -> dict[str, set[str]]:
    """Rooms, and those that each imports."""
    found: dict[str, set[str]] = {name: set() for name in ROOMS}
    for name in filter(room, FILES):
        found[room(name)] |= {room(other) for other in imports(name)} - {room(name), ""}
    return found


def drawn() -> str:
    """The graph of the rooms, one a line."""
    order = ROOMS.index
    return "\n".join(
        f"{name:12} <- {', '.join(sorted(inner, key=order))}"
        for name, inner in graph().items()
    )


def test_the_root_holds_the_contracts_and_nothing_loose() -> None:
    files = {path.name for path in HOUSE.iterdir() if path.is_file()}
    assert len(files) <= 6, files
    rooms = {path.stem for path in HOUSE.iterdir() if not path.name.startswith("_")}
    assert rooms - {"py"} == set(ROOMS)


def test_no_room_imports_one_after_it() -> None:
    print(drawn())
    upward = [
        (name, other)
        for name in filter(room, FILES)
        for other in imports(name)
        if room(other) not in ROOMS[: ROOMS.index(room(name)) + 1]
        and (name, other) not in ALLOWED
    ]
    assert not upward


def test_no_file_imports_the_room_that_it_is_in() -> None:
    inward = [
        (name, other)
        for name in set(FILES) - ENTRANCES
        for other in imports(name)
        if name.startswith(f"{other}.")
    ]
    assert not inward


def test_no_file_has_the_name_of_a_function_in_it() -> None:
    shadowed = [
        name
        for name, path in FILES.items()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == path.stem
    ]
    assert not shadowed


def test_nothing_is_circular() -> None:
    edges = {
        name: {other for other in executed(name) if (name, other) not in ALLOWED}
        for name in FILES
    }
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_parts_ask_each_other_by_contracts() -> None:
    unexplained = []
    for name in PARTS:
        for path in sorted((HOUSE / name).rglob("*.py")):
            lines = path.read_text().splitlines()
            for above, line in zip(["", *lines], lines, strict=False):
                explained = "#" in line or above.strip().startswith("#")
                if ASKING.search(line) and not explained:
                    unexplained.append(f"{path.name}: {line.strip()}")
    assert not unexplained


@pytest.mark.parametrize("name", FILES)
def test_what_a_docstring_refers_to_exists(name: str) -> None:
    text = FILES[name].read_text()
    owners = ["", f"{name}.", *(f"{name}.{one}." for one in CLASS.findall(text))]
    dangling = [
        target
        for target in REFERENCE.findall(text)
        if not any(pydoc.locate(owner + target) for owner in owners)
    ]
    assert not dangling


@pytest.mark.parametrize("name", [n for n, p in FILES.items() if p.stem == "__init__"])
def test_a_catalogue_says_what_each_name_is(name: str) -> None:
    """By a comment on its lines, or by one above its group."""
    silent = []
    for group in FILES[name].read_text().split("\n\n"):
        lines = group.splitlines()
        headed = any(line.startswith("# ") and "isort" not in line for line in lines)
        for statement in EXPORT.findall(group):
            exported = EXPORTED.findall(statement)
            said = statement.count("  # ") >= len(exported)
            silent += [] if headed or said else exported
    assert not silent


def test_annotations_say_what_things_are() -> None:
    count = sum(
        ": Any" in line for path in FILES.values() for line in path.read_text().splitlines()
    )
    assert count <= MOST_ANY


if __name__ == "__main__":
    print(drawn())

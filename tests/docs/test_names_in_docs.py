"""Every name of the library that a document mentions exists."""

import importlib
import re
from pathlib import Path

import pytest
from code_of_pages import PAGES, ROOT

import diffevo_jax as de

#: Not the changelog, whose names may be gone.
DOCUMENTS = [
    *(ROOT / name for name in ("CONTRIBUTING.md", "README.md", "SECURITY.md", "llms.txt")),
    *PAGES,
]

#: Rooms, and what stands beside them on ``de``, by the name that pages use for them.
ROOMS = {
    name: importlib.import_module(path)
    for name, path in {
        "conditions": "diffevo_jax.shaping.conditions",
        "denoisers": "diffevo_jax.denoisers",
        "diffusion": "diffevo_jax.diffusion",
        "external": "diffevo_jax.problems.external",
        "flows": "diffevo_jax.flows",
        "kernels": "diffevo_jax.kernels",
        "loggers": "diffevo_jax.running.loggers",
        "metrics": "diffevo_jax.metrics",
        "noise": "diffevo_jax.noise",
        "oracles": "diffevo_jax.denoisers.oracles",
        "plots": "diffevo_jax.plots",
        "problems": "diffevo_jax.problems",
        "samplers": "diffevo_jax.samplers",
        "shaping": "diffevo_jax.shaping",
        "stops": "diffevo_jax.running.stops",
        "strategies": "diffevo_jax.strategies",
        "sweeps": "diffevo_jax.sweeps",
        "testing": "diffevo_jax.testing",
    }.items()
}
CODE = re.compile(r"`([^`\n]+)`")
DOTTED = re.compile(r"(?<![\w./])(de|diffevo_jax)\.([A-Za-z_][\w.]*\w)")
#: A class, or something that is called: endings of paths of fields are neither.
OF_A_ROOM = re.compile(
    rf"(?<![\w./])({'|'.join(ROOMS)})\.([A-Z]\w*(?:\.\w+)*|[a-z]\w*(?=\())"
)
#: Attributes of what runs return, which pages speak of without code around.
RETURNED = {
    "result": (de.Result,),
    "info": (de.Info,),
    "history": (de.Info,),
    "result.history": (de.Info,),
    "result.final": (importlib.import_module("diffevo_jax.running").FinalEvaluation,),
}
ATTRIBUTE = re.compile(
    r"(?<![\w.])(result\.history|result\.final|result|info|history)\.(?!npz)(\w+)"
)


def inline_code(path: Path) -> list[str]:
    """What stands between single backticks; blocks are run by other tests."""
    return CODE.findall(re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL))


def resolves(root: object, dotted: str) -> bool:
    """Whether a dotted name leads somewhere: modules, classes and their fields."""
    found = root
    for name in dotted.split("."):
        if hasattr(found, name):
            found = getattr(found, name)
            continue
        if name in getattr(found, "__dataclass_fields__", {}):
            return True  # of a field nothing more is known
        try:
            found = importlib.import_module(f"{found.__name__}.{name}")
        except (AttributeError, ImportError):
            return False
    return True


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_names_of_the_library_exist(path: Path) -> None:
    missing = [
        f"{root}.{name}"
        for code in inline_code(path)
        for root, name in DOTTED.findall(code)
        if not resolves(de, name) and not (ROOT / f"{root}.{name}").exists()
    ]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_parts_that_are_named_by_their_room_exist(path: Path) -> None:
    missing = [
        f"{room}.{name}"
        for code in inline_code(path)
        for room, name in OF_A_ROOM.findall(code)
        if not resolves(ROOMS[room], name)
    ]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_run_returns_has_what_is_said_of_it(path: Path) -> None:
    missing = [
        f"{owner}.{name}"
        for code in inline_code(path)
        for owner, name in ATTRIBUTE.findall(code)
        if not any(resolves(kind, name) for kind in RETURNED[owner])
    ]
    assert missing == []


def test_a_name_that_does_not_exist_would_be_noticed() -> None:
    assert resolves(de, "DiffusionEvolution.for_several")
    assert resolves(de, "interop.evosax.from_algorithm")
    assert resolves(de.Result, "best_fitness")
    assert not resolves(de, "samplers.DDIMM")
    assert not resolves(de, "interop.evosax.from_algorithms")
    assert not resolves(de.Result, "best_value")


def test_every_row_of_the_tables_of_names_says_something_of_ours() -> None:
    """Their name, ours, and what differs: of what is not here the third column says so."""
    text = (ROOT / "docs" / "coming_from.md").read_text()
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in row] for row in rows if "---" not in row[0]]
    assert len(rows) > 100
    assert {len(row) for row in rows} == {3}
    assert [row for row in rows if not row[1] and not row[2]] == []

"""One page of results, which needs nothing else: no network, no files, no framework."""

import string
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.records import version_of
from diffevo_jax.report import sources
from diffevo_jax.report.comparisons import curves, diagnostics, overview
from diffevo_jax.report.configurations import details
from diffevo_jax.report.markup import Markup, data, element, joined
from diffevo_jax.report.problem_groups import by_problem
from diffevo_jax.report.sections import Made, Section
from diffevo_jax.report.single_runs import of_run
from diffevo_jax.report.sources import Run
from diffevo_jax.report.sweep_tables import Sweep, of_sweep, sweep_of
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.result_files import Saved
from diffevo_jax.sweeps.stored_tables import ENDINGS, load

#: What a page can show.
Source = Result | Saved | str | Path
#: How files of it end.
_KNOWN = (".npz", ".json", *ENDINGS)


@checked
def page(
    results: Sequence[Source],
    *,
    labels: Sequence[str] = (),
    title: str = "",
) -> str:
    """A self-contained HTML page that shows and compares results.

    It has the learning curves with 95 % intervals of the mean, diagnostics, a film of each
    run whose populations were recorded, best solutions, tables of sweeps that sort, the
    configuration and the commands. It loads nothing, and works without a network.

    Args:
        results: each a result, or what :func:`diffevo_jax.load` has read; or the path of a
            ``.npz`` of :func:`diffevo_jax.save`, a ``.json`` of ``diffevo evolve --json``,
            a folder of ``diffevo evolve --folder``, or a sweep's ``.nc``, ``.zarr``,
            ``.parquet`` or ``.csv``.
        labels: what they are called; none given takes the names of the files.
        title: of the page; empty takes the labels.

    Returns:
        HTML, to be written into a file.

    Raises:
        ImportError: a package for a table is missing.
        OSError: a file cannot be read.
        ValueError: there are no results, a file is none or damaged, or there are not as
            many labels as results.

    Example:
        >>> import jax, diffevo_jax as de
        >>> strategy, problem = de.DiffusionEvolution(3), de.problems.Landscape("beale")
        >>> result = de.evolve(jax.random.key(0), strategy, problem, population_size=8)
        >>> html = de.report.page([result], labels=["default"], title="A first look")
        >>> "<title>A first look</title>" in html
        True
    """
    if not results:
        raise ValueError("results: got none, want at least one")
    if labels and len(labels) != len(results):
        raise ValueError(f"labels: got {len(labels)} for {len(results)} results")
    named = list(labels) or labels_of(results)
    read = [_read(one, label) for one, label in zip(results, named, strict=True)]
    runs = [one for one in read if isinstance(one, Run)]
    sweeps = [one for one in read if isinstance(one, Sweep)]
    title = title or ", ".join(one.label for one in read)
    made = Made()
    sections = []
    if runs:
        groups = by_problem(runs)
        sections += [overview(groups), curves(groups, made), diagnostics(groups, made)]
        sections += [of_run(number, run, made) for number, run in enumerate(runs, 1)]
    sections += [of_sweep(number, one, made) for number, one in enumerate(sweeps, 1)]
    sections.append(details(read))
    shown = [one for one in sections if one]
    here = resources.files("diffevo_jax.report")
    text = lambda name: (here / name).read_text(encoding="utf-8")
    template = string.Template(text("page.html"))
    version = version_of("diffevo-jax")
    return template.substitute(
        title=joined([title]),
        lead=joined([_lead(runs, sweeps)]),
        contents=_contents(shown),
        body="\n".join(one.html for one in shown),
        foot=joined([f"Made by diffevo-jax {version}. This page loads nothing."]),
        style=text("page.css"),
        script=text("page.js"),
        data=data("data", {"charts": made.charts, "films": made.films}),
    )


def labels_of(results: Sequence[Source]) -> list[str]:
    """Names of results: those of their files, with folders where these are alike.

    Example:
        >>> from diffevo_jax.report import pages
        >>> pages.labels_of(["a/run.npz", "b/run.npz", "c.json"])
        ['a/run', 'b/run', 'c']
    """
    paths = [
        Path(f"result {number}" if isinstance(one, Result | Saved) else one)
        for number, one in enumerate(results, 1)
    ]
    bare = lambda path: path.stem if path.suffix in _KNOWN else path.name
    parts = [(*path.parts[:-1], bare(path)) for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        found = ["/".join(each[-length:]) for each in parts]
        if len(set(found)) == len(found):
            return found
    return [f"{name} ({number})" for number, name in enumerate(found, 1)]


def _read(one: Source, label: str) -> Run | Sweep:
    if isinstance(one, Result):
        return sources.of_result(one, label)
    if isinstance(one, Saved):
        return sources.of_saved(one, label)
    path = Path(one)
    with sources.named(path):
        path = path.expanduser()
        if not path.exists():
            raise ValueError(f"path: got {path}, which is not there")
        if path.suffix in ENDINGS:
            table = load(path)
            named = table.attrs.get("name", label) if label == path.stem else label
            return sweep_of(table, str(named))
        if not path.is_dir() and not sources.ending_of(path):
            wanted = ", ".join(_KNOWN)
            raise ValueError(f"path: got {path}, want a folder or an ending among {wanted}")
        return sources.read_run(path, label)


def _lead(runs: Sequence[Run], sweeps: Sequence[Sweep]) -> str:
    counts = ((len(runs), "result"), (len(sweeps), "sweep"))
    said = [f"{count} {word}{'s' * (count > 1)}" for count, word in counts if count]
    return " and ".join(said)


def _contents(sections: Sequence[Section]) -> Markup:
    links = [
        element("li", element("a", one.title, href=f"#{one.anchor}")) for one in sections
    ]
    return element("nav", element("ul", links), aria_label="On this page")

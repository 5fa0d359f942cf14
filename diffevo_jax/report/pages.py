"""One page of results, which needs nothing else: no network, no files, no framework."""

import dataclasses
import string
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from diffevo_jax.plots.curves import mean_band
from diffevo_jax.pytree.annotations import checked
from diffevo_jax.pytree.records import version_of
from diffevo_jax.report import sources, sweep_tables
from diffevo_jax.report.charts import Curve, chart, legend, mean_curve
from diffevo_jax.report.films import frames, picture
from diffevo_jax.report.markup import Child, Markup, caption, data, element, joined, numeral
from diffevo_jax.report.sources import Run
from diffevo_jax.report.sweep_tables import Sweep
from diffevo_jax.running.evolution import Result
from diffevo_jax.running.result_files import Saved

#: What a page can show.
Source = Result | Saved | str | Path

#: What says how a strategy works, by the name in the history: a title, a logarithmic axis,
#: and what to look for.
_DIAGNOSTICS = {
    "sigma": (
        "sigma",
        True,
        "Noise level of a generation, in unit deviations: how far apart individuals that "
        "hear each other may be.",
    ),
    "effective_sample_size": (
        "effective sample size",
        False,
        "How many individuals an estimate is made of. Near 1 one has all the weight.",
    ),
    "self_weight": (
        "self-weight",
        False,
        "Weight of an individual in its own estimate. Near 1 nothing is selected.",
    ),
}


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
    made = _Made()
    sections = []
    if runs:
        sections += [_overview(runs), _curves(runs, made), _diagnostics(runs, made)]
        sections += [_run(number, run, made) for number, run in enumerate(runs, 1)]
    sections += [_sweep(number, one, made) for number, one in enumerate(sweeps, 1)]
    sections.append(_details(read))
    shown = [section for section in sections if section]
    here = resources.files("diffevo_jax.report")
    text = lambda name: (here / name).read_text(encoding="utf-8")
    template = string.Template(text("page.html"))
    version = version_of("diffevo-jax")
    return template.substitute(
        title=joined([title]),
        lead=joined([_lead(runs, sweeps)]),
        contents=_contents(shown),
        body="\n".join(section.html for section in shown),
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
    parts = [(*path.parts[:-1], path.stem or path.name) for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        found = ["/".join(each[-length:]) for each in parts]
        if len(set(found)) == len(found):
            return found
    return [f"{name} ({number})" for number, name in enumerate(found, 1)]


@dataclasses.dataclass(frozen=True)
class _Section:
    """A part of the page, and where the table of contents leads to."""

    anchor: str
    title: str
    html: Markup


class _Made:
    """What the page's script needs, in the order of the page."""

    def __init__(self) -> None:
        self.charts: list[dict[str, Any]] = []
        self.films: list[dict[str, Any]] = []

    def chart(
        self,
        title: str,
        curves: Sequence[Curve],
        *,
        x_label: str = "generation",
        log_y: bool = False,
        about: str = "",
    ) -> Markup:
        """A chart whose values are kept; see :func:`diffevo_jax.report.charts.chart`."""
        drawn, values = chart(title, curves, x_label=x_label, log_y=log_y, about=about)
        self.charts.append(values)
        return drawn


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
        if path.suffix in sweep_tables.ENDINGS:
            return sweep_tables.read_sweep(path, label)
        known = (".npz", ".json", *sweep_tables.ENDINGS)
        if not path.is_dir() and path.suffix not in known:
            wanted = ", ".join(known)
            raise ValueError(f"path: got {path}, want a folder or an ending among {wanted}")
        return sources.read_run(path, label)


def _section(anchor: str, title: str, *children: Child) -> _Section:
    html = element("section", element("h2", title), children, id=anchor)
    return _Section(anchor, title, html)


def _lead(runs: Sequence[Run], sweeps: Sequence[Sweep]) -> str:
    counts = ((len(runs), "result"), (len(sweeps), "sweep"))
    said = [f"{count} {word}{'s' * (count > 1)}" for count, word in counts if count]
    return " and ".join(said)


def _contents(sections: Sequence[_Section]) -> Markup:
    links = [
        element("li", element("a", section.title, href=f"#{section.anchor}"))
        for section in sections
    ]
    return element("nav", element("ul", links), aria_label="On this page")


def _overview(runs: Sequence[Run]) -> _Section:
    """A row for each result."""
    heads = ["result", "final mean", "best", "evaluations", "generations", "runs", "ended"]
    rows = []
    for run in runs:
        final = _spread(run.history["mean_fitness"][:, -1])
        best = run.best_fitness
        if best is None and "best_fitness" in run.history:
            best = _so_far(run.history["best_fitness"])[:, -1]
        cells: list[tuple[str, float | int | None]] = [
            (final, _mean(run.history["mean_fitness"][:, -1])),
            _best(run, best),
            (numeral(run.evaluations), run.evaluations),
            _span(run.generations),
            (numeral(run.num_runs), run.num_runs),
        ]
        numbers = [
            element("td", text, class_="number", data_value=value) for text, value in cells
        ]
        ended = element("td", sources.reasons_of(run) if run.reasons else "–")
        rows.append(element("tr", element("th", run.label, scope="row"), numbers, ended))
    head = [
        element(
            "th",
            element("button", text, type="button"),
            scope="col",
            class_="number" if 0 < place < 6 else None,
        )
        for place, text in enumerate(heads)
    ]
    several = any(run.num_runs > 1 for run in runs)
    interval = "Means over runs, with 95 % intervals of the mean. " if several else ""
    note = (
        "Final mean is that of the last population; evaluations are those of a run. "
        "A click on a column sorts by it."
    )
    table = element(
        "table",
        caption(interval + note),
        element("thead", element("tr", head)),
        element("tbody", rows),
        class_="sortable",
    )
    region = element(
        "div", table, class_="wide", role="region", tabindex=0, aria_label="Results"
    )
    return _section("results", "Results", region)


def _best(run: Run, best: np.ndarray | None) -> tuple[str, float | None]:
    """The best of the runs, if it is no matter of luck."""
    if best is None or (run.noisy and run.interval is None):
        return "–", None
    if len(best) == 1 and run.interval is not None:
        low, high = (numeral(float(end)) for end in run.interval[0])
        return f"{numeral(float(best[0]))} [{low}, {high}]", float(best[0])
    return _spread(best), _mean(best)


def _curves(runs: Sequence[Run], made: _Made) -> _Section:
    sizes = {run.population_size for run in runs}
    by_evaluations = len(sizes) > 1 and None not in sizes
    x_label = "evaluations" if by_evaluations else "generation"
    charts = []
    means = [
        mean_curve(run.label, slot, _x(run, by_evaluations), run.history["mean_fitness"])
        for slot, run in enumerate(runs)
    ]
    charts.append(
        made.chart(
            "mean fitness",
            means,
            x_label=x_label,
            about="Of the population of each generation.",
        )
    )
    records = []
    for slot, run in enumerate(runs):
        if "best_fitness" in run.history and not run.noisy:
            so_far = _so_far(run.history["best_fitness"])
            records.append(mean_curve(run.label, slot, _x(run, by_evaluations), so_far))
    if records:
        charts.append(
            made.chart(
                "best so far",
                records,
                x_label=x_label,
                about="Of all evaluations up to a generation.",
            )
        )
    notes = []
    if any(run.num_runs > 1 for run in runs):
        notes.append(
            "Lines are means over runs, bands their 95 % intervals, by Student's t."
        )
    if any(run.noisy for run in runs):
        notes.append(
            "Where fitness is noisy the best of a generation is the luckiest, and is not "
            "drawn."
        )
    if any(len(set(run.generations.tolist())) > 1 for run in runs):
        notes.append("A run that has stopped keeps its last value.")
    return _section(
        "curves",
        "Learning curves",
        element("p", " ".join(notes), class_="note") if notes else "",
        legend([run.label for run in runs]) if len(runs) > 1 else "",
        element("div", charts, class_="charts"),
    )


def _so_far(best: np.ndarray) -> np.ndarray:
    """The best up to each generation, (R, T)."""
    return np.maximum.accumulate(np.where(np.isnan(best), -np.inf, best), axis=1)


def _x(run: Run, by_evaluations: bool) -> np.ndarray:
    count = np.arange(1, run.history["mean_fitness"].shape[1] + 1)
    return count * run.population_size if by_evaluations and run.population_size else count


def _diagnostics(runs: Sequence[Run], made: _Made) -> _Section:
    charts = []
    for name, (title, log_y, about) in _DIAGNOSTICS.items():
        curves = [
            mean_curve(run.label, slot, _x(run, False), run.history[name])
            for slot, run in enumerate(runs)
            if name in run.history
        ]
        if curves:
            charts.append(made.chart(title, curves, log_y=log_y, about=about))
    return _section(
        "diagnostics",
        "Diagnostics",
        legend([run.label for run in runs]) if len(runs) > 1 else "",
        element("div", charts, class_="charts small"),
        _wrong(runs),
    )


def _wrong(runs: Sequence[Run]) -> Markup | str:
    """What is wrong with each result, in sentences."""
    said = {run.label: run.wrong for run in runs if run.wrong}
    items = [
        element("li", element("b", f"{label}: ") if len(runs) > 1 else "", sentence)
        for label, sentences in said.items()
        for sentence in sentences
    ]
    return element("ul", items, class_="wrong") if items else ""


def _run(number: int, run: Run, made: _Made) -> _Section:
    """What belongs to one result: its film, its best solution, its command."""
    parts: list[Markup] = []
    if run.film is None:
        parts.append(element("p", run.film_missing, class_="note"))
    else:
        if run.num_runs > 1:
            said = f"The film is of the first of {run.num_runs:,} runs."
            parts.append(element("p", said, class_="note"))
        parts.append(picture(run.film, len(made.films)))
        made.films.append(frames(run.film))
    if run.best:
        parts.append(_solution(run))
    if run.command:
        parts.append(_command(run.command))
    return _section(f"result-{number}", run.label, parts)


def _solution(run: Run) -> Markup:
    rows = [
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", _exactly(value), class_="number"),
        )
        for name, value in run.best.items()
    ]
    said = "The best solution" + (" of all runs." if run.num_runs > 1 else ".")
    if run.violation > 0:
        said += f" It is infeasible: its violation is {numeral(run.violation)}."
    if run.num_numbers and len(run.best) == sources.MOST_NUMBERS < run.num_numbers:
        said += f" The first {len(run.best)} of its {run.num_numbers:,} numbers."
    columns = [rows[begin : begin + 16] for begin in range(0, len(rows), 16)]
    tables = [element("table", element("tbody", column)) for column in columns]
    return element(
        "section",
        element("h3", "Best solution"),
        element("p", said, class_="about"),
        element(
            "div",
            element("div", tables, class_="columns"),
            class_="wide",
            role="region",
            tabindex=0,
            aria_label=f"Best solution of {run.label}",
        ),
    )


def _exactly(value: object) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}".replace("-", "−")
    return numeral(value)


def _command(command: str) -> Markup:
    return element(
        "section",
        element("h3", "Command"),
        element(
            "div",
            element("pre", element("code", command)),
            element("button", "Copy", type="button", class_="copy", aria_live="polite"),
            class_="command",
        ),
    )


def _sweep(number: int, sweep: Sweep, made: _Made) -> _Section:
    parts, values = sweep_tables.dependence(sweep)
    made.charts += values
    known = [
        mean_curve(
            sweep_tables.words_of(sweep, setting),
            slot,
            np.arange(1, runs.shape[1] + 1),
            runs,
        )
        for slot, (setting, runs) in enumerate(sweep.curves.items())
    ]
    if any(np.isfinite(curve.mean).any() for curve in known):
        about = "Of the best settings."
        drawn = made.chart("mean fitness", known, about=about)
        parts = [*parts, legend([curve.label for curve in known]), drawn]
    parts = [*parts, sweep_tables.table(sweep)]
    spaced = [element("div", part, class_="part") for part in parts]
    return _section(f"sweep-{number}", f"Sweep: {sweep.label}", spaced)


def _details(read: Sequence[Run | Sweep]) -> _Section:
    """Configurations and versions, side by side, folded."""
    tables = []
    for title, configs in (
        ("Configuration", [flat(one.config) for one in read]),
        ("Versions", [flat(one.versions) for one in read]),
    ):
        if any(configs):
            labels = [one.label for one in read]
            tables.append(_folded(title, labels, configs))
    if not tables:
        said = "The results say nothing of their configuration."
        tables.append(element("p", said, class_="note"))
    return _section("configuration", "Configuration and versions", tables)


def _folded(
    title: str, labels: Sequence[str], configs: Sequence[Mapping[str, str]]
) -> Markup:
    names = list(dict.fromkeys(name for config in configs for name in config))
    rows = []
    for name in names:
        values = [config.get(name, "–") for config in configs]
        differs = len(set(values)) > 1
        cells = [element("td", value) for value in values]
        head = element("th", name, scope="row")
        rows.append(element("tr", head, cells, class_="differs" if differs else None))
    head_row = element(
        "tr",
        element("td"),
        [element("th", label, scope="col") for label in labels],
    )
    said = "What differs is in bold." if len(labels) > 1 else ""
    table = element(
        "table",
        caption(said) if said else "",
        element("thead", head_row),
        element("tbody", rows),
        class_="config",
    )
    region = element(
        "div", table, class_="wide", role="region", tabindex=0, aria_label=title
    )
    return element("details", element("summary", title), region)


def flat(tree: object, name: str = "") -> dict[str, str]:
    """The values of nested dicts and lists as text, by their paths.

    Example:
        >>> from diffevo_jax.report import pages
        >>> pages.flat({"kernel": {"class": "Gaussian", "kappa": 1.0}, "seeds": 8})
        {'kernel': 'Gaussian', 'kernel.kappa': '1.0', 'seeds': '8'}
    """
    if isinstance(tree, Mapping):
        found: dict[str, str] = {}
        for key, part in tree.items():
            inner = name if key == "class" and name else f"{name}.{key}".lstrip(".")
            found |= flat(part, inner)
        return found
    if isinstance(tree, list) and any(isinstance(part, list | Mapping) for part in tree):
        found = {}
        for place, part in enumerate(tree):
            found |= flat(part, f"{name}[{place}]")
        return found
    if isinstance(tree, list):
        return {name: ", ".join(map(str, tree)) or "none"}
    return {name: "none" if tree is None else str(tree)}


def _mean(values: np.ndarray) -> float | None:
    mean = float(mean_band(np.reshape(values, (-1, 1))).mean[0])
    return mean if np.isfinite(mean) else None


def _spread(values: np.ndarray) -> str:
    """The mean over runs, and half of its 95 % interval."""
    curve = mean_curve("", 0, [0], np.reshape(values, (-1, 1)))
    text = numeral(float(curve.mean[0]))
    if curve.low is None or not np.isfinite(curve.low[0]):
        return text
    return f"{text} ± {float(curve.mean[0] - curve.low[0]):.2g}"


def _span(counts: np.ndarray) -> tuple[str, int]:
    low, high = int(counts.min()), int(counts.max())
    text = numeral(low) if low == high else f"{numeral(low)} to {numeral(high)}"
    return text, high

"""What compares results: a table of them, their curves, and what says how they went."""

import functools
from collections.abc import Sequence

import numpy as np

from diffevo_jax.plots.curves import mean_band
from diffevo_jax.report import sources
from diffevo_jax.report.charts import chart, legend, mean_curve
from diffevo_jax.report.markup import Markup, element, joined, numeral
from diffevo_jax.report.problem_groups import Group
from diffevo_jax.report.sections import Made, Section, section
from diffevo_jax.report.sources import Run
from diffevo_jax.report.tables import sorting, table

#: Where a result is more than so many times as long as another, an axis is logarithmic.
_MOST_TIMES = 30
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


def overview(groups: Sequence[Group]) -> Section:
    """A row for each result."""
    names = ["result"] + ["problem"] * (len(groups) > 1)
    numbers = ["final mean", "best", "evaluations", "generations", "runs"]
    columns = [(name, name in numbers) for name in (*names, *numbers, "ended")]
    problems = {run: group.name for group in groups for run in group.runs}
    rows = []
    for run, problem in problems.items():
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
        values = [
            element("td", text, class_="number", data_value=value) for text, value in cells
        ]
        ended = element("td", sources.reasons_of(run) if run.reasons else "–")
        of = element("td", problem) if len(groups) > 1 else ""
        label = element("th", run.label, scope="row")
        rows.append(element("tr", label, of, values, ended))
    several = any(run.num_runs > 1 for run in problems)
    interval = "Means over runs, with 95 % intervals of the mean. " if several else ""
    note = (
        "Final mean is that of the last population; evaluations are those of a run. "
        "A click on a column sorts by it."
    )
    shown = table("Results", interval + note, sorting(columns), rows, "sortable")
    return section("results", "Results", shown)


def curves(groups: Sequence[Group], made: Made) -> Section:
    """Mean fitness and the best so far: of results of one problem on the same axes."""
    parts, notes = [], []
    for group in groups:
        runs = group.runs
        sizes = {run.population_size for run in runs}
        by_evaluations = len(sizes) > 1 and None not in sizes
        axes = [_x(run, by_evaluations) for run in runs]
        is_log = max(x[-1] for x in axes) > _MOST_TIMES * min(x[-1] for x in axes)
        draw = functools.partial(
            chart,
            x_label="evaluations" if by_evaluations else "generation",
            log_x=is_log,
            is_part=len(groups) > 1,
        )
        means = [
            mean_curve(run.label, slot, x, run.history["mean_fitness"])
            for slot, (run, x) in enumerate(zip(runs, axes, strict=True))
        ]
        about = "Of the population of each generation."
        charts = [made.kept(draw("mean fitness", means, about=about))]
        records = [
            mean_curve(run.label, slot, x, _so_far(run.history["best_fitness"]))
            for slot, (run, x) in enumerate(zip(runs, axes, strict=True))
            if "best_fitness" in run.history and not run.noisy
        ]
        if records:
            about = "Of all evaluations up to a generation."
            charts.append(made.kept(draw("best so far", records, about=about)))
        if is_log:
            notes.append(
                f"Where a result is {_MOST_TIMES} times as long as another one the axis "
                "along is logarithmic."
            )
        parts.append(_of_problem(group, groups, charts, "charts"))
    every = [run for group in groups for run in group.runs]
    if len(groups) > 1:
        notes.insert(0, "Results of the same problem share their axes.")
    if any(run.num_runs > 1 for run in every):
        notes.append(
            "Lines are means over runs, bands their 95 % intervals, by Student's t."
        )
    if any(run.noisy for run in every):
        notes.append(
            "Where fitness is noisy the best of a generation is the luckiest, and is not "
            "drawn."
        )
    if any(len(set(run.generations.tolist())) > 1 for run in every):
        notes.append("A run that has stopped keeps its last value.")
    said = " ".join(dict.fromkeys(notes))
    note = element("p", said, class_="note") if said else ""
    return section("curves", "Learning curves", note, parts)


def _of_problem(
    group: Group, groups: Sequence[Group], charts: Sequence[Markup], class_: str
) -> Markup:
    """The charts of a problem, under its name if there are several."""
    is_part = len(groups) > 1
    shown = [
        element("h3", group.name) if is_part else "",
        legend([run.label for run in group.runs]) if is_part or len(group.runs) > 1 else "",
        element("div", charts, class_=class_),
    ]
    return element("section", shown, class_="problem") if is_part else joined(shown)


def diagnostics(groups: Sequence[Group], made: Made) -> Section:
    """Noise levels and weights over generations, and what is wrong in words."""
    parts: list[Markup] = []
    for group in groups:
        charts = []
        for name, (title, log_y, about) in _DIAGNOSTICS.items():
            lines = [
                mean_curve(run.label, slot, _x(run, False), run.history[name])
                for slot, run in enumerate(group.runs)
                if name in run.history
            ]
            if lines:
                is_part = len(groups) > 1
                said = about if not parts else ""  # once is enough
                charts.append(
                    made.kept(chart(title, lines, log_y=log_y, about=said, is_part=is_part))
                )
        if charts:
            parts.append(_of_problem(group, groups, charts, "charts small"))
    every = [run for group in groups for run in group.runs]
    return section("diagnostics", "Diagnostics", parts, _wrong(every))


def _best(run: Run, best: np.ndarray | None) -> tuple[str, float | None]:
    """The best of the runs, if it is no matter of luck."""
    if best is None or (run.noisy and run.interval is None):
        return "–", None
    if len(best) == 1 and run.interval is not None:
        low, high = (numeral(float(end)) for end in run.interval[0])
        return f"{numeral(float(best[0]))} [{low}, {high}]", float(best[0])
    return _spread(best), _mean(best)


def _so_far(best: np.ndarray) -> np.ndarray:
    """The best up to each generation, (R, T)."""
    return np.maximum.accumulate(np.where(np.isnan(best), -np.inf, best), axis=1)


def _x(run: Run, by_evaluations: bool) -> np.ndarray:
    count = np.arange(1, run.history["mean_fitness"].shape[1] + 1)
    return count * run.population_size if by_evaluations and run.population_size else count


def _wrong(runs: Sequence[Run]) -> Markup | str:
    """What is wrong with each result, in sentences."""
    said = {run.label: run.wrong for run in runs if run.wrong}
    items = [
        element("li", element("b", f"{label}: ") if len(runs) > 1 else "", sentence)
        for label, sentences in said.items()
        for sentence in sentences
    ]
    return element("ul", items, class_="wrong") if items else ""


def _mean(values: np.ndarray) -> float | None:
    mean = float(mean_band(np.reshape(values, (-1, 1))).mean[0])
    return mean if np.isfinite(mean) else None


def _spread(values: np.ndarray) -> str:
    """The mean over runs, and half of its 95 % interval if that is finite."""
    (mean,), (low,), _ = mean_band(np.reshape(values, (-1, 1)))
    text = numeral(float(mean))
    return f"{text} ± {numeral(float(mean - low), 2)}" if np.isfinite(low) else text


def _span(counts: np.ndarray) -> tuple[str, int]:
    low, high = int(counts.min()), int(counts.max())
    text = numeral(low) if low == high else f"{numeral(low)} to {numeral(high)}"
    return text, high

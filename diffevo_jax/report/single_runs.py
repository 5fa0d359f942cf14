"""What belongs to one result: its film, its best solution, its command."""

from diffevo_jax.report import sources
from diffevo_jax.report.markup import Markup, element, numeral
from diffevo_jax.report.screens import frames, picture
from diffevo_jax.report.sections import Made, Section, section
from diffevo_jax.report.sources import Run
from diffevo_jax.report.tables import wide


def of_run(number: int, run: Run, made: Made) -> Section:
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
    return section(f"result-{number}", run.label, parts)


def _solution(run: Run) -> Markup:
    rows = [
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", numeral(value, 6), class_="number"),
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
        wide(f"Best solution of {run.label}", element("div", tables, class_="columns")),
    )


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

"""Configurations and versions of results, side by side."""

import re
from collections.abc import Mapping, Sequence

from diffevo_jax.report.markup import Markup, element
from diffevo_jax.report.sections import Section, section
from diffevo_jax.report.sources import Run
from diffevo_jax.report.sweep_tables import Sweep
from diffevo_jax.report.tables import table

#: A number as Python writes it.
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")


def details(read: Sequence[Run | Sweep]) -> Section:
    """Configurations and versions, side by side, folded."""
    tables = []
    for title, configs in (
        ("Configuration", [flat(one.config) for one in read]),
        ("Versions", [flat(one.versions) for one in read]),
    ):
        if any(configs):
            labels = [one.label for one in read]
            numbers = title == "Configuration"  # and a version is none
            tables.append(_folded(title, labels, configs, numbers))
    if not tables:
        said = "The results say nothing of their configuration."
        tables.append(element("p", said, class_="note"))
    return section("configuration", "Configuration and versions", tables)


def _folded(
    title: str, labels: Sequence[str], configs: Sequence[Mapping[str, str]], numbers: bool
) -> Markup:
    names = list(dict.fromkeys(name for config in configs for name in config))
    rows = []
    for name in names:
        values = [config.get(name, "–") for config in configs]
        differs = len(set(values)) > 1
        cells = [element("td", shown(value) if numbers else value) for value in values]
        head = element("th", name, scope="row")
        rows.append(element("tr", head, cells, class_="differs" if differs else None))
    head_row = element(
        "tr",
        element("td"),
        [element("th", label, scope="col") for label in labels],
    )
    said = "What differs is in bold." if len(labels) > 1 else ""
    whole = table(title, said, head_row, rows, "config")
    return element("details", element("summary", title), whole)


def shown(text: str) -> str:
    """A value as the page has it: numbers, also of a list, as all of its numbers are.

    No digit is lost.

    Example:
        >>> from diffevo_jax.report import configurations
        >>> [configurations.shown(text) for text in ("1000, 64", "-2500.5", "v2000")]
        ['1,000, 64', '−2,500.5', 'v2000']
    """
    return ", ".join(map(_grouped, text.split(", ")))


def _grouped(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        return text
    whole, point, rest = text.lstrip("-").partition(".")
    sign = "−" * text.startswith("-")
    whole = f"{int(whole):,}" if whole.isdecimal() else whole
    return f"{sign}{whole}{point}{rest}".replace("-", "−")


def flat(tree: object, name: str = "") -> dict[str, str]:
    """The values of nested dicts and lists as text, by their paths.

    Example:
        >>> from diffevo_jax.report import configurations
        >>> configurations.flat({"kernel": {"class": "Gaussian", "kappa": 1.0}, "seeds": 8})
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

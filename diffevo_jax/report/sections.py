"""Sections of a page, and what its script needs of them."""

import dataclasses
from typing import Any

from diffevo_jax.report.markup import Child, Markup, element


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page, and where the table of contents leads to."""

    anchor: str
    title: str
    html: Markup


def section(anchor: str, title: str, *children: Child) -> Section:
    """A section with a heading."""
    html = element("section", element("h2", title), children, id=anchor)
    return Section(anchor, title, html)


class Made:
    """What the page's script needs, in the order of the page.

    Attributes:
        charts: values of each, of :func:`diffevo_jax.report.charts.chart`.
        films: frames of each, of :func:`diffevo_jax.report.screens.frames`.
    """

    def __init__(self) -> None:
        self.charts: list[dict[str, Any]] = []
        self.films: list[dict[str, Any]] = []

    def kept(self, drawn: tuple[Markup, dict[str, Any]]) -> Markup:
        """A chart of :func:`diffevo_jax.report.charts.chart`, whose values are kept."""
        picture, values = drawn
        self.charts.append(values)
        return picture

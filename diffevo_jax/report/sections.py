"""Sections of a page, and what its script needs of them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from diffevo_jax.report.charts import Curve, chart
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
        log_x: bool = False,
        log_y: bool = False,
        about: str = "",
        is_part: bool = False,
    ) -> Markup:
        """A chart whose values are kept; see :func:`diffevo_jax.report.charts.chart`."""
        drawn, values = chart(
            title,
            curves,
            x_label=x_label,
            log_x=log_x,
            log_y=log_y,
            about=about,
            is_part=is_part,
        )
        self.charts.append(values)
        return drawn

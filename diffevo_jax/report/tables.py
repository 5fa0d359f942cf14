"""Tables of a page: they scroll where they are wide, and sort by a click."""

from collections.abc import Sequence

from diffevo_jax.report.markup import Child, Markup, element


def wide(label: str, *children: Child) -> Markup:
    """A region that scrolls where what is in it is wider than the page.

    Args:
        label: what is in it, for who does not see it.
        *children: of the region.
    """
    return element(
        "div", children, class_="wide", role="region", tabindex=0, aria_label=label
    )


def table(label: str, said: str, head: Markup, rows: Child, class_: str) -> Markup:
    """A table in a region of its own.

    Args:
        label: what is in it, for who does not see it.
        said: its caption, which stays in view where the table scrolls; empty for none.
        head: the row of its heads.
        rows: the others.
        class_: of the table; the page's script sorts those that are ``sortable``.

    Example:
        >>> from diffevo_jax.report import tables
        >>> from diffevo_jax.report.markup import element
        >>> head = tables.sorting([("setting", False), ("mean", True)])
        >>> rows = [element("tr", element("td", "0"), element("td", "1.5"))]
        >>> html = tables.table("Settings", "Means.", head, rows, "sortable")
        >>> "<caption><span>Means.</span></caption><thead><tr><th" in html
        True
    """
    caption = element("caption", element("span", said)) if said else ""
    whole = element(
        "table",
        caption,
        element("thead", head),
        element("tbody", rows),
        class_=class_,
    )
    return wide(label, whole)


def sorting(columns: Sequence[tuple[str, bool]], falling: str | None = None) -> Markup:
    """A row of heads, by each of which the page's script sorts.

    Args:
        columns: what each is called, and whether it has numbers.
        falling: the one by which the rows are sorted already, the largest first.
    """
    heads = [
        element(
            "th",
            element("button", text, type="button"),
            scope="col",
            class_="number" if has_numbers else None,
            aria_sort="descending" if text == falling else None,
        )
        for text, has_numbers in columns
    ]
    return element("tr", heads)

"""HTML that cannot break: text is escaped unless it is markup already."""

import html
import json
from collections.abc import Sequence

import numpy as np

#: Elements without content.
_VOID = frozenset({"img", "input", "line", "meta", "path", "rect", "circle"})


class Markup(str):
    """Text that is HTML."""


Child = str | Sequence["Child"]


def element(tag: str, *children: Child, **attributes: object) -> Markup:
    """An element of HTML or SVG.

    Args:
        tag: its name.
        *children: text, which is escaped, or :class:`Markup`, or sequences of these.
        **attributes: a trailing underscore is dropped and others are dashes; True has no
            value, None and False leave it out.

    Example:
        >>> from diffevo_jax.report import markup
        >>> print(markup.element("td", "a < b", class_="name", data_value=3))
        <td class="name" data-value="3">a &lt; b</td>
    """
    given = ""
    for name, value in attributes.items():
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            given += f" {name}"
        elif value is not None and value is not False:
            given += f' {name}="{_escaped(str(value))}"'
    if tag in _VOID:
        return Markup(f"<{tag}{given}/>")
    return Markup(f"<{tag}{given}>{joined(children)}</{tag}>")


def joined(children: Sequence[Child]) -> Markup:
    """Children one after the other, escaped where they are text."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        else:
            parts.append(_escaped(child) if isinstance(child, str) else joined(child))
    return Markup("".join(parts))


def _escaped(text: str) -> str:
    """Text that ends no markup, in letters that a file has: a name of a file has others."""
    return html.escape(text.encode(errors="backslashreplace").decode())


def data(name: str, value: object) -> Markup:
    """JSON for the page's script, in an element that no text in it can end.

    Args:
        name: id of the element.
        value: what strict JSON can hold.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(
        f'<script type="application/json" id="{html.escape(name)}">{text}</script>'
    )


def numeral(value: object, digits: int = 4) -> str:
    """A number as people read it; a dash for what is not finite.

    From 1,000 on thousands are parted, and from 10,000,000 on a float has a power of ten.

    Args:
        value: what is not a number is its text.
        digits: of a float at least, from the first that is not 0.

    Example:
        >>> from diffevo_jax.report import markup
        >>> [markup.numeral(value) for value in (3, 0.123456, -1e-9, float("nan"), True)]
        ['3', '0.1235', '−1e−09', '–', 'yes']
        >>> [markup.numeral(value) for value in (5000, 5000.0, 999.99, 12345.6, 2e8)]
        ['5,000', '5,000', '1,000', '12,346', '2e+08']
    """
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, int | np.integer):
        text = f"{int(value):,}"
    elif isinstance(value, float | np.floating):
        number = float(value)
        text = f"{number:,.{digits}g}" if np.isfinite(number) else "–"
        if "e+" in text and abs(number) < 1e7:  # as 12,345 has with four digits
            text = f"{number:,.0f}"
    else:
        return str(value)
    return text.replace("-", "−")

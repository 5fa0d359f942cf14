"""No text breaks out of a page."""

import json
from html.parser import HTMLParser

import pytest

from diffevo_jax.report import markup

NASTY = """</script><script>alert(1)</script> "quoted" 'so' & <b> \u2028 -->"""


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.attributes: dict[str, str | None] = {}

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= dict(attrs)

    def handle_data(self, data):
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def test_text_is_text() -> None:
    found = read(markup.element("p", NASTY, [NASTY]))
    assert found.tags == ["p"]
    assert found.text == 2 * NASTY


def test_attributes_are_text() -> None:
    found = read(markup.element("p", title=NASTY))
    assert found.tags == ["p"]
    assert found.attributes == {"title": NASTY}


def test_data_ends_where_it_ends() -> None:
    html = markup.data("data", {"label": NASTY})
    found = read(html)
    assert found.tags == ["script"]
    assert json.loads(found.text) == {"label": NASTY}


def test_data_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        markup.data("data", [float("nan")])


def test_no_comment_begins_in_data() -> None:
    assert "<!--" not in markup.data("data", "<!-- <script>")

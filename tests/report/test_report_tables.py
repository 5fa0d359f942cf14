"""Tables of a page: named, scrolling, and sorted by what they say."""

import re

from diffevo_jax.report import tables
from diffevo_jax.report.markup import element


def test_a_table_says_by_which_column_it_is_sorted() -> None:
    head = tables.sorting([("setting", False), ("mean", True)], falling="mean")
    sorts = re.findall(r"<th ([^>]*)><button type=\"button\">(\w+)</button></th>", head)
    assert [name for given, name in sorts if "aria-sort" in given] == ["mean"]
    assert len(sorts) == 2


def test_a_column_of_numbers_stands_as_its_numbers_do() -> None:
    head = tables.sorting([("setting", False), ("mean", True)])
    assert re.findall(r'class="number"><button type="button">(\w+)', head) == ["mean"]


def test_a_table_scrolls_in_a_region_that_keys_reach_and_has_a_name() -> None:
    html = tables.table("Results & more", "", element("tr"), [], "config")
    (region,) = re.findall(r'^<div class="wide" ([^>]*)>', html)
    assert region == 'role="region" tabindex="0" aria-label="Results &amp; more"'


def test_a_table_without_words_has_no_caption() -> None:
    assert "<caption>" in tables.table("a", "Means.", element("tr"), [], "config")
    assert "<caption>" not in tables.table("a", "", element("tr"), [], "config")

"""The page of results agrees with the benchmarks' result files."""

import re

import pytest

from scripts import results_page


def test_the_page_says_what_the_results_say() -> None:
    text = results_page.PAGE.read_text()
    assert text == results_page.page(text), "write it anew: python scripts/results_page.py"


def test_every_table_stands_on_the_page_once() -> None:
    tables = re.findall(r"<!-- table (\w+) -->", results_page.PAGE.read_text())
    assert sorted(tables) == sorted([*results_page.TABLES, "files"])


def test_a_figure_that_is_typed_over_is_found() -> None:
    text = results_page.PAGE.read_text()
    changed = text.replace("| .1910 |", "| .2910 |")
    assert changed != text
    assert results_page.page(changed) == text


def test_a_table_that_there_is_not_is_refused() -> None:
    with pytest.raises(KeyError, match="nothing"):
        results_page.page("<!-- table nothing --><!-- end -->")


@pytest.mark.parametrize(
    ("value", "written"), [(0.42519, ".425"), (-0.0071, "-.007"), (0.0, "0"), (1.0, "1"), (1.0117, "1.012"), (None, "")]
)
def test_shares_are_written_as_everywhere(value: float | None, written: str) -> None:
    assert results_page.rows_of.share(value) == written

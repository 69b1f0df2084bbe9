"""Terminal, Markdown and page show the same tables in the same order under the same titles."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path

import pytest
from places import FIXTURES
from report_records import with_statistics
from rich.console import Console

from diarbench.datasets.io.names import visible
from diarbench.datasets.io.records import read_record
from diarbench.reports import markdown, terminal
from diarbench.reports.html import page
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.summary.summary import summarize
from diarbench.reports.tables.contents import COSTS, SCORES, TITLES, contents

COMPARISONS = {
    "by hand": with_statistics(is_significant=True),
    "ami-mini": read_record(FIXTURES / "reports" / "ami-mini" / "results.json", Comparison),
}


def on_terminal(comparison: Comparison) -> list[str]:
    out = io.StringIO()
    terminal.print_comparison(comparison, Console(file=out, width=300))
    return [line for line in out.getvalue().splitlines() if line in TITLES]


def in_markdown(comparison: Comparison) -> list[str]:
    headings = re.findall(r"(?m)^#### (.*)$", markdown.render(comparison, Path()))
    return [re.sub(r"\\(.)", r"\1", heading) for heading in headings]


def on_page(comparison: Comparison, tmp_path) -> list[str]:
    text = page.render(comparison, tmp_path)
    captions = [html.unescape(caption) for caption in re.findall(r"<caption>(.*?)</caption>", text)]
    titles = "|".join(map(re.escape, TITLES))
    return [title for caption in captions for title in re.findall(rf"(?:: |; )({titles})", caption)]


@pytest.mark.parametrize("name", COMPARISONS)
def test_all_renderers_show_the_same_tables_in_the_same_order(name, tmp_path):
    comparison = COMPARISONS[name]
    summary = summarize(comparison)
    sections = [section for dataset in summary.datasets for section in summary.of(dataset)]
    expected = [title for section in sections for title, _ in contents(summary, section)]
    assert {SCORES, COSTS, "Differences, in points of DER"} < set(expected)
    assert on_terminal(comparison) == in_markdown(comparison) == expected
    # The page has one folded table of costs and of all scores, in which the condition is chosen.
    first, *others = [title for title in expected if title != SCORES]
    assert on_page(comparison, tmp_path) == [SCORES, first, *others]


def test_every_figure_of_the_tables_is_in_markdown():
    comparison = COMPARISONS["by hand"]
    summary, text = summarize(comparison), markdown.render(comparison, Path())
    for section in summary.of("mini"):
        for _, table in contents(summary, section):
            for row in table.rows:
                assert f"| {' | '.join(markdown.escape(visible(cell.text)) for cell in row)} |" in text

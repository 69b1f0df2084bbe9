"""The pictures: which there are, and that no name breaks them."""

from __future__ import annotations

import sys

import pytest
from report_records import make_comparison, make_rows, make_run, two_backends, with_statistics

from diarbench.reports.folder import write_reports
from diarbench.reports.plots import draw
from diarbench.reports.summary import summarize


def test_the_bars_add_up_to_the_error_rate():
    (figure,) = (plot.figure for plot in draw(summarize(two_backends())) if plot.name == "der-parts-1")
    (axes,) = figure.axes
    parts = [[bar.get_width() for bar in bars] for bars in axes.containers]
    # pyannote before and after, nemo, silence; miss, false alarm, confusion of 100 s
    assert [list(map(round, part)) for part in parts] == [[20, 12, 40, 100], [10, 6, 10, 0], [20, 22, 30, 0]]
    assert axes.get_xlabel().startswith("DER (% of reference speech)")


def test_points_stand_at_what_it_took():
    (figure,) = (plot.figure for plot in draw(summarize(two_backends())) if plot.name == "der-cost-1")
    factor, training = figure.axes
    assert [(*line.get_xdata(), *line.get_ydata()) for line in factor.lines] == [(0.04, 50), (0.05, 40), (0.05, 80)]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in training.lines] == [(120, 40), (120, 80)]


def test_slices_are_drawn_in_points():
    (figure,) = (plot.figure for plot in draw(summarize(with_statistics(settled=True))) if plot.name == "slices-1")
    bars = [[bar.get_width() for bar in system] for system in figure.axes[0].containers]
    assert bars == [pytest.approx([25, 15]), pytest.approx([50, 30])]


def test_learning_curves_start_before_training():
    (figure,) = (plot.figure for plot in draw(summarize(two_backends())) if plot.name == "learning-1")
    error, _ = figure.axes
    assert [list(line.get_xdata()) for line in error.lines] == [[0, 1], [0, 1]]
    assert list(error.lines[0].get_ydata()) == [80, 40]
    assert len({line.get_linestyle() for line in error.lines}) == 2


def test_a_run_that_came_to_nothing_has_no_pictures():
    failed = make_run("nemo", state="failed", failure="why", phases=(), epochs=())
    assert draw(summarize(make_comparison((failed,), []))) == []


@pytest.mark.parametrize("name", [r"$\frac{", "a\nb", "%_^~", "x" * 200])
def test_no_name_breaks_a_picture(name):
    run = make_run(name, name=name, recipe=name, dataset=name)
    comparison = make_comparison((run,), make_rows(run, "finetuned", ("one", 10, 1, 1, 1)))
    comparison = comparison.model_copy(
        update={"rows": tuple(row.model_copy(update={"dataset": name}) for row in comparison.rows)}
    )
    for plot in draw(summarize(comparison)):
        assert plot.image("svg").startswith(b"<?xml")


def test_without_matplotlib_the_reports_have_no_pictures(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_reports([two_backends()], tmp_path)
    assert "![" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "report.html"}

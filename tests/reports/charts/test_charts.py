"""Charts: which are drawn, their values, and that no name breaks them."""

from __future__ import annotations

import re
import sys

import pytest
from report_records import SENKO, make_comparison, make_rows, make_run, make_tuning, two_backends, with_statistics

from diarbench.reports.charts import interactive
from diarbench.reports.charts.charts import charts
from diarbench.reports.charts.static import draw
from diarbench.reports.results.job import Domain
from diarbench.reports.results.scores import SPEAKERS_SLICING, ErrorSeconds, SpeakerCounts
from diarbench.reports.summary.summary import summarize
from diarbench.reports.write import write_reports


def test_the_bars_add_up_to_the_error_rate():
    (figure,) = (plot.figure for plot in draw(summarize(two_backends())) if plot.name == "der-parts-1")
    (axes,) = figure.axes
    parts = [[bar.get_width() for bar in bars] for bars in axes.containers]
    # pyannote before and after, and nemo; miss, false alarm, confusion of 100 s. A baseline would stretch the axis.
    assert [list(map(round, part)) for part in parts] == [[20, 12, 40], [10, 6, 10], [20, 22, 30]]
    assert axes.get_xlabel().startswith("DER (% of reference speech)")


def test_points_are_drawn_at_their_cost():
    (figure,) = (plot.figure for plot in draw(summarize(two_backends())) if plot.name == "der-cost-1")
    factor, training = figure.axes
    assert [(*line.get_xdata(), *line.get_ydata()) for line in factor.lines] == [(0.04, 50), (0.05, 40), (0.05, 80)]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in training.lines] == [(120, 40), (120, 80)]


def test_a_toolkit_has_one_colour_and_marker_and_its_stages_differ():
    (figure,) = (plot.figure for plot in draw(summarize(two_backends())) if plot.name == "der-cost-1")
    before, after, other = figure.axes[0].lines
    look = [(line.get_color(), line.get_marker()) for line in (before, after, other)]
    assert look[0] == look[1] and look[0][0] != look[2][0] and look[0][1] != look[2][1]
    assert before.get_fillstyle() != after.get_fillstyle() == other.get_fillstyle()


def test_slices_are_drawn_in_points():
    (figure,) = (
        plot.figure for plot in draw(summarize(with_statistics(is_significant=True))) if plot.name == "slices-1"
    )
    bars = [[bar.get_width() for bar in system] for system in figure.axes[0].containers]
    assert bars == [pytest.approx([25, 15]), pytest.approx([50, 30])]


def test_learning_curves_start_before_training():
    (figure,) = (plot.figure for plot in draw(summarize(two_backends())) if plot.name == "learning-1")
    error, _ = figure.axes
    assert [list(line.get_xdata()) for line in error.lines] == [[0, 1], [0, 1]]
    assert list(error.lines[0].get_ydata()) == [80, 40]
    assert len({line.get_linestyle() for line in error.lines}) == 2


def test_a_run_without_results_has_no_charts():
    failed = make_run("nemo", state="failed", failure="why", phases=(), epochs=())
    assert draw(summarize(make_comparison((failed,), []))) == []


@pytest.mark.parametrize("name", [r"$\frac{", "a\nb", "%_^~", "x" * 200, "회의"])
@pytest.mark.filterwarnings("error")
def test_no_name_breaks_a_picture(name):
    run = make_run(name, name=name, recipe=name, dataset=name)
    comparison = make_comparison((run,), make_rows(run, "finetuned", ("one", 10, 1, 1, 1)))
    comparison = comparison.model_copy(
        update={"rows": tuple(row.model_copy(update={"dataset": name}) for row in comparison.rows)}
    )
    for plot in draw(summarize(comparison)):
        assert plot.image().startswith(b"\x89PNG")


def test_without_matplotlib_the_reports_have_no_pictures(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_reports([two_backends()], tmp_path)
    assert "![" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "report.html"}


def charted(comparison):
    return {chart.name: chart for chart in charts(summarize(comparison))}


def test_the_same_charts_are_drawn_by_both():
    """plotly.js receives the same values as matplotlib."""
    comparison = with_statistics(is_significant=True)
    by_name = charted(comparison)
    drawn = interactive.draw(list(by_name.values()))
    plots = draw(summarize(comparison))
    assert [chart.chart.name for chart in drawn] == [plot.name for plot in plots] == list(by_name)
    (parts,) = drawn[0].figures
    assert [trace["x"] for trace in parts["data"]] == [[20, 12, 40], [10, 6, 10], [20, 22, 30]]
    assert parts["data"][-1]["error_x"]["array"] == pytest.approx([5, 5, 5])
    assert len({trace["marker"]["pattern"]["shape"] for trace in parts["data"]}) == 3, "readable without colour"
    for chart in drawn:
        for figure in chart.figures:
            assert figure["layout"]["xaxis"]["title"]["text"], "a unit on every axis"


def test_error_falls_with_hours():
    """A tenth, a half and all of one hour of training data."""
    runs = [
        make_run(
            "nemo", name=f"{fraction}-{seed}", seed=seed, train_fraction=fraction, train_s=3600 * fraction, **start
        )
        for fraction, start in ((0.1, {}), (0.5, {}), (1.0, {"weights": SENKO}))
        for seed in (1, 2)
    ]
    rows = [*make_rows(runs[-2], "pretrained", ("one", 100, 80, 0, 0))]
    for run, miss in zip(runs, (60, 70, 40, 50, 30, 34), strict=True):
        rows += make_rows(run, "finetuned", ("one", 100, miss, 0, 0))
    comparison = make_comparison(tuple(runs), rows)
    (panel,) = charted(comparison)["hours-1"].panels
    (curve,) = panel.curves
    assert (curve.x, curve.y) == (pytest.approx((0, 0.1, 0.5, 1)), pytest.approx((80, 65, 45, 32)))
    assert panel.x_label == "Hours of training data (0: before fine-tuning)"
    assert [c.label for c in summarize(comparison).sections[0].contenders] == ["nemo 100% finetuned"]


def test_hours_are_drawn_only_where_there_were_several():
    assert "hours-1" not in charted(two_backends())


def test_speaker_counts_are_a_matrix():
    comparison = two_backends()
    counts = SpeakerCounts(in_recording={2: {2: 1, 12: 1}}, at_a_time={0: {1: 2.5}, 1: {1: 60.0, 0: 4.0}})
    rows = (
        row.model_copy(update={"speaker_counts": counts}) if row.stage == "finetuned" else row
        for row in comparison.rows
    )
    drawn = charted(comparison.model_copy(update={"rows": tuple(rows)}))
    recordings, seconds = drawn["speakers-in-recording-1"], drawn["speakers-at-a-time-1"]
    assert [panel.title for panel in recordings.panels] == ["pyannote finetuned", "nemo finetuned"]
    matrix = recordings.panels[0].matrix
    assert matrix.rows == ("0", "1", "2") and matrix.columns[-1] == "9+"
    assert [value for value in matrix.values[2] if value] == [1, 1]
    assert seconds.panels[0].matrix.values == ((None, 2.5), (4.0, 60.0))


def test_the_search_for_hyperparameters_is_drawn():
    first = make_tuning(0.6, 0.5)
    runs = (
        make_run("pyannote", tuning=make_tuning(0.4, 0.45, 0.3).model_copy(update={"upstream": first})),
        make_run("nemo"),
    )
    rows = [row for run in runs for row in make_rows(run, "finetuned", ("one", 10, 1, 1, 1))]
    history, *importance = charted(make_comparison(runs, rows))["tuning-1"].panels
    assert [curve.y for curve in history.curves][2:] == [(40, 45, 30), (40, 40, 30)]
    assert [(panel.categories, panel.bars[0].values) for panel in importance] == [(("threshold",), (100,))] * 2


def test_der_before_and_after_fine_tuning_is_drawn_for_each_domain(tmp_path):
    other = Domain(dataset="calls", root="/nowhere", fingerprint="0", corpus="C")
    run = make_run("nemo", weights=SENKO, also_score=(other,))
    rows = [*make_rows(run, "pretrained", ("a", 100, 20, 0, 0)), *make_rows(run, "finetuned", ("a", 100, 12, 0, 0))]
    for stage, miss in (("pretrained", 11), ("finetuned", 15)):
        rows += [row.model_copy(update={"dataset": "calls"}) for row in make_rows(run, stage, ("b", 100, miss, 0, 0))]
    comparison = make_comparison((run,), rows)
    chart = charted(comparison)["forgotten-1"]
    assert [panel.title for panel in chart.panels] == ["scored on mini", "scored on calls"]
    assert [[bars.values for bars in panel.bars] for panel in chart.panels] == [[(20,), (12,)], [(11,), (15,)]]

    write_reports([comparison, comparison], tmp_path)
    linked = re.findall(r"\(plots/(.*?)\.png\)", "".join(path.read_text() for path in tmp_path.glob("*.md")))
    assert len(linked) == 2 * len(charted(comparison)) == len(list((tmp_path / "plots").iterdir())), "none overwritten"


def test_error_by_number_of_speakers():
    comparison = with_statistics(is_significant=True)
    assert "der-by-speakers-1" not in charted(comparison), "its recordings are not sliced by their speakers"
    by_speakers = {"2": ErrorSeconds(total=50, miss=5), "5 and more": ErrorSeconds(total=20, confusion=8)}
    rows = tuple(
        row.model_copy(update={"slices": {SPEAKERS_SLICING: {**by_speakers, "0": ErrorSeconds(false_alarm=1)}}})
        for row in comparison.rows
    )
    (panel,) = charted(comparison.model_copy(update={"rows": rows}))["der-by-speakers-1"].panels
    assert panel.x_label == "Speakers in the recording (5: 5 and more)"
    for curve in panel.curves:
        assert (curve.x, curve.y) == ((2, 5), pytest.approx((10, 40)))
    one = tuple(row.model_copy(update={"slices": {SPEAKERS_SLICING: {"2": by_speakers["2"]}}}) for row in rows)
    assert "der-by-speakers-1" not in charted(comparison.model_copy(update={"rows": one}))

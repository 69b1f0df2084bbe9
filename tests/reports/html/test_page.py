"""report.html in Chromium, driven by playwright; skipped where either is not installed."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from browser import eventually, in_view, violations
from places import FIXTURES
from report_files import Folder, small
from report_records import (
    CLEAR,
    CLEAR_CONTRASTS,
    make_comparison,
    make_rows,
    make_run,
    staged,
    two_backends,
    with_statistics,
)

from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.records import read_record
from diarbench.reports.charts import interactive, static
from diarbench.reports.charts.charts import charts
from diarbench.reports.html import page, timeline
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.scores import SpeakerCounts
from diarbench.reports.summary.summary import summarize

Show = Callable[..., Any]


@pytest.fixture
def show(open_page: Callable[..., Any], tmp_path: Path) -> Show:
    """Opens a comparison's page."""

    def shown(comparison: Comparison, width: int = 1280, plots: Sequence[static.Plot] = ()) -> Any:
        return open_page(page.render(comparison, tmp_path, plots), width)

    return shown


def column(tab: Any, table: str, number: int) -> list[str]:
    """The texts of a column's visible cells."""
    return tab.locator(f"{table} tbody tr:visible td:nth-child({number})").all_inner_texts()


def draw_all(tab: Any) -> None:
    """Scroll to every chart, so that it is drawn."""
    for place in tab.locator(".plot").all():
        place.scroll_into_view_if_needed()
        place.locator(".main-svg").first.wait_for()


def unfold(tab: Any, title: str) -> str:
    """Open a folded part; its selector."""
    tab.locator("summary", has_text=title).first.click()
    return f"details:has(> summary:has-text('{title}'))"


def test_the_answer_is_above_the_fold(show: Show) -> None:
    """At 1280x800: verdict, bars, what fine-tuning did, caveats and a command to copy."""
    tab = show(staged(CLEAR, *CLEAR_CONTRASTS))
    tab.set_viewport_size({"width": 1280, "height": 800})
    assert tab.title() == "mini: pyannote tuned leads by 6.9 points" == tab.locator("h1").inner_text()
    assert "pyannote tuned leads nemo tuned by 6.9 points (1.7 to 14.2, p = 0.016)" in tab.inner_text(".verdict")
    assert tab.locator(".who").all_inner_texts() == ["● pyannote", "■ nemo"]
    assert tab.locator(".bar .value").all_inner_texts() == ["6.9", "7.3", "3.5", "31.9", "11.9", "10.4"]
    assert tab.locator(".bar.best .stage").all_inner_texts() == ["tuned", "tuned"]
    assert "Fine-tuning: pyannote not shown to help" in tab.inner_text(".rest")
    last = tab.locator(".steps .command").last.bounding_box()
    assert last["y"] + last["height"] <= 800 and tab.evaluate("scrollY") == 0
    widths = [bar.bounding_box()["width"] for bar in tab.locator(".bar .miss").all()]
    assert widths[3] / widths[4] == pytest.approx(31.9 / 11.9, rel=0.02), "bars are as long as the rates say"


def test_a_command_is_copied(show: Show, tmp_path: Path) -> None:
    tab = show(staged(CLEAR, *CLEAR_CONTRASTS))
    tab.locator(".copy").first.click()
    command = "bench diarize talk.wav --run " + str(tmp_path / "mini-pyannote-base-seed1")
    assert tab.evaluate("getSelection().toString()") == command
    assert tab.locator(".copy").first.inner_text() in ("Copied", "Press Ctrl-C")


def test_systems_stand_by_der_and_are_sorted(show: Show) -> None:
    tab = show(two_backends())
    assert column(tab, "#figures", 3) == ["40.0", "50.0", "80.0"], "baselines are folded"
    header = tab.locator("#figures").get_by_role("button", name="DER %")
    for _ in range(2):
        header.click()
    assert column(tab, "#figures", 3) == ["80.0", "50.0", "40.0"]
    assert tab.locator("#figures .scroll").evaluate("box => box.scrollWidth <= box.clientWidth"), "no inner scrolling"


def test_all_figures_are_filtered(show: Show) -> None:
    tab = show(two_backends())
    folded = unfold(tab, "cost, other protocols")
    assert len(column(tab, folded, 5)) == 12
    tab.locator(folded).get_by_label("Condition", exact=False).and_(tab.locator("select")).select_option("full")
    assert column(tab, folded, 5) == ["50.0", "40.0", "80.0", "100"]
    tab.locator(folded).get_by_label("Rows with").fill("NEMO")
    assert column(tab, folded, 5) == ["80.0"]


def test_at_390_pixels_tables_are_cards(show: Show) -> None:
    tab = show(two_backends(), 390)
    assert not tab.locator("#figures thead").is_visible()
    cell = tab.locator("#figures tbody td[data-label='DER %']").first
    assert cell.evaluate("cell => getComputedStyle(cell, '::before').content") == '"DER %"'
    assert tab.evaluate("document.documentElement.scrollWidth") == 390


def test_dark_mode_is_by_preference(show: Show) -> None:
    tab = show(two_backends())
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(paper)
    tab.emulate_media(color_scheme="dark")
    assert tab.evaluate(paper) != light == "rgb(255, 255, 255)"


A4_WIDTH = 718
"""A4 less Chromium's margins, in CSS pixels."""

BROKEN_WORDS = """() => [...document.querySelectorAll("th, td:not(.long)")].flatMap(cell => {
  const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  const broken = [];
  for (let text = texts.nextNode(); text; text = texts.nextNode())
    for (const word of text.data.matchAll(/[^\\s-]+/g)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (range.getClientRects().length > 1) broken.push(word[0]);
    }
  return broken;
})"""


def test_print_has_all_charts_and_what_is_folded(show: Show, tmp_path: Path) -> None:
    comparison = with_statistics(is_significant=True)
    plots = static.draw(summarize(comparison))
    tab = show(comparison, plots=plots)
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    pictures = tab.locator("figure img.print")
    assert pictures.count() == len(plots) > 2
    for picture in pictures.all():
        assert picture.is_visible() and picture.evaluate("image => image.naturalWidth") > 100
    assert not tab.locator(".plot").first.is_visible()
    assert tab.locator("details:not([open])").count() == 0
    tab.set_viewport_size({"width": A4_WIDTH, "height": 1000})
    assert tab.evaluate(BROKEN_WORDS) == [], "words and figures of a table stay whole"
    assert tab.evaluate("document.documentElement.scrollWidth") <= A4_WIDTH
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("details[open]").count() == 0


@pytest.mark.parametrize("dark", [False, True])
def test_a_toolkit_has_one_colour_and_marker_in_all_charts(show: Show, dark: bool) -> None:
    comparison = staged(CLEAR, *CLEAR_CONTRASTS)
    tab = show(comparison)
    if dark:
        tab.emulate_media(color_scheme="dark")
    hues = [box.evaluate("box => box.style.getPropertyValue('--hue').trim()") for box in tab.locator(".system").all()]
    assert len(set(hues)) == 2
    (costs,) = (c for c in interactive.draw(charts(summarize(comparison))) if c.chart.name == "der-cost-1")
    for trace in costs.figures[0]["data"]:
        at = 0 if "pyannote" in trace["name"] else 1
        assert trace["marker"]["color"] == hues[at]
        assert trace["marker"]["symbol"].startswith(("circle", "square")[at])


ODD: dict[str, Callable[[], Comparison]] = {
    "one system": lambda: staged({"nemo": {"finetuned": 20.0}}),
    "40 systems": lambda: staged({f"system{n}": {"pretrained": 50.0, "finetuned": 30.0 + n} for n in range(40)}),
    "long names": lambda: staged({"x" * 200: {"pretrained": 20.0, "finetuned": 10.0}, "y" * 200: {"finetuned": 11.0}}),
    "all failed": lambda: make_comparison((make_run("nemo", state="failed", failure="killed", epochs=()),), []),
    "nothing": lambda: make_comparison((), []),
}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ODD)
def test_odd_comparisons_are_shown_within_the_window(show: Show, name: str, width: int) -> None:
    tab = show(ODD[name](), width)
    assert tab.locator("main").inner_text().strip()
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    if name == "long names" and width == 1280:
        assert tab.locator(".bar").last.bounding_box()["y"] < 800, "long names leave the bars above the fold"


def test_cells_without_a_figure_sort_last_either_way(show: Show) -> None:
    tab = show(two_backends())
    seconds = tab.locator("#figures").get_by_role("button", name="Train s")
    for _ in range(2):
        seconds.click()
        assert column(tab, "#figures", 9) == ["120", "120", "-"]


def test_the_timeline_zooms_and_moves(show: Show, tmp_path: Path) -> None:
    tab = show(small(tmp_path))
    assert in_view(tab) == (0, 12000)
    tab.get_by_role("button", name="Zoom in").click()
    assert in_view(tab) == (3000, 9000)
    tab.locator("#timeline").press("ArrowRight")
    assert in_view(tab) == (3600, 9600)
    tab.locator("#position").fill("1000")
    assert in_view(tab) == (6000, 12000)
    tab.get_by_role("button", name="Whole recording").click()
    assert in_view(tab) == (0, 12000)


def test_dragging_moves_and_does_not_play(show: Show, tmp_path: Path) -> None:
    tab = show(small(tmp_path))
    tab.get_by_role("button", name="Zoom in").click()
    box = tab.locator("#timeline").bounding_box()
    tab.mouse.move(box["x"] + 800, box["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 600, box["y"] + 60, steps=4)
    tab.mouse.up()
    assert in_view(tab)[0] > 3000
    assert tab.locator("#audio").evaluate("audio => audio.paused && audio.currentTime") == 0


def test_a_real_comparison(show: Show, tmp_path: Path, ami_mini: Dataset) -> None:
    """Three epochs on ami-mini, as ``bench run`` left them, with the recordings themselves."""
    real = FIXTURES / "reports" / "ami-mini"
    shutil.copytree(real, tmp_path, dirs_exist_ok=True)
    comparison = read_record(real / "results.json", Comparison)
    runs = tuple(run.model_copy(update={"dataset_root": str(ami_mini.root)}) for run in comparison.runs)
    tab = show(comparison.model_copy(update={"runs": runs}))
    assert tab.evaluate("typeof Plotly") == "undefined", "plotly.js waits until a picture comes into view"
    assert column(tab, "#figures", 1) == ["pyannote", "pyannote", "fusion", "nemo"]
    assert column(tab, unfold(tab, "baselines and oracles"), 1) == ["reference", "reference"]
    assert tab.locator("#recording option:checked").inner_text().endswith(", test)"), "dev comes after test"

    end_ms = in_view(tab)[1]
    tab.get_by_role("button", name="Zoom in").click()
    assert in_view(tab) == (end_ms / 4, end_ms * 3 / 4)
    tab.get_by_role("button", name="Next worst error").click()
    # nemo's output is empty: its worst error is the longest turn of test, all missed
    eventually(tab, "document.getElementById('status').textContent.includes('nemo-quick-seed1, finetuned in tst0')")
    tab.locator("#errors button").nth(3).click()
    start = float(tab.locator("#errors tr").nth(3).locator("td").nth(3).inner_text())
    eventually(tab, f"Math.abs(document.getElementById('audio').currentTime - {start}) < 1")

    draw_all(tab)
    axes = tab.locator(".plot .xtitle").all_text_contents()
    assert len(axes) == tab.locator(".plot").count() and all(axes)
    assert tab.locator(".plot .legendtext", has_text="ami-mini-pyannote-quick-seed1").count() == 2


def test_without_plotly_the_page_has_no_pictures(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    tab = show(two_backends())
    assert tab.locator(".plot, #pictures").count() == 0
    assert len(column(tab, "#figures", 3)) == 3


@pytest.mark.parametrize("embed", [True, False])
def test_next_worst_error_is_shown_and_heard(
    show: Show, tmp_path: Path, embed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not embed:
        monkeypatch.setattr(timeline, "EMBED_AT_MOST_BYTES", 0)
    tab = show(small(tmp_path))
    in_view(tab)
    tab.get_by_role("button", name="Next worst error").click()
    eventually(tab, "document.getElementById('audio').currentTime >= 10")
    assert tab.locator("#audio").evaluate("audio => audio.currentTime") < 14
    assert (
        tab.locator("#status")
        .inner_text()
        .startswith("1 of the 8 worst: miss of mini-nemo-base-seed1, finetuned in two, 10.00 to 18.00 s")
    )
    tab.locator("#kind").select_option(label="false alarm")
    tab.get_by_role("button", name="Next worst error").click()
    # nemo takes Ann for speaking on from 6 s to 8 s: 2 s, the longest false alarm
    eventually(tab, "document.getElementById('status').textContent.includes('6.00 to 8.00 s')")


def test_a_click_plays_that_moment(show: Show, tmp_path: Path) -> None:
    tab = show(small(tmp_path))
    in_view(tab)
    tab.locator("#timeline").scroll_into_view_if_needed()
    box = tab.locator("#timeline").bounding_box()
    # Record seek and play events as they happen: the audio continues meanwhile, and a busy machine checks late.
    tab.evaluate(
        """() => {
            const audio = document.getElementById('audio');
            window.sought = []; window.played = 0;
            audio.addEventListener('seeking', () => window.sought.push(audio.currentTime));
            audio.addEventListener('play', () => window.played++);
        }"""
    )
    # the gutter of names is 150 wide, the rest is 12 s
    tab.mouse.click(box["x"] + 150 + (box["width"] - 150) / 2, box["y"] + 60)
    eventually(tab, "window.played === 1 && window.sought.some(time => Math.abs(time - 6) < 0.2)")
    first = float(tab.locator("#errors tr:first-child td:nth-child(4)").inner_text())
    tab.locator("#errors button").first.click()
    eventually(tab, f"window.sought.some(time => Math.abs(time - {first}) < 1)")


def test_a_recording_is_opened_from_its_row_and_systems_are_chosen(show: Show, tmp_path: Path) -> None:
    tab = show(small(tmp_path))
    in_view(tab)
    unfold(tab, "each recording")
    tab.locator(".open", has_text="two").first.click()
    eventually(tab, "document.getElementById('timeline').dataset.to === '20000'")
    systems = {"mini-pyannote-base-seed1, finetuned", "mini-nemo-base-seed1, finetuned"}
    assert set(column(tab, "#explorer", 2)) == systems
    tab.get_by_label("mini-nemo-base-seed1, finetuned").uncheck()
    assert set(column(tab, "#explorer", 2)) == {"mini-pyannote-base-seed1, finetuned"}


def test_missing_files_are_listed(show: Show, tmp_path: Path) -> None:
    comparison = small(tmp_path)
    (tmp_path / "data/test/wav/one.wav").unlink()
    (tmp_path / "mini-nemo-base-seed1/rttm/test/one.rttm").write_text("changed")
    (tmp_path / "reference/mini/test/two.rttm").unlink()
    nonsense = b"SPEAKER \xff"
    (tmp_path / "mini-pyannote-base-seed1/rttm-pretrained/test/one.rttm").write_bytes(nonsense)
    listed = {"mini-pyannote-base-seed1/rttm-pretrained/test/one.rttm": hashlib.sha256(nonsense).hexdigest()}
    tab = show(comparison.model_copy(update={"source_hashes": comparison.source_hashes | listed}))
    in_view(tab)
    assert "audio of this recording is missing" in tab.locator("#status").inner_text()
    for system in ("mini-nemo-base-seed1, finetuned", "mini-pyannote-base-seed1, pretrained"):
        assert system in tab.locator("#missing").inner_text()
    tab.locator("#recording").select_option("1")
    eventually(tab, "document.getElementById('missing').textContent.includes('the reference')")


HOSTILE = "</script><img src=x onerror=alert(1)>\"'`{{7*7}}|\n\u202e" + "x" * 200


def test_hostile_names_stay_text(show: Show, tmp_path: Path) -> None:
    run = make_run(HOSTILE, name=HOSTILE, recipe=HOSTILE, dataset=HOSTILE, state="failed", failure=HOSTILE)
    rows = make_rows(run, "finetuned", (HOSTILE, 10, 1, 1, 1))
    tab = show(make_comparison((run,), rows, command=HOSTILE))
    assert tab.locator("img").count() == 0
    draw_all(tab)
    assert tab.locator("img, .plot a").count() == 0
    assert any("<img src=x" in text for text in tab.locator(".plot .ytick text").all_text_contents())
    assert "<img src=x onerror=alert(1)>" in tab.locator("h1").inner_text()
    assert "<img src=x onerror=alert(1)>\"'`{{7*7}}|\\n\\u202e" in (tab.locator("body").text_content() or "")
    assert "\u202e" not in tab.content()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window_but_what_scrolls(show: Show, tmp_path: Path, width: int) -> None:
    tab = show(small(tmp_path), width)
    in_view(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", [1280, 390])
def test_wcag_aa_by_axe(show: Show, tmp_path: Path, width: int) -> None:
    comparison = small(tmp_path)
    counts = SpeakerCounts(in_recording={2: {1: 1, 2: 1}}, at_a_time={1: {0: 2.5, 1: 20.0}})
    rows = tuple(row.model_copy(update={"speaker_counts": counts}) for row in comparison.rows)
    tab = show(comparison.model_copy(update={"rows": rows}), width)
    in_view(tab)
    draw_all(tab)
    assert violations(tab) == []


@pytest.mark.parametrize("change", [{"epochs": ()}, {"state": "failed", "failure": "no memory"}, {"phases": ()}])
def test_a_run_that_lacks_something_is_shown(show: Show, change: dict[str, Any]) -> None:
    run = make_run("nemo", **change)
    rows = [] if "state" in change else make_rows(run, "finetuned", ("one", 10, 1, 1, 1))
    tab = show(make_comparison((run,), rows))
    expected = {"epochs": "no epoch was completed", "state": "no memory", "phases": "30.0"}[next(iter(change))]
    assert expected in tab.locator("main").evaluate("main => main.textContent")


def many(root: Path, recordings: int) -> Comparison:
    """Recordings of about ten minutes with 200 turns each, and four systems with slightly wrong turns."""
    random = Random(1)
    folder = Folder(root)

    def off(seconds: float) -> float:
        return round(max(0.0, seconds + random.uniform(-0.4, 0.4)), 3)

    references = {
        f"recording-{number:03}": (
            610.0,
            [(off(3.0 * n), 3.0 * n + 3 + off(0.4), random.choice("ABCD")) for n in range(200)],
        )
        for number in range(recordings)
    }
    folder.reference("mini", references)
    runs = tuple(make_run("pyannote", seed=seed) for seed in range(4))
    for run in runs:
        output = {
            uri: [
                (off(start), 0.4 + off(end), who.lower() if random.random() < 0.9 else "x")
                for start, end, who in speech
            ]
            for uri, (_, speech) in references.items()
        }
        folder.hypothesis(run, "finetuned", "rttm", references, output)
    return make_comparison(runs, folder.rows, source_hashes=folder.source_hashes)


@pytest.mark.slow
def test_250_recordings_and_four_systems_are_under_25_megabytes(show: Show, tmp_path: Path) -> None:
    tab = show(many(tmp_path, 250))
    assert in_view(tab) == (0, 610000)
    assert (tmp_path / "report.html").stat().st_size < 25e6

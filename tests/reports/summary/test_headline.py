"""The answer in a few lines: the leader, the evidence, what fine-tuning did, caveats and next steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_records import (
    CLEAR,
    CLEAR_CONTRASTS,
    SENKO,
    make_comparison,
    make_contrast,
    make_rows,
    make_run,
    make_tuning,
    staged,
    with_statistics,
)

from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.statistics import Choice, Interval
from diarbench.reports.summary.headline import Headline, headline
from diarbench.reports.summary.summary import summarize


def answer(comparison: Comparison, dataset: str = "mini") -> Headline:
    return headline(summarize(comparison), dataset, Path("runs/real"))


def test_a_clear_winner_comes_with_points_interval_p_and_seeds():
    given = answer(staged(CLEAR, *CLEAR_CONTRASTS))
    assert given.verdict == ("pyannote tuned leads nemo tuned by 6.9 points (1.7 to 14.2, p = 0.016); one seed.")
    assert given.title == "mini: pyannote tuned leads by 6.9 points"
    assert given.where == "mini, test of 2 recordings (1.7 min of speech), full: collar 0 s, overlap scored"
    assert given.effects == {
        "Fine-tuning": "pyannote not shown to help (0.4 points worse), nemo 20.0 points better",
        "Tuning": "pyannote 3.8 points better, nemo not shown to help (1.5 points better)",
    }
    assert [standing.name for standing in given.standings] == ["pyannote", "nemo"]


def test_a_stage_that_changed_nothing_does_not_name_the_system():
    rates = {
        "pyannote": {"pretrained": 20.0, "finetuned": 20.0, "tuned": 20.0},
        "nemo": {"pretrained": 30.0, "finetuned": 25.0, "tuned": 25.0},
    }
    contrast = make_contrast("pyannote tuned", "nemo tuned", 5.0, 0.01, 2, 8)
    given = answer(staged(rates, contrast))
    assert given.verdict.startswith("pyannote pretrained leads nemo finetuned by 5.0 points (2.0 to 8.0, p = 0.01")
    assert any(step.command.startswith("bench diarize") for step in given.next_steps), (
        "the final output is the leader's"
    )


def test_the_best_stage_leads_and_not_the_last():
    rates = {
        "pyannote": {"pretrained": 52.9, "finetuned": 48.7, "tuned": 52.9},
        "nemo": {"pretrained": 52.8, "finetuned": 53.2, "tuned": 55.6},
    }
    contrasts = (
        make_contrast("pyannote finetuned", "nemo pretrained", 4.1, 0.3, -3, 20, units_needed=276),
        make_contrast("pyannote finetuned", "pyannote tuned", 4.2, 0.02, 1, 8),
    )
    given = answer(staged(rates, *contrasts))
    assert given.verdict.startswith(
        "No clear winner: pyannote finetuned leads nemo pretrained by 4.1 points, maybe by chance "
        "(-3.0 to 20.0, p = 0.3)"
    )
    assert given.title == "mini: no clear winner, pyannote finetuned ahead by 4.1 points"
    assert given.effects["Tuning"].startswith("pyannote 4.2 points worse"), "a stage that hurt is said to hurt"
    assert "About 276 recordings would separate the two (80 % power); there are 16." in given.caveats
    assert given.next_steps[0].command.endswith("--folds 5"), "two test recordings: all are tested in folds"
    assert given.next_steps[1].command.endswith("--seed 1 --seed 2 --seed 3")
    assert not any("diarize" in step.command for step in given.next_steps), "a run's final stage is not the leader"


def test_a_size_that_nobody_can_record_is_not_named():
    contrast = make_contrast("pyannote finetuned", "nemo finetuned", 0.1, 0.9, -3, 3, units_needed=7_242_771)
    given = answer(staged({"pyannote": {"finetuned": 10}, "nemo": {"finetuned": 10.1}}, contrast))
    assert not any("7,242,771" in caveat for caveat in given.caveats)
    assert any("no number of recordings worth having" in caveat for caveat in given.caveats)


def test_a_leader_that_is_not_shown_to_beat_all_is_said_not_to():
    rates = {name: {"finetuned": rate} for name, rate in (("a", 10), ("b", 20), ("c", 21))}
    given = answer(staged(rates, make_contrast("a finetuned", "b finetuned", 10, 0.001, 5, 15)))
    assert "; not shown to beat c; one seed." in given.verdict


def test_the_leader_is_compared_with_the_other_toolkit():
    """Two recipes of one toolkit are first and second."""
    runs = [make_run(backend, recipe=recipe) for backend, recipe in (("a", "x"), ("a", "y"), ("b", "x"))]
    runs = [run.model_copy(update={"name": f"run{n}"}) for n, run in enumerate(runs)]
    rows = [
        row
        for run, rate in zip(runs, (10, 11, 30), strict=True)
        for row in make_rows(run, "finetuned", ("one", 100, rate, 0, 0))
    ]
    contrast = make_contrast("a x finetuned", "b x finetuned", 20, 0.001, 10, 30)
    difference = contrast.difference.model_copy(update={"better_a": 12, "better_b": 1})
    contrast = contrast.model_copy(update={"difference": difference})
    given = answer(make_comparison(tuple(runs), rows, contrasts=(contrast,)))
    assert given.verdict == (
        "a x finetuned leads b x finetuned by 20.0 points (10.0 to 30.0, p = 0.001, better on 12 and worse on 1 of 16 "
        "recordings); not shown to beat a y; one seed."
    )


def test_what_the_pipelines_were_told_stands_in_the_answer():
    run = make_run("a", min_speakers=2, max_speakers=2, train=False)
    given = answer(make_comparison((run,), make_rows(run, "pretrained", ("one", 100, 10, 0, 0))))
    assert given.where.endswith("; told that there are exactly 2 speakers")
    assert given.verdict.endswith("; nothing was trained.")
    assert not any("One seed" in caveat for caveat in given.caveats)


def test_what_the_folds_decided_stands_behind_an_unchanged_pooled_run():
    choice = Choice(chosen=0, lowest=1, reason="the defaults are kept")
    of_fold = make_run("a", name="a-fold1of3", tuning=make_tuning(0.1).model_copy(update={"choice": choice}))
    pooled = make_run("a", name="a", folds=("a-fold1of3",), pooled_stage="tuned")
    rows = [row for stage in ("finetuned", "tuned") for row in make_rows(pooled, stage, ("one", 100, 10, 0, 0))]
    comparison = make_comparison((pooled,), rows).model_copy(update={"fold_runs": (of_fold,)})
    assert answer(comparison).effects["Tuning"] == "a no gain on dev: defaults kept"


def test_a_merged_report_names_the_run_by_its_shortest_path():
    run = make_run("a", name="../full/run")
    summary = summarize(make_comparison((run,), make_rows(run, "finetuned", ("one", 100, 10, 0, 0))))
    (diarize, export) = headline(summary, "mini", Path("runs/both")).next_steps[:2]
    assert diarize.command.endswith("--run runs/full/run") and export.command == "bench export runs/full/run exported"


def test_recordings_that_share_speakers_are_told():
    contrast = make_contrast("pyannote finetuned", "nemo finetuned", 5, 0.01, 2, 8)
    rates = {"pyannote": {"finetuned": 10}, "nemo": {"finetuned": 15}}
    by_group = contrast.model_copy(
        update={
            "difference": contrast.difference.model_copy(
                update={"interval": Interval(low=0.02, high=0.08, units=4, unit="groups")}
            )
        }
    )

    def told(contrast, is_known=True, **numbers):
        recordings = [(uri, 50) for uri in numbers]
        groups = {"mini": numbers if is_known else {}}
        caveats = answer(staged(rates, contrast, recordings=recordings, groups=groups)).caveats
        return [caveat for caveat in caveats if "speakers" in caveat]

    assert told(contrast, one=0, two=1) == []
    assert told(contrast, one=0, two=0) == [
        "All test recordings share speakers or a session: other speakers can give another order."
    ]
    assert told(contrast, one=0, two=0, three=1) == [
        "The 3 test recordings are 2 groups without common speakers or sessions. At least 6 are needed to tell about "
        "other speakers."
    ]
    assert told(by_group, one=0, two=1, three=2, four=3, five=3) == [
        "The 5 test recordings are 4 groups without common speakers or sessions: what holds for other speakers is "
        "tested over these groups."
    ]
    assert told(contrast, is_known=False, one=0, two=1) == [
        "Shared speakers are not known for the test recordings: each counts as independent."
    ]


def test_a_lead_for_these_speakers_says_so():
    contrast = make_contrast("pyannote finetuned", "nemo finetuned", 5, 0.01, 2, 8)
    interval = Interval(low=0.02, high=0.08, units=8, unit="recordings that share speakers")
    difference = contrast.difference.model_copy(update={"interval": interval, "better_a": 7, "better_b": 1})
    given = answer(
        staged(
            {"pyannote": {"finetuned": 10}, "nemo": {"finetuned": 15}},
            contrast.model_copy(update={"difference": difference}),
        )
    )
    assert given.title == "mini: pyannote finetuned leads by 5.0 points for these speakers"
    assert given.verdict == (
        "pyannote finetuned leads nemo finetuned by 5.0 points for these speakers (2.0 to 8.0, p = 0.01, better on 7 "
        "and worse on 1 of 8 recordings that share speakers); fewer than 6 groups without common "
        "speakers say nothing about others; one seed."
    )


def test_seeds_are_counted():
    runs = [make_run(backend, seed=seed) for backend in ("pyannote", "nemo") for seed in (1, 2, 3)]
    rows = [row for run in runs for row in make_rows(run, "finetuned", ("one", 100, len(run.backend), 0, 0))]
    assert answer(make_comparison(tuple(runs), rows)).verdict.endswith("; 3 seeds.")


def test_one_system_has_nothing_to_be_compared_with():
    given = answer(staged({"pyannote": {"pretrained": 52.9, "finetuned": 48.7}}))
    assert given.verdict == "pyannote finetuned has a DER of 48.7 %; nothing to compare it with; one seed."
    assert given.effects == {"Fine-tuning": "pyannote 4.2 points better (not tested)"}
    assert given.next_steps[0].command == "bench diarize talk.wav --run runs/real/mini-pyannote-base-seed1"


def test_without_pretrained_rows_the_systems_are_said_to_be_trained_from_scratch():
    given = answer(with_statistics(is_significant=True))
    assert given.effects["Fine-tuning"] == "pyannote 10.0 points better (not tested), nemo trained from scratch"


def test_all_failed():
    failed = make_run("nemo", state="failed", failure="out of memory", phases=(), epochs=())
    given = answer(make_comparison((failed,), []))
    assert (given.verdict, given.standings, given.effects) == ("No run was scored.", (), {})
    assert given.next_steps[0].text == "Run the failed runs again"


def test_a_dataset_without_a_test_set():
    comparison = make_comparison((), make_rows(None, "silence", ("one", 60, 60, 0, 0), subset="dev"))
    assert answer(comparison).verdict == "No scores on the test set."


def test_forty_systems_are_counted_and_not_listed():
    rates = {f"system{n}": {"pretrained": 50.0, "finetuned": 30.0 + n} for n in range(40)}
    given = answer(staged(rates))
    assert given.effects == {"Fine-tuning": "not tested: 39 of 40 systems, no change: 1 of 40 systems"}
    assert len(given.standings) == 40


def test_a_leader_no_better_than_a_baseline_is_a_caveat():
    run = make_run("nemo")
    rows = [*make_rows(run, "finetuned", ("one", 10, 11, 0, 0)), *make_rows(None, "silence", ("one", 10, 10, 0, 0))]
    assert "No system is better than a trivial baseline (100 %)." in answer(make_comparison((run,), rows)).caveats


def test_a_caveat_names_its_systems():
    seen = SENKO.model_copy(update={"training_corpora": ("AMI",), "fixed_parts": ()})
    unknown = SENKO.model_copy(update={"training_corpora": (), "fixed_parts": ()})
    runs = [make_run("nemo", weights=seen), make_run("pyannote", weights=unknown), make_run("third", weights=seen)]
    rows = [row for run in runs for row in make_rows(run, "pretrained", ("one", 10, len(run.backend), 0, 0))]
    caveats = answer(make_comparison(tuple(runs), rows)).caveats
    assert "nemo, third: the pretrained weights have seen AMI, the corpus of mini." in caveats
    assert "pyannote: the training data of the pretrained weights is unknown; they may have seen AMI." in caveats


@pytest.mark.parametrize("command", ["bench run --seed 4", "bench run && bench tune", "diarbench.benchmarks.api.run"])
def test_only_a_command_that_can_be_extended_is_repeated_with_more_seeds(command):
    given = answer(staged({"a": {"finetuned": 1}, "b": {"finetuned": 2}}, command=command))
    assert not any("--seed 1 --seed 2" in step.command for step in given.next_steps)


def too_small(**changes) -> Comparison:
    """Two systems on two recordings, which allow no verdict."""
    contrast = make_contrast("a finetuned", "b finetuned", 1, 0.5, -3, 3)
    interval = contrast.difference.interval.model_copy(update={"units": 2})
    difference = contrast.difference.model_copy(update={"interval": interval})
    tested = contrast.model_copy(update={"difference": difference})
    return staged({"a": {"finetuned": 1}, "b": {"finetuned": 2}}, tested, **changes)


def test_too_few_recordings_allow_no_verdict():
    given = answer(too_small())
    assert given.title == "mini: no verdict, a finetuned ahead by 1.0 points"
    assert given.verdict.startswith(
        "No verdict: a finetuned leads b finetuned by 1.0 points, but the test set is too small"
    )
    assert "2 test recordings: a verdict needs at least 6." in given.caveats


def test_folds_go_into_their_own_folder():
    given = answer(too_small(command="bench run --backend a --out 'my runs' --seed 2"))
    assert given.next_steps[0].command == "bench run --backend a --seed 2 --folds 5"


@pytest.mark.parametrize("option", ["--folds=3", "--also-score calls"])
def test_no_step_is_a_command_that_would_be_refused(option):
    given = answer(too_small(command=f"bench run --backend a --backend b {option}"))
    assert not any("--folds 5" in step.command for step in given.next_steps)
    assert any("--seed 1" in step.command for step in given.next_steps)


def test_where_nothing_is_trained_neither_folds_nor_seeds_decide():
    comparison = too_small()
    runs = tuple(run.model_copy(update={"train": False}) for run in comparison.runs)
    given = answer(comparison.model_copy(update={"runs": runs}))
    assert not any("--folds" in step.command or "--seed" in step.command for step in given.next_steps)


def test_tuning_is_told_where_nothing_was_trained():
    given = answer(staged({"a": {"pretrained": 5, "tuned": 4}}))
    assert given.effects == {"Tuning": "a 1.0 points better (not tested)"}


def test_a_network_that_was_kept_is_said_to_be_kept():
    comparison = staged({"a": {"pretrained": 5, "finetuned": 5}})
    choice = Choice(chosen=0, lowest=3, reason="no epoch is shown to beat the pretrained network")
    run = comparison.runs[0].model_copy(update={"epoch_choice": choice})
    given = answer(comparison.model_copy(update={"runs": (run,)}))
    assert given.effects == {"Fine-tuning": "a no gain on dev: pretrained network kept"}

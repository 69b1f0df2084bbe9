from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from diarbench.datasets.dataset import Dataset, DatasetInfo, Recording
from diarbench.datasets.folds import (
    all_as_test,
    draw_folds,
    group_recordings,
    groups_of,
    heard_in_training,
    number_groups,
    with_fold,
)
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn, write_rttm, write_uem


def recording(root: Path, uri: str, speakers: list[str], seconds: float = 10.0) -> Recording:
    """A recording without audio in which each speaker has a turn of one second."""
    paths = [root / f"{uri}.{kind}" for kind in ("wav", "rttm", "uem")]
    write_rttm(paths[1], uri, [Turn(k, k + 1, speaker) for k, speaker in enumerate(speakers)])
    write_uem(paths[2], {uri: [Region(0, seconds)]})
    return Recording(uri, "train", *paths)


def dataset(root: Path, *recordings: Recording) -> Dataset:
    info = DatasetInfo(name="d", corpus="d", source="", licence="", split_rule="", fingerprint="f", subsets={})
    return Dataset(root, info, {"train": recordings})


def test_every_recording_is_tested_once_and_no_speaker_crosses(ami_mini: Dataset) -> None:
    folds = draw_folds(ami_mini, 7)
    by_uri = {r.uri: r for listed in ami_mini.recordings.values() for r in listed}
    assert sorted(uri for fold in folds for uri in fold.test) == sorted(by_uri)
    assert sorted(uri for fold in folds for uri in fold.dev) == sorted(by_uri)
    for fold in folds:
        assert sorted((*fold.train, *fold.dev, *fold.test)) == sorted(by_uri)
        speakers = [
            {t.speaker for uri in uris for t in by_uri[uri].turns} for uris in (fold.train, fold.dev, fold.test)
        ]
        assert not speakers[0] & speakers[1] and not speakers[0] & speakers[2] and not speakers[1] & speakers[2]


def test_a_repetition_draws_other_folds_and_the_same_one_the_same(ami_mini: Dataset) -> None:
    assert draw_folds(ami_mini, 4) == draw_folds(ami_mini, 4)
    for folds in (3, 7):
        assert len(divisions(ami_mini, folds, 5)) == 5


def test_repetitions_of_groups_of_different_hours_differ_until_there_is_no_other_division(tmp_path: Path) -> None:
    """Sorted by their hours alone, they would always be divided alike; three in three folds have two orders."""
    four = dataset(tmp_path, *(recording(tmp_path, f"r{k}", [f"person{k}x"], 10 + k) for k in range(4)))
    assert len(divisions(four, 3, 4)) == 4
    three = dataset(tmp_path, *(recording(tmp_path, f"r{k}", [f"person{k}x"], 10 + k) for k in range(3)))
    assert len(divisions(three, 3, 2)) == 2
    with pytest.raises(UserError, match=r"--folds 3: no 3 different divisions were found; use a smaller --repeat"):
        draw_folds(three, 3, 3)


def divisions(dataset: Dataset, folds: int, repetitions: int) -> set[frozenset[tuple[tuple[str, ...], ...]]]:
    """The different divisions of so many repetitions, by the test and dev recordings of each fold."""
    return {
        frozenset((fold.test, fold.dev) for fold in draw_folds(dataset, folds, repetition))
        for repetition in range(1, repetitions + 1)
    }


def test_folds_are_balanced_by_hours(tmp_path: Path) -> None:
    lengths = (60, 50, 40, 30, 20, 10, 10, 10, 5, 5)
    made = dataset(tmp_path, *(recording(tmp_path, f"r{k}", [f"person{k}x"], s) for k, s in enumerate(lengths)))
    seconds = [sum(lengths[int(uri[1:])] for uri in fold.test) for fold in draw_folds(made, 4)]
    assert sum(seconds) == 240 and max(seconds) - min(seconds) <= 10


def test_recordings_of_a_session_or_of_chained_speakers_stay_together(tmp_path: Path) -> None:
    made = [
        recording(tmp_path, "ES2004a.Mix-Headset", ["ann-x"]),
        recording(tmp_path, "ES2004a.Array1-01", ["bob-x"]),
        recording(tmp_path, "b", ["cyd-x", "dan-x"]),
        recording(tmp_path, "c", ["eve-x"]),
        recording(tmp_path, "d", ["dan-x", "eve-x"]),
        recording(tmp_path, "e", ["fay-x"]),
    ]
    groups = [[r.uri for r in group] for group in group_recordings(made)]
    assert groups == [["ES2004a.Mix-Headset", "ES2004a.Array1-01"], ["b", "c", "d"], ["e"]]


@pytest.mark.parametrize("name", ("spk00", "speaker_1", "S2", "A", "7", "SPEAKER_03", "SPEAKER_A", "agent", "Female_2"))
def test_names_that_each_recording_uses_anew_identify_nobody(name: str, tmp_path: Path) -> None:
    made = [recording(tmp_path, uri, [name]) for uri in "xyz"]
    assert len(group_recordings(made)) == 3
    assert number_groups({r.uri: r.turns for r in made}) == {}, "whether they share speakers is not known"


def test_groups_are_numbered_where_a_speaker_or_a_session_is_known(tmp_path: Path) -> None:
    made = [recording(tmp_path, "a", ["spk00"]), recording(tmp_path, "b", ["ann-x"]), recording(tmp_path, "c", ["A"])]
    numbers = number_groups({r.uri: r.turns for r in made})
    assert number_groups({uri: recording(tmp_path, uri, [f"{uri}_spk01"]).turns for uri in "xy"}) == {}
    assert numbers == {"b": 1} and groups_of("abc", numbers) == [-1, 1, -3]
    parts = {f"m1_part{n}": recording(tmp_path, f"m1_part{n}", ["spk00"]).turns for n in (1, 2)}
    assert number_groups(parts) == {"m1_part1": 0, "m1_part2": 0}


def test_speakers_of_test_that_training_heard_are_named(tmp_path: Path) -> None:
    train, test = (recording(tmp_path, uri, ["ann-x", "spk00", own]) for uri, own in (("a", "bob-x"), ("b", "cyd-x")))
    split = replace(dataset(tmp_path), recordings={"train": (train,), "dev": (), "test": (test,)})
    assert heard_in_training(split) == "is trained on 1 speaker of test (ann-x), for whom it may do better"
    assert heard_in_training(replace(split, recordings={"train": (train,), "test": ()})) == ""


def test_a_fold_replaces_the_subsets(ami_mini: Dataset) -> None:
    fold = draw_folds(ami_mini, 7)[0]
    folded = with_fold(ami_mini, fold)
    assert {s: tuple(r.uri for r in listed) for s, listed in folded.recordings.items()} == {
        "train": fold.train,
        "dev": fold.dev,
        "test": fold.test,
    }
    assert all(r.subset == subset for subset, listed in folded.recordings.items() for r in listed)
    assert all(r.audio.is_file() and r.turns for r in folded.subset("test"))
    assert len(all_as_test(ami_mini).subset("test")) == 14
    with pytest.raises(UserError, match="no recording gone, which is in a fold"):
        with_fold(ami_mini, fold.model_copy(update={"test": ("gone",)}))


def test_folds_that_cannot_be_drawn_are_refused(ami_mini: Dataset, tmp_path: Path) -> None:
    people = [recording(tmp_path, f"r{k}", [f"person{k}x"]) for k in range(4)]
    silent = recording(tmp_path, "silent", [], 40.0)
    twins = [recording(tmp_path, f"t{k}", ["twin-x"], 40.0) for k in range(2)]
    for made, count, message in (
        (ami_mini, 8, "groups of recordings without a common speaker or session: 7; use --folds 7"),
        (ami_mini, 2, "at least 3 folds are needed"),
        (dataset(tmp_path, people[0]), 3, "the dataset has 1 recording, and each fold needs one; add recordings$"),
        (dataset(tmp_path, *people), 5, "has 4 recordings, and each fold needs one; add recordings, or use --folds 4$"),
        (dataset(tmp_path, *(recording(tmp_path, f"o{k}", ["one-x"]) for k in range(5))), 3, "session: 1; use"),
        (dataset(tmp_path, *people[:2], *twins), 3, "2 recordings .t0, t1.* share speakers and hold 80% of the hours"),
        (dataset(tmp_path, *people, silent), 3, r"a fold would have no speech \(silent\)"),
    ):
        with pytest.raises(UserError, match=message):
            draw_folds(made, count)

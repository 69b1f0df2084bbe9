"""Faults planted in the labels of a real and a simulated dataset are found, and none in the datasets as they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diarbench.backends.camplusplus.embedding import load_embedding
from diarbench.datasets.checking.check import check
from diarbench.datasets.checking.findings import Finding
from diarbench.datasets.checking.voices import Embed
from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.dataset import SUBSETS, Dataset, Recording
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn, write_rttm
from diarbench.datasets.simulation.conversations import simulate
from diarbench.datasets.simulation.segments import speech_segments
from diarbench.datasets.simulation.turn_taking import fit_turn_taking

Change = Callable[[Recording], list[Turn]]

KINDS = {
    "no overlap",
    "whole seconds",
    "labels offset",
    "tiers as speakers",
    "one name, two voices",
    "two names, one voice",
}


def planted(dataset: Dataset, root: Path, change: Change, uris: set[str] | None = None) -> Path:
    """A copy of a dataset with changed references."""
    shutil.copytree(dataset.root, root)
    for listed in Dataset.open(root).recordings.values():
        for recording in listed:
            if uris is None or recording.uri in uris:
                write_rttm(recording.rttm, recording.uri, change(recording))
    return root


def faults(root: Path, embed: Embed | None = None) -> list[Finding]:
    return [finding for finding in check(root, 1, embed).findings if finding.kind in KINDS]


def without_overlap(recording: Recording) -> list[Turn]:
    """As a system that knows one speaker at a time would label it."""
    turns, end_s = [], 0.0
    for turn in sorted(recording.turns):
        if turn.end_s > end_s:
            turns.append(turn._replace(start_s=max(turn.start_s, end_s)))
            end_s = turn.end_s
    return turns


def rounded(recording: Recording) -> list[Turn]:
    return [
        turn._replace(start_s=float(int(turn.start_s)), end_s=float(int(turn.end_s) + 1))
        for turn in recording.turns
        if turn.end_s + 1 < recording.duration_s
    ]


def moved(by_s: float) -> Change:
    def change(recording: Recording) -> list[Turn]:
        last = recording.duration_s
        turns = (Turn(max(0.0, t.start_s + by_s), min(last, t.end_s + by_s), t.speaker) for t in recording.turns)
        return [turn for turn in turns if turn.end_s - turn.start_s > 0.01]

    return change


def levels(words: str, phones: str) -> Change:
    """Words of 0.3 s with two phones each, as an aligner writes them."""

    def change(recording: Recording) -> list[Turn]:
        turns = []
        for turn in recording.turns:
            for start in np.arange(turn.start_s, turn.end_s - 0.31, 0.3):
                turns.append(Turn(start, start + 0.3, words))
                turns += [Turn(start, start + 0.15, phones), Turn(start + 0.15, start + 0.3, phones)]
        return turns

    return change


CHANGES: dict[str, tuple[str, Change]] = {
    "without overlap": ("no overlap", without_overlap),
    "rounded": ("whole seconds", rounded),
    "late": ("labels offset", moved(0.5)),
    "early": ("labels offset", moved(-1.0)),
    "words and phones": ("tiers as speakers", levels("mary-words", "mary-phones")),
    "levels by other names": ("tiers as speakers", levels("A", "B")),
}


@pytest.fixture(scope="module")
def made(ami_mini: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Simulated conversations, 5 of a minute."""
    folder = tmp_path_factory.mktemp("simulated")
    corpus = simulate(
        speech_segments(ami_mini), fit_turn_taking(ami_mini), folder / "work", recordings={"train": 5}, duration_s=60
    )
    return convert(corpus, folder / "made")


@pytest.fixture(params=["ami_mini", "made"])
def dataset(request: pytest.FixtureRequest) -> Dataset:
    found: Dataset = request.getfixturevalue(request.param)
    return found


def test_nothing_in_a_simulated_dataset_as_it_is(made: Dataset) -> None:
    assert faults(made.root) == []


@pytest.mark.parametrize("name", CHANGES)
def test_a_planted_fault_is_found(dataset: Dataset, name: str, tmp_path: Path) -> None:
    kind, change = CHANGES[name]
    root = planted(dataset, tmp_path / "planted", change)
    found = [finding for finding in faults(root) if finding.kind == kind]
    assert any(finding.where.startswith(str(root / "train")) for finding in found)
    assert {finding.level for finding in found} == {"warning"}


def test_short_recordings_are_looked_at_together(ami_mini: Dataset, tmp_path: Path) -> None:
    (found,) = faults(planted(ami_mini, tmp_path / "planted", without_overlap))
    assert found.where == str(tmp_path / "planted" / "train.txt")
    assert found.text.startswith("10 recordings of train together: no overlap in ")


def test_the_size_and_direction_of_an_offset(ami_mini: Dataset, tmp_path: Path) -> None:
    """A single shifted recording is found beside nine good ones, and the text says how to shift it back."""
    (found,) = faults(planted(ami_mini, tmp_path / "planted", moved(1.0), {"trn04"}))
    assert found.where.endswith("train/rttm/trn04.rttm")
    assert found.text.startswith("labels are about 1.0 s later than the speech: their correlation")


@pytest.fixture(scope="module")
def embed() -> Embed:
    pytest.importorskip("torchaudio")
    try:
        return load_embedding()
    except UserError as error:
        pytest.skip(str(error))


def test_nothing_in_ami_mini_as_it_is(ami_mini: Dataset, embed: Embed) -> None:
    assert faults(ami_mini.root, embed) == []


def under_one_name(recording: Recording) -> list[Turn]:
    return [turn._replace(speaker="everybody") for turn in recording.turns]


def under_two_names(recording: Recording) -> list[Turn]:
    """The second half of each turn under another name."""
    halves = []
    for start_s, end_s, name in recording.turns:
        middle = (start_s + end_s) / 2
        halves += [Turn(start_s, middle, name), Turn(middle, end_s, f"{name}-2")]
    return halves


@pytest.mark.parametrize(
    ("change", "uri", "kind", "names"),
    [
        (under_one_name, "dev00", "one name, two voices", "everybody may be two people"),
        (under_two_names, "trn06", "two names, one voice", "FEE083 and FEE083-2 may be one person"),
    ],
)
def test_names_and_voices(
    ami_mini: Dataset, embed: Embed, tmp_path: Path, change: Change, uri: str, kind: str, names: str
) -> None:
    root = planted(ami_mini, tmp_path / "planted", change, {uri})
    for subset in SUBSETS:  # comparing takes time: only this recording
        (root / f"{subset}.txt").write_text(f"{uri}\n" if (root / subset / "rttm" / f"{uri}.rttm").exists() else "")
    (found,) = faults(root, embed)
    assert (found.kind, found.level) == (kind, "warning")
    assert found.text.startswith(names) and "have a similarity of 0." in found.text
    line = int(found.where.rpartition(":")[2])
    assert found.where == f"{next(root.glob(f'*/rttm/{uri}.rttm'))}:{line}"


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [Turn(0.0, 0.01, "a")],
        [Turn(0.0, 30.0, "a"), Turn(0.0, 30.0, "b")],
        [Turn(500.0, 600.0, "a")],
        [Turn(20.0, 60.0, "a")],
        [Turn(0.2 * k, 0.2 * k + 0.11, f"speaker-{k}") for k in range(19)],
    ],
    ids=["none", "one short", "always together", "after the end", "over the end", "many speakers"],
)
def test_odd_references_are_checked(ami_mini: Dataset, embed: Embed, tmp_path: Path, turns: list[Turn]) -> None:
    """Too little of anything for a finding, or what the other checks report."""
    root = planted(ami_mini, tmp_path / "planted", lambda recording: turns, {"trn03"})
    (root / "train.txt").write_text("trn03\n")
    for subset in ("dev", "test"):
        (root / f"{subset}.txt").write_text("")
    assert faults(root, embed) == []

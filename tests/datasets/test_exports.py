"""Exports: reading an export gives the same dataset, and the toolkits' readers agree."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from corpora import RATE, write_wav
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.conversion.split import Split
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.exports import write_database_yml, write_nemo_manifests
from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn, read_rttm, read_uem, write_rttm, write_uem

DURATION_S = 2.0
SAMPLES = round(DURATION_S * RATE)
NAMES = st.one_of(
    st.integers(0, 29).map(lambda k: f"speaker{k:02d}"), st.text("가나다라마ㅏñé-_.", min_size=1, max_size=8)
)


@st.composite
def turns(draw: st.DrawFn) -> list[Turn]:
    """Random turns on a sample grid, with overlaps, one-sample turns, and turns that end with the audio."""
    drawn = []
    for _ in range(draw(st.integers(0, 40))):
        start = draw(st.integers(0, SAMPLES - 1))
        length = draw(st.one_of(st.just(1), st.integers(1, SAMPLES - start)))
        drawn.append(Turn(round(start / RATE, 6), round((start + length) / RATE, 6), draw(NAMES)))
    return drawn


def in_samples(listed: list[Turn]) -> list[tuple[int, int, str]]:
    return sorted((round(t.start_s * RATE), round(t.end_s * RATE), t.speaker) for t in listed)


@given(turns(), st.sampled_from(["회의 1", "a.b", "x"]), st.sampled_from(["nemo", "pyannote", "layout"]))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_round_trip(source_turns: list[Turn], uri: str, form: str) -> None:
    """Exporting and converting again gives the same turns, to the sample, and the same UEM."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audio = write_wav(folder / "audio.wav", DURATION_S)
        regions = [Region(0.0, 0.5), Region(0.5, 2.0)]
        split = Split(shares=(1, 0, 0))
        dataset = convert(
            Corpus("c", [SourceRecording(uri, (Clip(audio),), source_turns, regions)]), folder / "one", split=split
        )
        source = folder / "one"
        if form == "nemo":
            write_nemo_manifests(dataset, source := folder / "nemo")
        elif form == "pyannote":
            write_database_yml(dataset, source := folder / "database.yml")
        again = convert(find_corpus(str(source), form), folder / "two", split=split)
        (one,), (two,) = dataset.subset("train"), again.subset("train")
        assert in_samples(two.turns) == in_samples(one.turns)
        assert two.regions == one.regions == regions
        assert again.info.fingerprint == dataset.info.fingerprint
        if dataset.info.changes.get("turns merged into another of their speaker", 0) == 0:
            assert in_samples(one.turns) == in_samples(source_turns)


@given(turns())
def test_rttm_round_trip(source_turns: list[Turn]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.rttm"
        write_rttm(path, "x", source_turns)
        assert read_rttm(path).get("x", []) == sorted(source_turns)


@given(st.lists(st.tuples(st.integers(0, 10**10), st.integers(1, 10**9)), min_size=1))
def test_uem_round_trip(spans: list[tuple[int, int]]) -> None:
    regions = [Region(start / 1e6, (start + length) / 1e6) for start, length in spans]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.uem"
        write_uem(path, {"x": regions})
        assert read_uem(path) == {"x": regions}


def test_touching_turns_stay_apart(tmp_path: Path) -> None:
    """In floating point 1.1 + 0.2 differs from 1.3; these turns touch and must not be merged."""
    (tmp_path / "x.rttm").write_text(
        "SPEAKER x 1 1.1 0.2 <NA> <NA> a <NA> <NA>\nSPEAKER x 1 1.3 0.2 <NA> <NA> a <NA> <NA>\n"
    )
    assert read_rttm(tmp_path / "x.rttm") == {"x": [Turn(1.1, 1.3, "a"), Turn(1.3, 1.5, "a")]}


def test_pyannote_database_reads_the_export(ami_mini: Dataset, tmp_path: Path) -> None:
    from pyannote.database import FileFinder, registry

    write_database_yml(ami_mini, tmp_path / "database.yml")
    registry.load_database(tmp_path / "database.yml")
    protocol = registry.get_protocol("ami-mini.SpeakerDiarization.ami-mini", {"audio": FileFinder()})
    for subset, name in (("train", "train"), ("dev", "development"), ("test", "test")):
        read = {file["uri"]: file for file in getattr(protocol, name)()}
        assert list(read) == [recording.uri for recording in ami_mini.subset(subset)]  # type: ignore[arg-type]
        for recording in ami_mini.subset(subset):  # type: ignore[arg-type]
            file = read[recording.uri]
            assert Path(file["audio"]) == recording.audio.resolve()
            assert file["annotated"] == recording.scored
            turns_read = sorted(
                (s.start, s.end, label) for s, _, label in file["annotation"].itertracks(yield_label=True)
            )
            assert [value for row in turns_read for value in row[:2]] == pytest.approx(
                [time for turn in sorted(recording.turns) for time in turn[:2]]
            )


def test_num_speakers_of_a_window(tmp_path: Path) -> None:
    """2 s windows in 5 s: a speaks 0-1, b 1.5-2, c 2-3; a turn that only touches a window does not count."""
    source_turns = [Turn(0, 1, "a"), Turn(1.5, 2, "b"), Turn(2, 3, "c")]
    audio = write_wav(tmp_path / "x.wav", 5.0)
    dataset = convert(
        Corpus("c", [SourceRecording("x", (Clip(audio),), source_turns)]), tmp_path / "d", split=Split(shares=(1, 0, 0))
    )
    write_nemo_manifests(dataset, tmp_path / "nemo", window_s=2.0)
    rows = [json.loads(row) for row in (tmp_path / "nemo" / "train_manifest.json").read_text().splitlines()]
    assert [(row["offset"], row["duration"], row["num_speakers"]) for row in rows] == [(0, 2, 2), (2, 2, 1), (4, 1, 0)]
    assert all(list(read_rttm(Path(row["rttm_filepath"]))) == ["x"] for row in rows)
    for window_s in (0.0, 1e-9, float("nan")):  # the second had no end: times are kept to the microsecond
        with pytest.raises(UserError, match=rf"--window-s {window_s:g}: expected 0\.1 s or more"):
            write_nemo_manifests(dataset, tmp_path / "nemo", window_s=window_s)

"""Conversion: audio formats, normalised turns, subsets, resuming, and errors."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import noise, write_wav
from hypothesis import given
from hypothesis import strategies as st
from places import SCORING_ORACLE

from diarbench.datasets.conversion import convert as convert_module
from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.converted import ConvertedRecording
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.conversion.normalize import check_times, normalize_name, normalize_regions, normalize_turns
from diarbench.datasets.conversion.parallel import in_parallel
from diarbench.datasets.conversion.split import Split, draw
from diarbench.datasets.dataset import SUBSETS, Dataset
from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.io.audio import Clip, write_audio
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.lock import HeldError
from diarbench.datasets.io.rttm import Region, Turn, read_rttm, read_uem, write_rttm
from diarbench.datasets.statistics import seconds_by_speakers


def tone(rate: int, duration_s: float = 1.0, channels: int = 1) -> np.ndarray:
    """440 Hz at half scale."""
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(duration_s * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "PCM_24"), ("flac", "PCM_16"), ("wav", "FLOAT"), ("ogg", None)]
)
def test_audio_of_any_format_is_resampled_to_16_khz_mono(
    rate: int, suffix: str, subtype: str | None, tmp_path: Path
) -> None:
    source = tmp_path / f"tone.{suffix}"
    soundfile.write(str(source), tone(rate, channels=2), rate, subtype=subtype)
    frames, changes = write_audio((Clip(source),), tmp_path / "out.wav")
    assert frames == pytest.approx(16_000, abs=2)
    converted, out_rate = soundfile.read(str(tmp_path / "out.wav"))
    assert out_rate == 16_000
    assert len(converted) == frames
    middle = slice(2_000, 14_000)
    loss = np.abs(converted[middle] - tone(16_000)[middle, 0]).max()
    assert loss < (0.05 if suffix == "ogg" else 0.001)
    assert changes["files resampled"] == changes["files mixed down to one channel"] == 1


def test_selecting_or_averaging_channels(tmp_path: Path) -> None:
    left, right = np.full(16_000, 0.25), np.full(16_000, -0.25)
    soundfile.write(str(tmp_path / "stereo.wav"), np.stack([left, right], axis=1), 16_000)
    for channel, value in ((None, 0.0), (0, 0.25), (1, -0.25)):
        write_audio((Clip(tmp_path / "stereo.wav"),), tmp_path / "out.wav", channel)
        assert soundfile.read(str(tmp_path / "out.wav"))[0] == pytest.approx(value)
    with pytest.raises(UserError, match="has 2 channels, so no channel 2"):
        write_audio((Clip(tmp_path / "stereo.wav"),), tmp_path / "out.wav", 2)


def test_audio_in_the_right_format_is_hard_linked(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "right.wav")
    assert write_audio((Clip(source),), tmp_path / "out.wav") == (48_000, Counter())
    assert (tmp_path / "out.wav").stat().st_ino == source.stat().st_ino


def test_the_corpus_is_never_written_to(tmp_path: Path) -> None:
    """Writing to a target that is a hard link to a corpus file leaves the corpus file unchanged."""
    source, other = write_wav(tmp_path / "right.wav", seed=1), write_wav(tmp_path / "other.wav", rate=8_000, seed=2)
    before = source.read_bytes()
    write_audio((Clip(source),), tmp_path / "out.wav")
    write_audio((Clip(other),), tmp_path / "out.wav")
    assert source.read_bytes() == before


def test_clips_on_a_timeline(tmp_path: Path) -> None:
    """Clips at 0.5 s (0.25 of full scale) and 1.0 s (0.5), each 1 s long, are summed where they overlap."""
    for name, value in (("a", 0.25), ("b", 0.5)):
        soundfile.write(str(tmp_path / f"{name}.wav"), np.full(16_000, value), 16_000)
    clips = (Clip(tmp_path / "b.wav", at_s=1.0), Clip(tmp_path / "a.wav", at_s=0.5))
    frames, _ = write_audio(clips, tmp_path / "out.wav")
    assert frames == 32_000
    samples = soundfile.read(str(tmp_path / "out.wav"))[0]
    levels = [samples[round(at * 16_000)] for at in (0.25, 0.75, 1.25, 1.75)]
    assert levels == pytest.approx([0.0, 0.25, 0.75, 0.5])


def test_an_excerpt_of_a_file(tmp_path: Path) -> None:
    source = write_wav(tmp_path / "all.wav")
    frames, changes = write_audio((Clip(source, start_s=1.0, duration_s=0.5),), tmp_path / "out.wav")
    assert frames == 8_000
    assert soundfile.read(str(tmp_path / "out.wav"))[0] == pytest.approx(noise()[16_000:24_000, 0], abs=1 / 32768)
    _, changes = write_audio((Clip(source, start_s=2.5, duration_s=1.0),), tmp_path / "out.wav")
    assert changes["clips that end before they should"] == 1


def test_invalid_samples_are_counted(tmp_path: Path) -> None:
    soundfile.write(str(tmp_path / "odd.wav"), np.array([0.5, np.nan, 1.5, -2.0, np.inf]), 16_000, subtype="FLOAT")
    _, changes = write_audio((Clip(tmp_path / "odd.wav"),), tmp_path / "out.wav")
    assert changes["samples that were no number, silenced"] == 2
    assert changes["samples clipped at full scale"] == 2


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "not readable"), (b"text", "not readable"), (None, "no such audio file")]
)
def test_unreadable_audio(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(UserError, match=message):
        write_audio((Clip(tmp_path / "bad.wav"),), tmp_path / "out.wav")


def test_normalized_turns_by_hand() -> None:
    changes: Counter[str] = Counter()
    turns = [
        Turn(0.0, 2.0, "a"),
        Turn(1.0, 3.0, "a"),  # merged
        Turn(3.0, 4.0, "a"),  # touches: not merged
        Turn(1.0, 3.0, "b"),
        Turn(9.0, 12.0, "b b"),  # cut at 10 s, renamed
        Turn(10.0, 11.0, "c"),  # outside
    ]
    assert normalize_turns(turns, 10.0, changes) == [
        Turn(0.0, 3.0, "a"),
        Turn(1.0, 3.0, "b"),
        Turn(3.0, 4.0, "a"),
        Turn(9.0, 10.0, "b_b"),
    ]
    assert {kind: count for kind, count in changes.items() if count} == {
        "turns merged into another of their speaker": 1,
        "turns cut at the end of the audio": 1,
        "turns dropped: outside the audio": 1,
        "speaker names mended (spaces, Unicode form), turns": 1,
    }


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ((0, 11, 12), r"2 of 3 turns begin after the end of the audio \(10 s\), the last at 12 s; does it belong to"),
        ((0, 900, 9000), "2 of 3 turns .* the last at 9000 s; are its times in milliseconds"),
        ((10,), "1 of 1 turn begin"),
        ((0, 10), None),
        ((9.9, 9.95), None),
        ((), None),
    ],
)
def test_turns_outside_the_audio_are_refused_if_they_are_most(starts: tuple[float, ...], message: str | None) -> None:
    turns = [Turn(start_s, start_s + 1, "a") for start_s in starts]
    with pytest.raises(UserError, match=rf"^call\.csv: {message}") if message else nullcontext():
        check_times(turns, 10.0, "call.csv")


def test_a_reference_in_milliseconds_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    write_wav(tmp_path / "in" / "a.wav")
    table = tmp_path / "in" / "a.csv"
    table.write_text("start,end,speaker\n0,900,x\n1000,2000,y\n2100,2900,x\n", encoding="utf-8")
    message = rf"^{table}: 2 of 3 turns begin after the end of the audio \(3 s\), the last at 2100 s; .* milliseconds\?"
    with pytest.raises(UserError, match=message):
        convert(find_corpus(str(tmp_path / "in")), tmp_path / "out", split=Split(shares=(1, 0, 0)))
    assert not (tmp_path / "out").exists()


def test_normalized_regions_by_hand() -> None:
    changes: Counter[str] = Counter()
    regions = [Region(5, 12), Region(0, 2), Region(1, 3), Region(3, 4), Region(11, 12)]
    assert normalize_regions(regions, 10.0, changes) == [Region(0, 3), Region(3, 4), Region(5, 10)]
    assert changes["UEM regions merged"] == changes["UEM regions dropped: outside the audio"] == 1
    assert normalize_regions(None, 10.0, changes) == [Region(0, 10)]


MICROSECONDS = st.integers(0, 20_000_000)
TURNS = st.lists(
    st.builds(
        lambda start, length, speaker: Turn(start / 1e6, (start + length) / 1e6, speaker),
        MICROSECONDS,
        st.integers(1, 5_000_000),
        st.sampled_from("abc"),
    )
)


@given(TURNS)
def test_normalizing_keeps_the_speech_of_each_speaker(turns: list[Turn]) -> None:
    """Each speaker's speech inside the audio is unchanged, and no two turns of a speaker overlap."""
    normalized = normalize_turns(turns, 10.0, Counter())
    for speaker in "abc":
        before = sorted(
            (round(t.start_s * 1e6), round(min(t.end_s, 10.0) * 1e6)) for t in turns if t.speaker == speaker
        )
        union, end = 0, 0
        for start, stop in before:
            union += max(0, stop - max(start, end))
            end = max(end, stop)
        own = [t for t in normalized if t.speaker == speaker]
        assert round(sum(t.end_s - t.start_s for t in own) * 1e6) == union
        assert all(one.end_s <= other.start_s for one, other in pairwise(own))


def test_seconds_by_speakers_by_hand() -> None:
    turns = [Turn(0, 4, "a"), Turn(2, 6, "b"), Turn(3, 5, "c")]
    assert seconds_by_speakers(turns, [Region(1, 7)]) == {1: 2.0, 2: 2.0, 3: 1.0, 0: 1.0}


def done(uri: str, speakers: str, audio_s: float = 60.0) -> ConvertedRecording:
    times = dict.fromkeys(("scored_s", "speaker_s", "speech_s", "overlap_s"), 0.0)
    record = {"made_from": "", "subset": None, "sha256": {}, "turns": 0, **times}
    return ConvertedRecording.model_validate({"uri": uri, "speakers": list(speakers), "audio_s": audio_s, **record})


@given(
    st.lists(st.text("abcdefghijkl", max_size=3), min_size=3, max_size=30),
    st.integers(0, 5),
    st.sampled_from([1.0, 60.0]),
)
def test_split_by_speaker_puts_no_speaker_into_two_subsets(speakers: list[str], seed: int, audio_s: float) -> None:
    recordings = [done(f"r{k}", names, audio_s) for k, names in enumerate(speakers)]
    split = Split("speaker", (0.6, 0.2, 0.2), seed)
    try:
        drawn = draw(recordings, split)
    except UserError as error:
        assert "too few" in str(error)
        return
    assert drawn == draw(recordings[::-1], split)  # the order of the recordings does not matter
    assert set(drawn.values()) == set(SUBSETS)
    subsets_of: dict[str, set[str]] = {}
    for recording in recordings:
        for speaker in recording.speakers:
            subsets_of.setdefault(speaker, set()).add(drawn[recording.uri])
    assert all(len(subsets) == 1 for subsets in subsets_of.values())


def test_shares_are_measured_in_hours() -> None:
    recordings = [done(f"r{k:03d}", "") for k in range(100)]
    counts = Counter(draw(recordings, Split()).values())
    assert counts == {"train": 80, "dev": 10, "test": 10}
    assert draw(recordings, Split(seed=1)) != draw(recordings, Split())
    with pytest.raises(UserError, match="2 recordings: too few for 3 subsets"):
        draw(recordings[:2], Split())


def source_recordings(folder: Path, count: int = 4, **options: object) -> list[SourceRecording]:
    return [
        SourceRecording(
            f"r{k}", (Clip(write_wav(folder / f"r{k}.wav", 1.0, seed=k)),), [Turn(0.0, 0.5, "a")], **options
        )  # type: ignore[arg-type]
        for k in range(count)
    ]


def test_two_workers_write_the_same_files_as_one(tmp_path: Path) -> None:
    source = source_recordings(tmp_path)
    one = convert(Corpus("c", source), tmp_path / "one")
    two = convert(Corpus("c", source), tmp_path / "two", workers=2)
    assert one.info.fingerprint == two.info.fingerprint
    assert one.info.subsets == two.info.subsets


def test_an_interrupted_conversion_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_recordings(tmp_path)
    written: list[str] = []

    def counted(clips: tuple[Clip, ...], target: Path, channel: int | None = None) -> tuple[int, Counter[str]]:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(target.stem)
        return write_audio(clips, target, channel)

    monkeypatch.setattr(convert_module, "write_audio", counted)
    with pytest.raises(KeyboardInterrupt):
        convert(Corpus("c", source), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="not a converted dataset"):
        Dataset.open(tmp_path / ".out.converting")
    monkeypatch.setattr(convert_module, "write_audio", write_audio)
    os.utime(tmp_path / "r0.wav", (0, 0))  # changed, so it is converted again
    rewritten: list[str] = []
    monkeypatch.setattr(
        convert_module,
        "write_audio",
        lambda clips, target, channel: (rewritten.append(target.stem), write_audio(clips, target, channel))[1],
    )
    dataset = convert(Corpus("c", source), tmp_path / "out")
    assert rewritten == ["r0", "r2", "r3"]
    assert not (tmp_path / ".out.converting").exists()
    uninterrupted = convert(Corpus("c", source), tmp_path / "uninterrupted")
    assert dataset.info == uninterrupted.info.model_copy(update={"name": "out"})


def test_a_second_conversion_into_the_same_destination_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    source = source_recordings(tmp_path)

    def meanwhile() -> Iterator[SourceRecording]:
        yield from source[:2]
        with pytest.raises(HeldError, match=rf"a command is running here since .* by process {os.getpid()} on "):
            convert(Corpus("c", source), tmp_path / "out")
        yield from source[2:]

    dataset = convert(Corpus("c", meanwhile()), tmp_path / "out")
    assert dataset.info.fingerprint == convert(Corpus("c", source), tmp_path / "alone").info.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".wav") == ["alone", "out"]
    assert not list((tmp_path / "out").rglob(".*"))


def test_errors(tmp_path: Path) -> None:
    source = source_recordings(tmp_path)
    with pytest.raises(UserError, match="no recordings found"):
        convert(Corpus("c", []), tmp_path / "none")
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="already exists"):
        convert(Corpus("c", source), tmp_path / "there")
    for other, message in (
        (1, r"r1\.wav: has the same name, R0, as .*r0\.wav; rename one"),
        (0, r"r0\.wav: is listed twice"),
    ):
        with pytest.raises(UserError, match=message):
            convert(Corpus("c", [*source, SourceRecording("R0", source[other].clips, [])]), tmp_path / "twice")
    (tmp_path / "r1.wav").write_bytes(b"")
    (tmp_path / "r2.wav").unlink()
    with pytest.raises(UserError, match=r"r1\.wav: not readable audio.*and 1 more"):
        convert(Corpus("c", source), tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    mixed = [*source_recordings(tmp_path, 2, subset="train"), *source_recordings(tmp_path)[2:]]
    with pytest.raises(UserError, match="r2: in no subset, although others are"):
        convert(Corpus("c", mixed), tmp_path / "mixed")
    outside = [SourceRecording("r0", source[0].clips, [], [Region(5, 6)])]
    with pytest.raises(UserError, match="its UEM has no region inside the audio"):
        convert(Corpus("c", outside), tmp_path / "outside")


def die(_: object) -> None:
    os._exit(1)


def test_a_worker_that_dies() -> None:
    with pytest.raises(UserError, match="a worker process died"):
        list(in_parallel(die, [1, 2], workers=2))


def test_renamed_recordings_are_counted(tmp_path: Path) -> None:
    spaced = [replace(source, uri=f"r {k}") for k, source in enumerate(source_recordings(tmp_path))]
    dataset = convert(Corpus("c", spaced), tmp_path / "out")
    assert dataset.info.changes == {"recordings renamed (spaces, Unicode form)": 4}
    assert {r.uri for listed in dataset.recordings.values() for r in listed} == {"r_0", "r_1", "r_2", "r_3"}


@pytest.mark.parametrize(
    ("names", "both"),
    [
        (["a b", "a_b"], "'a b' and 'a_b'"),
        (["a/b", "a b"], "'a/b' and 'a b'"),
        (["a  b", "a\tb", "A_B", unicodedata.normalize("NFD", "가"), "가"], ""),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_two_speakers_stay_two(names: list[str], both: str, apart: bool, tmp_path: Path) -> None:
    """In a recording, where their turns would be merged, and in two, where they would be one person."""
    turns = [Turn(0.1 * number, 0.1 * number + 0.05, name) for number, name in enumerate(names)]
    listed = [turns[:1], turns[1:]] if apart else [turns]
    recordings = [SourceRecording(f"r{k}", (Clip(write_wav(tmp_path / f"r{k}.wav")),), t) for k, t in enumerate(listed)]
    corpus = Corpus("c", iter(recordings))
    if not both:
        dataset = convert(corpus, tmp_path / "out", split=Split(shares=(1, 0, 0)))
        assert {t.speaker for r in dataset.recordings["train"] for t in r.turns} == {"a_b", "A_B", "가"}
        return
    with pytest.raises(UserError, match=rf"\.wav: speakers {both} would both be named a_b; if they are two, rename"):
        convert(corpus, tmp_path / "out", split=Split(shares=(1, 0, 0)))
    assert not (tmp_path / "out").exists()


def test_normalized_names() -> None:
    assert normalize_name(" a b\tc/d ") == "a_b_c_d"
    assert normalize_name("가") == "가"
    assert normalize_name("") == "_"


@pytest.mark.skipif(not SCORING_ORACLE.is_dir(), reason="the scoring oracle's data is not on this machine")
@pytest.mark.parametrize(("corpus", "uem"), [("ami_test", "vbx.uem"), ("voxconverse_test", "vbx.uem")])
def test_normalizing_real_references_loses_no_speech(corpus: str, uem: str, tmp_path: Path) -> None:
    """Every reference is normalised, written and read back, and no speech is lost."""
    turns = read_rttm(SCORING_ORACLE / corpus / "ref.rttm")
    ends = {uri: max(r.end_s for r in regions) for uri, regions in read_uem(SCORING_ORACLE / corpus / uem).items()}
    raw_us = {uri: union_us(listed) for uri, listed in turns.items()}
    total_s = 0.0
    for uri, listed in turns.items():
        changes: Counter[str] = Counter()
        normalized = normalize_turns(listed, max(ends.get(uri, 0.0), max(t.end_s for t in listed)), changes)
        write_rttm(tmp_path / "one.rttm", uri, normalized)
        assert read_rttm(tmp_path / "one.rttm") == {uri: normalized}
        assert union_us(normalized) == raw_us[uri]
        assert not any("dropped" in kind or "cut" in kind for kind, count in changes.items() if count)
        total_s += sum(t.end_s - t.start_s for t in normalized)
    # counted from the lines, without this project's reader
    lines = [line.split() for line in (SCORING_ORACLE / corpus / "ref.rttm").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == sum(map(len, turns.values()))
    assert total_s <= sum(float(line[4]) for line in lines) + 1e-6
    assert sum(raw_us.values()) / 1e6 == pytest.approx(total_s, abs=1e-5)


def union_us(turns: list[Turn]) -> int:
    """The duration of each speaker's speech in microseconds, summed over speakers."""
    total = 0
    for speaker in {t.speaker for t in turns}:
        end = 0
        for start_us, end_us in sorted(
            (round(t.start_s * 1e6), round(t.end_s * 1e6)) for t in turns if t.speaker == speaker
        ):
            total += max(0, end_us - max(start_us, end))
            end = max(end, end_us)
    return total

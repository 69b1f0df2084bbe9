"""Simulated conversations: turn-taking as fitted or set, audio that matches the reference, and reproducibility."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from corpora import write_wav
from places import SCORING_ORACLE

from diarbench.datasets.acoustics import synthetic_noise
from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import Corpus
from diarbench.datasets.conversion.normalize import normalize_turns
from diarbench.datasets.dataset import Dataset, Recording, Subset
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn, read_rttm, read_uem
from diarbench.datasets.simulation import conversations as simulations
from diarbench.datasets.simulation.effects import Effects
from diarbench.datasets.simulation.perturbation import Perturbation
from diarbench.datasets.simulation.segments import (
    SpeechSegment,
    noise_from_pauses,
    single_speaker_stretches,
    speech_segments,
    split_speakers,
)
from diarbench.datasets.simulation.turn_taking import (
    Island,
    IslandSampler,
    Step,
    TurnTaking,
    fit_turn_taking,
    measure_turn_taking,
    sample_conversation,
    turn_taking_from_options,
)
from diarbench.datasets.statistics import seconds_by_speakers

Spoken = Sequence[tuple[Sequence[Turn], float]]


def figures(recordings: Spoken) -> dict[str, float]:
    """The share of silence, the share of overlap in the speech, and the mean turn length."""
    seconds: Counter[int] = Counter()
    for turns, duration_s in recordings:
        seconds.update(seconds_by_speakers(turns, [Region(0.0, duration_s)]))
    total_s = sum(seconds.values())
    lengths = [turn.end_s - turn.start_s for turns, _ in recordings for turn in turns]
    overlap_s = sum(s for count, s in seconds.items() if count > 1)
    return {
        "silence": seconds[0] / total_s,
        "overlap": overlap_s / (total_s - seconds[0]),
        "turn": sum(lengths) / len(lengths),
    }


def sample_conversations(style: TurnTaking, count: int, duration_s: float) -> Spoken:
    sampler = IslandSampler(style, max(style.speakers), np.random.default_rng(0))
    sampled = []
    for number in range(count):
        rng = np.random.default_rng([1, number])
        size = max(2, int(rng.choice(style.speakers)))
        turns = sample_conversation(sampler, [f"s{k}" for k in range(size)], duration_s, rng)
        sampled.append((turns, max(turn.end_s for turn in turns)))
    return sampled


def close(measured: dict[str, float], expected: dict[str, float]) -> bool:
    return all(measured[name] == pytest.approx(expected[name], rel=0.1) for name in expected)


def no_speaker_overlaps_itself(recordings: Iterable[tuple[Sequence[Turn], float]]) -> bool:
    changes: Counter[str] = Counter()
    for turns, duration_s in recordings:
        normalize_turns(turns, duration_s, changes)
    return not any(changes.values())


def test_islands_by_hand() -> None:
    """a 1-3, b 2-2.5 (an interjection), a pause, a 4-5 (resumes), c 5.5-6; the 1 s at the end joins the start."""
    turns = [Turn(1, 3, "a"), Turn(2, 2.5, "b"), Turn(4, 5, "a"), Turn(5.5, 6, "c")]
    style = measure_turn_taking([(turns, 7.0)])
    assert style == TurnTaking(
        (
            Island((Step(2, 2, 0), Step(0.5, -1, 1)), resumes=False),
            Island((Step(1, 1, 0),), resumes=True),
            Island((Step(0.5, 0.5, 0),), resumes=False),
        ),
        (3,),
    )


def test_fitted_to_ami_mini(ami_mini: Dataset) -> None:
    recordings = [recording for listed in ami_mini.recordings.values() for recording in listed]
    made = sample_conversations(fit_turn_taking(ami_mini), 30, 120)
    assert close(figures(made), figures([(recording.turns, recording.duration_s) for recording in recordings]))
    assert no_speaker_overlaps_itself(made)


@pytest.mark.skipif(not SCORING_ORACLE.is_dir(), reason="the scoring oracle's data is not available")
@pytest.mark.parametrize(("corpus", "count"), [("ami_test", 110), ("voxconverse_test", 520)])
def test_fitted_to_whole_corpora(corpus: str, count: int) -> None:
    """As many hours as the real corpus, in conversations of five minutes."""
    ends = {u: max(r.end_s for r in listed) for u, listed in read_uem(SCORING_ORACLE / corpus / "vbx.uem").items()}
    real = []
    for uri, turns in read_rttm(SCORING_ORACLE / corpus / "ref.rttm").items():
        duration_s = max(ends.get(uri, 0.0), max(turn.end_s for turn in turns))
        real.append((normalize_turns(turns, duration_s, Counter()), duration_s))
    made = sample_conversations(measure_turn_taking(real), count, 300)
    assert close(figures(made), figures(real))
    assert no_speaker_overlaps_itself(made)


def test_turn_taking_from_options() -> None:
    """30 % of the turns overlap, by 30 to 40 % of their length; pauses last half a second on average."""
    rng = np.random.default_rng(0)
    pieces = [SpeechSegment(Path("x"), 0.0, float(length)) for length in rng.uniform(2, 4, 500)]
    style = turn_taking_from_options(
        pieces, overlapped=0.3, overlap_share=(0.3, 0.4), pause_s=0.5, speakers=(2, 3), seed=0
    )
    made = sample_conversations(style, 40, 120)
    assert no_speaker_overlaps_itself(made)
    steps = []
    for turns, _ in made:
        end_s = 0.0
        for turn in turns:
            steps.append((turn.end_s - turn.start_s, turn.start_s - end_s))
            end_s = max(end_s, turn.end_s)
    shares = [-distance_s / length_s for length_s, distance_s in steps if distance_s < 0]
    assert len(shares) / len(steps) == pytest.approx(0.3, rel=0.1)
    assert sum(shares) / len(shares) == pytest.approx(0.35, rel=0.1)
    assert 0.3 <= min(shares) <= max(shares) <= 0.4 + 1e-6
    pauses = [distance_s for _, distance_s in steps if distance_s > 0]
    assert sum(pauses) / len(pauses) == pytest.approx(0.5, rel=0.1)
    assert figures(made)["turn"] == pytest.approx(3.0, rel=0.1)
    style = turn_taking_from_options(
        pieces, overlapped=0.3, overlap_share=(0.3, 0.4), pause_s=0.5, speakers=(2,), seed=0, turn_s=(5.0, 7.0)
    )
    lengths = [turn.end_s - turn.start_s for turns, _ in sample_conversations(style, 40, 120) for turn in turns]
    assert 5 <= min(lengths) <= max(lengths) <= 7


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight speakers of six one- to two-second utterances: noise at 22.05 kHz."""
    root = tmp_path_factory.mktemp("utterances")
    for speaker in range(8):
        for k in range(6):
            write_wav(root / f"voice-{speaker}" / f"{k}.wav", 1.0 + 0.2 * k, rate=22_050, seed=10 * speaker + k)
    return root


def simulated(
    source: Path,
    target: Path,
    effects: Effects | None = None,
    workers: int = 1,
    perturbation: Perturbation | None = None,
) -> Dataset:
    pool = split_speakers(speech_segments(source)[None], (0.5, 0.25, 0.25), seed=0)
    pieces = [piece for speakers in pool.values() for listed in speakers.values() for piece in listed]
    style = turn_taking_from_options(
        pieces, overlapped=0.3, overlap_share=(0.3, 0.4), pause_s=0.5, speakers=(2, 3), seed=0
    )
    corpus = simulations.simulate(
        pool,
        style,
        target.with_suffix(".work"),
        recordings={"train": 2, "dev": 1, "test": 1},
        duration_s=12,
        effects=effects,
        perturbation=perturbation,
        workers=workers,
    )
    return convert(corpus, target)


def eight_speakers(root: Path, sound: np.ndarray) -> Path:
    """Eight speakers with the same utterance."""
    for speaker in range(8):
        (root / f"voice-{speaker}").mkdir(parents=True)
        soundfile.write(str(root / f"voice-{speaker}" / "sound.wav"), sound, 16_000)
    return root


def single_speaker_audio(recording: Recording) -> Iterator[tuple[str, np.ndarray]]:
    """Speaker and samples of each stretch with one active speaker."""
    samples, _ = soundfile.read(str(recording.audio))
    for turn in single_speaker_stretches(recording.turns):
        yield turn.speaker, samples[round(turn.start_s * 16_000) : round(turn.end_s * 16_000)]


def test_audio_matches_the_reference(utterances: Path, tmp_path: Path) -> None:
    dataset = simulated(utterances, tmp_path / "made")
    spoken: dict[str, set[str]] = {}
    for subset, recordings in dataset.recordings.items():
        for recording in recordings:
            samples, _ = soundfile.read(str(recording.audio))
            inside = np.zeros(len(samples), dtype=bool)
            for turn in recording.turns:
                part = slice(round(turn.start_s * 16_000), round(turn.end_s * 16_000))
                inside[part] = True
                assert np.std(samples[part]) > 0.05
                spoken.setdefault(turn.speaker, set()).add(subset)
            assert 12 <= recording.duration_s < 20
            assert not samples[~inside][: -16_000 // 100].any()
    assert all(len(subsets) == 1 for subsets in spoken.values())
    assert not {kind: count for kind, count in dataset.info.changes.items() if "turn" in kind}


def test_same_seed_gives_the_same_bytes(utterances: Path, tmp_path: Path) -> None:
    effects = Effects(noises=(write_wav(tmp_path / "hiss.wav", 0.1),))
    one = simulated(utterances, tmp_path / "one", effects)
    two = simulated(utterances, tmp_path / "two", effects, workers=2)
    assert one.info.fingerprint == two.info.fingerprint


@pytest.mark.parametrize("generated", [False, True])
def test_noise_at_the_given_snr(generated: bool, utterances: Path, tmp_path: Path) -> None:
    """Noise 10 dB below the speech; pauses contain only noise."""
    hiss = tmp_path / "noise" / "hiss.wav"
    write_wav(hiss, 60.0, seed=99)
    clean = simulated(utterances, tmp_path / "clean")
    noises = () if generated else (hiss,)
    noisy = simulated(
        utterances, tmp_path / "noisy", Effects(noises=noises, synthetic_noise=generated, snr_db=(10.0, 10.0))
    )
    for one, other in zip(clean.subset("train"), noisy.subset("train"), strict=True):
        assert one.turns == other.turns
        speech, both = (soundfile.read(str(r.audio))[0] for r in (one, other))
        spoken = np.convolve(speech != 0, np.ones(9), "same") > 0
        gain = both[spoken] @ speech[spoken] / (speech[spoken] @ speech[spoken])  # scaled down where it would clip
        noise = both - gain * speech
        ratio = np.mean((gain * speech[speech != 0]) ** 2) / np.mean(noise**2)
        assert 10 * np.log10(ratio) == pytest.approx(10.0, abs=0.5)


def test_noise_from_pauses(ami_mini: Dataset, tmp_path: Path) -> None:
    """The noise is every silence of 0.3 s or more, unchanged."""
    noises = {path.stem.removeprefix("silences_"): path for path in noise_from_pauses(ami_mini, tmp_path)}
    for recording in ami_mini.subset("train"):
        samples, _ = soundfile.read(str(recording.audio), dtype="float32")
        quiet = np.ones(len(samples), dtype=bool)
        for turn in recording.turns:
            quiet[round(turn.start_s * SAMPLE_RATE) : round(turn.end_s * SAMPLE_RATE)] = False
        edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet, [0]]).astype(int))).reshape(-1, 2)
        silences = [samples[begin:end] for begin, end in edges if end - begin > 0.3 * SAMPLE_RATE]
        assert (recording.uri in noises) == bool(silences)
        if silences:
            noise, _ = soundfile.read(str(noises[recording.uri]), dtype="float32")
            assert len(noise) == pytest.approx(sum(map(len, silences)), abs=2 * len(silences))
            inside = slice(200, min(map(len, silences)) - 200)
            assert np.corrcoef(noise[inside], silences[0][inside])[0, 1] > 0.9


def test_reverberation_does_not_shift_speech(utterances: Path, tmp_path: Path) -> None:
    clean = simulated(utterances, tmp_path / "clean").subset("train")[0]
    wet = simulated(utterances, tmp_path / "wet", Effects(synthetic_rooms=True)).subset("train")[0]
    dry, reverberant = (soundfile.read(str(recording.audio))[0] for recording in (clean, wet))
    lags = np.fft.irfft(np.fft.rfft(reverberant) * np.conj(np.fft.rfft(dry, len(reverberant))), len(reverberant))
    assert int(np.abs(lags).argmax()) == 0
    assert not np.allclose(dry / np.abs(dry).max(), reverberant / np.abs(reverberant).max(), atol=0.05)


def test_speed_factor_scales_the_pitch(tmp_path: Path) -> None:
    """A 440 Hz hum moves to 440 Hz times its factor, and the speaker is renamed and counted as a new one."""
    hum = 0.3 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    voices = eight_speakers(tmp_path / "hums", hum)
    made = simulated(voices, tmp_path / "made", perturbation=Perturbation(speed=(0.8, 1.25)))
    factors = []
    for recording in made.subset("train"):
        for speaker, part in single_speaker_audio(recording):
            pitch_hz = np.abs(np.fft.rfft(part, 160_000)).argmax() / 10
            factors.append(float(speaker.partition("@")[2]))
            assert pitch_hz == pytest.approx(440 * factors[-1], rel=0.03)
    assert 0.8 <= min(factors) < 1 < max(factors) <= 1.25
    assert made.info.subsets["train"].speakers == len({t.speaker for r in made.subset("train") for t in r.turns})
    assert "8 speakers at 0.8 to 1.25 times their speed" in made.info.source


def test_formant_factor_keeps_the_pitch(tmp_path: Path) -> None:
    """A 100 Hz voice with one formant at 1500 Hz: the formant moves to 1500 Hz times the factor in the name."""
    pulses = np.zeros(32_000)
    pulses[::160] = 1.0
    pole = 0.95 * np.exp(2j * np.pi * 1500 / 16_000)
    vowel = 0.1 * scipy.signal.lfilter([1.0], np.poly([pole, pole.conjugate()]).real, pulses)
    voices = eight_speakers(tmp_path / "vowels", vowel)
    made = simulated(voices, tmp_path / "made", perturbation=Perturbation(formants=(0.8, 1.25)))
    factors = []
    for recording in made.subset("train"):
        for speaker, part in single_speaker_audio(recording):
            spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 160_000))
            peaks, _ = scipy.signal.find_peaks(spectrum, height=0.2 * spectrum.max(), distance=500)
            factors.append(float(speaker.partition("@1.00,")[2]))
            assert spectrum.argmax() / 10 == pytest.approx(1500 * factors[-1], abs=80)
            assert np.diff(peaks) / 10 == pytest.approx(100, abs=2)
    assert 0.8 <= min(factors) < 0.95 < 1.05 < max(factors) <= 1.25
    assert "its 8 speakers, formants at 0.8 to 1.25 times theirs" in made.info.source


def test_conversations_of_one_voice(utterances: Path, tmp_path: Path) -> None:
    perturbation = Perturbation(speed=(0.8, 1.25), formants=(0.9, 1.1), same_speaker_share=1.0)
    for recording in simulated(utterances, tmp_path / "made", perturbation=perturbation).subset("train"):
        names = sorted({turn.speaker for turn in recording.turns})
        assert len({name.partition("@")[0] for name in names}) == 1 < len(names)
        speeds = sorted(float(name.partition("@")[2].partition(",")[0]) for name in names)
        assert all(faster / slower > 1.05 for slower, faster in pairwise(speeds))
    with pytest.raises(
        UserError, match="conversations of one voice need a perturbation: give a range for speed or formants"
    ):
        simulated(utterances, tmp_path / "none", perturbation=Perturbation(same_speaker_share=0.5))
    with pytest.raises(
        UserError, match="speakers of one voice have equal factors: widen the ranges of the perturbation"
    ):
        simulated(utterances, tmp_path / "alike", perturbation=Perturbation(speed=(1.0, 1.001), same_speaker_share=1.0))


def test_turn_db_changes_level_and_spectrum_of_each_turn(utterances: Path, tmp_path: Path) -> None:
    """Each turn is up to 6 dB louder or quieter, and each frequency up to another 3 dB."""
    plain = simulated(utterances, tmp_path / "plain").subset("train")[0]
    varied = simulated(utterances, tmp_path / "varied", Effects(turn_db=6.0)).subset("train")[0]
    before, after = (soundfile.read(str(recording.audio))[0] for recording in (plain, varied))
    gains_db = []
    for turn in single_speaker_stretches(plain.turns):
        part = slice(round(turn.start_s * 16_000), round(turn.end_s * 16_000))
        bands = [np.abs(np.fft.rfft(audio[part], 16_000))[400:8000].reshape(-1, 200) for audio in (before, after)]
        gains_db.append(20 * np.log10(np.linalg.norm(bands[1], axis=1) / np.linalg.norm(bands[0], axis=1)))
    levels = [gains.mean() for gains in gains_db]
    assert 2 < max(levels) - min(levels) < 18
    assert all(1 < gains.max() - gains.min() < 6.5 for gains in gains_db)


def test_synthetic_noise_has_bursts() -> None:
    """At least five of ten noises peak above six times their deviation (steady noise: about five); all are finite."""
    noises = [synthetic_noise(160_000, np.random.default_rng(seed)) for seed in range(10)]
    crests = [np.abs(noise).max() / np.std(noise) for noise in noises]
    assert sum(crest > 6 for crest in crests) >= 5
    assert all(np.isfinite(noise).all() and len(noise) == 160_000 for noise in noises)


def test_level_db_and_gain_db(utterances: Path, tmp_path: Path) -> None:
    plain = simulated(utterances, tmp_path / "plain").subset("train")[0]
    levelled = simulated(utterances, tmp_path / "levelled", Effects(level_db=6.0)).subset("train")[0]
    before, after = (soundfile.read(str(recording.audio))[0] for recording in (plain, levelled))
    gains: dict[str, list[float]] = {}
    for turn in single_speaker_stretches(plain.turns):
        part = slice(round(turn.start_s * 16_000), round(turn.end_s * 16_000))
        gains.setdefault(turn.speaker, []).append(20 * np.log10(np.std(after[part]) / np.std(before[part])))
    assert len(gains) > 1
    assert all(max(values) - min(values) < 0.1 for values in gains.values())  # one level per speaker
    means = [np.mean(values) for values in gains.values()]
    assert 0.5 < max(means) - min(means) <= 12
    quiet = simulated(utterances, tmp_path / "quiet", Effects(gain_db=(-20.0, -20.0))).subset("train")[0]
    softly = soundfile.read(str(quiet.audio))[0]
    assert 20 * np.log10(np.std(softly) / np.std(before)) == pytest.approx(-20.0, abs=0.1)


def test_fitted_to_one_subset(ami_mini: Dataset) -> None:
    recordings = ami_mini.subset("train")
    assert fit_turn_taking(ami_mini, ("train",)) == measure_turn_taking(
        (recording.turns, recording.duration_s) for recording in recordings
    )
    assert len(fit_turn_taking(ami_mini, ("train",)).speakers) == 10 < len(fit_turn_taking(ami_mini).speakers)


def simulated_like(real: Dataset, utterances: Path, work: Path) -> Corpus:
    pool = {"train": speech_segments(utterances)[None]}
    return simulations.simulate(
        pool,  # type: ignore[arg-type]
        fit_turn_taking(real, ("train",)),
        work,
        recordings={"train": 2},
        duration_s=12,
        source="utterances",
    )


def assert_copied(real: Dataset, made: Dataset, *subsets: Subset) -> None:
    copies = {copy.uri: copy for subset in subsets for copy in made.subset(subset)}
    for original in (recording for subset in subsets for recording in real.subset(subset)):
        copy = copies[original.uri]
        assert (original.subset, original.turns, original.regions) == (copy.subset, copy.turns, copy.regions)
        assert original.audio.read_bytes() == copy.audio.read_bytes()


def test_dev_and_test_of_a_real_dataset(utterances: Path, ami_mini: Dataset, tmp_path: Path) -> None:
    made = simulated_like(ami_mini, utterances, tmp_path / "w")
    dataset = convert(simulations.add_to_dataset(ami_mini, made, train=False), tmp_path / "made")
    assert [recording.uri for recording in dataset.subset("train")] == ["train_00000", "train_00001"]
    assert_copied(ami_mini, dataset, "dev", "test")
    assert len(dataset.subset("dev")) == len(ami_mini.subset("dev"))
    assert dataset.info.corpus == "AMI"  # scores are measured on its dev and test


def test_added_twice_to_a_dataset(utterances: Path, ami_mini: Dataset, tmp_path: Path) -> None:
    """Conversations whose names are taken are renamed; none is lost."""
    dataset = ami_mini
    for name in ("once", "twice"):
        made = simulated_like(ami_mini, utterances, tmp_path / name / "w")
        once, dataset = (
            dataset,
            convert(simulations.add_to_dataset(dataset, made, train=True), tmp_path / name / "made"),
        )
        assert_copied(once, dataset, "train", "dev", "test")
        assert len(dataset.subset("train")) == len(once.subset("train")) + 2
    assert {"train_00000", "more_train_00000"} < {recording.uri for recording in dataset.subset("train")}


def test_single_speaker_stretches_by_hand() -> None:
    """a 0-3, b 2-4, and a again 3.9-4.1: a speaks alone 0-2, b 3-3.9; 4-4.1 is too short."""
    turns = [Turn(0, 3, "a"), Turn(2, 4, "b"), Turn(3.9, 4.1, "a")]
    assert single_speaker_stretches(turns) == [Turn(0, 2, "a"), Turn(3, 3.9, "b")]


def test_errors(utterances: Path, tmp_path: Path, ami_mini: Dataset) -> None:
    with pytest.raises(UserError, match="no speech found"):
        speech_segments(tmp_path)
    with pytest.raises(UserError, match="5 speakers: too few for 3 subsets"):
        split_speakers(dict(list(speech_segments(utterances)[None].items())[:5]), (1, 1, 1), 0)
    pool = {"train": speech_segments(ami_mini)["train"], "dev": {}}
    with pytest.raises(UserError, match="conversations in dev need at least two speakers, but it has 0"):
        simulations.simulate(pool, fit_turn_taking(ami_mini), tmp_path / "w", recordings={"dev": 1}, duration_s=5)  # type: ignore[arg-type]
    trio = TurnTaking((Island((Step(1, 0, 0), Step(1, -1, 1), Step(1, -1, 2)), resumes=False),), (2, 3))
    corpus = simulations.simulate(pool, trio, tmp_path / "w", recordings={"train": 1}, duration_s=2)  # type: ignore[arg-type]
    assert all(len({turn.speaker for turn in one.turns}) == 3 for one in corpus.recordings)
    crowd = TurnTaking((Island((Step(1, 0, 5),), resumes=False),), (6,))
    with pytest.raises(UserError, match="has no island of 2 speakers or fewer"):
        IslandSampler(crowd, 2, np.random.default_rng(0))

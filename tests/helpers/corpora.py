"""Small corpora with the same content in every supported format."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from diarbench.datasets.io.rttm import Turn, rttm_text

RATE = 16_000
TURNS = {
    "meeting_1": [Turn(0.0, 1.25, "가영"), Turn(1.0, 2.0, "bob"), Turn(2.0, 2.5, "bob")],
    "회의-2": [Turn(0.5, 1.0, "bob"), Turn(0.5, 1.0, "carol"), Turn(1.5, 3.0, "가영")],
}
DURATION_S = 3.0


def noise(duration_s: float = DURATION_S, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Uniform noise below a quarter of full scale, of shape (frames, channels); resampling does not clip it."""
    shape = (round(duration_s * rate), channels)
    return np.random.default_rng(seed).uniform(-0.25, 0.25, shape).astype(np.float32)


def write_wav(path: Path, duration_s: float = DURATION_S, rate: int = RATE, channels: int = 1, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), noise(duration_s, rate, channels, seed), rate)
    return path


def _audio(folder: Path, suffix: str = "") -> dict[str, Path]:
    return {uri: write_wav(folder / f"{uri}{suffix}.wav", seed=k) for k, uri in enumerate(TURNS)}


def rttm_each(root: Path) -> Path:
    _audio(root / "audio")
    (root / "rttm").mkdir()
    for uri, turns in TURNS.items():
        (root / "rttm" / f"{uri}.rttm").write_text(rttm_text(uri, turns), encoding="utf-8")
    return root


def rttm_for_all(root: Path) -> Path:
    _audio(root)
    text = ";; made by hand\n" + "".join(rttm_text(uri, turns) for uri, turns in TURNS.items())
    (root / "all.rttm").write_text(text, encoding="utf-8")
    (root / "all.uem").write_text("".join(f"{uri} 1 0.0 3.0\n" for uri in TURNS), encoding="utf-8")
    return root


def guide(root: Path) -> Path:
    _audio(root / "train" / "wav")
    for kind in ("rttm", "uem"):
        (root / "train" / kind).mkdir()
    for uri, turns in TURNS.items():
        (root / "train" / "rttm" / f"{uri}.rttm").write_text(rttm_text(uri, turns), encoding="utf-8")
        (root / "train" / "uem" / f"{uri}.uem").write_text(f"{uri} NA 0.000 3.000\n", encoding="utf-8")
    (root / "train.txt").write_text("\n".join(TURNS) + "\n\n", encoding="utf-8")
    return root


def database_yml(root: Path) -> Path:
    guide(root)
    path = root / "database.yml"
    path.write_text(
        "Databases:\n  Made: train/wav/{uri}.wav\n"
        "Protocols:\n  Made:\n    SpeakerDiarization:\n      Up:\n        train:\n"
        "          uri: train.txt\n          annotation: train/rttm/{uri}.rttm\n",
        encoding="utf-8",
    )
    return path


def nemo(root: Path) -> Path:
    rttm_each(root)
    rows = []
    for uri in TURNS:
        for offset in (0.0, 1.5):
            row = {"audio_filepath": f"audio/{uri}.wav", "rttm_filepath": f"rttm/{uri}.rttm"}
            rows.append({**row, "offset": offset, "duration": 1.5, "label": "infer", "text": "-"})
    path = root / "manifest.json"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def kaldi(root: Path) -> Path:
    audio = _audio(root / "audio")
    said = [(f"{t.speaker}-{uri}-{k}", uri, t) for uri, turns in TURNS.items() for k, t in enumerate(turns)]
    (root / "wav.scp").write_text("".join(f"{uri} {path}\n" for uri, path in audio.items()), encoding="utf-8")
    segments = "".join(f"{name} {uri} {t.start_s} {t.end_s if t.end_s < 3 else -1}\n" for name, uri, t in said)
    (root / "segments").write_text(segments, encoding="utf-8")
    (root / "utt2spk").write_text("".join(f"{name} {t.speaker}\n" for name, _, t in said), encoding="utf-8")
    (root / "reco2dur").write_text("".join(f"{uri} 99\n" for uri in TURNS), encoding="utf-8")
    return root


def textgrid_text(turns: list[Turn], tier: str = "{}") -> str:
    """A TextGrid with one tier per speaker; ``tier`` is the pattern of their names."""
    tiers = []
    for speaker in sorted({t.speaker for t in turns}):
        own = [t for t in turns if t.speaker == speaker]
        intervals = "".join(
            f"        intervals [{k}]:\n            xmin = {t.start_s}\n            xmax = {t.end_s}\n"
            f'            text = "said"\n'
            for k, t in enumerate(own, start=1)
        )
        tiers.append(
            f'        class = "IntervalTier"\n        name = "{tier.format(speaker)}"\n        xmin = 0\n'
            f"        xmax = {DURATION_S}\n        intervals: size = {len(own)}\n{intervals}"
        )
    items = "".join(f"    item [{k}]:\n{tier}" for k, tier in enumerate(tiers, start=1))
    return (
        f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {DURATION_S}\n'
        f"tiers? <exists>\nsize = {len(tiers)}\nitem []:\n{items}"
    )


def textgrid(root: Path) -> Path:
    _audio(root / "audio_dir", suffix="_MS001")
    (root / "textgrid_dir").mkdir()
    for uri, turns in TURNS.items():
        (root / "textgrid_dir" / f"{uri}.TextGrid").write_text(textgrid_text(turns), encoding="utf-8")
    return root


def nikl(root: Path) -> Path:
    for seed, (uri, turns) in enumerate(TURNS.items()):
        whole = noise(seed=seed)
        utterances = []
        for k, t in enumerate(turns, start=1):
            name = f"{uri}.1.1.{k}"
            piece = whole[round(t.start_s * RATE) : round(t.end_s * RATE)]
            (root / uri).mkdir(parents=True, exist_ok=True)
            soundfile.write(str(root / uri / f"{name}.wav"), piece, RATE)
            utterances.append({"id": name, "speaker_id": t.speaker, "start": t.start_s, "end": t.end_s, "form": "말"})
        content = {"id": uri, "document": [{"id": f"{uri}.1", "utterance": utterances}]}
        (root / f"{uri}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return root


def aihub(root: Path) -> Path:
    for seed, (uri, turns) in enumerate(TURNS.items()):
        write_wav(root / "Training" / f"{uri}.wav", rate=48_000, channels=2, seed=seed)
        people = sorted({t.speaker for t in turns})
        said = [
            {
                "SpeakerNo": f"Speaker{people.index(t.speaker) + 1}",
                "StartTime": f"{t.start_s:,.2f}",
                "EndTime": f"{t.end_s:,.2f}",
            }
            for t in turns
        ]
        content = {"Conversation": said, **{f"Speaker{k}": {"ID": who} for k, who in enumerate(people, start=1)}}
        (root / "Training" / f"{uri}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return root


def parquet(root: Path) -> Path:
    import pyarrow
    from pyarrow import parquet as writer

    rows = []
    for seed, (uri, turns) in enumerate(TURNS.items()):
        buffer = io.BytesIO()
        soundfile.write(buffer, noise(seed=seed), RATE, format="FLAC")
        rows.append(
            {
                "audio": {"bytes": buffer.getvalue(), "path": f"{uri}.flac"},
                "timestamps_start": [t.start_s for t in turns],
                "timestamps_end": [t.end_s for t in turns],
                "speakers": [t.speaker for t in turns],
            }
        )
    path = root / "train-00000-of-00001.parquet"
    root.mkdir(parents=True, exist_ok=True)
    writer.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def lhotse(root: Path) -> Path:
    from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

    audio = _audio(root / "audio")
    recordings = RecordingSet.from_recordings(Recording.from_file(path) for path in audio.values())
    supervisions = SupervisionSet.from_segments(
        SupervisionSegment(f"{uri}-{k}", uri, t.start_s, round(t.end_s - t.start_s, 6), speaker=t.speaker)
        for uri, turns in TURNS.items()
        for k, t in enumerate(turns)
    )
    recordings.to_file(root / "made_recordings_train.jsonl.gz")
    supervisions.to_file(root / "made_supervisions_train.jsonl.gz")
    return root


def eaf_text(turns: list[Turn], tiers: str = "") -> str:
    """An ELAN file with one tier per speaker, and ``tiers`` after them."""
    slots = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="t{k}{edge}" TIME_VALUE="{round(1000 * at_s)}"/>'
        for k, turn in enumerate(turns)
        for edge, at_s in (("a", turn.start_s), ("b", turn.end_s))
    )
    own = "".join(
        f'<TIER TIER_ID="tier of {speaker}" PARTICIPANT="{speaker}">'
        + "".join(
            f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{k}" TIME_SLOT_REF1="t{k}a" TIME_SLOT_REF2="t{k}b">'
            "<ANNOTATION_VALUE>said</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
            for k, turn in enumerate(turns)
            if turn.speaker == speaker
        )
        + "</TIER>"
        for speaker in sorted({turn.speaker for turn in turns})
    )
    return f"<ANNOTATION_DOCUMENT><TIME_ORDER>{slots}</TIME_ORDER>{own}{tiers}</ANNOTATION_DOCUMENT>"


def elan(root: Path) -> Path:
    _audio(root)
    for uri, turns in TURNS.items():
        (root / f"{uri}.eaf").write_text(eaf_text(turns), encoding="utf-8")
    return root


def csv_table(root: Path) -> Path:
    _audio(root)
    rows = (f"{uri}.wav,{t.start_s},{t.end_s},{t.speaker}\n" for uri, turns in TURNS.items() for t in turns)
    (root / "turns.csv").write_text("file,start,end,speaker\n" + "".join(rows), encoding="utf-8")
    return root


def subtitles(root: Path) -> Path:
    _audio(root)
    for uri, turns in TURNS.items():
        cues = (
            f"{k}\n00:00:{t.start_s:06.3f} --> 00:00:{t.end_s:06.3f}\n{t.speaker}: yes\n" for k, t in enumerate(turns)
        )
        (root / f"{uri}.srt").write_text("\n".join(cues).replace(".", ","), encoding="utf-8")
    return root


def lhotse_cuts(root: Path) -> Path:
    """Two cuts of each recording; a turn in both of them counts once."""
    from lhotse import CutSet, load_manifest

    lhotse(root)
    recordings = load_manifest(root / "made_recordings_train.jsonl.gz")
    supervisions = load_manifest(root / "made_supervisions_train.jsonl.gz")
    cuts = CutSet.from_manifests(recordings, supervisions)
    halves = [cut.truncate(offset=at_s, duration=1.5) for cut in cuts for at_s in (0.0, 1.5)]
    for name in ("made_recordings_train.jsonl.gz", "made_supervisions_train.jsonl.gz"):
        (root / name).unlink()
    CutSet.from_cuts(halves).to_file(root / "cuts_train.jsonl.gz")
    return root


MAKERS: dict[str, list[Callable[[Path], Path]]] = {
    "layout": [guide],
    "pyannote": [database_yml],
    "lhotse": [lhotse, lhotse_cuts],
    "kaldi": [kaldi],
    "nemo": [nemo],
    "huggingface": [parquet],
    "nikl": [nikl],
    "aihub": [aihub],
    "rttm": [rttm_each, rttm_for_all],
    "textgrid": [textgrid],
    "elan": [elan],
    "turns": [csv_table, subtitles],
}

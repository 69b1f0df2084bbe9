"""A comparison on disk with its source files: RTTM, UEM and audio with known errors."""

from __future__ import annotations

import hashlib
import struct
import wave
from pathlib import Path
from typing import Any

from report_records import SENKO, make_comparison, make_rows, make_run

from diarbench.datasets.dataset import DatasetInfo
from diarbench.datasets.io.records import write_record
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.reports.html.error_timeline import find_errors, map_speakers, moments
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import Run

Speech = list[tuple[float, float, str]]


def write_wav(path: Path, seconds: float) -> None:
    """A quiet 16 kHz ramp."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", n % 200) for n in range(int(16_000 * seconds))))


def write_dataset_json(root: Path, fingerprint: str = "f" * 64) -> None:
    """The record of a dataset, without which the page embeds no audio from a folder."""
    info = DatasetInfo(
        name="mini", corpus="AMI", source="", licence="", split_rule="", fingerprint=fingerprint, subsets={}
    )
    write_record(root / "dataset.json", info)


def rttm(uri: str, speech: Speech) -> str:
    return "".join(
        f"SPEAKER {uri} 1 {start:.6f} {end - start:.6f} <NA> <NA> {who} <NA> <NA>\n" for start, end, who in speech
    )


class Folder:
    """Builds a comparison's folder; scores are computed from the turns."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source_hashes: dict[str, str] = {}
        self.rows: list[Any] = []

    def write(self, relative: str, text: str) -> None:
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.source_hashes[relative] = hashlib.sha256(text.encode()).hexdigest()

    def reference(self, dataset: str, recordings: dict[str, tuple[float, Speech]], subset: str = "test") -> None:
        for uri, (seconds, speech) in recordings.items():
            self.write(f"reference/{dataset}/{subset}/{uri}.rttm", rttm(uri, speech))
            self.write(f"reference/{dataset}/{subset}/{uri}.uem", f"{uri} 1 0.000000 {seconds:.6f}\n")

    def hypothesis(
        self,
        run: Run,
        stage: str,
        folder: str,
        recordings: dict[str, tuple[float, Speech]],
        output: dict[str, Speech],
        subset: str = "test",
    ) -> None:
        parts = []
        for uri, speech in output.items():
            self.write(f"{run.name}/{folder}/{subset}/{uri}.rttm", rttm(uri, speech))
            seconds, truth = recordings[uri]
            cut = moments([Turn(*t) for t in truth], [Turn(*t) for t in speech], [Region(0.0, seconds)])
            errors = find_errors(cut, map_speakers(cut))
            total = sum((m.end_s - m.start_s) * len(m.reference) for m in cut)
            kinds = ("miss", "false_alarm", "confusion")
            parts.append((uri, total, *(sum(e.seconds for e in errors if e.kind == kind) for kind in kinds)))
        self.rows += make_rows(run, stage, *parts, subset=subset)


def small(root: Path) -> Comparison:
    """Two recordings, 12 s and 20 s; the worst error is nemo's: it misses ``two`` from 10 s to 18 s."""
    data = root / "data"
    recordings = {
        "one": (12.0, [(0.0, 4.0, "Ann"), (3.0, 6.0, "Bob"), (8.0, 11.0, "Ann")]),
        "two": (20.0, [(1.0, 9.0, "Cyd"), (10.0, 18.0, "Dan")]),
    }
    for uri, (seconds, _) in recordings.items():
        write_wav(data / "test" / "wav" / f"{uri}.wav", seconds)
    write_dataset_json(data)
    folder = Folder(root)
    folder.reference("mini", recordings)
    pyannote = make_run("pyannote", weights=SENKO, dataset_root=str(data))
    nemo = make_run("nemo", dataset_root=str(data))
    before = {"one": [(0.0, 6.0, "s0"), (9.0, 12.0, "s1")], "two": [(1.0, 15.0, "s0")]}
    after = {
        "one": [(0.0, 5.0, "s0"), (5.0, 7.0, "s1"), (8.0, 11.0, "s0")],
        "two": [(1.0, 9.0, "a"), (10.5, 18.0, "b")],
    }
    folder.hypothesis(pyannote, "pretrained", "rttm-pretrained", recordings, before)
    folder.hypothesis(pyannote, "finetuned", "rttm", recordings, after)
    folder.hypothesis(
        nemo, "finetuned", "rttm", recordings, {"one": [(0.0, 11.0, "speaker_0")], "two": [(1.0, 9.0, "speaker_1")]}
    )
    return make_comparison((pyannote, nemo), folder.rows, source_hashes=folder.source_hashes)

"""The findings of a dataset check, and the kinds of findings that `fix` can repair."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from diarbench.datasets.io.records import Record

if TYPE_CHECKING:
    import numpy as np

FIXABLE = frozenset(
    {
        "Unicode form",
        "blank line",
        "comment",
        "no UEM",
        "overlapping UEM regions",
        "speaker overlaps itself",
        "turn outside the audio",
        "UEM outside the audio",
        "zero length",
    }
)


class Finding(Record):
    """A problem in a dataset: level, kind, place (``file`` or ``file:line``), and a text that says what to do."""

    level: Literal["error", "warning"]
    kind: str
    where: str
    text: str
    fixable: bool


@dataclass
class AudioReport:
    """The duration, hash, levels and findings of a recording's audio."""

    uri: str
    sha256: str = ""
    """Empty if the file could not be read."""
    duration_s: float = 0.0
    rms: np.ndarray | None = None
    """The root mean square of each frame, of full scale; None where the audio cannot be read or is not at 16 kHz."""
    findings: list[Finding] = field(default_factory=list)


@dataclass
class CheckResult:
    """The findings of a check, and the audio reports that `fix` needs."""

    root: Path
    findings: list[Finding] = field(default_factory=list)
    audio: dict[str, AudioReport] = field(default_factory=dict)
    """Reports by uri."""

    @property
    def errors(self) -> int:
        return sum(finding.level == "error" for finding in self.findings)

    def error(self, kind: str, where: object, text: str) -> None:
        self.findings.append(make_finding("error", kind, where, text))

    def warn(self, kind: str, where: object, text: str) -> None:
        self.findings.append(make_finding("warning", kind, where, text))


def make_finding(level: Literal["error", "warning"], kind: str, where: object, text: str) -> Finding:
    return Finding(level=level, kind=kind, where=str(where), text=text, fixable=kind in FIXABLE)

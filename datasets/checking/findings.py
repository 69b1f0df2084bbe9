"""What a check found: findings by level and kind, and which kinds `fix` can repair."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from diarbench.datasets.io.records import Record

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
    """Something wrong: how bad, what kind, where (``file`` or ``file:line``), what it means and what to do."""

    level: Literal["error", "warning"]
    kind: str
    where: str
    text: str
    fixable: bool


@dataclass
class _Audio:
    """What a pass over a recording's samples found."""

    uri: str
    sha256: str = ""
    """Empty where it could not be read."""
    duration_s: float = 0.0
    findings: list[Finding] = field(default_factory=list)


@dataclass
class CheckResult:
    """The findings on a dataset, and what `fix` needs to know of it."""

    root: Path
    findings: list[Finding] = field(default_factory=list)
    audio: dict[str, _Audio] = field(default_factory=dict)
    """By uri."""

    @property
    def errors(self) -> int:
        return sum(finding.level == "error" for finding in self.findings)

    def error(self, kind: str, where: object, text: str) -> None:
        self.findings.append(_finding("error", kind, where, text))

    def warn(self, kind: str, where: object, text: str) -> None:
        self.findings.append(_finding("warning", kind, where, text))


def _finding(level: Literal["error", "warning"], kind: str, where: object, text: str) -> Finding:
    return Finding(level=level, kind=kind, where=str(where), text=text, fixable=kind in FIXABLE)

"""The recordings that a dataset lists, and whether their files are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.checking.findings import CheckResult, _Audio
from diarbench.datasets.conversion.converted import fingerprint
from diarbench.datasets.conversion.normalize import normalize_name
from diarbench.datasets.dataset import SUBSETS, Recording, Subset, recording_in
from diarbench.datasets.io.files import nfc, sha256_of
from diarbench.datasets.io.rttm import read_lines


def _listed(found: CheckResult, lists: list[Subset]) -> Iterator[Recording]:
    """The recordings in the lists, each name once."""
    for subset in SUBSETS:
        if subset not in lists:
            found.warn("no list", found.root / f"{subset}.txt", f"no {subset} set; a run needs train, dev and test")
    seen: dict[str, tuple[str, str]] = {}
    for subset in lists:
        path = found.root / f"{subset}.txt"
        lines = [(where, line) for where, line in read_lines(path)]
        if not lines[-1][1]:
            lines.pop()  # what follows the last line's end
        if not lines:
            found.warn("empty list", path, f"no recordings; a run needs some in {subset}")
        for where, line in lines:
            name = line.strip()
            if not name:
                found.warn("blank line", where, "some readers take it for a recording named ''")
                continue
            if name != normalize_name(name):
                _name(found, where, name)
            earlier, earlier_where = seen.setdefault(nfc(name).casefold(), (name, where))
            if earlier_where == where:
                yield recording_in(found.root, subset, name)
            elif Path(earlier_where.rpartition(":")[0]) != path:
                found.error("leakage", where, f"{name} is in {earlier_where} too; keep it in one subset")
            else:
                kind = "duplicate uri" if earlier == name else "equal stems"
                found.error(kind, where, f"{name} is {earlier} of {earlier_where} to some file systems and toolkits")


def _name(found: CheckResult, where: object, name: str) -> None:
    if nfc(name) != name:
        text = f"{name!r} is not in Unicode's composed form (NFC); rename it, and its files"
        found.warn("decomposed name", where, text)
    if any(character.isspace() or character in "/\\" for character in name):
        found.error("space in a name", where, f"{name!r}: RTTM cannot carry it; rename it, and its files")


def _complete(recordings: list[Recording]) -> bool:
    return all(path.is_file() for r in recordings for path in (r.audio, r.rttm, r.uem))


def _fingerprint(audio: dict[str, _Audio], recordings: list[Recording]) -> str:
    files = {
        r.uri: (r.subset, {"wav": audio[r.uri].sha256, "rttm": sha256_of(r.rttm), "uem": sha256_of(r.uem)})
        for r in recordings
    }
    return fingerprint(files)

"""The recordings listed in a dataset, and the fingerprint of their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.checking.findings import AudioReport, CheckResult
from diarbench.datasets.conversion.converted import fingerprint
from diarbench.datasets.conversion.normalize import normalize_name
from diarbench.datasets.dataset import SUBSETS, Recording, Subset, list_lines, recording_in
from diarbench.datasets.io.files import nfc, sha256_of
from diarbench.datasets.io.names import check_name


def listed_recordings(result: CheckResult, lists: list[Subset]) -> Iterator[Recording]:
    """Yield the recordings in the lists, each name once; problems of the lists are added to the result."""
    for subset in SUBSETS:
        if subset not in lists:
            result.warn(
                "no list", result.root / f"{subset}.txt", f"no {subset} subset; a run needs train, dev and test"
            )
    seen: dict[str, tuple[str, str]] = {}
    for subset in lists:
        path = result.root / f"{subset}.txt"
        lines = [(where, line) for where, line in list_lines(result.root, subset)]
        if not lines[-1][1]:
            lines.pop()  # the empty string after the last line break
        if not lines:
            result.warn("empty list", path, f"no recordings; a run needs at least one in {subset}")
        for where, line in lines:
            name = line.strip()
            if not name:
                result.warn("blank line", where, "some readers interpret it as a recording named ''")
                continue
            try:
                check_name(name)
            except ValueError as error:
                result.error("unsafe name", where, f"{error}; rename it and its files")
                continue
            if name != normalize_name(name):
                _check_name(result, where, name)
            earlier, earlier_where = seen.setdefault(nfc(name).casefold(), (name, where))
            if earlier_where == where:
                yield recording_in(result.root, subset, name)
            elif Path(earlier_where.rpartition(":")[0]) != path:
                result.error("leakage", where, f"{name} is also in {earlier_where}; keep it in one subset")
            elif earlier == name:
                result.error("duplicate uri", where, f"{name} is already listed in {earlier_where}")
            else:
                text = f"some file systems and toolkits cannot distinguish {name} from {earlier} in {earlier_where}"
                result.error("equal stems", where, text)


def _check_name(result: CheckResult, where: object, name: str) -> None:
    if nfc(name) != name:
        text = f"{name!r} is not in Unicode's composed form (NFC); rename it and its files"
        result.warn("decomposed name", where, text)
    if any(character.isspace() for character in name):
        result.error("space in a name", where, f"{name!r} cannot contain spaces; rename it and its files")


def all_files_exist(recordings: list[Recording]) -> bool:
    return all(path.is_file() for r in recordings for path in r.files)


def current_fingerprint(audio: dict[str, AudioReport], recordings: list[Recording]) -> str:
    """The dataset fingerprint of the files as they are now."""
    hashes = {
        r.uri: (r.subset, {"wav": audio[r.uri].sha256, "rttm": sha256_of(r.rttm), "uem": sha256_of(r.uem)})
        for r in recordings
    }
    return fingerprint(hashes)

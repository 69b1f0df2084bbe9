"""Merge datasets into one, so that one's own recordings and a public corpus are trained on together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.dataset import CORPUS_SEPARATOR, SUBSETS, Dataset, MergedDataset, Recording, corpora_of
from diarbench.datasets.folds import names_a_person
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.watch import FileState, readable
from diarbench.datasets.verification import watched


def merge(datasets: Sequence[Dataset]) -> Corpus:
    """All recordings of the datasets in their subsets, as a corpus to convert.

    Recordings are named ``DATASET_URI`` and speakers ``DATASET_NAME``, so that no two names are the same by chance;
    speakers named anew in each recording (``spk00``, ``A``) keep their names. Raises UserError if two datasets have
    the same name, or a file changed since its dataset was converted, or while they are merged; while the corpus is
    read, for two speakers who would have the same name.
    """
    names = Counter(dataset.info.name for dataset in datasets)
    for name, count in names.items():
        if count > 1:
            raise UserError(f"{count} datasets are named {name}; convert one again to a folder of another name")
    datasets = [watched(dataset) for dataset in datasets]
    states = {path: _state(path) for dataset in datasets for each in _recordings(dataset) for path in each.files}

    def check() -> None:
        if changed := [path for path, state in states.items() if _state(path) != state]:
            raise UserError(f"{changed[0]}: changed while it was merged; restore it, and run the same command again")

    infos = [dataset.info for dataset in datasets]
    rules = {info.name: info.split_rule for info in infos}
    return Corpus(
        CORPUS_SEPARATOR.join(dict.fromkeys(part for info in infos for part in corpora_of(info.corpus))),
        _all_prefixed(datasets),
        source=_by_name({info.name: info.source for info in infos}),
        licence=_by_name({info.name: info.licence for info in infos}),
        split_rule=_by_name(rules) if len(set(rules.values())) > 1 else infos[0].split_rule,
        changes=sum((Counter(info.changes) for info in infos), Counter()),
        merged=tuple(
            MergedDataset(name=i.name, corpus=i.corpus, licence=i.licence, fingerprint=i.fingerprint) for i in infos
        ),
        check=check,
    )


def _state(path: Path) -> FileState:
    """A file's state without its ctime, which moves where a link to its audio is made. Raises UserError."""
    with readable(path):
        return FileState.of(path)._replace(status_ns=0)


def _by_name(texts: dict[str, str]) -> str:
    return "; ".join(f"{name}: {text}" for name, text in texts.items())


def _recordings(dataset: Dataset) -> Iterable[Recording]:
    return (recording for subset in SUBSETS for recording in dataset.recordings.get(subset, ()))


def _all_prefixed(datasets: Sequence[Dataset]) -> Iterator[SourceRecording]:
    """Raises UserError where speakers of two datasets would have one name: a_b's c, and a's b_c."""
    owners: dict[str, str] = {}
    for dataset in datasets:
        name = dataset.info.name
        for recording in _recordings(dataset):
            prefixed = _prefixed(name, recording)
            for speaker in {turn.speaker for turn in prefixed.turns if names_a_person(turn.speaker)}:
                if (other := owners.setdefault(speaker, name)) != name:
                    text = f"a speaker of {other} and one of {name} would both be named {speaker}"
                    raise UserError(f"{text}; convert one again to a folder of another name")
            yield prefixed


def _prefixed(name: str, recording: Recording) -> SourceRecording:
    turns = [
        turn._replace(speaker=f"{name}_{turn.speaker}") if names_a_person(turn.speaker) else turn
        for turn in recording.turns
    ]
    uri = f"{name}_{recording.uri}"
    return SourceRecording(uri, (Clip(recording.audio),), turns, recording.regions, recording.subset)

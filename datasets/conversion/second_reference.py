"""A second reference of a dataset's test recordings, such as a forced-aligned one beside one by hand."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.conversion.normalize import normalize_name
from diarbench.datasets.dataset import REFERENCES, Dataset
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.names import first_names, require_name

log = logging.getLogger(__name__)

LEFT_OUT = "references left out: no test recording of this name"


def add_reference(dataset: Dataset, name: str, corpus: Corpus) -> Dataset:
    """Convert what a corpus says about a dataset's test recordings into ``DATASET/references/DATASET-NAME``.

    The result is a dataset too. Its audio is the dataset's, and so are its regions where the corpus has none.
    Raises UserError where the corpus has no reference of a test recording, or the conversion fails.
    """
    require_name(name, "choose another", "--reference: ")
    changes = corpus.changes
    paired = Corpus(
        dataset.info.corpus,
        _paired(dataset, corpus, changes),
        corpus.source,
        dataset.info.licence,
        f"the test subset of {dataset.info.name}",
        changes,
    )
    return convert(paired, dataset.root / REFERENCES / f"{dataset.info.name}-{name}")


def _paired(dataset: Dataset, corpus: Corpus, changes: Counter[str]) -> Iterator[SourceRecording]:
    """The test recordings, with the turns that the corpus has of them."""
    missing = {recording.uri: recording for recording in dataset.subset("test")}
    for source in corpus.recordings:
        uri = normalize_name(source.uri)
        recording = missing.pop(uri, None)
        if recording is None:
            log.info("%s: no test recording of %s", source.uri, dataset.root)
            changes[LEFT_OUT] += 1
            continue
        regions = recording.regions if source.regions is None else source.regions
        yield replace(
            source,
            uri=uri,
            clips=(Clip(recording.audio),),
            regions=regions,
            subset="test",
            subset_name="",
            channel=None,
        )
    if missing:
        names = first_names(list(missing))
        raise UserError(f"{corpus.source}: no reference of {names}, in the test subset of {dataset.root}; add it")

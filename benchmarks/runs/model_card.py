"""The model card of an exported run: README.md in Hugging Face's format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from diarbench.benchmarks.scoring import significance
from diarbench.benchmarks.scoring.der import CONDITIONS
from diarbench.datasets.io.files import digest
from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import minutes, percent, plural, span
from diarbench.reports.markdown import escape
from diarbench.reports.results.run import Run, Weights
from diarbench.reports.results.scores import Row, rates_of
from diarbench.reports.summary.comparability import STAGES

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

LIBRARIES = {"pyannote": "pyannote-audio", "nemo": "nemo"}
"""Hugging Face's names of the toolkits."""

LICENCES = frozenset({"mit", "apache-2.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0", "cc-by-nc-sa-4.0"})
"""Licences that Hugging Face has a name for; another one is named in the text."""

PACKAGED = {"segmentation-3.0": "pyannote/segmentation-3.0"}
"""Repositories of weights that come in a package, by the first word of their origin."""

TASK = "speaker-diarization"


def model_card(run: Run, rows: Sequence[Row], code: str, repository: str | None) -> str:
    """Metadata and text; ``rows`` are the run's scores, ``code`` the lines of Python that load it.

    With a ``repository``, where it is uploaded, the text says how to download it.
    """
    from huggingface_hub import ModelCard, ModelCardData

    tested = [row for row in rows if row.subset == "test" and row.dataset == run.dataset and row.stage in STAGES]
    licence = run.weights.licence.lower() if run.weights and run.weights.licence else None
    is_known = licence in LICENCES
    data = ModelCardData(
        license=licence if is_known else "other" if licence else None,
        license_name=licence if licence and not is_known else None,
        library_name=LIBRARIES.get(run.backend),
        tags=[TASK, "diarbench"],
        datasets=[run.dataset] if _is_repository(run.dataset) else None,
        base_model=_base_model(run.weights),
        model_name=visible(run.name) if tested else None,
        eval_results=[_eval_result(run, row) for row in tested if row.stage == run.final_stage and row.der is not None]
        or None,
    )
    text = "\n\n".join([f"# {escape(run.name)}", *_text(run, tested), *_use(code, repository)])
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}\n"))


def _is_repository(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _base_model(weights: Weights | None) -> str | None:
    """The repository on Hugging Face that training started from; None where there is none."""
    if weights is None or not weights.pretrained:
        return None
    found = re.match(r"hub:([^@]+)", weights.origin)
    name = found[1] if found else PACKAGED.get(weights.origin.partition(" ")[0])
    return name if name and _is_repository(name) else None


def _eval_result(run: Run, row: Row) -> EvalResult:
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type=TASK,
        dataset_type=visible(run.dataset),
        dataset_name=f"{visible(run.dataset)}, {plural(len(row.files), 'recording')}",
        dataset_split=row.subset,
        metric_type="der",
        metric_value=round(100 * (row.der or 0.0), 1),
        metric_name=f"diarization error rate in %, {_protocol(row)}, 95 % interval {_interval(row)}",
    )


def _protocol(row: Row) -> str:
    """The condition and its convention in words, where it is one of this version's."""
    known = CONDITIONS.get(row.condition)
    return str(known) if known and digest(known) == row.protocol else visible(row.condition)


def _interval(row: Row) -> str:
    return span(row.interval or significance.interval(row.files))


def _text(run: Run, tested: Sequence[Row]) -> Iterator[str]:
    how = f"{run.backend} on {run.dataset} with the recipe {run.recipe}, seed {run.seed}"
    if run.best_epoch == 0:
        yield escape(f"Not fine-tuned: diarbench kept the network before training ({how}).")
    else:
        amount = f", {minutes(run.train_s)} of annotated audio" if run.train_s else ""
        yield escape(f"Fine-tuned by diarbench: {how}{amount}.")
    if run.weights:
        yield from map(escape, _origins(run.weights))
    if run.pipeline:
        # A pipeline without files of its own is put together from the parts that are listed above.
        licence = run.pipeline.licence or ("unknown" if run.pipeline.files else "those of its parts")
        yield escape(f"Pipeline: {run.pipeline.name} from {run.pipeline.source}; licence: {licence}.")
    yield "## Evaluation"
    if not tested:
        yield "Not scored on a test set."
        return
    recordings = plural(len(tested[0].files), "recording")
    yield escape(
        f"Diarization error rate on the test set of {run.dataset} ({recordings}, {minutes(tested[0].total)} of speech) "
        "as % of the reference speech, with its 95 % interval."
    )
    yield "\n".join(_table(tested))
    if run.weights and run.corpus in run.weights.training_corpora:
        yield escape(f"The initial weights were trained on {run.corpus}: these figures are not for unseen recordings.")


def _origins(weights: Weights) -> Iterator[str]:
    yield f"Initial weights: {weights.origin}."
    if weights.pretrained:
        yield f"Licence of the initial weights: {weights.licence or 'unknown'}."
    yield from (f"Also contains: {part}." for part in weights.fixed_parts)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """DER and its parts by stage and protocol, in Markdown."""
    yield "| Stage | Protocol | DER | 95 % interval | Miss | False alarm | Confusion |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        der, *parts = map(percent, rates_of(row))
        yield f"| {' | '.join([escape(row.stage), _protocol(row), der, _interval(row), *parts])} |"


def _use(code: str, repository: str | None) -> Iterator[str]:
    yield "## Use"
    if repository:
        yield f"```sh\nhf download {repository} --local-dir {repository.rpartition('/')[2]}\n```"
    yield f"```python\n{code}```"

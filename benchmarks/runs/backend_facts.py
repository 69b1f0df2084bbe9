"""What the planning of runs asks of a backend, as records, so that another interpreter can be asked too.

``python -m diarbench.benchmarks.runs.backend_facts`` reads a Question from standard input and writes a Reply.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from diarbench.backends import registry
from diarbench.backends.base import AcceptsPipeline, AcceptsPlda, Backend, ChecksBounds, SpeakerBounds
from diarbench.backends.packages import importable
from diarbench.backends.recipes.space import SearchesRecipes, default_space, space_to_record
from diarbench.benchmarks.runs.environment import versions
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import Record
from diarbench.reports.results.job import JOB_FORMAT
from diarbench.reports.results.run import Pipeline, Weights


class Question(Record):
    """A backend and the options of a run that concern it."""

    backend: str
    init: str = "auto"
    pipeline: str | None = None
    plda: str | None = None
    download: bool = False
    """Whether a pipeline on the hub may be downloaded."""
    searches_recipes: bool = False
    min_speakers: int = 1
    max_speakers: int | None = None


class BackendFacts(Record):
    """What is known of a backend before its runs start."""

    missing: str | None = None
    """The command that installs its missing packages."""
    weights: Weights | None = None
    """The initial weights; None where they are not available."""
    problem: str | None = None
    """Why they are not."""
    max_speakers: int | None = None
    accepts_plda: bool = False
    plda_sha256: str | None = None
    pipeline: Pipeline | None = None
    """The pipeline in use, where the backend has several."""
    recipe_space: dict[str, Any] | None = None
    """What a search of recipes varies; None unless it was asked for."""
    can_train: bool = True
    """Whether the packages of the training loop are installed."""
    versions: dict[str, str]
    """The versions that can change the results, Python's included."""


class Reply(Record):
    """The facts, or the error of what the user can fix; and which jobs this version of diarbench works."""

    job_format: int = JOB_FORMAT
    facts: BackendFacts | None = None
    error: str | None = None


def facts_of(question: Question) -> BackendFacts:
    """Ask a backend that is installed in this environment. Imports no toolkit.

    Raises UserError for an unknown backend, for a pipeline or PLDA that it cannot use, and for bounds on the number of
    speakers that it cannot keep.
    """
    registry.check_name(question.backend)
    known = {"python": ".".join(map(str, sys.version_info[:3])), **versions()}
    if missing := registry.missing(question.backend):
        return BackendFacts(missing=missing, versions=known)
    backend = _with_parts(registry.load(question.backend), question)
    if isinstance(backend, ChecksBounds):
        try:
            backend.check_bounds(SpeakerBounds(question.min_speakers, question.max_speakers))
        except UserError as error:
            raise UserError(f"{question.backend}: {error}") from error
    weights, problem, max_speakers = None, None, None
    try:
        initial = backend.resolve_init(question.init)
        weights, max_speakers = initial.weights, initial.max_speakers
    except UserError as error:
        problem = str(error)
    space = None
    if question.searches_recipes:
        space = space_to_record(backend.recipe_space() if isinstance(backend, SearchesRecipes) else default_space())
    return BackendFacts(
        weights=weights,
        problem=problem,
        max_speakers=max_speakers,
        accepts_plda=isinstance(backend, AcceptsPlda),
        plda_sha256=backend.plda_sha256 if isinstance(backend, AcceptsPlda) else None,
        pipeline=backend.pipeline if isinstance(backend, AcceptsPipeline) else None,
        recipe_space=space,
        can_train=importable("torch") and importable("lightning"),
        versions=known,
    )


def _with_parts(backend: Backend, question: Question) -> Backend:
    """The backend with the pipeline or PLDA of the question, where it takes them."""
    if question.pipeline and isinstance(backend, AcceptsPipeline):
        backend = backend.with_pipeline(question.pipeline, download=question.download)
    if question.plda and isinstance(backend, AcceptsPlda):
        backend = backend.with_plda(Path(question.plda))
    return backend


def main() -> None:
    """Answer one question. What packages print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        reply = Reply(facts=facts_of(Question.model_validate_json(sys.stdin.read())))
    except UserError as error:
        reply = Reply(error=str(error))
    answers.write(reply.model_dump_json())
    answers.close()


if __name__ == "__main__":
    main()

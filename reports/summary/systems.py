"""Labels of systems, and which of them compete."""

from __future__ import annotations

from collections.abc import Iterable

from diarbench.reports.results.run import Run


def system_label(run: Run, dataset: str, stage: str, scored: Iterable[Run]) -> str:
    """A label that distinguishes a run at a stage from the others ``scored`` on a dataset, whatever the seed."""
    return " ".join([*_parts(run, scored), stage, *_origin(run, dataset)])


def system_name(run: Run, dataset: str, scored: Iterable[Run]) -> str:
    """The label without the stage."""
    return " ".join([*_parts(run, scored), *_origin(run, dataset)])


def _parts(run: Run, scored: Iterable[Run]) -> list[str]:
    others = list(scored)
    parts = [run.backend]
    if run.pipeline and len(pipelines_of(run.backend, others)) > 1:
        parts.append(run.pipeline.name)
    if len({other.recipe for other in others}) > 1:
        parts.append(run.recipe)
    if len({other.train_fraction for other in others}) > 1:
        parts.append(f"{100 * run.train_fraction:g}%")
    return parts


def pipelines_of(backend: str, runs: Iterable[Run]) -> list[str]:
    """The names of a backend's pipelines, each once; none for a backend that has only one."""
    return list(dict.fromkeys(run.pipeline.name for run in runs if run.backend == backend and run.pipeline))


def shared_pipelines(runs: Iterable[Run]) -> list[str]:
    """``pyannote: community-1`` for each backend with pipelines; none where a label or a column tells them apart."""
    scored = list(runs)
    by_backend = {run.backend: pipelines_of(run.backend, scored) for run in scored}
    if any(len(names) > 1 for names in by_backend.values()):
        return []
    return [f"{backend}: {name}" for backend, names in by_backend.items() for name in names]


def _origin(run: Run, dataset: str) -> list[str]:
    return [f"on {run.dataset}"] if run.dataset != dataset else []


def competing(dataset: str, scored: Iterable[Run]) -> list[Run]:
    """The runs that the verdict compares: trained on the dataset, if any was, and on the largest fraction of it."""
    runs = list(scored)
    home = [run for run in runs if run.dataset == dataset] or runs
    most = max((run.train_fraction for run in home), default=1.0)
    return [run for run in home if run.train_fraction == most]

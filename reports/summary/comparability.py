"""Which rows are not directly comparable, and why: the footnotes of every table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any

from diarbench.datasets.dataset import corpora_of
from diarbench.datasets.io.names import plural, visible
from diarbench.reports.formatting import bounds, minutes
from diarbench.reports.results.run import Run
from diarbench.reports.results.scores import Row

STAGES = ("pretrained", "finetuned", "tuned")
"""The stages of a run, in order; any other stage is an oracle, a fusion or a reference system."""


VERSIONS_NAMED = 4
"""Versions that a mark names; more are counted."""


@dataclass
class Footnotes:
    """Reasons by mark; marks are letters in order of first use."""

    reasons: dict[str, str] = field(default_factory=dict)

    def mark(self, reason: str) -> str:
        """The letter of a reason; equal reasons share one."""
        for letter, known in self.reasons.items():
            if known == reason:
                return letter
        number = len(self.reasons)
        letter = ascii_lowercase[number % 26] * (1 + number // 26)
        self.reasons[letter] = reason
        return letter


def comparability_footnotes(
    dataset: str, runs: Sequence[Run], footnotes: Footnotes
) -> dict[str, list[tuple[str, bool]]]:
    """The marks of each run of a dataset that is not directly comparable with the others, by run name.

    Each mark comes with whether it applies to trained stages only. Compared are initial weights, parts that are not
    fine-tuned, corpora seen in pretraining, speakers of test heard in training, hours trained, tuning trials, recipe,
    seed, data, code and machine.
    """
    marks: dict[str, list[tuple[str, bool]]] = {run.name: [] for run in runs}

    def mark(run: Run, reason: str, trained: bool = False) -> None:
        marks[run.name].append((footnotes.mark(visible(reason)), trained))

    def mark_differences(value: Callable[[Run], Any], reason: Callable[[Any], str], trained: bool = False) -> None:
        if len({value(run) for run in runs}) > 1:
            for run in runs:
                mark(run, reason(value(run)), trained)

    mark_differences(
        lambda run: bool(run.weights and run.weights.pretrained),
        lambda pretrained: (
            "started from pretrained weights; other rows started from scratch"
            if pretrained
            else "trained from scratch; other rows started from pretrained weights"
        ),
    )
    mark_differences(
        lambda run: run.weights.fixed_parts if run.weights else (),
        lambda parts: (
            f"uses pretrained parts that are not fine-tuned ({', '.join(parts)}); other rows do not use the same"
            if parts
            else "has no pretrained part outside the fine-tuned network; other rows do"
        ),
    )
    domains = {run.name: domain for run in runs if (domain := run.domain(dataset))}
    for run in runs:
        corpus = domains[run.name].corpus
        training_corpora = run.weights.training_corpora if run.weights else ()
        known = {part.casefold() for trained_on in training_corpora for part in corpora_of(trained_on)}
        if seen := [part for part in corpora_of(corpus) if part.casefold() in known]:
            mark(run, f"the pretrained weights have seen {', '.join(seen)}, the corpus of {dataset}")
        elif run.weights and run.weights.pretrained and not run.weights.training_corpora:
            mark(run, f"the training data of the pretrained weights is unknown; they may have seen {corpus}")
    for run in runs:
        if run.heard and run.dataset == dataset:
            mark(run, run.heard, True)
    for part in dict.fromkeys((run.dataset, run.train_fraction) for run in runs):  # the tables have columns for these
        alike = [run for run in runs if (run.dataset, run.train_fraction) == part and run.trained_audio_s is not None]
        hours = [run.trained_audio_s or 0.0 for run in alike]
        if hours and max(hours) > 1.01 * min(hours):
            hours_range = f"{minutes(min(hours))} to {minutes(max(hours))}"
            for run, trained_s in zip(alike, hours, strict=True):
                mark(
                    run,
                    f"saw {minutes(trained_s)} of audio over all epochs; the rows range over {hours_range}",
                    True,
                )
    mark_differences(
        lambda run: bounds(run.min_speakers, run.max_speakers),
        lambda told: (
            f"was told that there are {told}; other rows were not told the same"
            if told
            else "found the number of speakers; other rows were told"
        ),
    )
    mark_differences(
        _trials,
        lambda trials: (
            f"tuned on dev in {plural(trials, 'trial')}; other rows were tuned differently or not at all"
            if trials
            else "not tuned; other rows were tuned on dev"
        ),
        trained=True,
    )
    if len({run.backend for run in runs}) > 1:
        for run in runs:
            others = [other for other in runs if other.backend != run.backend]
            if all(other.recipe != run.recipe for other in others):
                mark(run, f"no other backend used the recipe {run.recipe}", True)
            if all(other.seed != run.seed for other in others):
                mark(run, f"no other backend used seed {run.seed}", True)
    mark_differences(
        lambda run: domains[run.name].fingerprint,
        lambda value: f"used a different version of {dataset} (fingerprint {value[:12]})",
    )
    different = _different_code(runs)
    mark_differences(
        lambda run: tuple((name, _code(run).get(name)) for name in different),
        lambda versions: f"ran with {_named(versions)}; other rows ran with others",
    )
    mark_differences(machine, lambda value: f"ran on {value or 'an unknown machine'}: times and memory not comparable")
    return marks


def _code(run: Run) -> dict[str, str | None]:
    """The commit of diarbench, and the versions of the packages that affect results."""
    return {"diarbench at": run.environment.git, **run.environment.versions} if run.environment else {}


def _different_code(runs: Sequence[Run]) -> list[str]:
    """The keys of `_code` whose values are not the same in all runs."""
    codes = [_code(run) for run in runs]
    names = dict.fromkeys(name for code in codes for name in code)
    return [name for name in names if len({code.get(name) for code in codes}) > 1]


def _named(versions: Sequence[tuple[str, str | None]]) -> str:
    """``diarbench at 1a2b3c4, torch 2.8.0 and 5 more``."""
    shown = [f"{name} {version or '(unknown)'}" for name, version in versions[:VERSIONS_NAMED]]
    more = len(versions) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def machine(run: Run) -> str | None:
    """The hardware on which a run's times and memory were measured."""
    e = run.environment
    return f"{e.device}, {e.processor}, {e.cores} cores, {e.memory_gb:.0f} GB" if e else None


def row_marks(
    row: Row,
    run: Run | None,
    marks: dict[str, list[tuple[str, bool]]],
    all_uris: set[str],
    footnotes: Footnotes,
) -> Iterator[str]:
    """The marks of one row: those of its run at this stage, and those of the row itself."""
    if run is not None:
        yield from (letter for letter, trained in marks[run.name] if not (trained and row.stage == "pretrained"))
    if run is not None and row.stage not in STAGES:
        yield footnotes.mark("not a system: the reference replaced a part of the pipeline")
    scored = {part.uri for part in row.files}
    if scored != all_uris:
        yield footnotes.mark(f"scored on {len(scored)} of the {plural(len(all_uris), 'recording')}")


def _trials(run: Run) -> int:
    return len(run.tuning.trials) if run.tuning else 0

"""The record of a comparison: ``results.json``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field, field_validator

from diarbench.datasets.io.names import Name, RelativePath
from diarbench.datasets.io.records import Record
from diarbench.reports.results.run import Run
from diarbench.reports.results.scores import Condition, Row
from diarbench.reports.results.statistics import Contrast

SCHEMA_VERSION: Literal[1] = 1


class Comparison(Record):
    """``results.json``: the source of all tables and reports."""

    schema_version: Literal[1] = SCHEMA_VERSION
    diarbench: str
    command: str
    """The command that repeats it."""
    conditions: tuple[Condition, ...]
    scorer: str
    """The scoring engine, the independent scorer it was checked against, and the largest difference."""
    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    contrasts: tuple[Contrast, ...] = ()
    groups: dict[Name, dict[RelativePath, int]] = Field(default_factory=dict)
    """By dataset and test recording, the number of its group, of those that share speakers or a session.

    Without recordings of which that is not known.
    """
    fold_runs: tuple[Run, ...] = ()
    """The runs that the cross-validations among ``runs`` pool."""
    fold_rows: tuple[Row, ...] = ()
    """Their scores on their own test sets."""
    source_hashes: dict[RelativePath, str] = Field(
        default_factory=dict, validation_alias=AliasChoices("source_hashes", "rests_on")
    )
    """SHA-256 of the files that the rows were computed from, by path relative to ``results.json``."""

    @field_validator("groups", mode="before")
    @classmethod
    def _drop_counts(cls, groups: Any) -> Any:
        """Older results have the number of groups alone."""
        return {k: v for k, v in groups.items() if not isinstance(v, int)} if isinstance(groups, dict) else groups

    @property
    def trained_runs(self) -> tuple[Run, ...]:
        """The runs that trained a network: those of the folds in place of what pools them."""
        return (*(run for run in self.runs if not run.folds), *self.fold_runs)

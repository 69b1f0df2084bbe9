"""A comparison as Markdown that GitHub renders: ``report.md``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from diarbench.reports.records import EPOCH_COLUMNS, Comparison, Run
from diarbench.reports.summary import (
    NONE,
    Cell,
    Column,
    Section,
    Summary,
    Table,
    constants,
    cost_table,
    identity_table,
    machine,
    minutes,
    number,
    over_seeds,
    score_table,
    summarize,
    verdict,
    visible,
)

COST_LEGEND = (
    "Train s is seconds of training, RTF seconds of diarizing a second of audio, "
    "memory the largest resident set of the run's process."
)


def render(comparison: Comparison) -> str:
    """The verdict, a table a condition, cost, what the marks mean, learning curves, what was run, how to repeat it."""
    summary = summarize(comparison)
    return "\n".join(_lines(summary)) + "\n"


def escape(name: object) -> str:
    """Text that stays text: whatever would be markup, a link or a cell's end is escaped."""
    escaped = re.sub(r"([\\`*_\[\]<>&|~$#])", r"\\\1", visible(name))
    return re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)", r"\\\g<0>", escaped)


def code(text: str) -> str:
    """A fenced block, whatever the text holds."""
    lines = [visible(line) for line in text.splitlines()]
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join((f"{fence}sh", *lines, fence))


def table(content: Table) -> str:
    rows = [
        [escape(column.name) for column in content.columns],
        ["---:" if column.numeric else "---" for column in content.columns],
        *([escape(cell.text) for cell in row] for row in content.rows),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _lines(summary: Summary) -> Iterator[str]:
    comparison = summary.comparison
    yield "# Comparison of speaker diarization systems"
    for dataset in summary.datasets:
        yield from ("", f"## {escape(dataset)}", "", escape(verdict(summary, dataset)))
        for number_, section in enumerate(summary.of(dataset)):
            yield from _section(section)
            if number_ == 0:
                yield from ("", f"### {escape(dataset)}: what it took", "")
                yield table(identity_table(section) + cost_table(section))
                yield from ("", COST_LEGEND)
        yield from _list("Not like for like", (f"({k}) {v}" for k, v in summary.footnotes_of(dataset).items()))
    yield from _list("Failed or unfinished", summary.failures)
    yield from _list("Dropped, clipped or cut", summary.notes)
    if any(run.epochs for run in comparison.runs):
        yield from ("", "## Epochs")
        for run in comparison.runs:
            yield from _epochs(run)
    yield from ("", "## What was run on what", "")
    yield table(_runs(comparison.runs))
    yield from _list("Versions", _versions(comparison.runs))
    yield from _list(
        "Protocol",
        [f"{c.name}: {c.text}" for c in comparison.conditions] + [f"Scored by {comparison.scorer}"],
    )
    yield from ("", f"Repeat it with diarbench {escape(comparison.diarbench)}:", "", code(comparison.command))


def _section(section: Section) -> Iterator[str]:
    same = constants(section)
    yield from ("", f"### {escape(section.dataset)}, {section.subset}: {escape(section.condition.name)}", "")
    yield escape(f"{section.condition.text}{f'; {same}' if same else ''}. Parts are in % of reference speech.")
    yield from ("", table(score_table(section)))
    seeds = over_seeds(section)
    if seeds:
        yield from ("", "Over the seeds:", "", table(seeds))


def _list(title: str, items: Iterable[str]) -> Iterator[str]:
    listed = list(items)
    if listed:
        yield from ("", f"### {title}", "")
        yield from (f"- {escape(item)}" for item in listed)


def _epochs(run: Run) -> Iterator[str]:
    yield from ("", f"### {escape(run.name)}", "")
    if not run.epochs:
        yield "No epoch was finished."
        return
    rows = tuple(
        tuple(Cell(number(value, "{}" if name == "epoch" else "{:.3f}")) for name, value in epoch)
        for epoch in run.epochs
    )
    yield table(Table(tuple(Column(name, True) for name in EPOCH_COLUMNS.values()), rows))
    best = "" if run.best_epoch is None else f" The best epoch was {run.best_epoch}."
    yield from ("", f"Rates are fractions over dev windows at the best threshold; epoch 0 is before training.{best}")


def _runs(runs: Iterable[Run]) -> Table:
    names = ("Run", "State", "Dataset", "Fingerprint", "Recipe", "Seed", "Weights from", "Trained on", "Machine", "Git")
    rows = []
    for run in runs:
        environment = run.environment
        values = (
            run.name,
            run.state,
            run.dataset,
            run.fingerprint[:12],
            run.recipe,
            run.seed,
            _weights(run),
            NONE if run.trained_audio_s is None else minutes(run.trained_audio_s),
            machine(run) or NONE,
            (environment and environment.git) or NONE,
        )
        rows.append(tuple(Cell(str(value)) for value in values))
    return Table(tuple(Column(name) for name in names), tuple(rows))


def _weights(run: Run) -> str:
    if run.weights is None:
        return f"{NONE} (init {run.init})"
    seen = f"; had seen {', '.join(run.weights.trained_on)}" if run.weights.trained_on else ""
    digest = f"; sha256 {run.weights.sha256[:12]}" if run.weights.sha256 else ""
    licence = f"; {run.weights.licence}" if run.weights.licence else ""
    return f"{run.weights.origin}{licence}{seen}{digest}"


def _versions(runs: Iterable[Run]) -> list[str]:
    """Alike environments once."""
    by_versions: dict[str, list[str]] = {}
    for run in runs:
        if run.environment:
            e = run.environment
            packages = ", ".join(f"{name} {version}" for name, version in sorted(e.versions.items()))
            by_versions.setdefault(f"Python {e.python} on {e.platform}; {packages}", []).append(run.name)
    return [f"{', '.join(names)}: {versions}" for versions, names in by_versions.items()]

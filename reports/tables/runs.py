"""Tables and lists about the runs: cost, epochs, machines, versions, recipes and scoring protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import NONE, convention, count, memory, minutes, number, three_digits
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import EPOCH_COLUMNS, Run
from diarbench.reports.summary.comparability import machine
from diarbench.reports.summary.summary import Section
from diarbench.reports.tables.table import Cell, Column, Table

COST_LEGEND = (
    "Train s: seconds of training; Tune s: seconds of hyper-parameter search on dev; RTF: seconds of diarization per "
    "second of audio, the median of the test recordings that were timed after a warm-up; Range: their lowest and "
    "highest; Memory: largest resident set of the run's process."
)


def cost_table(section: Section) -> Table:
    """Initial weights, parameters, times and memory of each line."""
    tuned = any(line.run and line.run.tuning for line in section.lines)
    timed = any(len(line.real_time_factors) > 1 for line in section.lines)
    names = ("Params", "Train s", *(("Tune s",) if tuned else ()), "RTF", *(("Range",) if timed else ()), "Memory")
    rows = []
    for line in section.lines:
        run = line.run
        weights = Cell(visible(run.weights.origin) if run and run.weights else NONE)
        rows.append(
            (
                weights,
                Cell(count(run.parameters if run else None), run.parameters if run else None),
                Cell(number(line.training_s, "{:,.0f}"), line.training_s),
                *((Cell(number(line.tuning_s, "{:,.0f}"), line.tuning_s),) if tuned else ()),
                Cell(three_digits(line.real_time_factor), line.real_time_factor),
                *((_range(line.real_time_factors),) if timed else ()),
                Cell(memory(line.peak_memory_mb), line.peak_memory_mb),
            )
        )
    return Table((Column("Weights"), *(Column(name, True) for name in names)), tuple(rows))


def _range(factors: Sequence[float]) -> Cell:
    if len(factors) < 2:
        return Cell(NONE)
    return Cell(f"{three_digits(min(factors))} to {three_digits(max(factors))}", max(factors) - min(factors))


def epoch_table(run: Run) -> Table:
    """The fine-tuning guide's columns, one row per epoch."""
    rows = (
        tuple(Cell(number(getattr(epoch, field), _digits(field)), getattr(epoch, field)) for field in EPOCH_COLUMNS)
        for epoch in run.epochs
    )
    return Table(tuple(Column(name, True) for name in EPOCH_COLUMNS.values()), tuple(rows))


def abridged(table: Table, best_epoch: int | None) -> Table:
    """An epoch table's first three rows, its last five and the best epoch; dots replace the others."""
    last = len(table.rows) - 1
    indices = sorted({k for k in (0, 1, 2, best_epoch or 0, *range(last - 4, last + 1)) if 0 <= k <= last})
    dots = tuple(Cell("...") for _ in table.columns)
    rows: list[tuple[Cell, ...]] = []
    for before, k in zip([-1, *indices], indices, strict=False):
        rows += [table.rows[k]] if k == before + 1 else [dots, table.rows[k]]
    return Table(table.columns, tuple(rows))


def runs_table(runs: Iterable[Run]) -> Table:
    """What each run was trained on, how and where."""
    names = (
        *("Run", "State", "Dataset", "Fingerprint", "Recipe", "Objective", "Seed"),
        *("Weights from", "Pipeline", "Audio seen", "Machine", "Git"),
    )
    rows = []
    for run in runs:
        environment = run.environment
        values = (
            run.name,
            run.state,
            run.dataset,
            run.fingerprint[:12],
            run.recipe if run.train else NONE,
            (run.objective if run.train else None) or NONE,
            run.seed,
            _weights(run),
            _pipeline(run),
            NONE if run.trained_audio_s is None else minutes(run.trained_audio_s),
            machine(run) or NONE,
            (environment and environment.git) or NONE,
        )
        rows.append(tuple(Cell(str(value)) for value in values))
    return Table(tuple(Column(name) for name in names), tuple(rows))


def recipes(runs: Iterable[Run]) -> list[tuple[str, str]]:
    """Title and YAML of each distinct recipe; the YAML can be passed to ``--recipe``."""
    import yaml

    titled = (
        (f"Recipe {run.recipe}", yaml.safe_dump(run.recipe_settings, sort_keys=False, allow_unicode=True))
        for run in runs
        if run.train and run.recipe_settings
    )
    return list(dict.fromkeys(titled))


def versions(runs: Iterable[Run]) -> list[str]:
    """Python, platform and packages; runs with equal environments share an entry."""
    by_versions: dict[str, list[str]] = {}
    for run in runs:
        if run.environment:
            e = run.environment
            packages = ", ".join(f"{name} {version}" for name, version in sorted(e.versions.items()))
            by_versions.setdefault(f"Python {e.python} on {e.platform}; {packages}", []).append(run.name)
    return [f"{', '.join(names)}: {versions}" for versions, names in by_versions.items()]


def protocol(comparison: Comparison) -> list[str]:
    """The scoring conditions and the scorer, one entry each."""
    return [*map(convention, comparison.conditions), f"scored by {comparison.scorer}"]


def _digits(field: str) -> str:
    return {"epoch": "{}", "threshold": "{:.2f}"}.get(field, "{:.3f}")


def _weights(run: Run) -> str:
    if run.weights is None:
        return f"{NONE} (init {run.init})"
    seen = f"; trained on {', '.join(run.weights.training_corpora)}" if run.weights.training_corpora else ""
    digest = f"; sha256 {run.weights.sha256[:12]}" if run.weights.sha256 else ""
    licence = f"; {run.weights.licence}" if run.weights.licence else ""
    return f"{run.weights.origin}{licence}{seen}{digest}"


def _pipeline(run: Run) -> str:
    if run.pipeline is None:
        return NONE
    source = f" ({run.pipeline.source}; sha256 {run.pipeline.sha256[:12]})" if run.pipeline.files else ""
    licence = f"; {run.pipeline.licence}" if run.pipeline.licence else ""
    return f"{run.pipeline.name}{source}{licence}"

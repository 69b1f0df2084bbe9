"""Tables of error rates: per system, per recording, by slice, over seeds, and pairwise differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import difference_span, number, percent, span
from diarbench.reports.results.scores import ErrorSeconds, rates_of, sum_slices
from diarbench.reports.results.statistics import Difference
from diarbench.reports.summary.summary import Contender, Section
from diarbench.reports.tables.identity import identity_cells, identity_columns, identity_table
from diarbench.reports.tables.table import Cell, Column, Table

RATE_COLUMNS = tuple(Column(name, True) for name in ("DER %", "Miss", "FA", "Conf."))


def score_table(section: Section) -> Table:
    """DER with its interval and parts, in per cent of reference speech, and the marks.

    The mark ``best`` is given only where interval and test agree.
    """
    rows = []
    winner = section.winner
    for line in section.lines:
        der, *parts = (Cell(percent(rate), rate) for rate in rates_of(line.row))
        interval = line.row.interval if line.row else None
        best = ("best",) if winner and line in winner.lines else ()
        interval_cell = Cell(span(interval), interval.low if interval else None)
        rows.append((der, interval_cell, *parts, Cell(" ".join((*best, *line.marks)))))
    der_column, *part_columns = RATE_COLUMNS
    return Table((der_column, Column("95 % interval", True), *part_columns, Column("Marks")), tuple(rows))


def contrast_table(section: Section) -> Table | None:
    """Each pair of systems: the difference in points of DER, the evidence for it, and which system is better.

    The units are what is independent; units needed: the recordings, or what else would show the difference.
    """
    rows = []
    for contrast in section.contrasts:
        difference, interval = contrast.difference, contrast.difference.interval
        rows.append(
            (
                Cell(visible(contrast.a)),
                Cell(visible(contrast.b)),
                Cell(percent(difference.der), difference.der),
                Cell(difference_span(interval), interval.low),
                Cell(f"{difference.p:.2g}", difference.p),
                Cell(difference.units_text),
                Cell(_verdict(difference)),
                Cell(_needed(difference), difference.units_needed),
            )
        )
    names = ("A", "B", "B minus A", "95 % interval", "p", "Units", "Verdict", "Units needed")
    columns = tuple(Column(name, n in (2, 3, 4, 7)) for n, name in enumerate(names))
    return Table(columns, tuple(rows)) if rows else None


def _verdict(difference: Difference) -> str:
    better = "A is better" if difference.der > 0 else "B is better"
    if difference.is_significant:
        return better
    if these := difference.for_these:
        return f"{better} for these speakers ({these.p_text})"
    return "not significant" if difference.has_verdict else "no verdict"


def _needed(difference: Difference) -> str:
    """``enough``, ``51``, ``more seeds``, ``out of reach``, or a dash where there is no verdict or no estimate."""
    if difference.is_significant:
        return "enough"
    if not difference.has_verdict:
        return "-"
    if difference.needs_seeds:
        return f"more {difference.replicate}s"
    return "out of reach" if difference.is_beyond_reach else number(difference.units_needed, "{:,}")


def slice_table(section: Section) -> Table | None:
    """Each contender's errors in points of DER by slicing and part; the parts of a slicing add up to the DER."""
    slices_of = {contender.label: _without_recordings(contender) for contender in section.contenders}
    rows = []
    for slicing, part in dict.fromkeys((s, p) for slices in slices_of.values() for s in slices for p in slices[s]):
        points, shares = [], []
        for slices in slices_of.values():
            total = sum(errors.total for errors in slices.get(slicing, {}).values())
            errors = slices.get(slicing, {}).get(part, ErrorSeconds())
            wrong = errors.miss + errors.false_alarm + errors.confusion
            points.append(wrong / total if total else None)
            shares.append(errors.total / total if total else 0.0)
        cells = (Cell(percent(value), value) for value in (max(shares), *points))
        rows.append((Cell(visible(slicing)), Cell(visible(part)), *cells))
    names = ("Slicing", "Part", "Speech %", *(visible(label) for label in slices_of))
    return Table(tuple(Column(name, n > 1) for n, name in enumerate(names)), tuple(rows)) if rows else None


def metric_table(section: Section) -> Table | None:
    """Metrics other than the DER, as fractions or counts."""
    lines = [line for line in section.lines if line.row and line.row.metrics]
    names = list(dict.fromkeys(name for line in lines if line.row for name in line.row.metrics))
    identity = identity_table(replace(section, lines=tuple(lines)))
    rows = []
    for line in lines:
        values = [line.row.metrics.get(name) if line.row else None for name in names]
        rows.append(tuple(Cell(number(value, "{:.3f}"), value) for value in values))
    columns = tuple(Column(visible(name.replace("_", " ")), True) for name in names)
    return identity + Table(columns, tuple(rows)) if rows else None


def recordings_table(sections: Sequence[Section]) -> Table:
    """One row per recording and line: seconds of reference speech, DER and its parts."""
    identity = identity_columns(sections[0])
    rows = []
    for section in sections:
        for line in section.lines:
            for part in line.row.files if line.row else ():
                rows.append(
                    (
                        Cell(visible(part.uri), part.uri),
                        Cell(section.subset),
                        *identity_cells(line, identity),
                        Cell(f"{part.total:.1f}", part.total),
                        *(Cell(percent(rate), rate) for rate in rates_of(part)),
                    )
                )
    columns = (Column("Recording"), Column("Subset"), *identity, Column("Speech s", True), *RATE_COLUMNS)
    return Table(columns, tuple(rows))


def over_seeds(section: Section) -> Table | None:
    """Mean and range of DER over the seeds of each contender; None where no contender has two seeds."""
    rows = []
    for contender in section.contenders:
        rates = [row.der for row in contender.rows if row.der is not None]
        if len(rates) > 1:
            rows.append(
                (
                    Cell(visible(contender.label)),
                    Cell(str(len(rates)), len(rates)),
                    Cell(percent(contender.der), contender.der),
                    Cell(f"{percent(min(rates))} to {percent(max(rates))}", max(rates) - min(rates)),
                )
            )
    names = ("System", "Seeds", "Mean DER %", "Range DER %")
    return Table(tuple(Column(name, n > 0) for n, name in enumerate(names)), tuple(rows)) if rows else None


def _without_recordings(contender: Contender) -> dict[str, dict[str, ErrorSeconds]]:
    """Its slices, except by recording: recordings have their own table."""
    return {name: parts for name, parts in sum_slices(contender.rows).items() if name != "recording"}

"""The table of the headline: each system's DER at each stage, the leader first."""

from __future__ import annotations

from diarbench.reports.formatting import NONE, percent
from diarbench.reports.summary.headline import Headline
from diarbench.reports.tables.table import Cell, Column, Table


def standings_table(headline: Headline) -> Table:
    """DER in per cent by system and stage."""
    rows = []
    for standing in headline.standings:
        stages = [standing.stages.get(stage) for stage in headline.stages]
        ders = (Cell(NONE) if c is None else Cell(percent(c.der), c.der) for c in stages)
        rows.append((Cell(standing.name), *ders))
    return Table((Column("System"), *(Column(stage, True) for stage in headline.stages)), tuple(rows))

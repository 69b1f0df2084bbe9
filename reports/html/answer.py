"""What stands above the fold of the page: the verdict, and a bar for each system and stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from diarbench.reports.charts.charts import COLOURS, GLYPHS, PARTS, toolkit_styles
from diarbench.reports.formatting import percent, short_words, span
from diarbench.reports.results.scores import rates_of
from diarbench.reports.summary.headline import Headline, Standing
from diarbench.reports.summary.summary import Contender, Summary

SYSTEMS_SHOWN = 4
"""Systems with bars above the fold; the others are in the table."""

WORD_LENGTH = 40
"""Longer names are shortened above the fold; the table has them whole."""

CAVEATS_SHOWN = 3
"""Caveats above the fold; the others are folded."""

INTERVAL_AT_MOST = 1.5
"""An interval takes at most this multiple of the highest DER; beyond, it leaves the picture."""


@dataclass(frozen=True)
class Bar:
    """A stage of a system; widths and places are in per cent of the axis."""

    stage: str
    value: str
    interval: str
    parts: tuple[tuple[str, float], ...]
    whisker: tuple[float, float] | None
    """Left end and width of the interval."""
    is_best: bool


@dataclass(frozen=True)
class SystemBars:
    name: str
    colour: str
    glyph: str
    bars: tuple[Bar, ...]


def answer(summary: Summary, headline: Headline) -> dict[str, Any]:
    """What the template shows of a headline."""
    shown = headline.standings[:SYSTEMS_SHOWN]
    caveats = [_short(caveat) for caveat in headline.caveats]
    return {
        "title": _short(headline.title),
        "verdict": _short(headline.verdict),
        "where": _short(headline.where),
        "systems": _bars(summary, shown),
        "more_systems": len(headline.standings) - len(shown),
        "effects": {step: _short(text) for step, text in headline.effects.items()},
        "caveats": caveats[:CAVEATS_SHOWN],
        "more_caveats": caveats[CAVEATS_SHOWN:],
        "next_steps": headline.next_steps,
    }


def _short(text: str) -> str:
    return short_words(text, WORD_LENGTH)


def _bars(summary: Summary, standings: Sequence[Standing]) -> list[SystemBars]:
    contenders = [contender for standing in standings for contender in standing.stages.values()]
    highest = max((contender.der for contender in contenders), default=0.0) or 1.0
    ends = [c.interval.high for c in contenders if c.interval and c.interval.high is not None]
    axis = min(max([highest, *ends]), INTERVAL_AT_MOST * highest)
    styles = toolkit_styles(summary)
    return [
        SystemBars(
            _short(standing.name),
            COLOURS[styles[standing.best.runs[0].backend] % len(COLOURS)],
            GLYPHS[styles[standing.best.runs[0].backend] % len(GLYPHS)],
            tuple(_bar(stage, contender, axis, standing.best) for stage, contender in standing.stages.items()),
        )
        for standing in standings
    ]


def _bar(stage: str, contender: Contender, axis: float, best: Contender) -> Bar:
    rates = [fmean(rate or 0.0 for rate in seeds) for seeds in zip(*map(rates_of, contender.rows), strict=True)]
    parts = tuple((name, 100 * rate / axis) for (name, *_), rate in zip(PARTS, rates[1:], strict=True))
    interval, whisker = contender.interval, None
    if interval and interval.low is not None and interval.high is not None:
        whisker = 100 * interval.low / axis, 100 * (min(interval.high, axis) - interval.low) / axis
    return Bar(stage, percent(contender.der), span(interval), parts, whisker, contender.label == best.label)

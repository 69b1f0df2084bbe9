"""Tables of ``bench score`` and ``bench compare``, made from their JSON result; they fit in 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from diarbench.benchmarks.scoring.der import ScoringProtocol
from diarbench.datasets.io.names import visible
from diarbench.reports.results.statistics import Interval

PARTS = ("miss", "false_alarm", "confusion")

SIDES = ("A: DER %", "B: DER %")

SECONDS = ("speech s", "miss s", "FA s", "conf. s")


def print_score(console: Console, title: str, protocols: Sequence[ScoringProtocol], result: Mapping[str, Any]) -> None:
    """One system under each condition, and the optional tables."""
    conditions = result["conditions"]
    _print_errors(console, title, "condition", [(p.name, conditions[p.name]) for p in protocols])
    _print_conventions(console, protocols, [scores["interval"] for scores in conditions.values()], result)
    if "metrics" in result:
        _print_rows(console, "Other metrics, no collar", ("metric", "value"), _metric_rows(result["metrics"]))
    for protocol in protocols:
        scores = conditions[protocol.name]
        if "files" in scores:
            files = [(uri, *_seconds(parts), _percent(parts["der"])) for uri, parts in scores["files"].items()]
            _print_rows(console, str(protocol), ("recording", *SECONDS, "DER %"), files)
        if "slices" in scores:
            _print_slices(console, protocol, scores)


def print_comparison(
    console: Console,
    paths: Sequence[Path],
    names: tuple[str, str],
    protocols: Sequence[ScoringProtocol],
    result: Mapping[str, Any],
    verdicts: Mapping[str, str],
) -> None:
    """Both systems under each condition: the verdict, their difference, and the optional tables.

    The systems are A and B; ``names`` are their keys in ``result``, ``paths`` their files, which are named once.
    """
    letters = dict(zip(names, "AB", strict=True))
    _print(console, f"A: {visible(paths[0])}\nB: {visible(paths[1])}\n")
    for protocol in protocols:
        scores = result["conditions"][protocol.name]
        _print(console, f"{protocol}\n{verdicts[protocol.name]}", style="bold")
        difference = scores["difference"]
        at_most = "at most" if difference["p_at_most"] else "="
        interval = _interval(difference["interval"], "+.2f")
        significance = f"95 % interval {interval}, p {at_most} {difference['p']:.2g}"
        points = f"{100 * difference['der']:+.2f} points of DER"
        _print(console, f"B minus A: {points}, {significance}\n")
        systems = [(letters.get(name, name), parts) for name, parts in scores["systems"].items()]
        _print_errors(console, "", "system", systems)
        if "files" in scores:
            by_file = [
                (uri, *(_percent(parts[name]["der"]) for name in names)) for uri, parts in scores["files"].items()
            ]
            _print_rows(console, "", ("recording", *SIDES), by_file)
        for slicing, contributions in scores.get("explains", {}).items():
            sides = [scores["slices"][name][slicing] for name in names]
            explained = [
                (label, *(_percent(side.get(label, {}).get("der")) for side in sides), f"{100 * part:+.2f}")
                for label, part in contributions.items()
            ]
            columns = (slicing, *SIDES, "points explained")
            _print_rows(console, "", columns, explained)
    scored = result["conditions"].values()
    parts = [part for scores in scored for part in (scores["difference"], *scores["systems"].values())]
    _print_conventions(console, protocols, [part["interval"] for part in parts], result)


def _print_errors(console: Console, title: str, first: str, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """One row per name: its error components, DER and interval."""
    cells = [
        (
            name,
            f"{parts['total']:.2f}",
            *(_percent(parts["fractions"][part]) for part in PARTS),
            _percent(parts["der"]),
            _interval(parts["interval"]),
        )
        for name, parts in rows
    ]
    _print_rows(console, title, (first, "speech s", "miss %", "FA %", "conf. %", "DER %", "95 % interval"), cells)


def _print_slices(console: Console, protocol: ScoringProtocol, scores: Mapping[str, Any]) -> None:
    for slicing, parts in scores["slices"].items():
        error_s = {label: sum(errors[part] for part in PARTS) for label, errors in parts.items()}
        total_s = sum(error_s.values()) or 1.0
        rows = [
            (label, *_seconds(errors), _percent(errors["der"]), _percent(error_s[label] / total_s))
            for label, errors in parts.items()
        ]
        _print_rows(console, protocol.name, (slicing, *SECONDS, "DER %", "% of error"), rows)
    worst = [
        (f"{region['uri']} {region['start_s']:g}-{region['end_s']:g} s", *_seconds(region["errors"]))
        for region in scores["worst_regions"]
    ]
    _print_rows(console, protocol.name, ("worst regions", *SECONDS), worst)
    counts = scores["speaker_counts"]["in_recording"]
    recordings = [(str(ref), str(hyp), str(n)) for ref, row in counts.items() for hyp, n in row.items()]
    _print_rows(console, "", ("speakers in the reference", "in the hypothesis", "recordings"), recordings)


def _print_conventions(
    console: Console,
    protocols: Sequence[ScoringProtocol],
    intervals: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any],
) -> None:
    for protocol in protocols:
        _print(console, str(protocol), style="dim")
    agreement = (
        f" Without a collar, {result['agrees_with']} gives the same scores: the largest difference in any error "
        f"component of any recording is {result['largest_difference_s']:.1e} s."
        if "agrees_with" in result
        else ""
    )
    total, unknown = result["recordings"], result["groups_unknown"]
    some = "" if unknown == total else f" for {unknown} of them"
    sharing = f" Shared speakers are not known{some}." if unknown and total > 1 else ""
    _print(
        console,
        "Speakers are mapped on the whole scored region, before collars; each speaker's overlapping turns are merged."
        " Rates are relative to the reference speech of all recordings. Intervals are over"
        f" {' or '.join(dict.fromkeys(Interval(**interval).counted for interval in intervals))}.{sharing}{agreement}\n",
        style="dim",
    )


def _metric_rows(metrics: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in metrics.items():
        label = name.replace("_", " ")
        yield (label, f"{value:.2f} speakers") if name == "speaker_count_error" else (label, f"{_percent(value)} %")


def _print_rows(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if i else "left", overflow="fold", no_wrap=i > 0)
    for row in rows:
        table.add_row(*map(Text, row))
    if title:
        _print(console, title, style="bold")
    console.print(table, "")


def _print(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, highlight=False, soft_wrap=True)


def _seconds(errors: Mapping[str, Any]) -> list[str]:
    return [f"{errors[part]:.2f}" for part in ("total", *PARTS)]


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def _interval(interval: Mapping[str, Any], form: str = ".2f") -> str:
    if interval["low"] is None:
        return "-"
    return f"{100 * interval['low']:{form}} to {100 * interval['high']:{form}}"

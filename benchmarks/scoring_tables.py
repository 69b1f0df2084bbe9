"""The tables of ``bench score`` and ``bench compare``, drawn from what their JSON holds; they fit 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from diarbench.benchmarks.scoring import ScoringProtocol

PARTS = ("miss", "false_alarm", "confusion")
SIDES = ("A: DER %", "B: DER %")
SECONDS = ("speech s", "miss s", "FA s", "conf. s")


def print_score(console: Console, title: str, protocols: Sequence[ScoringProtocol], result: Mapping[str, Any]) -> None:
    """One system's figures under each condition, and what else was asked for."""
    found = result["conditions"]
    _print_errors(console, title, "condition", [(p.name, found[p.name]) for p in protocols])
    _print_conventions(console, protocols, found[protocols[0].name]["interval"], result)
    if "metrics" in result:
        _print_rows(console, "Other metrics, no collar", ("metric", "value"), _metric_rows(result["metrics"]))
    for protocol in protocols:
        one = found[protocol.name]
        if "files" in one:
            files = [(uri, *_seconds(parts), _percent(parts["der"])) for uri, parts in one["files"].items()]
            _print_rows(console, str(protocol), ("recording", *SECONDS, "DER %"), files)
        if "slices" in one:
            _print_where(console, protocol, one)


def print_comparison(
    console: Console, names: tuple[str, str], protocols: Sequence[ScoringProtocol], result: Mapping[str, Any]
) -> None:
    """The systems under each condition, their difference, and what else was asked for."""
    for protocol in protocols:
        found = result["conditions"][protocol.name]
        _print_errors(console, str(protocol), "system", found["systems"].items())
        difference = found["difference"]
        sure = f"95 % interval {_interval(difference['interval'], '+.2f')}, p = {difference['p']:.2g}"
        _say(console, f"A: {names[0]}\nB: {names[1]}\nB minus A: {100 * difference['der']:+.2f} points of DER, {sure}")
        _say(console, difference["verdict"] + "\n", style="bold")
        if "files" in found:
            by_file = [
                (uri, *(_percent(parts[name]["der"]) for name in names)) for uri, parts in found["files"].items()
            ]
            _print_rows(console, "", ("recording", *SIDES), by_file)
        for slicing, points in found.get("explains", {}).items():
            sides = [found["slices"][name][slicing] for name in names]
            explained = [
                (label, *(_percent(side.get(label, {}).get("der")) for side in sides), f"{100 * part:+.2f}")
                for label, part in points.items()
            ]
            columns = (slicing, *SIDES, "points explained")
            _print_rows(console, "", columns, explained)
    interval = result["conditions"][protocols[0].name]["difference"]["interval"]
    _print_conventions(console, protocols, interval, result)


def _print_errors(console: Console, title: str, first: str, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Rows of a name, the parts of its error and its interval."""
    listed = [
        (
            name,
            f"{parts['total']:.2f}",
            *(_percent(parts["fractions"][part]) for part in PARTS),
            _percent(parts["der"]),
            _interval(parts["interval"]),
        )
        for name, parts in rows
    ]
    _print_rows(console, title, (first, "speech s", "miss %", "FA %", "conf. %", "DER %", "95 % interval"), listed)


def _print_where(console: Console, protocol: ScoringProtocol, found: Mapping[str, Any]) -> None:
    for slicing, parts in found["slices"].items():
        wrong = {label: sum(errors[part] for part in PARTS) for label, errors in parts.items()}
        everything = sum(wrong.values()) or 1.0
        sliced = [
            (label, *_seconds(errors), _percent(errors["der"]), _percent(wrong[label] / everything))
            for label, errors in parts.items()
        ]
        _print_rows(console, protocol.name, (slicing, *SECONDS, "DER %", "% of error"), sliced)
    worst = [
        (f"{one['uri']} {one['start_s']:g}-{one['end_s']:g} s", *_seconds(one["errors"]))
        for one in found["worst_regions"]
    ]
    _print_rows(console, protocol.name, ("worst regions", *SECONDS), worst)
    counts = found["speaker_counts"]["in_recording"]
    counted = [(str(ref), str(hyp), str(n)) for ref, row in counts.items() for hyp, n in row.items()]
    _print_rows(console, "", ("speakers in the reference", "in the hypothesis", "recordings"), counted)


def _print_conventions(
    console: Console, protocols: Sequence[ScoringProtocol], interval: Mapping[str, Any], result: Mapping[str, Any]
) -> None:
    for protocol in protocols:
        _say(console, str(protocol), style="dim")
    _say(
        console,
        "Speakers are mapped on the whole scored region, before collars; a speaker's own overlaps are merged. Rates are"
        f" of all recordings' reference speech. Intervals: bootstrap over {interval['units']} {interval['unit']}."
        f" Without a collar {result['agrees_with']} agrees: the largest difference in any part of any recording is"
        f" {result['largest_difference_s']:.1e} s.\n",
        style="dim",
    )
    if interval["unit"] != "recordings":
        _say(console, "The recordings are few: intervals and tests speak of these recordings, not of others.")


def _metric_rows(metrics: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in metrics.items():
        plain = name.replace("_", " ")
        yield (plain, f"{value:.2f} speakers") if name == "speaker_count_error" else (plain, f"{_percent(value)} %")


def _print_rows(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if i else "left", overflow="fold", no_wrap=i > 0)
    for row in rows:
        table.add_row(*map(Text, row))
    if title:
        _say(console, title, style="bold")
    console.print(table, "")


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def _seconds(errors: Mapping[str, Any]) -> list[str]:
    return [f"{errors[part]:.2f}" for part in ("total", *PARTS)]


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f}"


def _interval(interval: Mapping[str, Any], form: str = ".2f") -> str:
    if interval["low"] is None:
        return "-"
    return f"{100 * interval['low']:{form}} to {100 * interval['high']:{form}}"

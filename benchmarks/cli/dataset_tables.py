"""The tables of ``bench data``: datasets and findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from diarbench.datasets.checking.findings import Finding
    from diarbench.datasets.dataset import Dataset


def _summary(opened: list[Dataset]) -> Table:
    """A row for each dataset's subset (``each``: speakers of a recording; ``turn s``: the median), and what each is."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from diarbench.datasets.statistics import describe

    told = (f"{d.info.name}: {d.info.source}; {d.info.licence}; split: {d.info.split_rule}" for d in opened)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, 1),
        caption=escape("\n".join(told)),
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    for heading in ("recs", "hours", "silence", "overlap", "speakers", "each", "turns", "turn s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for dataset in opened:
        for subset, recordings in dataset.recordings.items():
            if not recordings:
                continue
            held, numbers = dataset.info.subsets[subset], describe(recordings)
            table.add_row(
                escape(f"{dataset.info.name} {subset}"),
                str(held.recordings),
                f"{held.audio_s / 3600:.3f}",
                f"{1 - held.speech_s / (held.scored_s or 1):.1%}",
                f"{held.overlap_s / (held.speech_s or 1):.1%}",
                str(held.speakers),
                f"{numbers.speakers_per_recording:.1f}",
                str(held.turns),
                f"{numbers.median_turn_s:.2f}",
            )
        table.add_section()
    return table


def _print_findings(console: Console, findings: list[Finding]) -> None:
    """Kinds by number, errors first, each with its first few places."""
    shown = 5
    by_kind: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault((finding.level, finding.kind), []).append(finding)
    for (level, kind), alike in sorted(by_kind.items()):
        mendable = ", --fix mends it" if alike[0].fixable else ""
        console.print(f"[{'red' if level == 'error' else 'yellow'}]{level}[/] {kind}: {len(alike)}{mendable}")
        for finding in alike[:shown]:
            console.print(f"  {finding.where}: {finding.text}", markup=False)
        if len(alike) > shown:
            console.print(f"  and {len(alike) - shown} more; --json lists them all")

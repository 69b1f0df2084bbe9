"""Tables of ``bench data``: dataset statistics and findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from diarbench.datasets.checking.findings import Finding
    from diarbench.datasets.dataset import Dataset


def summary_table(datasets: list[Dataset]) -> Table:
    """One row per subset of each dataset, with sources and licences as the caption.

    The column ``each`` is the mean number of speakers per recording, ``turn s`` the median turn length in seconds.
    """
    from rich import box
    from rich.table import Table

    from diarbench.datasets.statistics import describe

    descriptions = (
        f"{d.info.name}: {d.info.source}; licence: {d.info.licence}; split: {d.info.split_rule}" for d in datasets
    )
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, 1),
        caption="\n".join(descriptions),
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    for heading in ("recs", "hours", "silence", "overlap", "speakers", "each", "turns", "turn s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for dataset in datasets:
        for subset, recordings in dataset.recordings.items():
            if not recordings:
                continue
            sums, averages = dataset.info.subsets[subset], describe(recordings)
            table.add_row(
                f"{dataset.info.name} {subset}",
                str(sums.recordings),
                f"{sums.audio_s / 3600:.3f}",
                f"{1 - sums.speech_s / (sums.scored_s or 1):.1%}",
                f"{sums.overlap_s / (sums.speech_s or 1):.1%}",
                str(sums.speakers),
                f"{averages.speakers_per_recording:.1f}",
                str(sums.turns),
                f"{averages.median_turn_s:.2f}",
            )
        table.add_section()
    return table


def print_findings(console: Console, findings: list[Finding]) -> None:
    """Print findings grouped by kind, errors first, with the first few places of each kind."""
    from rich.text import Text

    shown = 5
    by_kind: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault((finding.level, finding.kind), []).append(finding)
    for (level, kind), group in sorted(by_kind.items()):
        fixable = ", fixed by --fix" if group[0].fixable else ""
        console.print(Text(level, "red" if level == "error" else "yellow"), f"{kind}: {len(group)}{fixable}")
        for finding in group[:shown]:
            console.print(f"  {finding.where}: {finding.text}")
        if len(group) > shown:
            console.print(f"  and {len(group) - shown} more; --json lists them all")

"""The verdict in one sentence: which system is best on test, and whether that is significant."""

from __future__ import annotations

from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import percent, plural, span
from diarbench.reports.summary.summary import Summary


def verdict(summary: Summary, dataset: str) -> str:
    """The contenders by DER on test under the first condition, and whether the first two differ significantly."""
    sections = summary.of(dataset)
    if not sections:
        return f"{visible(dataset)}: no scores on the test set."
    section = sections[0]
    out_of_domain_note = (
        " (no system was trained on it)" if all(line.is_out_of_domain for line in section.lines if line.run) else ""
    )
    where = (
        f"On {visible(dataset)}{out_of_domain_note}, test set of {plural(len(section.recordings), 'recording')}, "
        f"condition {visible(section.condition.name)}"
    )
    results = [
        f"{visible(contender.label)} {percent(contender.der)} %"
        + (f" (mean of {len(contender.lines)} seeds)" if len(contender.lines) > 1 else "")
        for contender in section.contenders
    ]
    if not results:
        return f"{where}: no run was scored."
    if len(results) == 1:
        return f"{where}: DER of {results[0]}; no other system to compare with."
    caveat = " (rows that are not directly comparable are marked)" if any(line.marks for line in section.lines) else ""
    contrast = section.contrast(*section.contenders[:2])
    if contrast is None:
        conclusion = "No winner is named: the results have no interval for the difference."
    else:
        of = f"{visible(contrast.b)} minus {visible(contrast.a)}: {span(contrast.difference.interval)} points"
        conclusion = (
            f"{visible(contrast.difference.verdict(contrast.a, contrast.b)).removesuffix('.')}; 95 % interval of {of}."
        )
    return f"{where}, lowest DER first{caveat}: {', '.join(results)}. {conclusion}"

"""Export the rows of comparisons as CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from diarbench.datasets.io.names import visible
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.summary.summary import summarize
from diarbench.reports.tables.identity import identity_table
from diarbench.reports.tables.scores import score_table
from diarbench.reports.tables.table import Table


def as_json(comparisons: Sequence[Comparison]) -> str:
    """A list of flat objects, one per row; times in seconds, ``der`` and its 95 % interval as fractions."""
    return json.dumps(list(_flat(comparisons)), indent=1, ensure_ascii=False) + "\n"


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """The rows of `as_json` with a header line; an apostrophe precedes text that looks like a spreadsheet formula."""
    out = io.StringIO()
    rows = list(_flat(comparisons))
    writer = csv.DictWriter(out, rows[0].keys() if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _no_formula(value) for key, value in row.items()})
    return out.getvalue()


def as_latex(comparisons: Sequence[Comparison]) -> str:
    """One booktabs table per dataset and condition (test set), with the footnotes of its marks."""
    return "\n".join(line for comparison in comparisons for line in _latex(comparison)) + "\n"


FORMATS = {"csv": as_csv, "json": as_json, "latex": as_latex}


def _flat(comparisons: Sequence[Comparison]) -> Iterator[dict[str, Any]]:
    for comparison in comparisons:
        summary = summarize(comparison)
        for section in summary.sections:
            for line in section.lines:
                row, run = line.row, line.run
                weights = run.weights if run else None
                domain = run.domain(section.dataset) if run else None
                interval = row.interval if row else None
                yield {
                    "dataset": section.dataset,
                    "subset": section.subset,
                    "condition": section.condition.name,
                    "run": run.name if run else None,
                    "backend": line.backend,
                    "pipeline": line.pipeline,
                    "recipe": line.recipe,
                    "seed": line.seed,
                    "stage": line.stage,
                    "total": row and row.total,
                    "miss": row and row.miss,
                    "false_alarm": row and row.false_alarm,
                    "confusion": row and row.confusion,
                    "der": row and row.der,
                    "der_low": interval and interval.low,
                    "der_high": interval and interval.high,
                    "weights": weights and weights.origin,
                    "parameters": run and run.parameters,
                    "training_s": line.training_s,
                    "tuning_s": line.tuning_s,
                    "real_time_factor": line.real_time_factor,
                    "peak_memory_mb": line.peak_memory_mb,
                    "failure": run and run.failure,
                    "not_like_for_like": "; ".join(summary.footnotes[mark] for mark in line.marks),
                    "protocol": section.condition.text,
                    "fingerprint": domain and domain.fingerprint,
                    "train_set": run and run.dataset,
                    "train_fraction": run and run.train_fraction,
                    "train_s": run and run.train_s,
                }


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _latex(comparison: Comparison) -> Iterator[str]:
    summary = summarize(comparison)
    yield "% needs \\usepackage{booktabs}"
    for dataset in summary.datasets:
        for section in summary.of(dataset):
            table: Table = identity_table(section) + score_table(section)
            yield "\\begin{table}"
            yield f"\\caption{{{_tex(f'{dataset}, {section.subset}, {section.condition.text}')}}}"
            yield f"\\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in table.columns)}}}"
            yield "\\toprule"
            yield f"{' & '.join(_tex(column.name) for column in table.columns)} \\\\"
            yield "\\midrule"
            for row in table.rows:
                yield f"{' & '.join(_tex(cell.text) for cell in row)} \\\\"
            yield "\\bottomrule"
            yield "\\end{tabular}"
            for mark, reason in summary.footnotes_of(dataset).items():
                yield f"\\par {mark}: {_tex(reason)}"
            yield "\\end{table}"


_TEX = {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "\\textquotedbl{}",
    "[": "{[}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def _tex(text: str) -> str:
    return re.sub(r'[\\~^<>|"\[&%$#_{}]', lambda match: _TEX[match[0]], visible(text))

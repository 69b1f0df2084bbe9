"""What a report costs: the terminal's tables, Markdown, the page and its plots, from records."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("matplotlib")


@pytest.mark.benchmark(group="reports of a comparison on ami-mini")
def test_report(benchmark, tmp_path, repeats):
    """Of the reference systems on real recordings: the records that every report has."""
    from rich.console import Console

    from diarbench.backends import recipes
    from diarbench.benchmarks import runner
    from diarbench.benchmarks.progress import RunProgress
    from diarbench.datasets.catalog import open_dataset
    from diarbench.reports.folder import write_reports
    from diarbench.reports.records import Job
    from diarbench.reports.tables import print_comparison

    dataset = open_dataset("ami-mini")
    job = Job(
        backend="pyannote",
        dataset=dataset.info.name,
        dataset_root=str(dataset.root.resolve()),
        fingerprint=dataset.info.fingerprint,
        recipe=recipes.load("quick").model_dump(),
        seed=1,
        init="auto",
        init_sha256=None,
        device="cpu",
        threads=1,
    )
    console = Console(file=io.StringIO(), width=120)
    with RunProgress(console) as progress:
        comparison = runner.run(tmp_path, [runner.Plan(job, "?", "left out of this suite")], "bench run", progress)

    def report():
        print_comparison(comparison, console)
        return write_reports([comparison], tmp_path)

    written = benchmark.pedantic(report, rounds=repeats, warmup_rounds=1)
    assert all(path.exists() for path in written)

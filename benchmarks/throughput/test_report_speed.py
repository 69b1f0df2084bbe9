"""Cost of a report: terminal tables, Markdown, HTML and plots, from stored records."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("matplotlib")


@pytest.mark.benchmark(group="reports of a comparison on ami-mini")
def test_report(benchmark, tmp_path, repeats):
    """A comparison of the baselines, which every report has, on real recordings."""
    from rich.console import Console

    from diarbench.backends.recipes import load as recipes
    from diarbench.benchmarks.runs import runner
    from diarbench.benchmarks.runs.plan import Plan
    from diarbench.benchmarks.runs.progress import RunProgress
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.reports.results.job import Job
    from diarbench.reports.terminal import print_comparison
    from diarbench.reports.write import write_reports

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
        comparison = runner.run(tmp_path, [Plan(job, "?", "not run in this suite")], "bench run", progress)

    def report():
        print_comparison(comparison, console)
        return write_reports([comparison], tmp_path)

    written = benchmark.pedantic(report, rounds=repeats, warmup_rounds=1)
    assert all(path.exists() for path in written)

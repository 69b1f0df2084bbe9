"""What a run ran on, and what is installed, told without importing a toolkit."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import psutil

from diarbench.backends.weights import package_version
from diarbench.reports.records import Environment

DECISIVE = ("diarbench", "torch", "lightning", "pyannote.audio", "nemo_toolkit", "senko", "pyannote.metrics", "numpy")
"""Packages whose versions decide the figures."""


def environment(device: str) -> Environment:
    """This machine and its packages."""
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        device=device,
        git=_git_revision(),
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Of the decisive packages that are installed."""
    return {name: found for name in DECISIVE if (found := package_version(name))}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_revision() -> str | None:
    """Of the checkout that this file is in, with ``+`` where it has changes; None outside one."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()

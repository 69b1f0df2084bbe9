"""Stored sessions of ``bench throughput`` (pytest-benchmark's JSON) and their comparison.

pytest-benchmark's own comparison knows neither noise nor calibration kernels, so it cannot compare two machines; its
FileStorage skips unreadable files with a warning, and needs the package installed to read a session.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarbench.datasets.io.errors import UserError, did_you_mean

NOISE_DEVIATIONS = 2.0
"""A change must exceed this many standard deviations of the rounds to count."""


@dataclass(frozen=True)
class Measure:
    """One benchmark of one session."""

    name: str
    group: str
    median_s: float
    deviation_s: float
    rounds: int
    kernel_s: float | None
    """Mean duration of the calibration kernel before and after the benchmark."""
    extra: dict[str, Any]

    @property
    def in_kernels(self) -> float | None:
        """Duration in calibration kernels, which is comparable between machines."""
        return self.median_s / self.kernel_s if self.kernel_s else None

    @property
    def noise(self) -> float | None:
        """Noise as a fraction of the median; None for a single round."""
        return NOISE_DEVIATIONS * self.deviation_s / self.median_s if self.rounds > 1 else None


@dataclass(frozen=True)
class Session:
    """One run of the suites; ``measures`` by benchmark name."""

    path: Path
    when: str
    commit: str
    machine: dict[str, Any]
    measures: dict[str, Measure]

    @property
    def label(self) -> str:
        return self.path.stem.partition("_")[0]

    @property
    def hardware(self) -> str:
        """Processor, number of cores and device."""
        environment = self.machine.get("diarbench", {})
        parts = [str(environment[key]) for key in ("processor", "cores", "device") if key in environment]
        return ", ".join(parts) or "unknown"


@dataclass(frozen=True)
class Change:
    """Relative change from one measure to another; positive if the second is slower."""

    seconds: float
    kernels: float | None
    noise: float | None

    def decisive(self, same_machine: bool) -> float:
        """The change in seconds on one machine, in kernels between two machines."""
        return self.seconds if same_machine or self.kernels is None else self.kernels

    def is_noise(self, same_machine: bool) -> bool:
        """Whether the change is within the noise; always false for a single round."""
        return self.noise is not None and abs(self.decisive(same_machine)) <= self.noise


def change(a: Measure, b: Measure) -> Change:
    """The change from measure ``a`` to measure ``b``."""
    kernels = b.in_kernels / a.in_kernels - 1 if a.in_kernels and b.in_kernels else None
    noise = None if a.noise is None or b.noise is None else (a.noise**2 + b.noise**2) ** 0.5
    return Change(b.median_s / a.median_s - 1, kernels, noise)


def read_session(path: Path) -> Session:
    """Read a session; raises UserError if the file cannot be read or is not pytest-benchmark's JSON."""
    try:
        content = json.loads(path.read_bytes())
        measures = [
            Measure(
                name=f"{Path(entry['fullname'].partition('::')[0]).stem.removeprefix('test_')}::{entry['name']}",
                group=entry["group"] or "",
                median_s=entry["stats"]["median"],
                deviation_s=entry["stats"]["stddev"],
                rounds=entry["stats"]["rounds"],
                kernel_s=entry["extra_info"].get("calibration_s"),
                extra=entry["extra_info"],
            )
            for entry in content["benchmarks"]
        ]
        machine, commit = content["machine_info"], (content["commit_info"].get("id") or "")[:9]
        commit = machine.get("diarbench", {}).get("git") or commit
        return Session(path, content["datetime"][:16], commit, machine, {m.name: m for m in measures})
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a session of 'bench throughput' (pytest-benchmark's JSON)") from error


def stored(store: Path) -> list[Path]:
    """The session files in a folder, oldest first by pytest-benchmark's numbers."""
    return sorted(store.glob("*/[0-9]*_*.json"), key=lambda path: (path.name.partition("_")[0].zfill(9), path))


def find_session(name: str, store: Path) -> Session:
    """A session by file name, or by its number in the store. Raises UserError if there is none."""
    if Path(name).is_file():
        return read_session(Path(name))
    paths = stored(store)
    matching = [path for path in paths if name.isdigit() and int(path.name.partition("_")[0]) == int(name)]
    if not matching:
        numbers = [path.name.partition("_")[0] for path in paths]
        hint = did_you_mean(name, numbers) or (
            f"; available: {numbers[0]} to {numbers[-1]}" if numbers else "; it has no sessions"
        )
        raise UserError(f"no session {name} in {store}{hint}")
    return read_session(matching[-1])


def plot_history(sessions: Sequence[Session], path: Path) -> None:
    """Plot seconds by session with error bars of noise, one panel per group. Needs matplotlib."""
    from matplotlib.figure import Figure

    groups = sorted({measure.group for session in sessions for measure in session.measures.values()})
    figure = Figure(figsize=(9, 2.6 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    labels = [session.label for session in sessions]
    for axis, group in zip(axes, groups, strict=True):
        names = sorted({m.name for session in sessions for m in session.measures.values() if m.group == group})
        for name in names:
            points = [(k, s.measures[name]) for k, s in enumerate(sessions) if name in s.measures]
            axis.errorbar(
                [k for k, _ in points],
                [measure.median_s for _, measure in points],
                [measure.median_s * (measure.noise or 0) for _, measure in points],
                marker="o",
                capsize=3,
                label=name.partition("::")[2],
            )
        axis.set(title=group or "other", ylabel="seconds", yscale="log", xticks=range(len(labels)), xticklabels=labels)
        axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)

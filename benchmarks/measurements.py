"""What ``bench throughput`` stored, read back from pytest-benchmark's JSON, and how sessions differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarbench.reports.records import UserError, closest

NOISE_DEVIATIONS = 2.0
"""Of the rounds' standard deviation: what a change has to exceed to be more than noise."""


@dataclass(frozen=True)
class Measure:
    """One benchmark of one session; seconds."""

    name: str
    group: str
    median_s: float
    deviation_s: float
    rounds: int
    kernel_s: float | None
    """The calibration kernel's, before and after it."""
    extra: dict[str, Any]

    @property
    def in_kernels(self) -> float | None:
        """How many kernels it lasts: what makes machines comparable."""
        return self.median_s / self.kernel_s if self.kernel_s else None

    @property
    def noise(self) -> float | None:
        """Of the median, as a fraction of it; None where a single round tells nothing of it."""
        return NOISE_DEVIATIONS * self.deviation_s / self.median_s if self.rounds > 1 else None


@dataclass(frozen=True)
class Session:
    """One run of the suites."""

    path: Path
    when: str
    commit: str
    machine: dict[str, Any]
    measures: dict[str, Measure]
    """By name."""

    @property
    def label(self) -> str:
        return self.path.stem.partition("_")[0]

    @property
    def hardware(self) -> str:
        """Processor, cores and device, as one text."""
        told = self.machine.get("diarbench", {})
        return ", ".join(str(told[key]) for key in ("processor", "cores", "device") if key in told) or "unknown"


@dataclass(frozen=True)
class Change:
    """From one measure to another; fractions, above zero where the second is slower."""

    seconds: float
    kernels: float | None
    noise: float | None

    def decisive(self, same_machine: bool) -> float:
        """In seconds on one machine, in kernels from one machine to another."""
        return self.seconds if same_machine or self.kernels is None else self.kernels

    def is_noise(self, same_machine: bool) -> bool:
        """Whether the rounds differ among themselves as much; never so where they can't be asked."""
        return self.noise is not None and abs(self.decisive(same_machine)) <= self.noise


def change(a: Measure, b: Measure) -> Change:
    """What became of a measure."""
    kernels = b.in_kernels / a.in_kernels - 1 if a.in_kernels and b.in_kernels else None
    noise = None if a.noise is None or b.noise is None else (a.noise**2 + b.noise**2) ** 0.5
    return Change(b.median_s / a.median_s - 1, kernels, noise)


def read_session(path: Path) -> Session:
    """Raises UserError where the file is not pytest-benchmark's JSON."""
    try:
        content = json.loads(path.read_bytes())
        measures = [
            Measure(
                name=f"{Path(each['fullname'].partition('::')[0]).stem.removeprefix('test_')}::{each['name']}",
                group=each["group"] or "",
                median_s=each["stats"]["median"],
                deviation_s=each["stats"]["stddev"],
                rounds=each["stats"]["rounds"],
                kernel_s=each["extra_info"].get("calibration_s"),
                extra=each["extra_info"],
            )
            for each in content["benchmarks"]
        ]
        machine, commit = content["machine_info"], (content["commit_info"].get("id") or "")[:9]
        told = machine.get("diarbench", {}).get("git") or commit
        return Session(path, content["datetime"][:16], told, machine, {each.name: each for each in measures})
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a session of 'bench throughput' (pytest-benchmark's JSON)") from error


def stored(store: Path) -> list[Path]:
    """The sessions in a folder, oldest first, as pytest-benchmark numbers them."""
    return sorted(store.glob("*/[0-9]*_*.json"), key=lambda path: (path.name.partition("_")[0].zfill(9), path))


def find_session(name: str, store: Path) -> Session:
    """A session by its file, or by its number in the store. Raises UserError where there is none."""
    if Path(name).is_file():
        return read_session(Path(name))
    paths = stored(store)
    found = [path for path in paths if name.isdigit() and int(path.name.partition("_")[0]) == int(name)]
    if not found:
        numbers = [path.name.partition("_")[0] for path in paths]
        hint = closest(name, numbers) or (f"; it holds {numbers[0]} to {numbers[-1]}" if numbers else "; it holds none")
        raise UserError(f"no session {name} in {store}{hint}")
    return read_session(found[-1])


def plot_history(sessions: Sequence[Session], path: Path) -> None:
    """A picture of every group: seconds by session, with bars of noise. Needs matplotlib."""
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
        axis.set(title=group or "others", ylabel="seconds", yscale="log", xticks=range(len(labels)), xticklabels=labels)
        axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)

"""Plots of datasets: hours, turn lengths, speakers, silence and overlap."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError, require
from diarbench.datasets.io.files import write_atomic
from diarbench.datasets.statistics import turn_lengths_s


def draw(datasets: Sequence[Dataset], path: Path) -> None:
    """Plot hours, turn lengths, speakers per recording, silence and overlap by dataset and subset, into a file.

    Raises UserError if matplotlib is not installed or the file cannot be written.
    """
    require("matplotlib", "drawing a plot")
    from matplotlib.figure import Figure

    shown = [(d, subset, listed) for d in datasets for subset, listed in d.recordings.items() if listed]
    labels = [f"{d.info.name}\n{subset}" for d, subset, _ in shown]
    infos = [d.info.subsets[subset] for d, subset, _ in shown]
    figure = Figure(figsize=(max(9.0, 1.2 * len(shown) + 6), 7.0), layout="constrained")
    hours, turns, speakers, activity = figure.subplots(2, 2).flat
    hours.bar(labels, [info.audio_s / 3600 for info in infos])
    hours.set_ylabel("hours of audio")
    turns.boxplot([turn_lengths_s(listed) or [0.0] for _, _, listed in shown], tick_labels=labels, showfliers=False)
    turns.set_ylabel("turn length (s)")
    counts = [[len({t.speaker for t in r.turns}) for r in listed] for _, _, listed in shown]
    most = max(max(per_recording) for per_recording in counts)
    for label, per_recording in zip(labels, counts, strict=True):
        shares = [per_recording.count(number) / len(per_recording) for number in range(most + 1)]
        speakers.plot(range(most + 1), shares, marker="o", label=label.replace("\n", " "))
    speakers.set_xticks(range(most + 1))
    speakers.set(xlabel="speakers in a recording", ylabel="share of recordings")
    speakers.legend(fontsize="small")
    positions = range(len(shown))
    silence = [1 - info.speech_s / (info.scored_s or 1) for info in infos]
    overlap = [info.overlap_s / (info.speech_s or 1) for info in infos]
    activity.bar([position - 0.2 for position in positions], silence, 0.4, label="silence, share of scored time")
    activity.bar([position + 0.2 for position in positions], overlap, 0.4, label="overlap, share of speech")
    activity.set_xticks(list(positions), labels)
    activity.legend(fontsize="small")
    image = io.BytesIO()
    try:
        figure.savefig(image, format=path.suffix.removeprefix(".") or "png")
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    write_atomic(path, image.getvalue())

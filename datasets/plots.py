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
    """Draw hours, turn lengths, speakers a recording, and silence and overlap, by dataset and subset, into a file.

    Raises UserError where matplotlib is missing or the file cannot be written.
    """
    require("matplotlib", "drawing a plot")
    from matplotlib.figure import Figure

    shown = [(d, subset, listed) for d in datasets for subset, listed in d.recordings.items() if listed]
    labels = [f"{d.info.name}\n{subset}" for d, subset, _ in shown]
    held = [d.info.subsets[subset] for d, subset, _ in shown]
    figure = Figure(figsize=(max(9.0, 1.2 * len(shown) + 6), 7.0), layout="constrained")
    hours, turns, speakers, shares = figure.subplots(2, 2).flat
    hours.bar(labels, [info.audio_s / 3600 for info in held])
    hours.set_ylabel("hours of audio")
    turns.boxplot([turn_lengths_s(listed) or [0.0] for _, _, listed in shown], tick_labels=labels, showfliers=False)
    turns.set_ylabel("length of a turn (s)")
    counts = [[len({t.speaker for t in r.turns}) for r in listed] for _, _, listed in shown]
    most = max(max(found) for found in counts)
    for label, found in zip(labels, counts, strict=True):
        steps = [found.count(number) / len(found) for number in range(most + 1)]
        speakers.plot(range(most + 1), steps, marker="o", label=label.replace("\n", " "))
    speakers.set_xticks(range(most + 1))
    speakers.set(xlabel="speakers in a recording", ylabel="share of the recordings")
    speakers.legend(fontsize="small")
    places = range(len(shown))
    silence = [1 - info.speech_s / (info.scored_s or 1) for info in held]
    overlap = [info.overlap_s / (info.speech_s or 1) for info in held]
    shares.bar([place - 0.2 for place in places], silence, 0.4, label="silence, of what is scored")
    shares.bar([place + 0.2 for place in places], overlap, 0.4, label="overlap, of what is spoken")
    shares.set_xticks(list(places), labels)
    shares.legend(fontsize="small")
    drawn = io.BytesIO()
    try:
        figure.savefig(drawn, format=path.suffix.removeprefix(".") or "png")
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    write_atomic(path, drawn.getvalue())

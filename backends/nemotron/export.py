"""Export of a fine-tuned Nemotron-3-Diarization as a snapshot for transformers, with a script that diarizes with it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diarbench.backends.nemo import postprocessing
from diarbench.backends.nemotron import diarize
from diarbench.backends.nemotron.network import NemotronNetwork
from diarbench.datasets.io.files import write_atomic


def export(network: NemotronNetwork, hyperparameters: Mapping[str, Any], folder: Path) -> str:
    """Write the model, its processor, ``diarize.py`` and ``diarize.json``; returns lines of Python that use them.

    The script needs transformers, torch and soundfile, and nothing of diarbench.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.model.save_pretrained(folder)
    network.processor().save_pretrained(folder)
    for module in (diarize, postprocessing):
        write_atomic(folder / Path(inspect.getfile(module)).name, inspect.getsource(module))
    settings = {"streaming": network.settings.streaming_mode is not None, "post_processing": dict(hyperparameters)}
    write_atomic(folder / "diarize.json", json.dumps(settings, indent=1) + "\n")
    return (
        "from transformers import AutoModelForAudioFrameClassification, AutoProcessor\n"
        f'processor = AutoProcessor.from_pretrained("{folder}")\n'
        f'model = AutoModelForAudioFrameClassification.from_pretrained("{folder}")\n'
        f'# "python {folder}/diarize.py audio.wav" prints the turns, post-processed as in the run\n'
    )

"""A fine-tuned Sortformer as NeMo has it: a ``.nemo`` file, and its post-processing as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from diarbench.backends.nemo.network import SortformerNetwork
from diarbench.backends.nemo.voices import VoiceSortformer
from diarbench.reports.records import write_whole


def export(network: SortformerNetwork, hyperparameters: Mapping[str, Any], folder: Path) -> str:
    """Write ``model.nemo`` and ``postprocessing.yaml``; returns how to load them."""
    folder.mkdir(parents=True, exist_ok=True)
    network.model.save_to(str(folder / "model.nemo"))
    parameters = {name.removesuffix("_s"): value for name, value in hyperparameters.items()}
    # Above the onset NeMo's offset would toggle speech frame by frame; ours then says what the onset does.
    parameters["offset"] = min(parameters["offset"], parameters["onset"])
    write_whole(folder / "postprocessing.yaml", yaml.safe_dump({"parameters": parameters}, sort_keys=False))
    file = folder / "model.nemo"
    if isinstance(network.model, VoiceSortformer):  # NeMo makes no class of ours
        load = f"""from pathlib import Path
from diarbench.backends.nemo.network import SortformerNetwork
model = SortformerNetwork.from_file(Path("{file}")).model.eval()
"""
    else:
        load = f"""from nemo.collections.asr.models import SortformerEncLabelModel
model = SortformerEncLabelModel.restore_from("{file}").eval()
"""
    return f'{load}model.diarize(audio=["audio.wav"], postprocessing_yaml="{folder / "postprocessing.yaml"}")\n'

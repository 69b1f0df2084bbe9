"""A fine-tuned Sortformer as NeMo has it: a ``.nemo`` file, and its post-processing as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from diarbench.backends.nemo.network import SortformerNetwork
from diarbench.datasets.io.files import write_atomic


def export(network: SortformerNetwork, hyperparameters: Mapping[str, Any], folder: Path) -> str:
    """Write ``model.nemo`` and ``postprocessing.yaml``; returns how to load them."""
    folder.mkdir(parents=True, exist_ok=True)
    network.model.save_to(str(folder / "model.nemo"))
    parameters = {name.removesuffix("_s"): value for name, value in hyperparameters.items()}
    # Above the onset NeMo's offset would toggle speech frame by frame; ours then says what the onset does.
    parameters["offset"] = min(parameters["offset"], parameters["onset"])
    write_atomic(folder / "postprocessing.yaml", yaml.safe_dump({"parameters": parameters}, sort_keys=False))
    file = folder / "model.nemo"
    diarize = f'model.diarize(audio=["audio.wav"], postprocessing_yaml="{folder / "postprocessing.yaml"}")'
    return f"{network.loading_code(file)}{diarize}\n"

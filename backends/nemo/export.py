"""Export of a fine-tuned Sortformer in NeMo's formats: a ``.nemo`` file and post-processing parameters as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from diarbench.backends.nemo.network import SortformerNetwork
from diarbench.datasets.io.files import write_atomic


def export(network: SortformerNetwork, hyperparameters: Mapping[str, Any], folder: Path) -> str:
    """Write ``model.nemo`` and ``postprocessing.yaml``; returns lines of Python that load them."""
    folder.mkdir(parents=True, exist_ok=True)
    file, postprocessing = folder / "model.nemo", folder / "postprocessing.yaml"
    network.model.save_to(str(file))
    parameters = {name.removesuffix("_s"): value for name, value in hyperparameters.items()}
    # With an offset above the onset, NeMo toggles speech frame by frame; diarbench uses the onset instead.
    parameters["offset"] = min(parameters["offset"], parameters["onset"])
    write_atomic(postprocessing, yaml.safe_dump({"parameters": parameters}, sort_keys=False))
    code = network.loading_code(file)
    code += f'turns = model.diarize(audio=["talk.wav"], postprocessing_yaml="{postprocessing}")[0]\n'
    return code + 'print(*turns, sep="\\n")  # start, end and speaker, rounded to 10 ms\n'

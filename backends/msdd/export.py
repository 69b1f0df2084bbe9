"""Export of a fine-tuned MSDD in NeMo's formats: a ``.nemo`` file and the configuration of a ``NeuralDiarizer``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from diarbench.backends.msdd.configuration import CAMPLUSPLUS, nemo_config, speaker_embeddings
from diarbench.backends.msdd.decoding import CHUNK, MOST_OVERLAPPING, OVERLAP_LIMIT
from diarbench.backends.msdd.inference import VOLUME
from diarbench.backends.msdd.network import MsddNetwork
from diarbench.backends.msdd.pipeline import SIGMOID, SPEAKERS, THRESHOLD
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import write_atomic


def export(network: MsddNetwork, hyperparameters: Mapping[str, Any], folder: Path) -> str:
    """Write ``model.nemo`` and ``diarizer.yaml``; returns lines of Python that load them.

    Raises UserError for an MSDD on CAM++, which NeMo cannot build.
    """
    if network.settings["speaker"] == CAMPLUSPLUS:
        raise UserError(
            "this MSDD uses CAM++, which NeMo cannot load: run it with bench diarize, or fine-tune one from the .nemo "
            "file of a TitaNet"
        )
    folder.mkdir(parents=True, exist_ok=True)
    file, settings = folder / "model.nemo", folder / "diarizer.yaml"
    # NeMo 2.7.3 leaves the speaker network's configuration out of the file, without which it cannot load it again.
    network.model.cfg = OmegaConf.create(nemo_config(network.settings))
    network.model.save_to(str(file))
    write_atomic(settings, yaml.safe_dump(diarizer_config(file, hyperparameters), sort_keys=False))
    return (
        "from nemo.collections.asr.models.msdd_models import NeuralDiarizer\n"
        "from omegaconf import OmegaConf\n"
        f'config = OmegaConf.load("{settings}")\n'
        "# Also set manifest_filepath, out_dir and vad.external_vad_manifest (the speech) in config.diarizer.\n"
        "NeuralDiarizer(config).diarize()\n"
    )


def diarizer_config(file: Path, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a ``NeuralDiarizer`` with a network and hyper-parameters, without its input and output."""
    return {
        "device": "cpu",
        "verbose": False,
        "batch_size": 64,
        "num_workers": 0,
        "sample_rate": 16000,
        "diarizer": {
            "manifest_filepath": None,
            "out_dir": None,
            "oracle_vad": False,
            "collar": 0.0,
            "ignore_overlap": False,
            "vad": {"model_path": None, "external_vad_manifest": None, "parameters": {}},
            "speaker_embeddings": speaker_embeddings(),
            "clustering": {
                "parameters": {
                    "oracle_num_speakers": False,
                    "max_num_speakers": hyperparameters[SPEAKERS],
                    "max_rp_threshold": hyperparameters[THRESHOLD],
                    "sparse_search_volume": VOLUME,
                }
            },
            "msdd_model": {
                "model_path": str(file),
                "parameters": {
                    "use_speaker_model_from_ckpt": True,
                    "infer_batch_size": 25,
                    "sigmoid_threshold": [hyperparameters[SIGMOID]],
                    "seq_eval_mode": False,
                    "split_infer": True,
                    "diar_window_length": CHUNK,
                    "overlap_infer_spk_limit": OVERLAP_LIMIT,
                    "max_overlap_spks": MOST_OVERLAPPING,
                },
            },
        },
    }

"""The architecture of an MSDD: a speaker network and a decoder, rebuilt from known parts only.

As in `diarbench.backends.nemo.configuration`, a checkpoint does not choose what is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diarbench.backends.msdd.segments import SCALES
from diarbench.backends.nemo.configuration import safe_part
from diarbench.datasets.io.errors import UserError

MODULES = "nemo.collections.asr.modules"

SPEAKER_PARTS = {
    "preprocessor": f"{MODULES}.AudioToMelSpectrogramPreprocessor",
    "encoder": f"{MODULES}.ConvASREncoder",
    "decoder": f"{MODULES}.SpeakerDecoder",
}
"""The class of each part of a speaker network of TitaNet's kind."""

DECODER = f"{MODULES}.msdd_diarizer.MSDD_module"

CAMPLUSPLUS = "CAM++"
"""In place of a speaker network's configuration: the installed CAM++, which is no part of the model."""

EMBEDDING_SIZE = 192

PUBLISHED_DECODER = {
    "num_spks": 2,
    "hidden_size": 256,
    "num_lstm_layers": 3,
    "dropout_rate": 0.5,
    "cnn_output_ch": 32,
    "conv_repeat": 2,
    "emb_dim": EMBEDDING_SIZE,
    "scale_n": len(SCALES),
    "weighting_scheme": "conv_scale_weight",
    "context_vector_type": "cos_sim",
}
"""The decoder of NVIDIA's telephonic MSDD."""

TINY_DECODER = {**PUBLISHED_DECODER, "hidden_size": 64, "num_lstm_layers": 1, "cnn_output_ch": 8, "conv_repeat": 1}


def _block(filters: int, kernel: int, repeat: int, residual: bool, stride: int = 1) -> dict[str, Any]:
    return {
        "filters": filters,
        "repeat": repeat,
        "kernel": [kernel],
        "stride": [stride],
        "dilation": [1],
        "dropout": 0.1,
        "residual": residual,
        "separable": True,
        "se": True,
        "se_context_size": -1,
    }


TINY_SPEAKER: dict[str, Any] = {
    "preprocessor": {
        "normalize": "per_feature",
        "window_size": 0.025,
        "sample_rate": 16000,
        "window_stride": 0.01,
        "window": "hann",
        "features": 80,
        "n_fft": 512,
        "frame_splicing": 1,
        "dither": 1e-5,
    },
    "encoder": {
        "feat_in": 80,
        "activation": "relu",
        "conv_mask": True,
        "jasper": [_block(96, 3, 1, False), _block(96, 7, 2, True), _block(256, 1, 1, False)],
    },
    "decoder": {"feat_in": 256, "num_classes": 2, "pool_mode": "attention", "emb_sizes": EMBEDDING_SIZE},
}
"""A speaker network of TitaNet's form and a hundredth of its size."""

SMALL_SPEAKER: dict[str, Any] = {
    **TINY_SPEAKER,
    "encoder": {
        "feat_in": 80,
        "activation": "relu",
        "conv_mask": True,
        "jasper": [
            _block(112, 3, 1, False, stride=2),
            _block(112, 7, 2, True),
            _block(112, 11, 1, True),
            _block(160, 1, 1, False),
        ],
    },
    "decoder": {
        "feat_in": 160,
        "num_classes": 2,
        "pool_mode": "attention",
        "attention_channels": 32,
        "emb_sizes": EMBEDDING_SIZE,
    },
}
"""The small speaker network, but for the number of speakers that it is trained on; see `small_speaker`."""

TINY = {"speaker": TINY_SPEAKER, "msdd": TINY_DECODER}
ON_CAMPLUSPLUS = {"speaker": CAMPLUSPLUS, "msdd": PUBLISHED_DECODER}


def safe_architecture(architecture: Any, source: Path | str) -> dict[str, Any]:
    """An architecture of known parts. Raises UserError where it would build anything else."""
    if not isinstance(architecture, Mapping) or not {"speaker", "msdd"} <= set(architecture):
        raise UserError(f"{source}: not an MSDD: it has no speaker network or no decoder")
    decoder = safe_part("msdd_module", DECODER, architecture["msdd"], source)
    if decoder.get("num_spks") != 2 or decoder.get("scale_n") != len(SCALES):
        raise UserError(
            f"{source}: an MSDD for {decoder.get('num_spks')} speakers at {decoder.get('scale_n')} scales; diarbench "
            f"runs those for pairs of speakers at {len(SCALES)} scales"
        )
    speaker = architecture["speaker"]
    return {"speaker": speaker if speaker == CAMPLUSPLUS else safe_speaker(speaker, source), "msdd": decoder}


def safe_speaker(config: Any, source: Path | str) -> dict[str, Any]:
    """The configuration of a speaker network, of known parts. Raises UserError where it would build anything else."""
    if not isinstance(config, Mapping) or not set(SPEAKER_PARTS) <= set(config):
        raise UserError(f"{source}: its speaker network lacks one of {', '.join(SPEAKER_PARTS)}")
    speaker = {name: safe_part(name, target, config[name], source) for name, target in SPEAKER_PARTS.items()}
    loss = config.get("loss")
    if isinstance(loss, Mapping) and "angular" in str(loss.get("_target_", "")).lower():
        speaker["decoder"]["angular"] = True  # NeMo's own constructor does this; its last layer then has no bias
    if speaker["decoder"].get("emb_sizes") != EMBEDDING_SIZE:
        raise UserError(
            f"{source}: speaker embeddings of size {speaker['decoder'].get('emb_sizes')}; an MSDD needs those of a "
            f"TitaNet, of size {EMBEDDING_SIZE}"
        )
    return speaker


def holds_msdd(config: Any, source: Path | str) -> bool:
    """Whether the configuration of a ``.nemo`` file is that of an MSDD, and not of a speaker network alone.

    Raises UserError where it is of neither.
    """
    keys = set(config) if isinstance(config, Mapping) else set()
    if "msdd_module" in keys or set(SPEAKER_PARTS) <= keys:
        return "msdd_module" in keys
    raise UserError(f"{source}: holds neither an MSDD nor a speaker network such as TitaNet")


def of_nemo_file(config: Any, source: Path | str) -> dict[str, Any]:
    """The architecture in the configuration of a ``.nemo`` file that holds an MSDD."""
    windows, shifts = _scales(config)
    if (windows, shifts) != ([s.window_s for s in SCALES], [s.shift_s for s in SCALES]):
        raise UserError(f"{source}: an MSDD with segments of {windows} s; diarbench runs those of 1.5 to 0.5 s")
    return safe_architecture({"speaker": config.get("speaker_model_cfg"), "msdd": config["msdd_module"]}, source)


def _scales(config: Any) -> tuple[Any, Any]:
    try:
        parameters = config["diarizer"]["speaker_embeddings"]["parameters"]
        return parameters["window_length_in_sec"], parameters["shift_length_in_sec"]
    except (KeyError, TypeError):
        return None, None


def speaker_embeddings() -> dict[str, Any]:
    """The scales, as NeMo's configurations name them."""
    parameters = {
        "window_length_in_sec": [scale.window_s for scale in SCALES],
        "shift_length_in_sec": [scale.shift_s for scale in SCALES],
        "multiscale_weights": [1] * len(SCALES),
        "save_embeddings": True,
    }
    return {"model_path": None, "parameters": parameters}


def nemo_config(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """The whole configuration from which NeMo builds, saves and runs an ``EncDecDiarLabelModel``.

    In place of CAM++, which NeMo cannot build, it has a tiny speaker network.
    """
    speaker = architecture["speaker"]
    if speaker == CAMPLUSPLUS:
        speaker = safe_speaker(TINY_SPEAKER, "configuration")
    return {
        "preprocessor": speaker["preprocessor"],
        "msdd_module": architecture["msdd"],
        "speaker_model_cfg": speaker,
        "loss": {"_target_": "nemo.collections.asr.losses.bce_loss.BCELoss", "weight": None},
        "diarizer": {"out_dir": None, "speaker_embeddings": speaker_embeddings()},
        "max_num_of_spks": 2,
        "scale_n": len(SCALES),
        "emb_batch_size": 0,  # the speaker network is not trained
        "sample_rate": 16000,
        "test_ds": {
            "manifest_filepath": None,
            "emb_dir": None,
            "sample_rate": 16000,
            "batch_size": 25,
            "num_workers": 0,
            "soft_label_thres": 0.5,
            "seq_eval_mode": False,
        },
    }

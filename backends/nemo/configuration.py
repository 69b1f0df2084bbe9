"""Rebuild a Sortformer's configuration from known parts, so that a checkpoint does not choose what is run.

NeMo calls whatever class or function a configuration names, under ``_target_``, or under ``cls`` or ``target`` with
``params``. Here each part's class comes from a table, and its options are plain values that this class takes.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from diarbench.backends.checkpoints import has_more_values
from diarbench.backends.nemo.presets import SPEAKER_EMBEDDING
from diarbench.datasets.io.errors import UserError, did_you_mean

MODELS = ("SortformerEncLabelModel", "SmallSortformer")
"""The classes of a whole model, as NeMo's ``target`` may name them."""

PARTS = {
    "preprocessor": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
    "spec_augment": "nemo.collections.asr.modules.SpectrogramAugmentation",
    "encoder": "nemo.collections.asr.modules.ConformerEncoder",
    "transformer_encoder": "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
    "sortformer_modules": "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
    "loss": "nemo.collections.asr.losses.bce_loss.BCELoss",
}
"""The class of each part."""

OPTIONAL_PARTS = ("spec_augment",)

NUMBER = (int, float)
SETTINGS: Mapping[str, tuple[type, ...]] = {
    "sample_rate": (int,),
    "pil_weight": NUMBER,
    "ats_weight": NUMBER,
    "fc_d_model": (int,),
    "tf_d_model": (int,),
    "max_num_of_spks": (int,),
    "streaming_mode": (bool,),
    "async_streaming": (bool,),
    "eps": NUMBER,
    "negative_init_val": NUMBER,
    "max_batch_dur": NUMBER,
    "nemo_version": (str,),
    SPEAKER_EMBEDDING: (str,),
}
"""What the model itself reads, with the type of each."""

DATA_SECTIONS = ("train_ds", "validation_ds", "test_ds", "optim")
"""Sections about the authors' data and training. They are left out, whatever they contain."""

BUILDING_KEYS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_", "cls", "target", "params")
"""Keys by which NeMo or hydra would build something."""

LARGEST_NUMBER = 10_000
LARGEST = {
    "att_chunk_context_size": 2000,
    "att_context_size": 2000,
    "chunk_left_context": 1000,
    "chunk_len": 4000,
    "chunk_right_context": 1000,
    "conv_context_size": 1000,
    "conv_kernel_size": 1000,
    "dilation": 100,
    "feat_in": 30_000,
    "features": 1500,
    "ff_expansion_factor": 40,
    "fifo_len": 2000,
    "frame_splicing": 10,
    "freq_masks": 100,
    "global_tokens": 1000,
    "inner_size": 40_000,
    "kernel": 1000,
    "max_index": 10**6,
    "max_num_of_spks": 8,  # the model lists all permutations
    "n_fft": 8192,
    "n_heads": 128,
    "n_layers": 200,
    "num_attention_heads": 128,
    "num_classes": 200_000,
    "num_layers": 200,
    "num_lstm_layers": 30,
    "num_spks": 8,
    "pad_to": 1024,
    "pos_emb_max_len": 50_000,
    "rect_masks": 100,
    "reduction_factor": 64,
    "repeat": 50,
    "sample_rate": 192_000,
    "spkcache_len": 2000,
    "stride": 64,
    "subsampling_conv_chunking_factor": 64,
    "subsampling_factor": 80,
    "time_masks": 100,
    "window_size": 1,
    "window_stride": 1,
}
"""Largest absolute value of numbers that size memory or work, at least ten times those of published models; of others
in a part it is `LARGEST_NUMBER`."""

SMALLEST = {
    "chunk_len": 1,
    "n_window_stride": 16,
    "num_spks": 1,
    "sample_rate": 8000,
    "subsampling_factor": 1,
    "window_stride": 0.001,
}
"""Of numbers that size work by being small: features a sample apart are 160 times as many as of any published model."""

DEEPEST, LONGEST, MOST_VALUES = 5, 1000, 10_000
"""Most levels of nesting, most entries of a list or mapping, and most values in all."""


def safe_config(config: Any, source: Path | str) -> dict[str, Any]:
    """The configuration with nothing but known parts and settings; other keys with plain values are left out.

    Raises UserError, with the path of the key, for a part of another class, an option that the class does not take, a
    value out of range, and anything that is not a plain value.
    """
    if not isinstance(config, Mapping):
        raise _refused(source, "", "is not a mapping of keys to values")
    if has_more_values(config, MOST_VALUES):
        raise _refused(source, "", f"more than {MOST_VALUES:,} values")
    safe: dict[str, Any] = {}
    for key, value in config.items():
        if key in DATA_SECTIONS:
            continue
        if key in PARTS:
            safe[key] = None if value is None and key in OPTIONAL_PARTS else safe_part(key, PARTS[key], value, source)
        elif key == "target":
            if type(value) is not str or value.rpartition(".")[2] not in MODELS:
                raise _refused(source, key, f"{_shown(value)} is not a Sortformer")
        elif key in SETTINGS:
            if type(value) not in SETTINGS[key]:
                expected = " or ".join(kind.__name__ for kind in SETTINGS[key])
                raise _refused(source, key, f"expected {expected}, got {_shown(value)}")
            _plain(key, value, source, *_range_of(key, 10**9))
            safe[key] = value
        else:
            plain = _plain(_name_of(key, "", source), value, source, largest=10**12)
            if key == "model_defaults":
                safe[key] = plain
    for key in PARTS:
        if key not in safe and key not in OPTIONAL_PARTS:
            raise _refused(source, key, "is missing; every Sortformer has it")
    return safe


def check_size(config: Mapping[str, Any], numbers: int, source: Path | str) -> None:
    """Raises UserError where a network of a safe configuration has far more weights than the file's ``numbers``.

    Only some of the weights are counted, so that no real network is refused.
    """
    encoder, transformer = config["encoder"], config["transformer_encoder"]
    try:
        width, expansion = encoder["d_model"], max(0, encoder.get("ff_expansion_factor", 4))
        channels = max(encoder.get("subsampling_conv_channels") or 0, 0)
        bands = encoder["feat_in"] // encoder.get("subsampling_factor", 4)
        counted = (
            max(1, encoder["n_layers"]) * width**2 * (1 + 4 * expansion)  # each layer has two feed-forward parts
            + max(1, transformer["num_layers"]) * transformer["hidden_size"] * transformer["inner_size"]
            + channels**2
            + (channels * bands * width if encoder.get("subsampling") in ("striding", "dw_striding") else 0)
        )
    except (KeyError, TypeError) as error:
        raise _refused(source, "encoder or transformer_encoder", f"has no valid {error}") from error
    if counted > numbers:
        raise _refused(source, "encoder", f"describes a network of over {counted:,} weights; the file has {numbers:,}")


def safe_part(name: str, target: str, options: Any, source: Path | str) -> dict[str, Any]:
    """The class ``target`` of a part and the options for it. Raises UserError as `safe_config`."""
    if type(options) is not dict:
        raise _refused(source, name, f"expected options by name, got {_shown(options)}")
    _check_class(f"{name}._target_", options.get("_target_", target), target, source)
    module, _, class_name = target.rpartition(".")
    accepted = inspect.signature(getattr(import_module(module), class_name).__init__).parameters
    safe = {"_target_": target}
    for key, value in options.items():
        if key == "_target_":
            continue
        path = _name_of(key, name, source)
        if key not in accepted or accepted[key].kind is inspect.Parameter.VAR_KEYWORD or key == "self":
            raise _refused(source, path, f"{class_name} has no such option{did_you_mean(key, accepted)}")
        safe[key] = _plain(path, value, source, *_range_of(key, LARGEST_NUMBER))
    return safe


def _check_class(path: str, value: Any, expected: str, source: Path | str) -> None:
    name = expected.rpartition(".")[2]
    if type(value) is not str or not value.startswith("nemo.") or value.rpartition(".")[2] != name:
        raise _refused(source, path, f"would build {_shown(value)}, which is not {name}")


def _range_of(key: str, largest: float, smallest: float = -math.inf) -> tuple[float, float]:
    """The largest absolute value and the smallest value of the numbers under a key, which may be in a list."""
    return LARGEST.get(key, largest), SMALLEST.get(key, smallest)


def _plain(
    path: str, value: Any, source: Path | str, largest: float, smallest: float = -math.inf, depth: int = 0
) -> Any:
    """A copy of a plain value. Raises UserError for any other, and for one out of range."""
    if value is None or type(value) is bool:
        return value
    if type(value) in NUMBER:
        if not (abs(value) <= largest and value >= smallest):
            least = "" if smallest == -math.inf else f"at least {smallest:g} and "
            raise _refused(source, path, f"{_shown(value)} is out of range ({least}at most {largest:g})")
        return value
    if type(value) is str:
        if "${" in value:
            raise _refused(source, path, f"{_shown(value)} is an interpolation, not a plain value")
        return value
    if depth >= DEEPEST:
        raise _refused(source, path, f"nested more than {DEEPEST} levels deep")
    if type(value) in (list, dict) and len(value) > LONGEST:
        raise _refused(source, path, f"more than {LONGEST} entries")
    if type(value) is list:
        return [_plain(f"{path}[{k}]", entry, source, largest, smallest, depth + 1) for k, entry in enumerate(value)]
    if type(value) is dict:
        return {
            key: _plain(_name_of(key, path, source), entry, source, *_range_of(key, largest, smallest), depth + 1)
            for key, entry in value.items()
        }
    raise _refused(source, path, f"a {type(value).__name__} is not a plain value")


def _name_of(key: Any, parent: str, source: Path | str) -> str:
    """The path of a key. Raises UserError where the key is no plain text, or one that would build something."""
    path = f"{parent}.{_shown(key) if type(key) is not str else key[:80]}".lstrip(".")
    if type(key) is not str or key in BUILDING_KEYS:
        raise _refused(source, path, "not allowed here")
    return path


def _refused(source: Path | str, path: str, reason: str) -> UserError:
    return UserError(f"{source}: refused: its configuration{f': {path}:' if path else ''} {reason}")


def _shown(value: Any) -> str:
    if type(value) not in (str, int, float, bool, type(None)):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

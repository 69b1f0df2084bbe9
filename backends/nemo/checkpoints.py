"""Reading of NeMo checkpoints without importing a toolkit: ``.nemo`` archives, configurations and tensor names."""

from __future__ import annotations

import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from diarbench.backends.nemo.presets import preset, presets
from diarbench.datasets.io.errors import UserError

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
"""The two members of a ``.nemo`` archive that diarbench reads."""

DATA_SECTIONS = ("train_ds", "validation_ds", "test_ds", "optim")
"""Sections of a NeMo configuration that describe its authors' data and training, not the network."""

ALLOWED_CLASSES = {
    "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
    "nemo.collections.asr.modules.SpectrogramAugmentation",
    "nemo.collections.asr.modules.ConformerEncoder",
    "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
    "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
    "nemo.collections.asr.losses.bce_loss.BCELoss",
}
"""The only classes that a Sortformer's configuration may name for instantiation."""


def read_config(path: Path) -> Any:
    """The configuration of a ``.nemo`` file, as plain values. Raises UserError where it cannot be read."""
    try:
        return yaml.safe_load(read_member(path, CONFIG))
    except yaml.YAMLError as error:
        raise _damaged(path, error) from error


def read_member(path: Path, name: str) -> bytes:
    """The content of one member of a ``.nemo`` file; nothing is extracted to disk.

    Raises UserError where it cannot be read.
    """
    try:
        with tarfile.open(path) as archive:
            for entry in archive:
                if Path(entry.name).name == name and (file := archive.extractfile(entry)):
                    return file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise _damaged(path, error) from error
    raise _damaged(path, f"it contains no {name}")


def check_config(source: Path | str, config: Any) -> None:
    """Reject a configuration that would build or look up anything but the parts of a Sortformer.

    Raises UserError, with a message that starts with ``source``.
    """
    for key, value in _entries(config):
        if key == "_target_" and value not in ALLOWED_CLASSES:
            raise UserError(f"{source}: its configuration would run {value}, which is no part of a Sortformer")
        if isinstance(value, str) and "${" in value and ":" in value:
            raise UserError(f"{source}: its configuration contains the resolver {value}; only plain values are allowed")


def preset_for(path: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The preset for a file of tensors without a configuration, by the widths of the two encoders.

    Raises UserError where no preset has these widths.
    """
    if "sortformer_modules.encoder_proj.weight" not in tensors:
        raise UserError(f"{path}: not the tensors of a Sortformer")
    widths = tuple(tensors["sortformer_modules.encoder_proj.weight"].shape)
    for config in map(preset, presets()):
        if (config["tf_d_model"], config["fc_d_model"]) == widths:
            return config
    raise UserError(
        f"{path}: no preset has the size of this Sortformer; pass a .nemo file, which has its configuration"
    )


def nemo_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a diarbench checkpoint, under NeMo's names."""
    return {name.removeprefix("model."): tensor for name, tensor in weights.items()}


def omegaconf_classes() -> tuple[Any, ...]:
    """The classes that the configuration in a checkpoint of NeMo's own training consists of; all hold plain values."""
    from omegaconf import DictConfig, ListConfig
    from omegaconf.base import ContainerMetadata, Metadata
    from omegaconf.nodes import AnyNode

    builtin = (defaultdict, dict, list, int, (Any, "typing.Any"))
    return (DictConfig, ListConfig, AnyNode, ContainerMetadata, Metadata, *builtin)


def _damaged(path: Path, reason: Exception | str) -> UserError:
    return UserError(f"{path}: not a .nemo file, or a truncated one ({reason})")


def _entries(node: Any) -> Iterator[tuple[Any, Any]]:
    """All keys and values of nested mappings and lists."""
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        yield key, value
        if isinstance(value, Mapping | list):
            yield from _entries(value)

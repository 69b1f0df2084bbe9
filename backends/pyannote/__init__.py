"""The pyannote.audio backend: segmentation, speaker embeddings and clustering."""

from diarbench.backends.torchmetrics import defer_torchmetrics

defer_torchmetrics()

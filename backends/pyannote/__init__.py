"""The pyannote.audio backend: segmentation, speaker embeddings and clustering."""

"""The NVIDIA NeMo backend: Sortformer, an end-to-end diarization network."""

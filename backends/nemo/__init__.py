"""The NVIDIA NeMo backend: Sortformer, end to end."""

"""NeMo's multi-scale diarization decoder (MSDD), which runs with NeMo 2.7.3 in an environment of its own."""

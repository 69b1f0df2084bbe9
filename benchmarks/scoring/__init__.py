"""The diarization error rate and what is built on it: significance, slices, baselines and fusion."""

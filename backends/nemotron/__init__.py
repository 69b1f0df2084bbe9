"""NVIDIA's Nemotron-3-Diarization, through Hugging Face transformers; nothing of NeMo is needed."""

"""The CAM++ speaker embedding, which pyannote's pipeline and the small Sortformer use."""

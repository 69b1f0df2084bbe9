"""The training loop that all backends share."""

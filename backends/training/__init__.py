"""The training loop that all backends share."""

from diarbench.backends.torchmetrics import defer_torchmetrics

defer_torchmetrics()

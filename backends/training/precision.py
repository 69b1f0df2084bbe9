"""Which device computes in which precision. Imports torch only to ask a GPU."""

from __future__ import annotations

from diarbench.datasets.io.errors import UserError


def check_precision(device: str, precision: str) -> None:
    """Raises UserError for a precision that the device, such as ``cpu`` or ``cuda:1``, does not have."""
    if precision == "16-mixed" and device == "cpu":
        raise UserError("precision 16-mixed: not available on a CPU; use bf16-mixed or 32-true")
    if precision == "bf16-mixed" and device.startswith("cuda"):
        import torch

        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise UserError("precision bf16-mixed: this GPU is too old for it; use 16-mixed or 32-true")

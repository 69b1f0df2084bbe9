"""Training in several processes, mixed precision, and seeds."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from lightning.fabric.strategies import DDPStrategy
from lightning.fabric.utilities.exceptions import MisconfigurationException

from diarbench.backends.training.precision import check_precision
from diarbench.datasets.io.errors import UserError


class ForwardDispatch(torch.nn.Module):
    """A network whose methods are called through ``forward``, where Fabric handles precision and gradient exchange."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, kind: str, waveforms: torch.Tensor, targets: torch.Tensor) -> Any:
        return getattr(self.network, kind)(waveforms, targets)


class InputPreservingMixedPrecision(MixedPrecision):
    """Mixed precision that leaves the waveforms in 32 bits; Fabric's own would round them as well."""

    def convert_input(self, data: Any) -> Any:
        return data


def launch_fabric(device: str, devices: int, nodes: int, strategy: str, precision: str) -> Fabric:
    """Start Lightning's Fabric, and with several devices the other processes of this node.

    Each process runs the command that started this one. Raises UserError where this machine lacks the device or the
    precision.
    """
    kind, _, number = device.partition(":")
    check_precision(device, precision)
    mixed = InputPreservingMixedPrecision(precision, kind) if precision in ("16-mixed", "bf16-mixed") else None  # type: ignore[arg-type]
    # Sortformer's offline form leaves some of its layers unused.
    ddp = DDPStrategy(find_unused_parameters=True) if strategy == "auto" and devices * nodes > 1 else strategy
    try:
        fabric = Fabric(
            accelerator=kind,
            devices=[int(number)] if number else devices,
            num_nodes=nodes,
            strategy=ddp,
            precision=None if mixed else precision,  # type: ignore[arg-type]
            plugins=mixed,
        )
        fabric.launch()
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"--device {device} --devices {devices} --nodes {nodes}: {reason}") from error
    return fabric


def end_group() -> None:
    """Close the process group of a training; otherwise NeMo's encoder would wait for processes that have ended."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def seed_all(seed: int, epoch: int) -> None:
    """Seed every random generator that a toolkit may use."""
    state = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    torch.manual_seed(state)
    np.random.seed(state)
    random.seed(state)


def sum_over_processes(fabric: Fabric, figures: Any) -> np.ndarray:
    """An array of figures summed over all processes; every process gets the same sums."""
    own = np.asarray(figures, dtype=np.float64)
    if fabric.world_size == 1:
        return own
    sums: Any = fabric.all_reduce(torch.from_numpy(own), reduce_op="sum")
    return np.asarray(sums.cpu().numpy())

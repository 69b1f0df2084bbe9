"""Whether a batch of a recipe fits into the memory of a GPU, found out before the first epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric import Fabric

from diarbench.backends.training.batches import BatchLoader
from diarbench.datasets.io.errors import UserError


def check_batch_fits(network: Any, loader: BatchLoader, fabric: Fabric) -> None:
    """Compute the gradients of one full batch; leaves the network as it was.

    Raises UserError where the batch does not fit; the message has the largest of its half, its quarter and so on that
    does. Every process tries its own share, without the others.
    """
    recipe, processes = loader.recipe, fabric.world_size
    parameters = dict(network.named_parameters())
    statistics = {name: tensor.clone() for name, tensor in network.state_dict().items() if name not in parameters}
    trained = [parameter for parameter in parameters.values() if parameter.requires_grad]

    def compute_gradients(windows: int) -> None:
        # Most optimizers keep two more numbers for each parameter from the first step on.
        moments = [torch.empty_like(parameter) for parameter in trained for _ in range(2)]
        waveforms, targets = loader.repeat_first_window(windows)
        dtype = trained[0].dtype
        with fabric.autocast():
            losses = network.loss(waveforms.to(dtype), targets.to(dtype))
        losses.total.backward()
        del moments

    network.train()
    share = math.ceil(min(recipe.batch_size, loader.windows_per_epoch) / processes)
    fitting = largest_fitting(share, compute_gradients)
    network.zero_grad()
    network.load_state_dict(statistics, strict=False)
    least: Any = fabric.all_reduce(torch.tensor(fitting, device=fabric.device), reduce_op="min")
    fitting = int(least)
    if fitting < share:
        cure = (
            f"batch_size: {fitting * processes} fits; raise accumulate by the same factor"
            if fitting
            else "not even a window for each device does; shorten window_s or take a smaller network"
        )
        raise UserError(
            f"a batch of {recipe.batch_size} windows of {recipe.window_s:g} s does not fit in the memory of "
            f"{fabric.device}: {cure}"
        )


def largest_fitting(size: int, attempt: Callable[[int], None]) -> int:
    """Try ``size``, its half, its quarter and so on. Returns the first that ``attempt`` has enough memory for, or 0."""
    while size:
        try:
            attempt(size)
        except torch.OutOfMemoryError:
            size //= 2
        else:
            break
        finally:
            torch.cuda.empty_cache()  # does nothing where CUDA is not in use
    return size

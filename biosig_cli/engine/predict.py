"""What a trained model says of windows, batch by batch, in their order."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biosig_cli.core.runtime import Precision
from biosig_cli.engine.optimize import autocast


class SignalBatches(Protocol):
    """Batches of windows in a fixed order."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """Yield batches that have a `signal` (B, C, T)."""


@torch.no_grad()
def predict(
    model: nn.Module,
    data: SignalBatches,
    *,
    device: str,
    precision: Precision = "fp32",
    ask: Callable[[nn.Module, Tensor], Tensor] | None = None,
) -> NDArray[np.float64]:
    """Return what `model` says of every window, in the order of `data`.

    Args:
        model: Put into eval mode; a window's answer depends on no other window.
        data: Unshuffled batches.
        device: Where to compute.
        precision: What to compute in.
        ask: What to ask of the model; its forward pass on the signal (B, C, T) if None.

    Returns:
        (N, ...) answers.
    """
    model.eval().to(device)
    answers = []
    for batch in data.batches(0):
        with autocast(device, precision):
            signal = batch.signal.to(device)
            answer = model(signal) if ask is None else ask(model, signal)
        answers.append(answer.double().cpu())
    return torch.cat(answers).numpy()

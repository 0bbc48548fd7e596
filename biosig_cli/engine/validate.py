"""Validation: the losses of the same windows every time, and a score of all of them together."""

import torch
from torch import Tensor

from biosig_cli.engine import distributed
from biosig_cli.engine.contract import Batches, Trainable
from biosig_cli.engine.optimize import autocast
from biosig_cli.engine.state import Run
from biosig_cli.engine.tally import Tally


@torch.no_grad()
def validate(trainable: Trainable, data: Batches, run: Run) -> dict[str, float]:
    """Return the losses of all windows of `data`, as means over windows, and their score."""
    trainable.eval()
    tally = Tally(run.device)
    outputs: list[dict[str, Tensor]] = []
    for batch in data.batches(0, cut=lambda rows: [distributed.share(rows)]):
        outputs.append({})
        # A last batch may have fewer windows than there are processes.
        if len(batch):
            with autocast(run.device, run.precision):
                losses = trainable(batch.to(run.device))
            tally.add({"loss": losses.total, **losses.parts}, len(batch))
            outputs[-1] = losses.outputs
    tally.merge()
    means = {name: value / data.n_windows for name, value in tally.read().items()}
    return means | trainable.score(_in_order(outputs))


def _in_order(outputs: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return what all processes gave for their shares of each batch, in the order of windows.

    Args:
        outputs: Of each batch, by name (B, ...); empty where the share was.

    Returns:
        By name (N, ...), on the CPU.
    """
    ours = [{name: value.cpu() for name, value in each.items()} for each in outputs]
    shares = [each for batch in zip(*distributed.gather(ours), strict=True) for each in batch]
    filled = [each for each in shares if each] or [{}]
    return {name: torch.cat([each[name] for each in filled]) for name in filled[0]}

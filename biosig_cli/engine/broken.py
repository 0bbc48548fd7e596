"""Which windows made a loss or a gradient that is not finite."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biosig_cli.core.artifacts import write_json
from biosig_cli.core.errors import TrainingError
from biosig_cli.engine.contract import AnyBatch, Batches, Trainable
from biosig_cli.engine.optimize import autocast
from biosig_cli.engine.state import Run

FILE = "bad_batch.json"
N_NAMED = 3


def find_broken(
    trainable: Trainable, data: Batches, run: Run, *, epoch: int, start: int, n_batches: int
) -> list[dict[str, Any]]:
    """Return the windows of a step, each with why it gives no finite loss, "" if it does.

    Args:
        trainable: What was trained, as it was before the step.
        data: Where the windows come from.
        run: Where and how they are computed.
        epoch: Epoch of the step, counted from zero.
        start: Number of its first batch.
        n_batches: How many batches made it.
    """
    plan = data.plan(epoch)[start : start + n_batches]
    rows = [int(row) for batch in plan for row in batch]
    singles = data.batches(epoch, start, cut=one_by_one)
    trainable.eval()
    whys = [_judge(trainable, batch, run) for _, batch in zip(rows, singles, strict=False)]
    return [
        {"row": row} | about | {"why": why}
        for row, about, why in zip(rows, data.describe(rows), whys, strict=True)
    ]


def one_by_one(rows: Any) -> list[Any]:
    """Cut a batch into single windows."""
    return [rows[place : place + 1] for place in range(len(rows))]


def _judge(trainable: Trainable, batch: AnyBatch, run: Run) -> str:
    """Say why a window by itself gives no finite loss or gradient."""
    for name, values in vars(batch).items():
        if isinstance(values, Tensor) and values.is_floating_point():
            n_broken = int((~torch.isfinite(values)).sum())
            if n_broken:
                return f"{n_broken} of {values.numel()} numbers of its {name} are not finite"
    trainable.zero_grad(set_to_none=True)
    with autocast(run.device, run.precision):
        total = trainable(batch.to(run.device)).total
    if not torch.isfinite(total):
        return f"its loss is {total.item()}"
    total.backward()
    gradients = [p.grad for p in trainable.parameters() if p.grad is not None]
    is_finite = all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    return "" if is_finite else "its gradient is not finite"


def report_broken(
    windows: Sequence[Mapping[str, Any]], folder: Path, where: str, step: int
) -> TrainingError:
    """Write `bad_batch.json` and return the error that names the windows to blame."""
    write_json(folder / FILE, {"where": where, "step": step, "windows": list(windows)})
    guilty = [window for window in windows if window["why"]]
    first = "; ".join(f"{_name(window)}: {window['why']}" for window in guilty[:N_NAMED])
    more = f"; and {len(guilty) - N_NAMED} more" if len(guilty) > N_NAMED else ""
    whose = f"{len(guilty)} of its {len(windows)} windows give it by themselves ({first}{more})"
    if not guilty:
        whose = f"none of its {len(windows)} windows gives it alone"
    advice = "try a tenth of the learning rate (--lr) or --precision fp32"
    if any("numbers of its" in window["why"] for window in guilty):
        advice = "build the store again; `biosig audit` finds windows that are not finite"
    return TrainingError(
        f"the loss or its gradient is not finite in {where}, step {step}: {whose}",
        hint=f"{advice}; the ids of the windows are in {folder / FILE}, and completed epochs "
        "are saved",
    )


def _name(window: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in window.items() if name != "why")

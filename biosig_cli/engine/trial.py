"""A few steps of a training, made to see what all of them will take; they are thrown away."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from biosig_cli.engine import distributed
from biosig_cli.engine.optimize import autocast
from biosig_cli.engine.pace import memory_gb
from biosig_cli.engine.stages import Stage
from biosig_cli.engine.state import State
from biosig_cli.engine.train import Training

N_WARM, N_TIMED = 2, 6
"""Steps that are made before the clock starts, and by it: the first ones fill caches."""
N_VALIDATED = 3


@dataclass(frozen=True)
class TriedStage:
    """What a stage of a training takes.

    Attributes:
        stage: The stage.
        n_moving: Parameters that move in it.
        windows_per_s: How fast it trains, reading included.
        checkpoint_bytes: Size of a checkpoint made in it, without what surrounds its tensors.
    """

    stage: Stage
    n_moving: int
    windows_per_s: float
    checkpoint_bytes: int


@dataclass(frozen=True)
class Trial:
    """What a training takes.

    Attributes:
        stages: Each stage.
        n_parameters: All of them, moving or not.
        val_windows_per_s: How fast it validates.
        memory_gb: The most memory that was held: of the GPU where there is one.
    """

    stages: tuple[TriedStage, ...]
    n_parameters: int
    val_windows_per_s: float
    memory_gb: float


def try_out(training: Training) -> Trial:
    """Make a few steps of each stage, and validate a few batches.

    Nothing is written, and the training is of no use afterwards.

    Raises:
        TrainingError: If a loss is not finite, a parameter gets no gradient, or the memory is too
            small.
    """
    stages = tuple(_try_stage(training, number) for number in range(len(training.course.stages)))
    val_windows_per_s = _try_validation(training)
    return Trial(
        stages=stages,
        n_parameters=sum(p.numel() for p in training.trainable.parameters()),
        val_windows_per_s=val_windows_per_s,
        memory_gb=memory_gb(training.run.device),
    )


def _try_stage(training: Training, number: int) -> TriedStage:
    training.state = State()
    training.enter(number)
    groups = _groups(training)
    for group in islice(groups, N_WARM):
        training.next_step(group, looks=False)
    training.look()
    start_s, n_windows = time.monotonic(), 0
    for group in islice(groups, N_TIMED):
        training.next_step(group, looks=False)
        n_windows += sum(len(rows) for rows in group)
    training.look()
    spent_s = time.monotonic() - start_s
    moving = (p for p in training.trainable.parameters() if p.requires_grad)
    return TriedStage(
        stage=training.course.stages[number],
        n_moving=sum(p.numel() for p in moving),
        windows_per_s=n_windows / spent_s,
        checkpoint_bytes=_n_bytes(training.content()),
    )


def _groups(training: Training) -> Iterator[Any]:
    """Yield the batches of each step, epoch after epoch, and open each epoch on the way."""
    state, size = training.state, training.plan.accumulate
    while True:
        plan = training.train_data.plan(state.epoch)
        training.open_epoch()
        for start in range(0, len(plan), size):
            yield plan[start : start + size]
        training.look()
        state.epoch += 1
        state.n_batches, state.n_windows, state.sums = 0, 0, {}


@torch.no_grad()
def _try_validation(training: Training) -> float:
    """Return windows/s of the losses; what only all windows together have is left out."""
    run, n_windows, start_s = training.run, 0, time.monotonic()
    training.trainable.eval()
    batches = training.val_data.batches(0, cut=lambda rows: [distributed.share(rows)])
    for number, batch in enumerate(islice(batches, N_VALIDATED)):
        if number == 1:  # the first one fills caches; if it is alone, it counts all the same
            n_windows, start_s = 0, time.monotonic()
        if len(batch):
            with autocast(run.device, run.precision):
                losses = training.trainable(batch.to(run.device))
            losses.total.item()
            n_windows += len(batch)
    return n_windows * distributed.n_processes() / (time.monotonic() - start_s)


def _n_bytes(content: Any) -> int:
    if isinstance(content, Tensor):
        return content.numel() * content.element_size()
    if isinstance(content, Mapping):
        return sum(_n_bytes(value) for value in content.values())
    return sum(map(_n_bytes, content)) if isinstance(content, list | tuple) else 0

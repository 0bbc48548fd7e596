"""What a training is told of its run, what it knows of its progress, and how it ended."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Precision


@dataclass(frozen=True)
class Run:
    """Where and how a training runs; none of it changes a number but the precision.

    Attributes:
        folder: The run folder.
        device: Where to compute.
        precision: What to compute in; losses are float32.
        reporter: Who says what happens.
        describe: What goes into every checkpoint besides the training's own state.
        how_to_resume: The command that goes on with the run.
        log_every: Steps between lines of `metrics.jsonl`.
        save_every: Epochs between checkpoints that stay.
        keep: How many of those stay; all if None.
        rescue_s: Seconds after which a long epoch is saved on its way.
        seed: What dropout draws from, together with the step.
        tensorboard: Write the figures for TensorBoard too.
    """

    folder: Path
    device: str
    precision: Precision
    reporter: Reporter
    describe: dict[str, Any] = field(default_factory=dict)
    how_to_resume: str = ""
    log_every: int = 50
    save_every: int = 10
    keep: int | None = None
    rescue_s: float = 300.0
    seed: int = 0
    tensorboard: bool = False


@dataclass
class State:
    """How far a training has come; all of it is in the checkpoint."""

    epoch: int = 0
    """Epochs completed."""
    n_batches: int = 0
    """Batches of the current epoch that are done."""
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    """Losses of the current epoch, summed over windows."""
    n_windows: int = 0
    n_skipped: int = 0
    """Steps of the current epoch that the fp16 scaler skipped."""
    history: dict[str, list[float]] = field(default_factory=dict)
    stage: int = 0
    """Number of the stage that the training is in."""
    stage_epoch: int = 0
    """Epochs of that stage that are done."""
    best: float | None = None
    """The monitored validation figure of the best epoch; None before there is one."""
    best_epoch: int = 0
    is_finished: bool = False

    @property
    def best_val_loss(self) -> float:
        """The validation loss of the best epoch."""
        return self.history["val_loss"][self.best_epoch - 1] if self.best_epoch else math.inf


@dataclass(frozen=True)
class TrainResult:
    """How a training ended.

    Attributes:
        best_val_loss: The validation loss of the best epoch.
        best: The monitored figure of the best epoch; the loss where nothing else is monitored.
        best_epoch: Which epoch that was, counted from one.
        n_epochs: Epochs trained.
        history: Equally long lists by name.
        duration_s: What it took this time.
    """

    best_val_loss: float
    best: float | None
    best_epoch: int
    n_epochs: int
    history: dict[str, list[float]]
    duration_s: float

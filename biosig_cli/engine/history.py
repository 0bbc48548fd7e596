"""What a training leaves to read: a row per epoch, a history, a line per step."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from biosig_cli.core.artifacts import atomic_path, hold, write_json
from biosig_cli.core.progress import Reporter, duration
from biosig_cli.engine.board import Board
from biosig_cli.engine.checkpoint import writing

MOST_SHOWN = 10
"""Figures in a row of the table."""

History = Mapping[str, list[float]]


class EpochTable:
    """Prints a row per epoch, under a head, as the training goes."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.has_head = False

    def row(self, history: History, duration_s: float, *, is_best: bool) -> None:
        """Print the newest epoch; a star marks the best so far, which was saved."""
        shown = _that_fit([name for name in history if name not in ("epoch", "lr")])
        if not self.has_head:
            names = "".join(f"{name:>{_width(name)}}" for name in shown)
            self.reporter.say(f"{'epoch':>5}{'time':>10}{names}{'lr':>10}")
            self.has_head = True
        values = "".join(f"{_figure(history[name][-1]):>{_width(name)}}" for name in shown)
        head = f"{history['epoch'][-1]:>5.0f}{duration(duration_s):>10}"
        mark = "  * best, saved" if is_best else ""
        self.reporter.say(f"{head}{values}{history['lr'][-1]:>10.1e}{mark}")


def _that_fit(names: list[str]) -> list[str]:
    """Return the figures that a line has room for; all of them are in the history.

    What each part of the loss was in training is left out first, then what comes last.
    """
    if len(names) > MOST_SHOWN:
        names = [n for n in names if not n.startswith("train_") or n == "train_loss"]
    return names[:MOST_SHOWN]


def _figure(value: float) -> str:
    return f"{value}" if isinstance(value, int) else f"{value:.4f}"


def _width(name: str) -> int:
    return max(len(name), 6) + 2


def write_history(folder: Path, history: History) -> None:
    """Write `training_history.json`: one object of equally long lists; null is not a number."""
    file = folder / "training_history.json"
    with writing(file):
        write_json(file, {name: [_plain(x) for x in values] for name, values in history.items()})


class MetricsLog:
    """`metrics.jsonl`: one line per logged step and per epoch; null is not a finite number.

    While it is open, others can see that the run is going on.

    Args:
        path: The file; None where another process writes it.
        step: Step at which a run is resumed; later lines are dropped, so that no step stands twice.
        epoch: Epochs that were completed then.
        tensorboard: Write the figures for TensorBoard too.

    Attributes:
        elapsed_s: Seconds that the run took before it was resumed.
    """

    def __init__(
        self, path: Path | None, step: int, epoch: int, *, tensorboard: bool = False
    ) -> None:
        self.path = path
        self.board: Board | None = None
        self.elapsed_s = 0.0
        if path is None:
            return
        old = path.read_text("utf-8", "replace").splitlines(keepends=True) if path.exists() else []
        # A run may be killed here too: the old lines stay until the new ones are whole.
        with writing(path), atomic_path(path) as temporary:
            kept = [line for line in old if _is_before(line, step, epoch)]
            temporary.write_text("".join(kept), "utf-8")
        if kept:
            self.elapsed_s = json.loads(kept[-1]).get("elapsed_s", 0.0)
        self.file = path.open("a", encoding="utf-8")
        hold(self.file)
        if tensorboard:
            self.board = Board(path.parent, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.path is not None:
            # Every line was flushed; one that could not be has been told of.
            with suppress(OSError):
                self.file.close()
        if self.board is not None:
            self.board.close()

    def step(
        self, step: int, epoch: int, loss: float, lr: float, norm: float, **more: float
    ) -> None:
        """Write a step: mean loss of the epoch so far, learning rate, length of the gradient."""
        row = {"step": step, "epoch": epoch + 1, "loss": loss, "lr": lr, "gradient_norm": norm}
        self._write(row | more)

    def epoch(self, epoch: int, step: int, history: History, timings: Mapping[str, float]) -> None:
        """Write an epoch."""
        newest = {name: values[-1] for name, values in history.items()}
        self._write({"step": step} | newest | {"epoch": epoch, **timings})
        if self.path is not None:
            with writing(self.path):  # a checkpoint that survives a power cut has its lines
                os.fsync(self.file.fileno())

    def _write(self, row: Mapping[str, float]) -> None:
        if self.path is None:
            return
        with writing(self.path):
            self.file.write(json.dumps({k: _plain(v) for k, v in row.items()}) + "\n")
            self.file.flush()
            if self.board is not None:
                self.board.write(row)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _is_before(line: str, step: int, epoch: int) -> bool:
    """Say whether a line is whole, and tells of what was done by then."""
    try:
        row = json.loads(line)
    except ValueError:
        return False
    if not line.endswith("\n") or not isinstance(row, dict):
        return False
    # An epoch has the number of its last step, which may have been saved before the epoch was.
    is_epoch = "train_loss" in row
    return bool(row["step"] <= step and not (is_epoch and row["epoch"] > epoch))

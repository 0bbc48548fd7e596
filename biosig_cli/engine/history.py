"""What a training leaves to read: a row per epoch, a history, a line per step."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from biosig_cli.core.artifacts import write_json
from biosig_cli.core.progress import Reporter, duration

History = Mapping[str, list[float]]


class EpochTable:
    """Prints a row per epoch, under a head, as the training goes."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.has_head = False

    def row(self, history: History, duration_s: float, *, is_best: bool) -> None:
        """Print the newest epoch; a star marks the best so far, which was saved."""
        shown = [name for name in history if name not in ("epoch", "lr")]
        if not self.has_head:
            names = "".join(f"{name:>{_width(name)}}" for name in shown)
            self.reporter.say(f"{'epoch':>5}{'time':>10}{names}{'lr':>10}")
            self.has_head = True
        values = "".join(f"{history[name][-1]:>{_width(name)}.4f}" for name in shown)
        head = f"{history['epoch'][-1]:>5.0f}{duration(duration_s):>10}"
        mark = "  * best, saved" if is_best else ""
        self.reporter.say(f"{head}{values}{history['lr'][-1]:>10.1e}{mark}")


def _width(name: str) -> int:
    return max(len(name), 6) + 2


def write_history(folder: Path, history: History) -> None:
    """Write `training_history.json`: one object of equally long lists."""
    write_json(folder / "training_history.json", history)


class MetricsLog:
    """`metrics.jsonl`: one line per logged step and per epoch.

    Lines after `step` are dropped when a run is resumed there, so that no step stands twice.
    """

    def __init__(self, path: Path, step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = []
        if path.exists():
            lines = path.read_text("utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and _step(line) <= step]
        self.file = path.open("w", encoding="utf-8")
        self.file.writelines(kept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()

    def step(self, step: int, epoch: int, loss: float, lr: float, norm: float) -> None:
        """Write a step: mean loss of the epoch so far, learning rate, length of the gradient."""
        row = {"step": step, "epoch": epoch + 1, "loss": loss, "lr": lr, "gradient_norm": norm}
        self._write(row)

    def epoch(self, epoch: int, step: int, history: History) -> None:
        """Write an epoch."""
        newest = {name: values[-1] for name, values in history.items()}
        self._write({"step": step} | newest | {"epoch": epoch})

    def _write(self, row: dict[str, Any]) -> None:
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()


def _step(line: str) -> int:
    return int(json.loads(line)["step"])

"""How fast a training goes and where its time goes: timings, which are no part of its results."""

import time

import torch

from biosig_cli.core.runtime import peak_memory_gb
from biosig_cli.engine.state import State

TIMINGS = ("windows_per_s", "wait_share", "memory_gb", "elapsed_s")
"""What `metrics.jsonl` says of them; all else in it is the same whenever a run is repeated."""
N_POINTS = 24


class Trail:
    """The course of a figure in at most `N_POINTS` means, however long it gets."""

    def __init__(self) -> None:
        self.points: list[float] = []
        self.size, self.sum, self.n = 1, 0.0, 0

    def add(self, value: float) -> None:
        """Add the newest value."""
        self.sum, self.n = self.sum + value, self.n + 1
        if self.n < self.size:
            return
        self.points.append(self.sum / self.n)
        self.sum, self.n = 0.0, 0
        if len(self.points) == N_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points, self.size = [sum(pair) / 2 for pair in pairs], 2 * self.size


class Pace:
    """Times the steps of a training.

    Args:
        device: Where it computes.
        elapsed_s: Seconds that it took before it was resumed.
    """

    def __init__(self, device: str, elapsed_s: float = 0.0) -> None:
        self.device = device
        self.start_s = time.monotonic() - elapsed_s
        self.trail = Trail()
        self.begin(State(), 0.0)

    def begin(self, state: State, waited_s: float) -> None:
        """Begin an epoch, or what is left of one.

        Args:
            state: How far the training is.
            waited_s: Seconds it has waited for data so far.
        """
        self.begin_s, self.waited_before_s = time.monotonic(), waited_s
        self.n_before = self.n_windows = state.n_windows
        self.loss_sum = state.sums.get("loss", 0.0)
        self.loss = self.windows_per_s = self.wait_share = 0.0

    def look(self, state: State, waited_s: float) -> None:
        """Take in how far the training is now; arguments as in `begin`."""
        spent_s = time.monotonic() - self.begin_s
        self.windows_per_s = (state.n_windows - self.n_before) / spent_s
        self.wait_share = (waited_s - self.waited_before_s) / spent_s
        self.loss = state.sums["loss"] / state.n_windows
        n_new = state.n_windows - self.n_windows
        if n_new:
            # The mean since the last look: that of the whole epoch hardly moves towards its end.
            self.trail.add((state.sums["loss"] - self.loss_sum) / n_new)
        self.loss_sum, self.n_windows = state.sums["loss"], state.n_windows

    def timings(self) -> dict[str, float]:
        """Return the timings of the epoch up to the last look, by the names in `TIMINGS`."""
        return {
            "windows_per_s": round(self.windows_per_s, 1),
            "wait_share": round(self.wait_share, 4),
            "memory_gb": round(memory_gb(self.device), 3),
            "elapsed_s": round(time.monotonic() - self.start_s, 1),
        }

    def say(self, lr: float, norm: float) -> str:
        """Return in one line how it goes; the mean loss of the epoch so far comes first."""
        return (
            f"loss {self.loss:.4f}, lr {lr:.1e}, gradient {norm:.2g}, "
            f"{self.windows_per_s:.0f} windows/s, {100 * self.wait_share:.0f} % waiting for data, "
            f"{memory_gb(self.device):.1f} GB"
        )


def memory_gb(device: str) -> float:
    """Return the most memory that was held: of the GPU where there is one, else of the process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**30
    return peak_memory_gb()

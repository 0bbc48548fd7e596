"""What the steps of an epoch gave, kept on the device until somebody asks.

Asking makes the program wait for the GPU, which then waits for the program; so it happens now and
then, not at every step.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from biosig_cli.core.errors import TrainingError
from biosig_cli.engine import distributed


class Tally:
    """Losses, summed over windows and over all processes.

    Args:
        device: Where the losses are made.
        sums: What was summed before, by name.
    """

    def __init__(self, device: str, sums: Mapping[str, float] | None = None) -> None:
        # An Apple GPU has no float64.
        self.device = "cpu" if device == "mps" else device
        self.names = list(sums or ())
        self.total = self._tensor(list((sums or {}).values()))
        self.newest: Tensor | None = None
        self.is_agreed = distributed.n_processes() == 1

    def add(self, losses: Mapping[str, Tensor], n_windows: int) -> None:
        """Add losses, each () and a mean over `n_windows`.

        Raises:
            TrainingError: If they have other names than those before.
        """
        if not self.names:
            self.names, self.total = list(losses), self._tensor([0.0] * len(losses))
        if self.names != list(losses):
            raise TrainingError(
                f"a batch gives the losses {', '.join(losses)}, one before it gave "
                f"{', '.join(self.names)}",
                hint="this is a bug: every batch must give the same",
            )
        values = torch.stack([v.detach().to(self.device).double() for v in losses.values()])
        values = values * n_windows
        self.newest = values if self.newest is None else self.newest + values

    def forget(self) -> None:
        """Forget what was added since the last `merge`."""
        self.newest = None

    def merge(self) -> Tensor:
        """Take in what all processes added; return the newest sum of the first loss, ()."""
        if not self.is_agreed:
            # A process without a window so far does not know what the others sum.
            names = distributed.from_first(lambda: self.names)
            if not self.names:
                self.names, self.total = names, self._tensor([0.0] * len(names))
            self.is_agreed = True
        newest = self._tensor([0.0] * len(self.names)) if self.newest is None else self.newest
        newest = distributed.add_up(newest)
        self.total, self.newest = self.total + newest, None
        return newest[0]

    def read(self) -> dict[str, float]:
        """Wait for the device and return the sums by name."""
        return dict(zip(self.names, self.total.tolist(), strict=True))

    def _tensor(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self.device)


class Watch:
    """Whether every step was finite; on a GPU it is noted there, and the weights stay as they are.

    Args:
        device: Where the steps are made.
        n_skipped: Steps of the epoch that the scaler skipped before.
    """

    def __init__(self, device: str, n_skipped: int = 0) -> None:
        self.broken_at = torch.zeros((), dtype=torch.int64, device=device)
        self.n_skipped = torch.full((), n_skipped, dtype=torch.int64, device=device)

    def note(self, step: int, loss: Tensor, norm: Tensor, *, is_scaled: bool) -> None:
        """Look at a step.

        Args:
            step: Its number, counted from one.
            loss: (), its loss.
            norm: (), the length of its gradient.
            is_scaled: Whether a scaler skips steps whose gradient is not finite.
        """
        has_gradient = torch.isfinite(norm)
        is_fine = torch.isfinite(loss).to(has_gradient.device)
        if is_scaled:
            self.n_skipped += ~has_gradient
        else:
            is_fine = is_fine & has_gradient
        # The first one stays: everything after it is of no interest.
        self.broken_at += torch.where(is_fine | (self.broken_at > 0), 0, step)

    def hold(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimizer leave the weights alone from the first broken step on.

        Source:
            What `torch.amp.GradScaler.step` tells a fused optimizer.
        """
        optimizer.found_inf = (self.broken_at > 0).float()  # type: ignore[attr-defined]
        optimizer.grad_scale = None  # type: ignore[attr-defined]

    def read(self) -> tuple[int, int]:
        """Wait for the device; return the first broken step, 0 if none, and how many it skipped."""
        broken_at, n_skipped = torch.stack([self.broken_at, self.n_skipped]).tolist()
        return broken_at, n_skipped

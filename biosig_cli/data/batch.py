"""Windows, stacked, on their way to a model."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Windows with what goes with them.

    Attributes:
        signal: (B, C, T) float32, normalized as the store says.
        window: (B,) int64, the row of each window in its store.
        key: (B,) int64, what random draws for each window start from; see `engine.draws`.
    """

    signal: Tensor
    window: Tensor
    key: Tensor

    def __len__(self) -> int:
        return len(self.signal)

    def to(self, device: str) -> "Batch":
        """Return the batch on `device`."""
        return Batch(
            self.signal.to(device, non_blocking=True),
            self.window.to(device, non_blocking=True),
            self.key.to(device, non_blocking=True),
        )

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from where a GPU fetches without waiting."""
        return Batch(self.signal.pin_memory(), self.window.pin_memory(), self.key.pin_memory())

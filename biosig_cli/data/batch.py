"""Windows, stacked, on their way to a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from biosig_cli.signal.spec import SignalSpec


@dataclass(frozen=True)
class Batch:
    """Windows with what goes with them.

    Attributes:
        signal: (B, C, T) float32, normalized as the store says.
        window: (B,) int64, the row of each window in its store.
        key: (B,) int64, what random draws for each window start from; see `engine.draws`.
        labels: By name, (B,) float32, NaN where it is not known.
        target: (B, C, T) float32, the denoised twins of the windows where they were asked for.
        codes: By name, (B,) int64 that tell subjects or segments apart, the same in every store.
        spec: What the windows are; None where all are alike and the encoder knows.
    """

    signal: Tensor
    window: Tensor
    key: Tensor
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    target: Tensor | None = None
    codes: Mapping[str, Tensor] = field(default_factory=dict)
    spec: SignalSpec | None = None

    def __len__(self) -> int:
        return len(self.signal)

    def to(self, device: str) -> "Batch":
        """Return the batch on `device`."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Return the batch in page-locked memory, from where a GPU fetches without waiting."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        labels = {name: change(values) for name, values in self.labels.items()}
        codes = {name: change(values) for name, values in self.codes.items()}
        target = None if self.target is None else change(self.target)
        return Batch(
            change(self.signal),
            change(self.window),
            change(self.key),
            labels,
            target,
            codes,
            self.spec,
        )

"""The seam between the loop and what it trains: a batch goes in, losses come out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Losses:
    """What a batch costs: means over its windows.

    Attributes:
        total: () float32, the loss that is descended.
        parts: Named components and figures worth a column in the history, each () and detached;
            the same names for every batch.
        outputs: In eval mode, what `Trainable.score` needs of each window, (B, ...) and detached.
    """

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)


class AnyBatch(Protocol):
    """What the loop needs to know of a batch: its size, and how to move it."""

    def __len__(self) -> int:
        """Return the number of windows."""

    def to(self, device: str) -> "AnyBatch":
        """Return the batch on `device`."""


Cut = Callable[[Any], Sequence[Any]]
"""Cuts the rows of a batch into those of several, each of which is read as a batch of its own."""


class Batches(Protocol):
    """Where batches come from; `data.loader.Loader` is one."""

    @property
    def n_windows(self) -> int:
        """Windows in an epoch."""

    def plan(self, epoch: int) -> list[Any]:
        """Return the rows of each batch of `epoch`."""

    def batches(self, epoch: int, start: int = 0, cut: Cut | None = None) -> Iterator[AnyBatch]:
        """Yield the batches of `epoch` from number `start` on, cut further by `cut`."""

    def describe(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return of each window what a person needs to find it again: plain values by name."""


class Trainable(nn.Module, ABC):
    """Something that turns a batch into losses; in eval mode it may add figures to compare with.

    Attributes:
        monitor: The validation figure by which the best epoch is chosen.
        higher_is_better: Whether more of it is better.
    """

    monitor: str = "loss"
    higher_is_better: bool = False

    @abstractmethod
    def forward(self, batch: Any) -> Losses:
        """Return the losses of `batch`, as means over its windows."""

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, nn.Module]:
        """The modules that a checkpoint holds, each as `<name>_state_dict`."""

    def resting(self) -> Iterable[nn.Parameter]:
        """Return the parameters that a batch may leave without a gradient; they then stay put."""
        return ()

    def stepped(self) -> None:
        """Be told that the weights have moved, in all processes at once."""

    def enter(self, stage: str) -> None:
        """Be told which stage of a training begins, by its name."""

    def score(self, outputs: Mapping[str, Tensor]) -> dict[str, float]:
        """Return figures that only all windows together have, such as a rank statistic.

        Args:
            outputs: `Losses.outputs` of all validation windows, (N, ...) on the CPU.
        """
        return {}

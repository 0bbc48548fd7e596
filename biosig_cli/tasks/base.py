"""What an encoder is used for: a head, a loss, and a score over all windows of a split."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from biosig_cli.core.config import Config
from biosig_cli.data.batch import Batch
from biosig_cli.engine.contract import Losses, Trainable
from biosig_cli.models.base import Encoder
from biosig_cli.models.heads import HeadConfig
from biosig_cli.tasks.examples import Examples, Level, by_level

Values = NDArray[np.float64]


class TaskConfig(Config, ABC):
    """Which label is asked for, and how the answer is judged."""

    label: str
    """Name of the label in the store."""
    level: Level = "window"
    """What one answer is about: the answers of windows are averaged over it."""
    head: HeadConfig = HeadConfig()

    @abstractmethod
    def settle(self, labels: Values, facts: Mapping[str, Any]) -> Self:
        """Return the task with what the training labels say: classes, or centre and spread.

        Args:
            labels: (N,) labels of the training windows.
            facts: What the store's manifest says of the label.

        Raises:
            DataError: If nothing can be learned from them.
        """

    @property
    @abstractmethod
    def known_values(self) -> tuple[float, ...] | None:
        """The label's values that stand for classes; None for a label on a scale."""

    @abstractmethod
    def say(self, target: float) -> str:
        """Return what a class number or a value is called."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Numbers that the head gives."""

    @property
    @abstractmethod
    def monitored(self) -> tuple[str, bool]:
        """The figure that chooses the best epoch, and whether more of it is better."""

    @abstractmethod
    def make_loss(self, targets: Values) -> "TaskLoss":
        """Return what wrong answers cost.

        Args:
            targets: (N,) class numbers or values of the training windows.
        """

    @abstractmethod
    def targets(self, labels: Tensor) -> Tensor:
        """Return (B,) class numbers or values from labels."""

    @abstractmethod
    def answers(self, outputs: Tensor) -> Tensor:
        """Return probabilities (B, K) or values (B,) from what the head gives (B, n_outputs)."""

    @abstractmethod
    def score(self, target: Values, answer: Values) -> dict[str, float]:
        """Return the figures of the validation windows that stand in the history."""


class TaskLoss(nn.Module, ABC):
    """What wrong answers cost."""

    @abstractmethod
    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return (B,) costs of the head's outputs (B, n_outputs) for targets (B,)."""


class FineTuning(Trainable):
    """An encoder with a head, and the task they learn.

    Args:
        encoder: Tokens from windows.
        head: An answer from tokens.
        task: The settled task.
        loss: What wrong answers cost.
        val: The validation windows, by whose score the best epoch is chosen.
    """

    def __init__(
        self, encoder: Encoder, head: nn.Module, task: TaskConfig, loss: TaskLoss, val: Examples
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.loss = encoder, head, loss
        self.task, self.val = task, val
        self.monitor, self.higher_is_better = task.monitored

    def forward(self, batch: Batch) -> Losses:
        """Return the loss of labelled windows; in eval mode, the answers too."""
        outputs = self.head(self.encoder(batch.signal).tokens).float()
        target = self.task.targets(batch.labels[self.task.label])
        total = self.loss(outputs, target).mean()
        if self.training:
            return Losses(total)
        return Losses(total, {}, {"answer": self.task.answers(outputs), "window": batch.window})

    def score(self, outputs: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the figures of all validation windows, at the level of the task."""
        place = {row: number for number, row in enumerate(self.val.row.tolist())}
        rows = np.array([place[row] for row in outputs["window"].tolist()])
        answers = outputs["answer"].double().numpy()
        examples, answers = by_level(self.val.take(rows), answers, self.task.level)
        return self.task.score(examples.target, answers)

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """The encoder and the head."""
        return {"encoder": self.encoder, "head": self.head}


class Answering(nn.Module):
    """An encoder and a head that were trained: probabilities or values from windows."""

    def __init__(self, encoder: Encoder, head: nn.Module, task: TaskConfig) -> None:
        super().__init__()
        self.encoder, self.head, self.task = encoder, head, task

    def forward(self, signal: Tensor) -> Tensor:
        """Return probabilities (B, K) or values (B,) for windows (B, C, T)."""
        return self.task.answers(self.head(self.encoder(signal).tokens).float())

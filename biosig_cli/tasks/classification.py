"""Classification: which of several classes a window, a record or a person belongs to."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.base import TaskConfig, TaskLoss, Values
from biosig_cli.tasks.metrics import choose_threshold, classification_figures

MAX_CLASSES = 20
"""More different values than this are a scale."""
NEVER_AT_BEST = frozenset(("accuracy",))
IN_HISTORY = ("auroc", "auprc", "balanced_accuracy")


class ClassificationConfig(TaskConfig):
    """Classes, and what a wrong one costs."""

    kind: Literal["classification"] = "classification"
    label: str = "quality"
    """Name of the label in the store."""
    classes: tuple[float, ...] = ()
    """Values of the label that stand for classes; those found in training if not given."""
    class_names: tuple[str, ...] = ()
    """What the classes are called; the label's own words or numbers if not given."""
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    """What a wrong answer costs; focal loss cares less for what is right already."""
    focal_gamma: float = Field(2.0, ge=0)
    """How much less."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: every class costs the same in all, however rare."""
    monitor: Literal["auroc", "auprc", "balanced_accuracy", "loss"] = "auroc"
    """What chooses the best epoch; accuracy can't: under imbalance it rewards one answer to all."""

    def settle(self, labels: Values, facts: Mapping[str, Any]) -> Self:
        """Return the task with its classes and their names."""
        found = tuple(np.unique(labels).tolist())
        classes = self.classes or found
        if len(classes) > MAX_CLASSES:
            raise DataError(
                f"label {self.label} has {len(classes)} different values, such as "
                f"{', '.join(f'{value:g}' for value in classes[:4])}: that is a scale, no classes",
                hint="give --task regression, or name the classes: --set task.classes=[0,1]",
            )
        present = [value for value in classes if value in found]
        if len(present) < 2:
            raise DataError(
                f"label {self.label} is {f'{present[0]:g}' if present else 'none of the classes'} "
                "in every training window: there is nothing to tell apart",
                hint="training needs two classes; check the label, or split with another --seed",
            )
        words = {number: word for word, number in (facts.get("values") or {}).items()}
        names = self.class_names or tuple(words.get(value, f"{value:g}") for value in classes)
        if len(names) != len(classes):
            raise DataError(f"{len(names)} class names for {len(classes)} classes")
        return self.model_copy(update={"classes": classes, "class_names": names})

    @property
    def known_values(self) -> tuple[float, ...] | None:
        """The classes."""
        return self.classes

    def say(self, target: float) -> str:
        """Return the name of a class."""
        return self.class_names[int(target)]

    @property
    def n_outputs(self) -> int:
        """One logit per class."""
        return len(self.classes)

    @property
    def monitored(self) -> tuple[str, bool]:
        """The figure that chooses the best epoch."""
        return self.monitor, self.monitor != "loss"

    def make_loss(self, targets: Values) -> TaskLoss:
        """Return cross-entropy or focal loss, weighted as asked for."""
        counts = np.bincount(targets.astype(int), minlength=len(self.classes))
        weights = np.ones(len(counts))
        if self.class_weights == "balanced":
            weights = len(targets) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        gamma = self.focal_gamma if self.loss == "focal" else 0.0
        return ClassLoss(torch.tensor(weights, dtype=torch.float32), gamma)

    def targets(self, labels: Tensor) -> Tensor:
        """Return the number of each label's class."""
        values = torch.tensor(self.classes, device=labels.device)
        return (labels[:, None] == values).int().argmax(dim=1)

    def answers(self, outputs: Tensor) -> Tensor:
        """Return probabilities (B, K)."""
        return outputs.softmax(dim=1)

    def score(self, target: Values, answer: Values) -> dict[str, float]:
        """Return the balanced figures, and the threshold that they are best at."""
        threshold = choose_threshold(target, answer) if len(self.classes) == 2 else None
        figures = classification_figures(target, answer, threshold)
        shown = {name: figures[name].value for name in IN_HISTORY}
        # NaN in the history where it is not defined; no epoch is chosen by it.
        score = {name: float("nan") if v is None else v for name, v in shown.items()}
        return score | ({} if threshold is None else {"threshold": threshold})


class ClassLoss(TaskLoss):
    """Cross-entropy, with less for answers that are right already where `gamma` is above 0.

    Source:
        Lin et al., ICCV 2017, doi 10.1109/ICCV.2017.324, equation 5.
    """

    weights: Tensor

    def __init__(self, weights: Tensor, gamma: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.gamma = gamma

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return (B,) costs."""
        cost = functional.cross_entropy(outputs, target, reduction="none")
        if self.gamma:
            cost = cost * (1 - torch.exp(-cost)) ** self.gamma
        return cost * self.weights[target]

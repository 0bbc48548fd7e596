"""Regression: a value on a scale, such as a heart rate."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor
from torch.nn import functional

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.base import TaskConfig, TaskLoss, Values
from biosig_cli.tasks.metrics import regression_figures

COSTS: dict[str, Callable[..., Tensor]] = {
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "huber": functional.huber_loss,
}
IN_HISTORY = ("mae", "rmse", "nrmse", "r")


class RegressionConfig(TaskConfig):
    """A scale, and what an error on it costs."""

    kind: Literal["regression"] = "regression"
    label: str = "hr"
    """Name of the label in the store."""
    unit: str = ""
    """Unit of the label; the store's if not given."""
    loss: Literal["mse", "l1", "huber"] = "huber"
    """What an error costs, in units of the training labels' deviation."""
    monitor: Literal["mae", "rmse", "nrmse", "r", "loss"] = "mae"
    """What chooses the best epoch, and what answers are compared by."""
    center: float = 0.0
    """Mean of the training labels; found by itself. 0 where the head answers in their unit."""
    scale: float = 1.0
    """Deviation of the training labels; found by itself. 1 where the head answers in their unit."""

    def settle(self, labels: Values, facts: Mapping[str, Any]) -> Self:
        """Return the task with the mean and the deviation of the training labels."""
        scale = float(labels.std())
        if not scale > 0:
            raise DataError(
                f"label {self.label} is {labels[0]:g} in every training window: there is nothing "
                "to learn",
                hint="check the label, or split with another --seed",
            )
        unit = self.unit or str(facts.get("unit", ""))
        center = float(labels.mean())
        if self.head.kind == "temporal":
            center, scale = 0.0, 1.0
        return self.model_copy(update={"unit": unit, "center": center, "scale": scale})

    @property
    def known_values(self) -> tuple[float, ...] | None:
        """None: every value is possible."""
        return None

    def say(self, target: float) -> str:
        """Return a value with its unit."""
        return f"{target:.1f} {self.unit}".rstrip()

    @property
    def n_outputs(self) -> int:
        """One value."""
        return 1

    @property
    def monitored(self) -> tuple[str, bool]:
        """The figure that chooses the best epoch."""
        return self.monitor, self.monitor == "r"

    def make_loss(self, targets: Values) -> TaskLoss:
        """Return the cost of an error."""
        return ScaleLoss(self.loss, self.center, self.scale)

    def targets(self, labels: Tensor) -> Tensor:
        """Return the labels as they are."""
        return labels

    def answers(self, outputs: Tensor) -> Tensor:
        """Return values (B,) in the label's unit."""
        return outputs[:, 0] * self.scale + self.center

    def score(self, target: Values, answer: Values) -> dict[str, float]:
        """Return the errors in the label's unit."""
        figures = regression_figures(target, answer, self.unit)
        shown = {name: figures[name].value for name in IN_HISTORY}
        return {name: np.nan if value is None else value for name, value in shown.items()}


class ScaleLoss(TaskLoss):
    """The cost of errors in units of the training labels' deviation."""

    def __init__(self, kind: str, center: float, scale: float) -> None:
        super().__init__()
        self.cost, self.center, self.scale = COSTS[kind], center, scale

    def forward(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return (B,) costs."""
        target = (target - self.center) / self.scale
        cost: Tensor = self.cost(outputs[:, 0], target, reduction="none")
        return cost

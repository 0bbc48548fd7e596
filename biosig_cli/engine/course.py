"""The course of a training: what moves in the stage it is in, and how fast."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from biosig_cli.engine.contract import Trainable
from biosig_cli.engine.optimize import (
    PlanConfig,
    make_optimizer,
    make_schedule,
    restore_optimizer,
)
from biosig_cli.engine.stages import Stage, let_move


class Course:
    """The stages of a training, each with its own optimizer and rise and fall of learning rates.

    Args:
        trainable: What moves.
        stages: What of it moves when; everything all the time if there are none.
        plan: How long and how fast; its epochs are those of the stages together.
        steps_per_epoch: Steps in an epoch.
        device: Where it computes.

    Attributes:
        number: Which stage it is in, counted from zero.
    """

    optimizer: AdamW
    schedule: LambdaLR
    number: int

    def __init__(
        self,
        trainable: Trainable,
        stages: Sequence[Stage],
        plan: PlanConfig,
        steps_per_epoch: int,
        device: str,
    ) -> None:
        self.trainable, self.plan, self.device = trainable, plan, device
        self.stages = list(stages) or [Stage("training", plan.epochs, plan.lr)]
        self.steps_per_epoch = steps_per_epoch

    @property
    def stage(self) -> Stage:
        """The stage it is in."""
        return self.stages[self.number]

    @property
    def is_last(self) -> bool:
        """Whether no stage comes after this one."""
        return self.number + 1 == len(self.stages)

    @property
    def n_epochs(self) -> int:
        """Epochs of all stages."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.schedule.get_last_lr()[0])

    def enter(self, number: int) -> None:
        """Begin a stage."""
        self.number = number
        self.trainable.enter(self.stage.name)
        let_move(self.trainable, self.stage.moves)
        plan = self._stage_plan()
        self.optimizer = make_optimizer(self.trainable, plan, self.device, self.stage.scales)
        self.schedule = make_schedule(self.optimizer, plan, self.steps_per_epoch)

    def restore(self, number: int, content: Mapping[str, Any]) -> None:
        """Go on in a stage where a checkpoint was written.

        Raises:
            ValueError, LookupError, RuntimeError: If it does not fit.
        """
        self.enter(number)
        restore_optimizer(self.optimizer, content["optimizer_state_dict"])
        n_done = content["scheduler_state_dict"]["last_epoch"]
        self.schedule = make_schedule(
            self.optimizer, self._stage_plan(), self.steps_per_epoch, n_done
        )

    def content(self) -> dict[str, Any]:
        """Return what `restore` needs."""
        return {
            "optimizer_state_dict": self.optimizer.state_dict(),
            "scheduler_state_dict": {"last_epoch": self.schedule.last_epoch},
        }

    def announce(self) -> str:
        """Return which stage this is, and what moves in it; nothing where all of it is alike."""
        every = list(self.trainable.parameters())
        n_all, n_moving = (
            sum(p.numel() for p in each) for each in (every, [p for p in every if p.requires_grad])
        )
        if len(self.stages) == 1 and n_moving == n_all:
            return ""
        which = f"stage {self.number + 1} of {len(self.stages)}: " if len(self.stages) > 1 else ""
        return (
            f"{which}{self.stage.name}, {self.stage.epochs} epochs at {self.stage.rates}; "
            f"{n_moving:,} of {n_all:,} parameters move"
        )

    def _stage_plan(self) -> PlanConfig:
        stage = self.stage
        # A rise that was meant for the whole run may not fill a short stage.
        warmup_epochs = min(self.plan.warmup_epochs, stage.epochs / 10)
        if len(self.stages) == 1:
            warmup_epochs = self.plan.warmup_epochs
        return self.plan.model_copy(
            update={"epochs": stage.epochs, "lr": stage.lr, "warmup_epochs": warmup_epochs}
        )

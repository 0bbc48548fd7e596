"""The one training loop: what is on the page happens in the order of the page."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from biosig_cli.core.errors import InterruptedRunError, TrainingError
from biosig_cli.core.progress import Advance
from biosig_cli.engine.checkpoint import (
    BEST,
    LAST,
    restore_rng,
    rng_state,
    save_checkpoint,
)
from biosig_cli.engine.contract import AnyBatch, Trainable
from biosig_cli.engine.history import EpochTable, MetricsLog, write_history
from biosig_cli.engine.optimize import (
    PlanConfig,
    autocast,
    check_gradients,
    make_optimizer,
    make_scaler,
    make_schedule,
)
from biosig_cli.engine.stages import Stage, let_move, train_what_moves
from biosig_cli.engine.state import Run, State, TrainResult
from biosig_cli.engine.stop import Stop, stop_on_signals


class Batches(Protocol):
    """Where batches come from; `data.loader.Loader` is one."""

    @property
    def n_windows(self) -> int:
        """Windows in an epoch."""

    def plan(self, epoch: int) -> list[Any]:
        """Return one entry per batch of `epoch`."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[AnyBatch]:
        """Yield the batches of `epoch` from number `start` on."""


class Training:
    """A trainable and everything that moves it; `fit` is the loop.

    Args:
        trainable: What to train.
        train: Batches to learn from.
        val: Batches to choose the best epoch by.
        plan: How long and how fast.
        run: Where, and who is told.
        stages: What moves when; everything all the time if there are none. Their epochs together
            are those of the plan.
    """

    optimizer: AdamW
    schedule: LambdaLR

    def __init__(
        self,
        trainable: Trainable,
        train: Batches,
        val: Batches,
        plan: PlanConfig,
        run: Run,
        stages: Sequence[Stage] = (),
    ) -> None:
        self.trainable = trainable.to(run.device)
        self.train_data, self.val_data = train, val
        self.plan, self.run = plan, run
        self.stages = list(stages) or [Stage("everything", plan.epochs, plan.lr)]
        self.steps_per_epoch = math.ceil(len(train.plan(0)) / plan.accumulate)
        self.scaler = make_scaler(run.precision)
        self.state = State()
        self._enter(0)

    def _enter(self, number: int) -> None:
        """Begin a stage: what moves, its own optimizer, its own course of the learning rate."""
        stage = self.stages[number]
        let_move(self.trainable, stage.moves)
        # A rise that was meant for the whole run may not fill a short stage.
        warmup_epochs = min(self.plan.warmup_epochs, stage.epochs / 10)
        if len(self.stages) == 1:
            warmup_epochs = self.plan.warmup_epochs
        plan = self.plan.model_copy(
            update={"epochs": stage.epochs, "lr": stage.lr, "warmup_epochs": warmup_epochs}
        )
        self.optimizer = make_optimizer(self.trainable, plan, self.run.device, stage.scales)
        self.schedule = make_schedule(self.optimizer, plan, self.steps_per_epoch)
        self.state.stage, self.state.stage_epoch = number, 0

    def fit(self, *, stop_after: int | None = None) -> TrainResult:
        """Train to the end of the plan, or until it no longer gets better.

        Args:
            stop_after: Stop after this step, as if the user had asked then.

        Raises:
            InterruptedRunError: If the user stopped it; the run is saved and can be resumed.
            TrainingError: If a loss is not finite, or a parameter gets no gradient.
        """
        start_s = time.monotonic()
        table = EpochTable(self.run.reporter)
        n_steps = sum(stage.epochs for stage in self.stages) * self.steps_per_epoch
        with (
            stop_on_signals() as stop,
            MetricsLog(self.run.folder / "metrics.jsonl", self.state.step) as log,
            self.run.reporter.progress("training", n_steps) as advance,
        ):
            stop.after = stop_after
            advance(self.state.step)
            while not self.state.is_finished:
                if self.state.stage_epoch == 0 and self.state.n_batches == 0:
                    self._announce_stage()
                epoch_start_s = time.monotonic()
                train_losses = self._train_epoch(stop, log, advance)
                val_losses = self.validate()
                is_best = self._close_epoch(train_losses, val_losses)
                self._save_epoch(is_best=is_best)
                table.row(self.state.history, time.monotonic() - epoch_start_s, is_best=is_best)
                log.epoch(self.state.epoch, self.state.step, self.state.history)
        return TrainResult(
            best_val_loss=self.state.best_val_loss,
            best=self.state.best,
            best_epoch=self.state.best_epoch,
            n_epochs=self.state.epoch,
            history=self.state.history,
            duration_s=time.monotonic() - start_s,
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the losses of the validation windows, as means over windows, and their score."""
        self.trainable.eval()
        sums: dict[str, float] = {}
        outputs: list[dict[str, Tensor]] = []
        for batch in self.val_data.batches(0):
            with autocast(self.run.device, self.run.precision):
                losses = self.trainable(batch.to(self.run.device))
            add(sums, {"loss": losses.total, **losses.parts}, len(batch))
            outputs.append({name: value.cpu() for name, value in losses.outputs.items()})
        names = outputs[0] if outputs else ()
        together = {name: torch.cat([each[name] for each in outputs]) for name in names}
        means = {name: value / self.val_data.n_windows for name, value in sums.items()}
        return means | self.trainable.score(together)

    def _train_epoch(self, stop: Stop, log: MetricsLog, advance: Advance) -> dict[str, float]:
        state, start_s, n_before = self.state, time.monotonic(), self.state.n_windows
        train_what_moves(self.trainable)
        plan = self.train_data.plan(state.epoch)
        batches = self.train_data.batches(state.epoch, state.n_batches)
        while state.n_batches < len(plan):
            group = plan[state.n_batches : state.n_batches + self.plan.accumulate]
            n_windows = sum(len(rows) for rows in group)
            for _ in group:
                self._accumulate(next(batches), n_windows)
            if state.stage_epoch == 0 and state.n_batches == 0:
                check_gradients(self.trainable)
            norm = self._step()
            state.n_batches += len(group)
            state.n_windows += n_windows
            loss = state.sums["loss"] / state.n_windows
            rate = (state.n_windows - n_before) / (time.monotonic() - start_s)
            note = f"{self._epoch_name()}  loss {loss:.4f}  {rate:.0f} windows/s"
            advance(note=note)
            if state.step % self.run.log_every == 0:
                log.step(state.step, state.epoch, loss, self._lr(), norm)
            if stop.asked or state.step == stop.after:
                self._stop()
        return {name: value / state.n_windows for name, value in state.sums.items()}

    def _lr(self) -> float:
        return float(self.schedule.get_last_lr()[0])

    def _epoch_name(self) -> str:
        n_epochs = sum(stage.epochs for stage in self.stages)
        return f"epoch {self.state.epoch + 1}/{n_epochs}"

    def _accumulate(self, batch: AnyBatch, n_windows: int) -> None:
        """Add the gradient of `batch`, which is part of a step over `n_windows`."""
        batch = batch.to(self.run.device)
        with autocast(self.run.device, self.run.precision):
            losses = self.trainable(batch)
        # Means over windows: a smaller last batch weighs less.
        self.scaler.scale(losses.total * (len(batch) / n_windows)).backward()
        add(self.state.sums, {"loss": losses.total, **losses.parts}, len(batch))
        if not math.isfinite(self.state.sums["loss"]):
            raise TrainingError(
                f"the loss is not finite in {self._epoch_name()}, step {self.state.step + 1}",
                hint="try a tenth of the learning rate (--lr), --precision fp32, or look for "
                "broken windows in windows.png; completed epochs are saved",
            )

    def _step(self) -> float:
        """Move the weights; return the length of the gradient."""
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.trainable.parameters(), self.plan.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        self.state.step += 1
        return float(norm)

    def _close_epoch(self, train: dict[str, float], val: dict[str, float]) -> bool:
        """Write the epoch into the history and say whether it is the best so far."""
        state = self.state
        row = {"epoch": state.epoch + 1, "lr": self._lr()}
        row |= {f"train_{name}": value for name, value in train.items()}
        row |= {f"val_{name}": value for name, value in val.items()}
        for name, value in row.items():
            state.history.setdefault(name, []).append(value)
        state.epoch += 1
        state.stage_epoch += 1
        state.n_batches, state.n_windows, state.sums = 0, 0, {}
        is_best = self._is_better(val[self.trainable.monitor])
        if is_best:
            state.best, state.best_epoch = val[self.trainable.monitor], state.epoch
        waited = min(state.epoch - state.best_epoch, state.stage_epoch)
        out_of_patience = self.plan.patience is not None and waited >= self.plan.patience
        if state.stage_epoch >= self.stages[state.stage].epochs or out_of_patience:
            self._leave_stage()
        return is_best

    def _is_better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.state.best is None:
            return True
        return (
            value > self.state.best if self.trainable.higher_is_better else value < self.state.best
        )

    def _leave_stage(self) -> None:
        if self.state.stage + 1 < len(self.stages):
            self._enter(self.state.stage + 1)
        else:
            self.state.is_finished = True

    def _announce_stage(self) -> None:
        if len(self.stages) > 1:
            stage = self.stages[self.state.stage]
            moving = [p for p in self.trainable.parameters() if p.requires_grad]
            n_moving, n_all = (
                sum(p.numel() for p in each) for each in (moving, self.trainable.parameters())
            )
            self.run.reporter.say(
                f"stage {self.state.stage + 1} of {len(self.stages)}: {stage.name}, {stage.epochs} "
                f"epochs at {stage.lr:.1e}; {n_moving:,} of {n_all:,} parameters move"
            )

    def _save_epoch(self, *, is_best: bool) -> None:
        folder, content = self.run.folder, self.content()
        if is_best:
            save_checkpoint(folder / BEST, content)
        if self.state.epoch % self.run.save_every == 0:
            save_checkpoint(folder / f"checkpoint_epoch_{self.state.epoch}.pt", content)
            self._drop_old()
        write_history(folder, self.state.history)
        save_checkpoint(folder / LAST, content)

    def _drop_old(self) -> None:
        if self.run.keep is None:
            return
        old = range(self.run.save_every, self.state.epoch + 1, self.run.save_every)
        for epoch in list(old)[: -self.run.keep or None]:
            (self.run.folder / f"checkpoint_epoch_{epoch}.pt").unlink(missing_ok=True)

    def _stop(self) -> None:
        save_checkpoint(self.run.folder / LAST, self.content())
        raise InterruptedRunError(
            f"stopped in {self._epoch_name()} after step {self.state.step}; saved",
            hint=f"go on with: {self.run.how_to_resume}",
        )

    def content(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, and what a later one wants to know."""
        state = self.state
        return {
            "epoch": state.epoch,
            **{
                f"{name}_state_dict": module.state_dict()
                for name, module in self.trainable.parts.items()
            },
            "optimizer_state_dict": self.optimizer.state_dict(),
            "scheduler_state_dict": self.schedule.state_dict(),
            "scaler_state_dict": self.scaler.state_dict(),
            "best_val_loss": state.best_val_loss,
            "monitor": {"name": f"val_{self.trainable.monitor}", "best": state.best},
            "metrics": {name: values[-1] for name, values in state.history.items()},
            "rng": rng_state(),
            "position": dict(vars(state)),
            **self.run.describe,
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go on where a checkpoint of the same run was written."""
        for name, module in self.trainable.parts.items():
            module.load_state_dict(content[f"{name}_state_dict"])
        self._enter(content["position"]["stage"])
        self.optimizer.load_state_dict(content["optimizer_state_dict"])
        self.schedule.load_state_dict(content["scheduler_state_dict"])
        self.scaler.load_state_dict(content["scaler_state_dict"])
        restore_rng(content["rng"])
        self.state = State(**content["position"])


def add(sums: dict[str, float], losses: dict[str, Tensor], n_windows: int) -> None:
    """Add `losses`, means over `n_windows`, to `sums` over windows."""
    values = torch.stack([value.detach().double() for value in losses.values()]).tolist()
    for name, value in zip(losses, values, strict=True):
        sums[name] = sums.get(name, 0.0) + value * n_windows

"""The one training loop: what is on the page happens in the order of the page."""

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from biosig_cli.core.errors import CheckpointError, InterruptedRunError, TrainingError
from biosig_cli.core.progress import Advance
from biosig_cli.engine import distributed
from biosig_cli.engine.board import check_board
from biosig_cli.engine.broken import find_broken, report_broken
from biosig_cli.engine.contract import Batches, Trainable
from biosig_cli.engine.course import Course
from biosig_cli.engine.files import clear_unfinished, save_epoch, save_last
from biosig_cli.engine.gradients import Gradients
from biosig_cli.engine.history import EpochTable, MetricsLog
from biosig_cli.engine.optimize import PlanConfig, check_gradients, make_scaler
from biosig_cli.engine.pace import Pace
from biosig_cli.engine.stages import Stage, train_what_moves
from biosig_cli.engine.state import Run, State, TrainResult
from biosig_cli.engine.stop import Stop, stop_on_signals
from biosig_cli.engine.tally import Tally, Watch
from biosig_cli.engine.validate import validate


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

    tally: Tally
    watch: Watch
    pace: Pace

    def __init__(
        self,
        trainable: Trainable,
        train: Batches,
        val: Batches,
        plan: PlanConfig,
        run: Run,
        stages: Sequence[Stage] = (),
    ) -> None:
        if run.tensorboard:
            check_board()
        self.trainable = trainable.to(run.device)
        self.train_data, self.val_data = train, val
        self.plan, self.run = plan, run
        self.steps_per_epoch = math.ceil(len(train.plan(0)) / plan.accumulate)
        self.course = Course(self.trainable, stages, plan, self.steps_per_epoch, run.device)
        self.scaler = make_scaler(run.precision)
        self.state = State()
        self.gradients = Gradients(self.trainable, train, plan, run, self.scaler)
        # A GPU is asked how it goes at logged steps only; nothing waits for a processor.
        self.looks_every = run.log_every if run.device.startswith("cuda") else 1
        self.saved_s = time.monotonic()
        self.enter(0)

    def enter(self, number: int) -> None:
        """Begin a stage: what moves, its own optimizer, its own course of the learning rate."""
        self.state.stage, self.state.stage_epoch = number, 0
        self.course.enter(number)

    def fit(self, *, stop_after: int | None = None) -> TrainResult:
        """Train to the end of the plan, or until it no longer gets better.

        Args:
            stop_after: Stop after this step, as if the user had asked then.

        Raises:
            InterruptedRunError: If the user stopped it; the run is saved and can be resumed.
            TrainingError: If a loss is not finite, a parameter gets no gradient, the memory is
                too small, or another process is lost.
            CheckpointError: If the disk is full.
        """
        start_s = time.monotonic()
        table = EpochTable(self.run.reporter)
        state, run = self.state, self.run
        metrics = run.folder / "metrics.jsonl" if distributed.is_first() else None
        clear_unfinished(run.folder)
        distributed.same_weights(self.trainable)
        with (
            stop_on_signals() as stop,
            MetricsLog(metrics, state.step, state.epoch, tensorboard=run.tensorboard) as log,
            run.reporter.progress(
                "training",
                self.course.n_epochs * self.steps_per_epoch,
                n_before=state.step,
                part="epoch",
                part_size=self.steps_per_epoch,
            ) as advance,
        ):
            stop.after = stop_after
            self.pace = Pace(run.device, log.elapsed_s)
            while not self.state.is_finished:
                begins = self.state.stage_epoch == 0 and self.state.n_batches == 0
                if begins and self.course.announce():
                    run.reporter.say(self.course.announce())
                epoch_start_s = time.monotonic()
                train_losses = self._train_epoch(stop, log, advance)
                val_losses = validate(self.trainable, self.val_data, self.run)
                is_best = self._close_epoch(train_losses, val_losses)
                # Before it is saved: a run that is killed in between writes the line again.
                timings = self.pace.timings()
                log.epoch(self.state.epoch, self.state.step, self.state.history, timings)
                save_epoch(self.run, self.state, self.content(), is_best=is_best)
                table.row(self.state.history, time.monotonic() - epoch_start_s, is_best=is_best)
        return TrainResult(
            best_val_loss=self.state.best_val_loss,
            best=self.state.best,
            best_epoch=self.state.best_epoch,
            n_epochs=self.state.epoch,
            history=self.state.history,
            duration_s=time.monotonic() - start_s,
        )

    def _train_epoch(self, stop: Stop, log: MetricsLog, advance: Advance) -> dict[str, float]:
        state = self.state
        plan = self.train_data.plan(state.epoch)
        self.open_epoch()
        self.pace.begin(state, self.gradients.waited_s)
        note = ""
        while state.n_batches < len(plan):
            group = plan[state.n_batches : state.n_batches + self.plan.accumulate]
            looks = (state.step + 1) % self.looks_every == 0
            norm = self.next_step(group, looks=looks)
            if looks:
                self.pace.look(state, self.gradients.waited_s)
                note = self.pace.say(self.course.lr, float(norm))
            advance(note=note, trail=self.pace.trail.points)
            if state.step % self.run.log_every == 0:
                more = self._counts() | self.pace.timings()
                log.step(
                    state.step, state.epoch, self.pace.loss, self.course.lr, float(norm), **more
                )
            if state.step == stop.after or self._is_to_stop(stop, looks=looks):
                self._stop()
            if looks and time.monotonic() - self.saved_s > self.run.rescue_s:
                self._save_last()
        self.look()
        self.pace.look(state, self.gradients.waited_s)
        return {name: value / state.n_windows for name, value in state.sums.items()}

    def open_epoch(self) -> None:
        """Begin an epoch, or go on in the middle of it: `next_step` reads from there."""
        train_what_moves(self.trainable)
        self.tally = Tally(self.run.device, self.state.sums)
        self.watch = Watch(self.run.device, self.state.n_skipped)
        self.gradients.open(self.state, self.tally)

    def next_step(self, group: Sequence[Any], *, looks: bool) -> Tensor:
        """Make a step from the next batches and return the length of its gradient, ().

        Args:
            group: The rows of each of these batches.
            looks: Wait for the device, and refuse a step that was not finite.
        """
        state = self.state
        n_windows = sum(len(rows) for rows in group)
        self.gradients.find(len(group), n_windows)
        if state.stage_epoch == 0 and state.n_batches == 0 and self.tally.names:
            check_gradients(self.trainable, self.trainable.resting())
        norm = self._step(looks=looks)
        state.n_batches += len(group)
        state.n_windows += n_windows
        return norm

    def _epoch_name(self) -> str:
        return f"epoch {self.state.epoch + 1}/{self.course.n_epochs}"

    def _counts(self) -> dict[str, float]:
        return {"skipped_steps": self.state.n_skipped} if self.scaler.is_enabled() else {}

    def _step(self, *, looks: bool) -> Tensor:
        """Move the weights; return the length of the gradient."""
        distributed.sum_gradients(self.trainable.parameters(), self.trainable.resting())
        loss = self.tally.merge()
        self.scaler.unscale_(self.course.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.trainable.parameters(), self.plan.clip_norm)
        is_scaled = self.scaler.is_enabled()
        self.watch.note(self.state.step + 1, loss, norm, is_scaled=is_scaled)
        if looks:
            self.look()
        elif not is_scaled:
            self.watch.hold(self.course.optimizer)
        self.scaler.step(self.course.optimizer)
        self.scaler.update()
        self.course.optimizer.zero_grad(set_to_none=True)
        self.course.schedule.step()
        self.trainable.stepped()
        self.state.step += 1
        return norm

    def look(self) -> None:
        """Wait for the device, take in what it has summed, and refuse a step that was not finite.

        Raises:
            TrainingError: Naming the windows of the first such step; they are in a file too.
        """
        state = self.state
        state.sums = self.tally.read()
        broken_at, state.n_skipped = self.watch.read()
        if broken_at:
            n_before = state.step - math.ceil(state.n_batches / self.plan.accumulate)
            start = (broken_at - 1 - n_before) * self.plan.accumulate
            raise distributed.from_first(lambda: self._explain(broken_at, start))
        if self.scaler.is_enabled() and self.scaler.get_scale() < 1:
            raise TrainingError(
                f"gradients do not fit into fp16 at any scale, {self._epoch_name()}, step "
                f"{state.step + 1}",
                hint="use --precision bf16 or fp32",
            )

    def _explain(self, step: int, start: int) -> TrainingError:
        windows = find_broken(
            self.trainable,
            self.train_data,
            self.run,
            epoch=self.state.epoch,
            start=start,
            n_batches=self.plan.accumulate,
        )
        return report_broken(windows, self.run.folder, self._epoch_name(), step)

    def _close_epoch(self, train: dict[str, float], val: dict[str, float]) -> bool:
        """Write the epoch into the history and say whether it is the best so far."""
        state = self.state
        row = {"epoch": state.epoch + 1, "lr": self.course.lr}
        row |= {f"train_{name}": value for name, value in train.items()}
        row |= {f"val_{name}": value for name, value in val.items()}
        row |= self._counts()
        for name, value in row.items():
            state.history.setdefault(name, []).append(value)
        state.epoch += 1
        state.stage_epoch += 1
        state.n_batches, state.n_windows, state.n_skipped, state.sums = 0, 0, 0, {}
        is_best = self._is_better(val[self.trainable.monitor])
        if is_best:
            state.best, state.best_epoch = val[self.trainable.monitor], state.epoch
        if self._stage_is_over():
            self._leave_stage()
        return is_best

    def _stage_is_over(self) -> bool:
        state = self.state
        waited = min(state.epoch - state.best_epoch, state.stage_epoch)
        out_of_patience = self.plan.patience is not None and waited >= self.plan.patience
        return out_of_patience or state.stage_epoch >= self.course.stage.epochs

    def _is_better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.state.best is None:
            return True
        return (
            value > self.state.best if self.trainable.higher_is_better else value < self.state.best
        )

    def _leave_stage(self) -> None:
        if self.course.is_last:
            self.state.is_finished = True
        else:
            self.enter(self.state.stage + 1)

    def _save_last(self) -> None:
        self.saved_s = time.monotonic()
        save_last(self.run, self.content())

    def _is_to_stop(self, stop: Stop, *, looks: bool) -> bool:
        """Say whether the user asked for a stop; processes agree on the step when they look."""
        if distributed.n_processes() == 1:
            return stop.asked
        return looks and distributed.any_of(stop.asked)

    def _stop(self) -> None:
        self.look()
        self._save_last()
        # torchrun ends all processes as soon as one has ended.
        distributed.wait()
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
            **self.course.content(),
            "scaler_state_dict": self.scaler.state_dict(),
            "best_val_loss": state.best_val_loss,
            "monitor": {"name": f"val_{self.trainable.monitor}", "best": state.best},
            "metrics": {name: values[-1] for name, values in state.history.items()},
            "rng": {"seed": self.run.seed},
            "position": dict(vars(state)),
            **self.run.describe,
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go on where a checkpoint of the same run was written.

        Raises:
            CheckpointError: If it does not fit the settings, which somebody changed.
        """
        position = content["position"]
        try:
            for name, module in self.trainable.parts.items():
                module.load_state_dict(content[f"{name}_state_dict"])
            self.course.restore(position["stage"], content)
        except (RuntimeError, ValueError, LookupError) as error:
            raise CheckpointError(
                f"the run that is to be resumed does not fit these settings: {error}",
                hint="resume with the settings it had, or choose another --output-dir",
            ) from None
        self.scaler.load_state_dict(content["scaler_state_dict"])
        self.state = State(**position)
        # With more epochs than it had, a finished run goes on.
        self.state.is_finished = self.course.is_last and self._stage_is_over()

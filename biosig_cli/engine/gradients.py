"""The gradient of a step, from as many batches as make one, in pieces that fit the memory."""

import time
from collections.abc import Iterator
from typing import Any

import torch

from biosig_cli.core.errors import TrainingError
from biosig_cli.engine import distributed
from biosig_cli.engine.contract import AnyBatch, Batches, Trainable
from biosig_cli.engine.draws import seed_step
from biosig_cli.engine.optimize import PlanConfig, autocast
from biosig_cli.engine.state import Run, State
from biosig_cli.engine.tally import Tally


class Gradients:
    """Finds this process's share of the gradient, step after step.

    Args:
        trainable: Whose parameters get it.
        data: Batches to learn from.
        plan: How many of them make a step.
        run: Where they are computed.
        scaler: What keeps small gradients from vanishing in fp16.
    """

    state: State
    tally: Tally
    batches: Iterator[AnyBatch]

    def __init__(
        self,
        trainable: Trainable,
        data: Batches,
        plan: PlanConfig,
        run: Run,
        scaler: torch.amp.GradScaler,
    ) -> None:
        self.trainable, self.data = trainable, data
        self.plan, self.run, self.scaler = plan, run, scaler
        self.n_parts = 1
        self.waited_s = 0.0

    def open(self, state: State, tally: Tally) -> None:
        """Read on from where the epoch of `state` is; losses go to `tally`."""
        self.state, self.tally = state, tally
        self.batches = self.data.batches(state.epoch, state.n_batches, self._cut)

    def _cut(self, rows: Any) -> list[Any]:
        """Return the parts of this process's share of a batch; others may need other parts."""
        ours = distributed.share(rows)
        return [distributed.part(ours, n, self.n_parts) for n in range(self.n_parts)]

    def find(self, n_batches: int, n_windows: int) -> None:
        """Find the gradient of the next batches, a step over `n_windows` in all processes.

        The first time that the memory is too small for a batch, it is computed again by halves,
        and so is every batch after it.

        Raises:
            TrainingError: If half a batch does not fit either.
        """
        while True:
            try:
                return self._accumulate(n_batches, n_windows)
            except torch.OutOfMemoryError as error:
                if self.n_parts > 1:
                    raise TrainingError(
                        f"out of memory with half a batch of {self.plan.batch_size}: {error}",
                        hint="give a smaller --batch-size and a larger --accumulate",
                    ) from None
            # Only here, after the error, is free what the failed pass held.
            self._halve()

    def _halve(self) -> None:
        self.n_parts = 2
        self.trainable.zero_grad(set_to_none=True)
        self.tally.forget()
        if self.run.device.startswith("cuda"):
            torch.cuda.empty_cache()
        self.run.reporter.warn(
            f"out of memory with a batch of {self.plan.batch_size}: from now on each is computed "
            "in two halves, whose gradients are summed; the steps stay the same"
        )
        self.open(self.state, self.tally)

    def _accumulate(self, n_batches: int, n_windows: int) -> None:
        seed_step(self.run.seed, self.state.step, distributed.number(), self.run.device)
        for _ in range(n_batches * self.n_parts):
            start_s = time.monotonic()
            batch = next(self.batches)
            self.waited_s += time.monotonic() - start_s
            # A last batch may have fewer windows than there are processes.
            if len(batch) == 0:
                continue
            batch = batch.to(self.run.device)
            with autocast(self.run.device, self.run.precision):
                losses = self.trainable(batch)
            # Means over windows: a smaller last batch weighs less.
            if losses.total.requires_grad:  # not where nothing was asked of these windows
                self.scaler.scale(losses.total * (len(batch) / n_windows)).backward()
            self.tally.add({"loss": losses.total, **losses.parts}, len(batch))

"""The same training on a GPU; skipped where there is none."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from biosig_cli.core.errors import TrainingError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Precision
from biosig_cli.data.loader import Loader
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.engine.state import Run
from biosig_cli.engine.train import Training
from tests.engine.conftest import Data, Line, Points
from tests.engine.small import QUIET, Denoising, Memory

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


class MovedPoints(Points):
    """Points that follow the model to its device."""

    def to(self, device: str) -> "MovedPoints":
        return MovedPoints(self.x.to(device), self.y.to(device), self.key.to(device))


class MovedData(Data):
    def batches(self, epoch, start=0, cut=None):
        for batch in super().batches(epoch, start, cut):
            yield MovedPoints(batch.x, batch.y, batch.key)


def make(folder: Path, n_windows: int, *, log_every: int, precision: Precision = "fp32") -> Any:
    plan = PlanConfig(epochs=1, batch_size=8, warmup_epochs=0)
    train, val = (
        Loader(Memory(n), batch_size=8, seed=1, shuffle=n != 16, pin=True) for n in (n_windows, 16)
    )
    run = Run(folder, "cuda", precision, QUIET, log_every=log_every)
    return Training(Denoising(), train, val, plan, run)


@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_loop_finds_the_known_minimum_on_a_gpu(tmp_path, precision: Precision) -> None:
    plan = PlanConfig(epochs=60, batch_size=20, lr=0.05, warmup_epochs=2, weight_decay=0.0)
    run = Run(tmp_path, "cuda", precision, Reporter(silent=True))
    data = MovedData(100, 20), MovedData(30, 16, shuffle=False)
    result = Training(Line(noise=0.0), *data, plan, run).fit()
    assert result.best_val_loss < (1e-4 if precision == "fp32" else 0.1)


@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_steps_do_not_wait_for_the_gpu(tmp_path: Path, precision: Precision) -> None:
    n_waits = []
    for n_windows in (80, 240):
        training = make(tmp_path / f"{n_windows}", n_windows, log_every=1000, precision=precision)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            training.fit()
            torch.cuda.set_sync_debug_mode("default")
        n_waits.append(sum("synchroniz" in str(each.message) for each in caught))
    assert n_waits[0] == n_waits[1], "20 more steps wait no more often"


@needs_cuda
def test_broken_window_is_found_at_the_next_logged_step(tmp_path: Path) -> None:
    training = make(tmp_path, 80, log_every=5)
    row = int(training.train_data.plan(0)[2][4])
    training.train_data.store.windows[row, 0, 0] = float("nan")
    with pytest.raises(TrainingError, match=f"step 3: 1 of its 8 windows.*row {row},"):
        training.fit()
    assert training.state.step == 4
    assert all(bool(torch.isfinite(p).all()) for p in training.trainable.parameters())

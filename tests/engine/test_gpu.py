"""The same training on a GPU; skipped where there is none."""

import pytest
import torch

from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Precision
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.engine.state import Run
from biosig_cli.engine.train import Training
from tests.engine.conftest import Data, Line, Points

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


class MovedPoints(Points):
    """Points that follow the model to its device."""

    def to(self, device: str) -> "MovedPoints":
        return MovedPoints(self.x.to(device), self.y.to(device), self.key.to(device))


class MovedData(Data):
    def batches(self, epoch, start=0):
        for batch in super().batches(epoch, start):
            yield MovedPoints(batch.x, batch.y, batch.key)


@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_loop_finds_the_known_minimum_on_a_gpu(tmp_path, precision: Precision) -> None:
    plan = PlanConfig(epochs=60, batch_size=20, lr=0.05, warmup_epochs=2, weight_decay=0.0)
    run = Run(tmp_path, "cuda", precision, Reporter(silent=True))
    data = MovedData(100, 20), MovedData(30, 16, shuffle=False)
    result = Training(Line(noise=0.0), *data, plan, run).fit()
    assert result.best_val_loss < (1e-4 if precision == "fp32" else 0.1)

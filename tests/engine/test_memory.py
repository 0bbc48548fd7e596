"""With too little memory for a batch, half a batch at a time gives the same steps."""

from pathlib import Path

import pytest
import torch

from biosig_cli.core.errors import TrainingError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.batch import Batch
from biosig_cli.engine.contract import Losses
from biosig_cli.engine.optimize import PlanConfig
from tests.engine.small import Denoising, make

# 100 windows: the last batch has 9, which can't be halved evenly.
PLAN = PlanConfig(epochs=2, batch_size=13, accumulate=2, lr=0.01, warmup_epochs=0)


class Hungry(Denoising):
    """Has memory for some windows only; it runs out amid a pass, when gradients were summed."""

    def __init__(self, most: int, first: int = 0) -> None:
        super().__init__()
        self.most, self.n_passes, self.first = most, 0, first

    def forward(self, batch: Batch) -> Losses:
        losses = super().forward(batch)
        self.n_passes += self.training
        if self.training and self.n_passes > self.first and len(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return losses


@pytest.mark.parametrize("first", [0, 1, 4, 5])
def test_a_batch_that_does_not_fit_is_computed_by_halves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], first: int
) -> None:
    enough = make(tmp_path / "enough", plan=PLAN)
    enough.fit()
    short = make(
        tmp_path / "short", plan=PLAN, trainable=Hungry(7, first), reporter=Reporter(silent=False)
    )
    short.fit()
    assert capsys.readouterr().out.count("in two halves") == 1
    assert short.state.step == enough.state.step
    torch.testing.assert_close(
        short.trainable.state_dict(), enough.trainable.state_dict(), atol=1e-6, rtol=0
    )
    for name, values in enough.state.history.items():
        assert short.state.history[name] == pytest.approx(values, rel=1e-5), name


def test_half_a_batch_that_does_not_fit_either_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="half a batch of 13") as caught:
        make(tmp_path, plan=PLAN, trainable=Hungry(3)).fit()
    assert "--batch-size" in caught.value.hint

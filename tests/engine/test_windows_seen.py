"""An epoch sees each window once, however its steps are made, divided or interrupted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from biosig_cli.core.errors import InterruptedRunError
from biosig_cli.engine import distributed
from biosig_cli.engine.checkpoint import LAST, load_checkpoint
from biosig_cli.engine.optimize import PlanConfig
from tests.engine.small import Denoising, make, start_together

N_WINDOWS = 65


class Seeing(Denoising):
    """Notes the windows that it learns from."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self.seen: list[int] = []
        self.most = most

    def forward(self, batch: Any) -> Any:
        if self.training and len(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if self.training:
            self.seen += batch.window.tolist()
        return super().forward(batch)


def plan(accumulate: int) -> PlanConfig:
    return PlanConfig(epochs=1, batch_size=8, accumulate=accumulate, warmup_epochs=0)


@pytest.mark.parametrize("accumulate", [1, 3, 100])
@pytest.mark.parametrize("most", [8, 4])
def test_accumulation_and_halves_drop_no_window(tmp_path: Path, accumulate: int, most: int) -> None:
    trainable = Seeing(most)
    training = make(tmp_path, plan=plan(accumulate), n_windows=N_WINDOWS, trainable=trainable)
    training.fit()
    assert sorted(trainable.seen) == list(range(N_WINDOWS))
    assert training.state.step == -(-9 // accumulate)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_interrupted_epoch_sees_the_rest(tmp_path: Path, step: int) -> None:
    first, second = Seeing(), Seeing()
    stopped = make(tmp_path, plan=plan(3), n_windows=N_WINDOWS, trainable=first, n_workers=1)
    with pytest.raises(InterruptedRunError):
        stopped.fit(stop_after=step)
    resumed = make(tmp_path, plan=plan(3), n_windows=N_WINDOWS, trainable=second, n_workers=1)
    resumed.restore(load_checkpoint(tmp_path / LAST))
    resumed.fit()
    assert len(first.seen) == min(24 * step, N_WINDOWS)
    assert sorted(first.seen + second.seen) == list(range(N_WINDOWS))


def note_what_is_seen(folder: Path) -> None:
    trainable = Seeing()
    make(folder, plan=plan(2), n_windows=N_WINDOWS, trainable=trainable).fit()
    (folder / f"seen_{distributed.number()}.json").write_text(json.dumps(trainable.seen), "utf-8")


def test_processes_share_the_windows_of_an_epoch(tmp_path: Path) -> None:
    for process in start_together(2, note_what_is_seen, tmp_path):
        process.join(60)
    each = [json.loads((tmp_path / f"seen_{n}.json").read_text("utf-8")) for n in range(2)]
    assert [len(seen) for seen in each] == [33, 32]
    assert sorted(each[0] + each[1]) == list(range(N_WINDOWS))

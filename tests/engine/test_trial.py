"""A few steps tell what a training takes, and leave nothing behind."""

from pathlib import Path

import pytest

from biosig_cli.core.errors import TrainingError
from biosig_cli.engine.checkpoint import LAST
from biosig_cli.engine.files import n_files
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.engine.stages import Stage
from biosig_cli.engine.trial import N_TIMED, N_WARM, try_out
from tests.engine.conftest import Line


def test_every_stage_is_tried_and_nothing_is_written(make_training, plan, tmp_path: Path) -> None:
    stages = [Stage("head", 1, 0.05, ("head.*",)), Stage("everything", 3, 0.01)]
    training = make_training(plan, stages=stages, folder="run")
    trial = try_out(training)
    # The encoder has 3 + 1 parameters, the head 1 + 1.
    assert [each.n_moving for each in trial.stages] == [2, 6]
    assert trial.n_parameters == 6
    assert all(each.windows_per_s > 0 for each in trial.stages)
    assert trial.val_windows_per_s > 0
    assert 0.01 < trial.memory_gb < 100
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n_points", [10, 1000])
def test_as_many_steps_are_made_whatever_an_epoch_has(make_training, n_points: int) -> None:
    class Counting(Line):
        n_batches = 0

        def forward(self, batch):
            self.n_batches += self.training
            return super().forward(batch)

    plan = PlanConfig(epochs=1, batch_size=5, accumulate=2, warmup_epochs=0)
    trainable = Counting()
    try_out(make_training(plan, n_points=n_points, trainable=trainable))
    assert trainable.n_batches == 2 * (N_WARM + N_TIMED)


def test_size_of_a_checkpoint_is_that_of_its_tensors(make_training, plan) -> None:
    trial = try_out(make_training(plan))
    # 6 parameters in float32, twice as much for AdamW, and the step of each of 4 tensors.
    assert trial.stages[0].checkpoint_bytes == 6 * 4 * 3 + 4 * 4
    training = make_training(plan)
    training.fit()
    assert (training.run.folder / LAST).stat().st_size > trial.stages[0].checkpoint_bytes


def test_broken_step_is_found_by_the_trial(make_training, plan, tmp_path: Path) -> None:
    training = make_training(plan)
    training.train_data.y[:] = float("nan")
    with pytest.raises(TrainingError, match="not finite"):
        try_out(training)


@pytest.mark.parametrize(("keep", "expected"), [(None, 3 + 5), (2, 3 + 2), (9, 3 + 5)])
def test_checkpoints_are_counted_as_they_are_kept(
    make_training, plan, keep: int | None, expected: int
) -> None:
    training = make_training(plan, keep=keep, save_every=2)
    assert n_files(training.run, 11) == expected

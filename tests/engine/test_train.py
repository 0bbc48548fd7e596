"""The loop finds a known minimum, and gives the same run however it is interrupted or divided."""

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch

from biosig_cli.core.errors import InterruptedRunError, TrainingError
from biosig_cli.engine.checkpoint import load_checkpoint
from biosig_cli.engine.contract import Losses
from biosig_cli.engine.optimize import PlanConfig
from tests.engine.conftest import Line, Points


def weights_of(training) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in training.trainable.state_dict().items()}


def assert_same(first, second) -> None:
    torch.testing.assert_close(weights_of(first), weights_of(second), atol=0, rtol=0)
    assert first.state.history == second.state.history


def test_loop_finds_the_known_minimum(make_training) -> None:
    plan = PlanConfig(epochs=60, batch_size=20, lr=0.05, warmup_epochs=2, weight_decay=0.0)
    training = make_training(plan)
    result = training.fit()
    line = training.trainable
    slope = (line.head.weight @ line.encoder.weight)[0]
    torch.testing.assert_close(slope, torch.tensor([1.0, -2.0, 3.0]), atol=1e-3, rtol=0)
    assert result.best_val_loss < 1e-5


def test_same_plan_gives_the_same_run(make_training, plan) -> None:
    first, second = make_training(plan, folder="a"), make_training(plan, folder="b")
    first.fit(), second.fit()
    assert_same(first, second)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulation_equals_a_large_batch(make_training, accumulate: int) -> None:
    # 100 points: the last step is smaller than the others, and its last batch smaller still.
    plan = PlanConfig(epochs=3, batch_size=16 * accumulate, lr=0.05, warmup_epochs=1)
    whole = make_training(plan, folder="whole", trainable=Line(noise=0.1))
    parts = make_training(
        plan.model_copy(update={"batch_size": 16, "accumulate": accumulate}),
        folder="parts",
        trainable=Line(noise=0.1),
        batch_size=16,
    )
    whole.fit(), parts.fit()
    torch.testing.assert_close(weights_of(whole), weights_of(parts), atol=1e-6, rtol=0)
    assert whole.state.history["train_loss"] == pytest.approx(parts.state.history["train_loss"])


@pytest.mark.parametrize("stop_after", [1, 6, 7, 13, 20])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_stopped_and_resumed_run_equals_the_straight_one(
    make_training, plan, stop_after: int, accumulate: int
) -> None:
    plan = plan.model_copy(update={"accumulate": accumulate})
    stop_after = math.ceil(stop_after / accumulate)

    def make(folder: str):
        return make_training(plan, folder=folder, trainable=Line(noise=0.1, dropout=0.2))

    straight = make("straight")
    straight.fit()
    stopped = make("stopped")
    with pytest.raises(InterruptedRunError):
        stopped.fit(stop_after=stop_after)
    # Whatever a new process would have drawn since must not matter.
    torch.manual_seed(999)
    resumed = make("stopped")
    resumed.restore(load_checkpoint(resumed.run.folder / "last_model.pt"))
    assert resumed.state.step == stop_after
    resumed.fit()
    assert_same(straight, resumed)
    best = [load_checkpoint(t.run.folder / "best_model.pt") for t in (straight, resumed)]
    for part in ("encoder_state_dict", "decoder_state_dict"):
        torch.testing.assert_close(best[0][part], best[1][part], atol=0, rtol=0)


def test_metrics_of_a_resumed_run_name_each_step_once(make_training, plan) -> None:
    training = make_training(plan, log_every=1)
    with pytest.raises(InterruptedRunError):
        training.fit(stop_after=5)
    log = training.run.folder / "metrics.jsonl"
    with log.open("a", encoding="utf-8") as file:
        file.write('{"step": 6, "loss": 1.0}\n{"step": 7, "lo')
    resumed = make_training(plan, log_every=1)
    resumed.restore(load_checkpoint(resumed.run.folder / "last_model.pt"))
    resumed.fit()
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    steps = [row["step"] for row in rows if "gradient_norm" in row]
    assert steps == list(range(1, 4 * 7 + 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_says_how_to_resume(make_training, plan, number: signal.Signals) -> None:
    class Interrupted(Line):
        n_batches = 0

        def forward(self, batch: Points) -> Losses:
            self.n_batches += 1
            if self.n_batches == 3:
                os.kill(os.getpid(), number)
            return super().forward(batch)

    training = make_training(plan, trainable=Interrupted(), how_to_resume="biosig pretrain")
    before = signal.getsignal(number)
    with pytest.raises(InterruptedRunError, match="after step 3") as caught:
        training.fit()
    assert caught.value.exit_code == 130
    assert "biosig pretrain" in caught.value.hint
    assert load_checkpoint(training.run.folder / "last_model.pt")["position"]["n_batches"] == 3
    assert signal.getsignal(number) == before


def test_losses_are_means_over_windows_not_over_batches(make_training) -> None:
    class Size(Line):
        def forward(self, batch: Points) -> Losses:
            total = super().forward(batch).total * 0 + len(batch)
            return Losses(total, {"size": total.detach()})

    plan = PlanConfig(epochs=1, batch_size=16, warmup_epochs=0)
    training = make_training(plan, trainable=Size())
    training.fit()
    # 100 points are six batches of 16 and one of 4; 30 are batches of 16 and 14.
    assert training.state.history["train_size"] == [(6 * 16 * 16 + 4 * 4) / 100]
    assert training.state.history["val_size"] == [pytest.approx((16 * 16 + 14 * 14) / 30)]


def test_loss_that_is_not_finite_stops_the_run_with_what_to_try(make_training, plan) -> None:
    class Broken(Line):
        def forward(self, batch: Points) -> Losses:
            losses = super().forward(batch)
            return Losses(losses.total / (batch.x[:, 0] < 1.8).all(), losses.parts)

    training = make_training(plan, trainable=Broken())
    with pytest.raises(TrainingError, match="not finite in epoch 1/4") as caught:
        training.fit()
    assert "--lr" in caught.value.hint


def test_trainable_parameter_without_gradient_is_refused_by_name(make_training, plan) -> None:
    class Forgotten(Line):
        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Linear(2, 2)

    with pytest.raises(TrainingError, match=r"unused\.weight"):
        make_training(plan, trainable=Forgotten()).fit()


def test_patience_ends_a_run_that_no_longer_gets_better(make_training) -> None:
    plan = PlanConfig(epochs=50, batch_size=16, lr=1e-12, min_lr=0, warmup_epochs=0, patience=3)

    class Worsening(Line):
        n_validations = 0.0

        def forward(self, batch: Points) -> Losses:
            losses = super().forward(batch)
            if not self.training:
                self.n_validations += 1
            return Losses(losses.total + self.n_validations, losses.parts)

    result = make_training(plan, trainable=Worsening()).fit()
    assert (result.best_epoch, result.n_epochs) == (1, 4)


def test_finished_run_resumed_does_nothing(make_training, plan) -> None:
    training = make_training(plan)
    training.fit()
    last = training.run.folder / "last_model.pt"
    written = last.stat().st_mtime_ns
    again = make_training(plan)
    again.restore(load_checkpoint(last))
    result = again.fit()
    assert result.n_epochs == 4
    assert last.stat().st_mtime_ns == written
    assert_same(training, again)


def test_run_folder_holds_what_was_promised(make_training, plan) -> None:
    training = make_training(plan, save_every=1, keep=2, describe={"spec": {}, "parent": None})
    training.fit()
    names = {path.name for path in Path(training.run.folder).iterdir()}
    assert names == {
        "best_model.pt",
        "last_model.pt",
        "checkpoint_epoch_3.pt",
        "checkpoint_epoch_4.pt",
        "training_history.json",
        "metrics.jsonl",
    }
    content = load_checkpoint(training.run.folder)
    assert set(content) >= {
        "format",
        "epoch",
        "encoder_state_dict",
        "decoder_state_dict",
        "optimizer_state_dict",
        "scheduler_state_dict",
        "scaler_state_dict",
        "best_val_loss",
        "metrics",
        "rng",
        "position",
        "spec",
        "parent",
    }
    history = json.loads((training.run.folder / "training_history.json").read_text("utf-8"))
    assert {len(values) for values in history.values()} == {4}
    assert {"epoch", "lr", "train_loss", "val_loss", "train_error", "val_error"} == set(history)

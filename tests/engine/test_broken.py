"""A step that is not finite stops the run before it moves a weight, and its windows are named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from biosig_cli.core.errors import InterruptedRunError, TrainingError
from biosig_cli.data.batch import Batch
from biosig_cli.engine.contract import Losses
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.engine.train import Training
from tests.engine.small import Denoising, Memory, make

PLAN = PlanConfig(epochs=2, batch_size=8, lr=0.01, warmup_epochs=0)


def row_of_step(training: Training, step: int, place: int) -> int:
    """Return the row of one window of a step of the first epoch."""
    return int(training.train_data.plan(0)[step - 1][place])


def weights(training: Training) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in training.trainable.state_dict().items()}


def weights_after(folder: Path, step: int) -> dict[str, torch.Tensor]:
    training = make(folder, plan=PLAN)
    with pytest.raises(InterruptedRunError):
        training.fit(stop_after=step)
    return weights(training)


def spoil(training: Training, row: int, value: float = np.nan) -> None:
    store = training.train_data.store  # type: ignore[attr-defined]
    assert isinstance(store, Memory)
    store.windows[row, 1, 3:5] = value


# On a GPU it is looked at every `log_every` steps only; the windows must be found all the same.
@pytest.mark.parametrize("looks_every", [1, 5, 1000])
def test_broken_window_is_named_and_no_weight_is_spoilt(tmp_path: Path, looks_every: int) -> None:
    training = make(tmp_path / "run", plan=PLAN, log_every=looks_every)
    training.looks_every = looks_every
    row = row_of_step(training, 3, 4)
    spoil(training, row)
    with pytest.raises(TrainingError, match="not finite in epoch 1/2, step 3") as caught:
        training.fit()
    culprit = f"row {row}, record r{row // 10}, subject s{row // 20}, start_s {row % 10 * 10.0}"
    assert "1 of its 8 windows" in str(caught.value)
    assert f"{culprit}: 2 of 16 numbers of its signal are not finite" in str(caught.value)
    assert "bad_batch.json" in caught.value.hint
    found = json.loads((tmp_path / "run" / "bad_batch.json").read_text("utf-8"))
    assert [each["row"] for each in found["windows"]] == training.train_data.plan(0)[2].tolist()
    assert [bool(each["why"]) for each in found["windows"]] == [n == 4 for n in range(8)]
    torch.testing.assert_close(
        weights(training), weights_after(tmp_path / "other", 2), atol=0, rtol=0
    )


def test_windows_of_all_batches_of_a_step_are_looked_at(tmp_path: Path) -> None:
    training = make(tmp_path, plan=PLAN.model_copy(update={"accumulate": 3}))
    spoil(training, row_of_step(training, 6, 0))  # in the second step, which has batches 4 to 6
    with pytest.raises(TrainingError, match="step 2: 1 of its 24 windows"):
        training.fit()


class SteepAtZero(Denoising):
    """The root of what is 0 has the slope infinity; a window that begins with 0 gives NaN."""

    def forward(self, batch: Batch) -> Losses:
        losses = super().forward(batch)
        steep = (self.head.bias.sum() * batch.signal[:, 0, 0]).abs().sqrt().mean()
        return Losses(losses.total + steep, losses.parts, losses.outputs)


def test_gradient_that_is_not_finite_is_found_where_the_loss_is(tmp_path: Path) -> None:
    training = make(tmp_path, plan=PLAN, trainable=SteepAtZero())
    row = row_of_step(training, 2, 7)
    training.train_data.store.windows[row, 0, 0] = 0.0  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match="step 2: 1 of its 8") as caught:
        training.fit()
    assert f"row {row}," in str(caught.value)
    assert "its gradient is not finite" in str(caught.value)
    assert "--lr" in caught.value.hint


def test_weights_that_ran_away_are_not_blamed_on_windows(tmp_path: Path) -> None:
    training = make(tmp_path, plan=PLAN)
    with torch.no_grad():
        training.trainable.parts["encoder"][0].weight.fill_(1e30)  # type: ignore[index]
    with pytest.raises(TrainingError, match=r"8 of its 8 windows.* and 5 more") as caught:
        training.fit()
    assert "--lr" in caught.value.hint
    assert "build the store" not in caught.value.hint


def scaler(scale: float) -> Any:
    """Return a scaler such as fp16 has, which works without a GPU."""
    return lambda precision: torch.amp.GradScaler("cpu", init_scale=scale)


def strictly(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_steps_that_a_scaler_skips_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Loud(Denoising):
        def forward(self, batch: Batch) -> Losses:
            losses = super().forward(batch)
            return Losses(losses.total * 1000, losses.parts, losses.outputs)

    # float32 ends at 2**128: the gradient fits once the scale has been halved often enough.
    monkeypatch.setattr("biosig_cli.engine.train.make_scaler", scaler(2.0**127))
    training = make(tmp_path, plan=PLAN, trainable=Loud())
    before = weights(training)
    training.fit()
    n_skipped = 127 - int(np.log2(training.scaler.get_scale()))
    assert n_skipped > 1
    assert training.state.history["skipped_steps"] == [n_skipped, 0]
    rows = [strictly(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "gradient_norm" in row]
    assert [row["skipped_steps"] for row in steps[: n_skipped + 1]] == [
        *range(1, n_skipped + 1),
        n_skipped,
    ]
    assert [row["gradient_norm"] is None for row in steps] == [n < n_skipped for n in range(26)]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights(training).values())
    assert not torch.equal(weights(training)["head.weight"], before["head.weight"])


def test_gradient_that_no_scale_can_save_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("biosig_cli.engine.train.make_scaler", scaler(2.0))
    training = make(tmp_path, plan=PLAN, trainable=SteepAtZero())
    training.train_data.store.windows[:, 0, 0] = 0.0  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match="do not fit into fp16") as caught:
        training.fit()
    assert "--precision bf16" in caught.value.hint


def test_figure_that_is_not_a_number_is_null_in_every_file(tmp_path: Path) -> None:
    class Undefined(Denoising):
        def score(self, outputs: Any) -> dict[str, float]:
            return {"auroc": float("nan"), "worst": float("inf")}

    make(tmp_path, plan=PLAN, trainable=Undefined()).fit()
    lines = (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()
    assert strictly(lines[-1])["val_auroc"] is None
    history = strictly((tmp_path / "training_history.json").read_text("utf-8"))
    assert history["val_auroc"] == history["val_worst"] == [None, None]


class Reads(TorchDispatchMode):
    """Counts how often a number is taken out of a tensor, for which a program waits for a GPU."""

    n = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        self.n += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_steps_wait_for_the_device_at_logged_steps_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_lists, to_list = [0], torch.Tensor.tolist

    def count(tensor: torch.Tensor) -> Any:
        n_lists[0] += 1
        return to_list(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", count)
    found = {}
    for n_windows in (160, 320):
        training = make(
            tmp_path / f"{n_windows}",
            plan=PLAN.model_copy(update={"epochs": 1}),
            n_windows=n_windows,
            log_every=1000,
        )
        training.looks_every = 1000
        n_lists[0] = 0
        with Reads() as reads:
            training.fit()
        found[n_windows] = (reads.n, n_lists[0])
    assert found[160] == found[320], "20 more steps read nothing more"

"""TensorBoard gets what the log gets, and is asked for by name where it is missing."""

import importlib.util
import json

import pytest

from biosig_cli.core.errors import ConfigError, InterruptedRunError
from biosig_cli.engine import board
from biosig_cli.engine.checkpoint import LAST, load_checkpoint

has_board = importlib.util.find_spec("tensorboard") is not None
needs_board = pytest.mark.skipif(not has_board, reason="pip install 'biosig[tensorboard]'")


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / board.FOLDER))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in names}


@needs_board
def test_board_holds_the_figures_of_the_log(make_training, plan) -> None:
    training = make_training(plan, log_every=2, tensorboard=True)
    training.fit()
    found = scalars(training.run.folder)
    lines = (training.run.folder / "metrics.jsonl").read_text("utf-8").splitlines()
    epochs = [row for row in map(json.loads, lines) if "train_loss" in row]
    for name in ("train", "val"):
        expected = [row[f"{name}_loss"] for row in epochs]
        steps, values = zip(*found[f"loss/{name}"], strict=True)
        assert values == pytest.approx(expected)
        assert list(steps) == [row["step"] for row in epochs]
    assert {"step/gradient_norm", "step/lr", "step/loss", "error/val"} <= set(found)
    assert {"timing/windows_per_s", "timing/wait_share"} <= set(found)


@needs_board
def test_resumed_run_shows_each_step_once(make_training, plan) -> None:
    training = make_training(plan, log_every=1, tensorboard=True)
    with pytest.raises(InterruptedRunError):
        training.fit(stop_after=9)
    resumed = make_training(plan, log_every=1, tensorboard=True)
    content = load_checkpoint(resumed.run.folder / LAST)
    content["position"] |= {"step": 7, "n_batches": 0, "n_windows": 0, "sums": {}, "epoch": 1}
    resumed.restore(content)
    resumed.fit()
    steps = [step for step, _ in scalars(training.run.folder)["step/gradient_norm"]]
    assert steps == list(range(1, 4 * 7 + 1))


def test_missing_tensorboard_is_said_before_anything_is_written(
    make_training, plan, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        make_training(plan, tensorboard=True)
    assert "pip install 'biosig[tensorboard]'" in caught.value.hint
    assert list(tmp_path.iterdir()) == []

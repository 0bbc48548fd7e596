"""A pretraining goes on as if nothing had happened: killed, damaged, shared, or changed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from biosig_cli.cli import run
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.checkpoint import LAST, load_checkpoint
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.services.pretrain import pretrain
from biosig_cli.services.pretrain_config import PretrainConfig
from tests.metrics import without_timings

QUIET = Reporter(silent=True)
SMALL = TtmConfig(width=32, n_layers=1, n_levels=1)
PLAN = PlanConfig(epochs=2, batch_size=8, lr=2e-3, warmup_epochs=1)
# The environment's threads would change the order of sums.
ALONE = os.environ | {"OMP_NUM_THREADS": "1"}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def make_config(windows: Path, folder: Path, **changes: object) -> PretrainConfig:
    settings = {"device": "cpu", "precision": "fp32", "model": SMALL, "plan": PLAN} | changes
    return PretrainConfig(windows=windows, output_dir=folder, **settings)  # type: ignore[arg-type]


def line(windows: Path, folder: Path, *more: str) -> list[str]:
    """Return a pretraining with dropout, accumulation and a process that reads ahead."""
    settings = ["width=32", "n_layers=1", "n_levels=1", "dropout=0.2"]
    return [
        *("-m", "biosig_cli", "pretrain", "--data-dir", str(windows), "--output-dir", str(folder)),
        *("--device", "cpu", "--precision", "fp32", "--num-workers", "1", "--accumulate", "2"),
        *("--batch-size", "4", "--epochs", "8", "--log-every", "1"),
        *(part for each in settings for part in ("--set", f"model.{each}")),
        *more,
    ]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    content = load_checkpoint(folder / LAST)
    parts = ("encoder_state_dict", "decoder_state_dict")
    return {f"{part} {name}": value for part in parts for name, value in content[part].items()}


def test_killed_command_goes_on_to_the_same_run_bit_for_bit(windows: Path, tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    subprocess.run([sys.executable, *line(windows, straight)], check=True, env=ALONE)
    expected = without_timings(straight)
    log = killed / "metrics.jsonl"
    process = subprocess.Popen(
        [sys.executable, *line(windows, killed)], env=ALONE, start_new_session=True
    )
    while not log.exists() or log.read_text("utf-8").count("\n") < len(expected) // 2:
        assert process.poll() is None, "it had ended before it was killed"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    resumed = [sys.executable, *line(windows, killed, "--resume")]
    subprocess.run(resumed, check=True, env=ALONE)
    assert without_timings(killed) == expected
    history = "training_history.json"
    assert (killed / history).read_text("utf-8") == (straight / history).read_text("utf-8")
    torch.testing.assert_close(weights(killed), weights(straight), atol=0, rtol=0)


def test_torchrun_gives_what_one_process_gives(windows: Path, tmp_path: Path) -> None:
    settings = ("--set", "model.dropout=0", "--num-workers", "0", "--epochs", "5")
    # The spectral loss makes 1e-5 of float32's rounding, however the sum is divided.
    settings += ("--stft-weight", "0")
    one = [sys.executable, *line(windows, tmp_path / "one", *settings)]
    two = [sys.executable, *TORCHRUN, *line(windows, tmp_path / "two", *settings)]
    subprocess.run(one, check=True, env=ALONE)
    done = subprocess.run(two, check=False, env=ALONE, capture_output=True, text=True)
    if "can't be reached" in done.stderr:
        # The port that torchrun chose was taken by another test before it could be used.
        done = subprocess.run(two, check=False, env=ALONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "two" / LAST)["position"]["step"] == 20
    torch.testing.assert_close(
        weights(tmp_path / "two"), weights(tmp_path / "one"), atol=1e-6, rtol=0
    )
    assert done.stdout.count("best, saved") == done.stdout.count("  * best")
    assert done.stdout.count("processes    2") == 1, "one process reports"
    names = [{path.name for path in (tmp_path / each).iterdir()} for each in ("one", "two")]
    assert names[0] == names[1]


def test_damaged_last_checkpoint_is_skipped_with_a_warning(
    windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(windows, tmp_path / "run", save_every=1)
    straight = pretrain(config, QUIET)
    expected = weights(straight.folder)
    for name in (LAST, "checkpoint_epoch_2.pt", "best_model.pt"):
        file = straight.folder / name
        file.write_bytes(file.read_bytes()[:1000])
    resumed = pretrain(config, Reporter(), resume=True)
    said = capsys.readouterr().out
    assert said.count("is damaged") == said.count("; skipped") == 3
    assert "resumed after epoch 1" in said
    assert resumed.train.history == straight.train.history
    torch.testing.assert_close(weights(straight.folder), expected, atol=0, rtol=0)
    # The best epoch was the first one, which another file holds.
    best = load_checkpoint(straight.folder / "best_model.pt")
    assert best["position"]["epoch"] == best["position"]["best_epoch"] == 1


def test_other_settings_are_refused_unless_the_user_insists(
    windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain(make_config(windows, tmp_path / "run"), QUIET)
    plan = PLAN.model_copy(update={"epochs": 3, "lr": 1e-4, "weight_decay": 0.5})
    changed = make_config(windows, tmp_path / "run", plan=plan)
    with pytest.raises(ConfigError, match=r"plan\.lr") as caught:
        pretrain(changed, QUIET, resume=True)
    assert "--resume-anyway" in caught.value.hint
    result = pretrain(changed, Reporter(), anyway=True)
    said = capsys.readouterr().out
    for name in ("plan.epochs", "plan.lr", "plan.weight_decay"):
        assert name in said
    # The third epoch is trained, and what was changed counts in it.
    assert result.train.n_epochs == 3
    assert result.train.history["lr"][-1] == pytest.approx(1e-6, rel=0.01)
    content = load_checkpoint(tmp_path / "run" / LAST)
    groups = content["optimizer_state_dict"]["param_groups"]
    assert {group["initial_lr"] for group in groups} == {1e-4}
    assert {group["weight_decay"] for group in groups} == {0.5, 0.0}


def test_flag_to_go_on_anyway_brings_the_runs_own_settings(windows: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    pretrain(make_config(windows, folder), QUIET)
    assert run(["pretrain", "--output-dir", str(folder), "--resume", "--epochs", "3"]) == 2
    assert run(["pretrain", "--output-dir", str(folder), "--resume-anyway", "--epochs", "3"]) == 0
    config = json.loads((folder / "training_config.json").read_text("utf-8"))
    assert (config["plan"]["epochs"], config["plan"]["batch_size"]) == (3, 8)
    assert load_checkpoint(folder / LAST)["epoch"] == 3


def test_weights_of_another_shape_are_refused_even_then(windows: Path, tmp_path: Path) -> None:
    pretrain(make_config(windows, tmp_path / "run"), QUIET)
    other = make_config(windows, tmp_path / "run", model=SMALL.model_copy(update={"width": 64}))
    with pytest.raises(Exception, match="does not fit these settings"):
        pretrain(other, QUIET, anyway=True)

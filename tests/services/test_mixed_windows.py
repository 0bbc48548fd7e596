"""Several stores in one training: who may be mixed, how it is said, and what a flag changes."""

import subprocess
import sys
from pathlib import Path

import pytest

from biosig_cli.cli import run
from biosig_cli.core.artifacts import read_json
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data.mixture import Mixture
from biosig_cli.services.pretrain import prepare
from biosig_cli.services.pretrain_config import PretrainConfig
from tests.stores import change_manifest, write_clean

QUIET = Reporter(silent=True)
SMALL = {"width": 16, "n_layers": 1, "n_levels": 1}
PHASES = """
model: {width: 16, n_layers: 1, n_levels: 1}
plan: {epochs: 3, batch_size: 8, warmup_epochs: 0}
device: cpu
precision: fp32
windows: nowhere
phases:
  one: {plan: {epochs: 5, lr: 1.0e-3}}
  two: {objectives: {masked: {mask_ratio: 0.5}}, move: {frozen_epochs: 1}}
"""


def settings(*stores: object, **more: object) -> dict[str, object]:
    plan = {"epochs": 1, "batch_size": 8, "warmup_epochs": 0}
    base = {"windows": list(stores), "model": SMALL, "plan": plan, "device": "cpu"}
    return base | more


def test_two_stores_are_mixed_in_training_and_whole_in_validation(tmp_path: Path) -> None:
    one, two = write_clean(tmp_path / "a"), write_clean(tmp_path / "b", first=50)
    shares = [{"store": one, "share": 0.75}, {"store": two, "share": 0.25}]
    config = PretrainConfig.parse(settings(*shares, output_dir=tmp_path / "run"))
    training = prepare(config, QUIET).training
    train, val = training.train_data, training.val_data
    assert isinstance(train, Mixture)
    assert isinstance(val, Mixture)
    assert abs(train.n_batches[0] - 0.75 * train.n_batches.sum()) <= 0.5
    assert val.n_windows == sum(len(loader.store) for loader in val.loaders)
    assert len(training.run.describe["data"]["train"]["subjects"]) == 8


def test_nobody_is_trained_on_in_one_store_and_judged_by_in_another(tmp_path: Path) -> None:
    # People 4 to 7 train one store; 6 and 7 validate the other.
    one, two = write_clean(tmp_path / "a", first=4), write_clean(tmp_path / "b", first=2)
    config = PretrainConfig.parse(settings(one, two, output_dir=tmp_path / "run"))
    with pytest.raises(DataError, match=r"subject s6 is in .*a/train and in .*b/val"):
        prepare(config, QUIET)
    for split in ("train", "val", "test"):
        change_manifest(two / split, source={"name": "another clinic"})
    prepare(config, QUIET)


def test_one_kind_of_windows_is_asked_for_where_the_encoder_takes_one(
    tmp_path: Path, windows: Path
) -> None:
    other = write_clean(tmp_path / "a")
    change_manifest(other / "train", spec=_at_half_the_rate(other))
    config = PretrainConfig.parse(settings(windows, other, output_dir=tmp_path / "run"))
    with pytest.raises(ConfigError, match="TtmEncoder takes windows of one kind") as caught:
        prepare(config, QUIET)
    assert "62.5 Hz" in str(caught.value)


def _at_half_the_rate(folder: Path) -> dict[str, object]:
    return read_json(folder / "train" / "manifest.json")["spec"] | {"sampling_hz": 62.5}


def test_an_encoder_that_would_never_move_is_said_to_rest(
    tmp_path: Path, windows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(windows, output_dir=tmp_path / "run", move={"frozen_epochs": 1})
    prepare(PretrainConfig.parse(config), Reporter())
    assert "the encoder never moves: it rests for 1 epochs" in capsys.readouterr().out
    config |= {"move": {"frozen_epochs": 0}}
    prepare(PretrainConfig.parse(config), Reporter())
    assert "never moves" not in capsys.readouterr().out


def test_flags_hold_in_every_phase_and_stores_are_replaced_aloud(
    tmp_path: Path, windows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "phases.yaml"
    file.write_text(PHASES, "utf-8")
    line = ["pretrain", "--config", str(file), "--output-dir", str(tmp_path / "run")]
    line += ["--data-dir", str(windows), "--epochs", "2", "--max-windows", "16"]
    assert run([*line, "--load-in-memory"]) == 0
    said = capsys.readouterr().out
    assert f"--data-dir: {windows} instead of the stores that {file} names" in said
    ran = read_json(tmp_path / "run" / "training_config.json")["phases"]
    assert [phase["plan"]["epochs"] for phase in ran.values()] == [2, 2]
    assert [phase["windows"][0]["store"] for phase in ran.values()] == [str(windows)] * 2
    assert ran["one"]["plan"]["lr"] == 1e-3
    assert run([*line, "--output-dir", str(tmp_path / "two"), "--mask-ratio", "0.3"]) == 0
    masks = read_json(tmp_path / "two" / "training_config.json")["phases"]
    assert masks["one"]["objectives"]["masked"]["mask_ratio"] == 0.3


def test_a_flag_that_no_phase_hears_is_refused(
    tmp_path: Path, windows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "phases.yaml"
    own = PHASES.replace("one: {plan", "one: {objectives: {masked: {span: 3}}, plan")
    file.write_text(own, "utf-8")
    line = ["pretrain", "--config", str(file), "--data-dir", str(windows), "--mask-ratio", "0.3"]
    assert run([*line, "--output-dir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "each phase of this config has objectives of its own" in said
    assert "--set phases.one.objectives.masked.mask_ratio=" in said
    assert not (tmp_path / "run").exists()


def test_several_processes_go_from_phase_to_phase_together(tmp_path: Path, windows: Path) -> None:
    file = tmp_path / "phases.yaml"
    file.write_text(PHASES.replace("nowhere", str(windows)), "utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    line = [*torchrun, "--nproc-per-node", "2", "-m", "biosig_cli", "pretrain"]
    line += ["--config", str(file), "--output-dir", str(tmp_path / "run")]
    line += ["--epochs", "2", "--max-windows", "16"]
    done = subprocess.run(line, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("phase 2 of 2: two") == 1
    phases = read_json(tmp_path / "run" / "manifest.json")["phases"]
    assert [(phase["name"], phase["epochs"]) for phase in phases] == [("one", 2), ("two", 2)]
    assert (tmp_path / "run" / "best_model.pt").is_file()

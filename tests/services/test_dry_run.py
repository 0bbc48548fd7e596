"""A dry run says what a run takes, and leaves nothing behind."""

from pathlib import Path
from typing import Any

import pytest

from biosig_cli.cli import run
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.services.dry_run import dry_run
from biosig_cli.services.finetune import FinetuneConfig
from biosig_cli.services.pretrain import pretrain
from biosig_cli.services.pretrain_config import PretrainConfig
from tests.services.conftest import SMALL

QUIET = Reporter(silent=True)


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let what is temporary lie in a folder of its own, which must be empty in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def names(folder: Path) -> list[str]:
    # Torch makes a folder for what it may compile.
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("torch"))


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    plan = {"epochs": 4, "batch_size": 8, "warmup_epochs": 0}
    base = {"output_dir": folder, "plan": plan}
    return base | {"device": "cpu", "precision": "fp32"} | more


def test_pretraining_is_tried_and_nothing_is_written(
    windows: Path, tmp_path: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = PretrainConfig.parse(
        settings(tmp_path / "run", windows=windows, model=SMALL, save_every=2)
    )
    found = dry_run(config, Reporter())
    said = capsys.readouterr().out
    for part in ("steps", "parameters", "windows/s", "1,000,000 windows x 100 epochs take"):
        assert part in said, part
    assert "dry run: nothing was written" in said
    assert names(tmp_path) == [scratch.name]
    assert names(scratch) == []
    result = pretrain(config, QUIET)
    steps = (result.folder / "metrics.jsonl").read_text("utf-8").splitlines()[-1]
    assert f'"step": {found.n_steps},' in steps
    assert found.n_checkpoints == 5, "best, last, the one before, and those of epochs 2 and 4"
    size = result.checkpoint.stat().st_size
    assert 0.5 * size < found.checkpoint_bytes < size
    assert 0 < found.train_s < 100
    assert 0 < found.val_s < 100


def test_costs_of_an_autoencoder_are_shown_layer_by_layer(
    windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"kind": "ppg_autoencoder", "width": 8, "hidden": 16}
    objective = {"crop_samples": 500, "crops_per_window": 2}
    more = {"model": model, "objectives": {"reconstruction": objective}, "channels": ["PPG"]}
    dry_run(PretrainConfig.parse(settings(tmp_path / "run", windows=windows, **more)), Reporter())
    said = capsys.readouterr().out.splitlines()
    first = next(line.split() for line in said if line.startswith("encoder.first"))
    # 8 features of 7 weights and a bias, at 640 places: 1,250 samples are filled up to 1,280.
    assert first == ["encoder.first", "8", "x", "640", "64", "0.1"]
    whole = next(line.split() for line in said if line.startswith("all "))
    parameters = next(line.split() for line in said if line.startswith("parameters"))
    assert whole[4] == parameters[1]


def test_finetuning_is_tried_stage_by_stage(
    labelled: Path,
    encoder_run: Path,
    tmp_path: Path,
    scratch: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = {"pretrained": str(encoder_run), "head_only_epochs": 1, "folds": 3}
    config = FinetuneConfig.parse(settings(data_dir=labelled, folder=tmp_path / "run", **more))
    found = dry_run(config, Reporter())
    said = capsys.readouterr().out
    assert found.n_steps == 4 * 7, "50 windows, 8 in a step"
    assert "head, new channels and channel mixer" in said
    assert "3 more trainings" in said
    assert names(tmp_path) == [scratch.name]


def test_windows_of_recordings_are_made_and_removed(
    encoder_run: Path,
    tmp_path: Path,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    labelled: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from biosig_cli.services import finetune

    opened = finetune.open_task_windows

    def make(data_dir: Path, *, work_dir: Path, **rest: Any) -> Any:
        (work_dir / "windows").mkdir()
        return opened(data_dir, work_dir=work_dir, **rest)

    monkeypatch.setattr(finetune, "open_task_windows", make)
    more = {"pretrained": str(encoder_run)}
    dry_run(
        FinetuneConfig.parse(settings(data_dir=labelled, folder=tmp_path / "run", **more)),
        Reporter(),
    )
    assert "lie in a temporary folder" in capsys.readouterr().out
    assert names(tmp_path) == [scratch.name]
    assert names(scratch) == []


def test_folder_that_holds_a_run_is_refused_as_it_would_be(
    windows: Path, encoder_run: Path
) -> None:
    before = names(encoder_run)
    with pytest.raises(ConfigError, match="holds a run"):
        dry_run(PretrainConfig.parse(settings(encoder_run, windows=windows, model=SMALL)), QUIET)
    assert names(encoder_run) == before


def test_flag_tries_and_resumes_nothing(
    windows: Path, tmp_path: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["pretrain", "--data-dir", str(windows), "--output-dir", str(tmp_path / "run")]
    line += ["--device", "cpu", "--batch-size", "8", "--dry-run"]
    assert run([*line, "--resume"]) == 2
    assert "a dry run resumes nothing" in capsys.readouterr().err
    small = [f"model.{name}={value}" for name, value in SMALL.items()]
    assert run([*line, *(part for each in small for part in ("--set", each))]) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert names(tmp_path) == [scratch.name]


def test_each_phase_is_tried_and_all_are_summed(
    windows: Path, tmp_path: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phases = {"one": {"plan": {"epochs": 2}}, "two": {"move": {"frozen_epochs": 1}}}
    config = settings(tmp_path / "run", windows=windows, model=SMALL, phases=phases)
    found = dry_run(PretrainConfig.parse(config), Reporter())
    said = capsys.readouterr().out
    assert "phase 2 of 2: two" in said
    assert f"{found.n_steps:,} steps" in said
    single = dry_run(PretrainConfig.parse(config | {"phases": {}}), QUIET)
    assert found.n_steps == single.n_steps * 6 / 4
    assert names(tmp_path) == [scratch.name]

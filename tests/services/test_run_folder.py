"""What a run folder says of its run, from its first second on."""

from pathlib import Path

import pytest

from biosig_cli.core.artifacts import read_json
from biosig_cli.core.errors import InterruptedRunError
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.train import Training
from biosig_cli.services.pretrain import pretrain
from biosig_cli.services.pretrain_config import PretrainConfig
from tests.services.conftest import SMALL

QUIET = Reporter(silent=True)


def config_of(windows: Path, folder: Path) -> PretrainConfig:
    plan = {"epochs": 2, "batch_size": 16, "warmup_epochs": 0}
    settings = {"windows": windows, "output_dir": folder, "model": SMALL, "plan": plan}
    return PretrainConfig.parse(settings | {"device": "cpu", "precision": "fp32"})


def test_origin_is_written_at_the_start_and_the_outcome_at_the_end(
    windows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(windows, tmp_path / "run")
    fit = Training.fit
    with monkeypatch.context() as patch:
        patch.setattr(Training, "fit", lambda training: fit(training, stop_after=2))
        with pytest.raises(InterruptedRunError):
            pretrain(config, QUIET)
    begun = read_json(tmp_path / "run" / "manifest.json")
    assert (begun["command"], begun["device"], begun["precision"]) == ("pretrain", "cpu", "fp32")
    assert (begun["monitor"], begun["higher_is_better"]) == ("loss", False)
    assert begun["n_windows"]["train"] > begun["n_windows"]["val"] > 0
    assert begun["n_subjects"] == {"train": 5, "val": 1}
    assert begun["parent"] is None
    assert "best_epoch" not in begun
    monkeypatch.setattr("biosig_cli.services.run_folder._now", lambda: "much later")
    pretrain(config, QUIET, resume=True)
    done = read_json(tmp_path / "run" / "manifest.json")
    assert done["started_at"] == begun["started_at"]
    assert done["made_at"] == "much later"
    assert done["best_epoch"] in (1, 2)
    assert done["duration_s"] > 0


def test_manifest_of_a_run_names_its_parents(
    windows: Path, encoder_run: Path, tmp_path: Path
) -> None:
    settings = config_of(windows, tmp_path / "run").dump()
    pretrain(PretrainConfig.parse(settings | {"model": {"init_from": str(encoder_run)}}), QUIET)
    said = read_json(tmp_path / "run" / "manifest.json")
    assert said["parent"]["source"] == str(encoder_run)
    assert [each["checkpoint"] for each in said["lineage"]] == [str(encoder_run)]

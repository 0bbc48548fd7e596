"""Smoke passes on a chain that works, and fails on one that does not learn."""

import json
from pathlib import Path

import pytest

from biosig_cli.catalog import load_encoder
from biosig_cli.core.errors import DataError, TrainingError
from biosig_cli.core.progress import Reporter
from biosig_cli.services import smoke as module
from biosig_cli.services.smoke import SmokeConfig, smoke

QUIET = Reporter(silent=True)


def make_config(windows: Path, folder: Path) -> SmokeConfig:
    return SmokeConfig(data_dir=windows, output_dir=folder, max_windows=24, device="cpu")


def test_smoke_checks_everything_and_writes_it_down(windows: Path, tmp_path: Path) -> None:
    result = smoke(make_config(windows, tmp_path), QUIET)
    expected = {"shapes", "finite", "learning", "checkpoint", "resume", "memory"}
    assert set(result.checks) == expected
    metrics = json.loads((tmp_path / "smoke_metrics.json").read_text("utf-8"))
    assert metrics["passed"] is True
    assert metrics["n_windows"] == 24
    assert metrics["losses"]["fixed_after_msm"] < 0.8 * metrics["losses"]["fixed_after_zero"]
    assert "[8, 2, 1250] -> [8, 2, 10, 192] -> [8, 2, 1250]" in metrics["checks"]["shapes"]["found"]
    assert load_encoder(tmp_path / "best_model.pt").spec.names == ("PPG", "ECG")


def test_smoke_twice_gives_the_same_losses(windows: Path, tmp_path: Path) -> None:
    losses = []
    for name in ("a", "b"):
        smoke(make_config(windows, tmp_path / name), QUIET)
        metrics = json.loads((tmp_path / name / "smoke_metrics.json").read_text("utf-8"))
        losses.append(metrics["losses"])
    assert losses[0] == losses[1]


def test_model_that_learned_nothing_fails(
    windows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "N_STEPS", 1)
    with pytest.raises(TrainingError, match="learning") as caught:
        smoke(make_config(windows, tmp_path), QUIET)
    assert caught.value.exit_code == 5
    metrics = json.loads((tmp_path / "smoke_metrics.json").read_text("utf-8"))
    assert metrics["passed"] is False
    assert metrics["checks"]["learning"]["passed"] is False
    assert metrics["checks"]["resume"]["passed"] is True


def test_resume_that_forgets_its_place_fails(
    windows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("biosig_cli.engine.train.Training.restore", lambda *_: None)
    with pytest.raises(TrainingError, match="resume"):
        smoke(make_config(windows, tmp_path), QUIET)


def test_no_windows_is_a_matter_of_data(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        smoke(make_config(tmp_path / "nowhere", tmp_path), QUIET)
    assert caught.value.exit_code == 3
    assert "build-windows" in caught.value.hint

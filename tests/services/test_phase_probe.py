"""A line through the frozen encoder, asked before and after each phase on the same windows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from biosig_cli.catalog import load_encoder
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.checkpoint import load_checkpoint
from biosig_cli.services.phase_probe import ProbeConfig, features, open_probe_set
from biosig_cli.services.pretrain import pretrain
from biosig_cli.services.pretrain_config import PretrainConfig
from biosig_cli.services.run_facts import read_run
from biosig_cli.services.runs import show_phases, show_run

QUIET = Reporter(silent=True)


def settings(labelled: Path, folder: Path, **more: object) -> dict:
    return {
        "windows": labelled,
        "channels": ["PPG", "ECG"],
        "output_dir": folder,
        "model": {"width": 16, "n_layers": 1, "n_levels": 1},
        "device": "cpu",
        "precision": "fp32",
        "save_every": 1,
        "plan": {"epochs": 1, "batch_size": 16, "lr": 1e-3, "warmup_epochs": 0},
        "probe": {"label": "quality", "kind": "classification"},
        "phases": {"masked": {"plan": {"epochs": 2}}, "again": {}},
    } | more


@pytest.fixture(scope="module")
def finished(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probed") / "run"
    pretrain(PretrainConfig.parse(settings(labelled, folder)), QUIET)
    return folder


def told(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text("utf-8"))


def test_each_phase_tells_what_it_added(finished: Path) -> None:
    masked, again = (phase["probe"] for phase in told(finished)["phases"])
    assert (masked["label"], masked["metric"], masked["n_subjects"]) == ("quality", "auroc", 8)
    assert again["before"] == masked["after"]
    # Pulse against noise: any encoder shows some of it.
    assert 0.55 < masked["before"]["value"] <= 1
    for probe in (masked, again):
        gain = probe["after"]["value"] - probe["before"]["value"]
        assert probe["gain"]["value"] == pytest.approx(gain)
        assert probe["gain"]["low"] <= probe["gain"]["high"]


def test_it_is_tracked_over_the_run_where_checkpoints_stayed(finished: Path) -> None:
    history = json.loads((finished / "training_history.json").read_text("utf-8"))
    course = history["val_probe_auroc"]
    assert len(course) == len(history["epoch"]) == 3
    assert None not in course
    last = told(finished)["phases"][-1]["probe"]["after"]["value"]
    assert course[-1] == pytest.approx(last)


def test_the_table_of_phases_shows_it(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_phases(read_run(finished), Reporter())
    said = capsys.readouterr().out
    assert "probe of quality, auroc (95 % over 8 people)" in said
    after = told(finished)["phases"][0]["probe"]["after"]
    assert f"{after['value']:.3f} ({after['low']:.3f} to {after['high']:.3f})" in said


def test_a_run_without_phases_shows_its_own(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_run(finished / "1_masked", Reporter())
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("1_masked")]
    gain = told(finished)["phases"][0]["probe"]["gain"]
    assert said[-1].split()[-4] == f"{gain['value']:.3f}"


def test_a_probe_changes_nothing_of_a_training(
    finished: Path, labelled: Path, tmp_path: Path
) -> None:
    pretrain(PretrainConfig.parse(settings(labelled, tmp_path / "run", probe=None)), QUIET)
    one, other = (
        load_checkpoint(each)["encoder_state_dict"] for each in (finished, tmp_path / "run")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_probe_does_not_make_it_another_run(
    finished: Path, labelled: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished / "1_masked", tmp_path / "run")
    asked = {"phases": {}, "plan": {"epochs": 2, "batch_size": 16, "lr": 1e-3, "warmup_epochs": 0}}
    config = settings(labelled, tmp_path / "run", probe={"label": "hr"}, **asked)
    pretrain(PretrainConfig.parse(config), QUIET, resume=True)
    assert told(tmp_path / "run")["probe"]["metric"] == "nrmse"


def test_where_nobody_has_the_label_that_is_said(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"phases": {}, "probe": {}, "max_windows": 16}
    pretrain(PretrainConfig.parse(settings(labelled, tmp_path / "run", **asked)), Reporter())
    assert "no probe: " in (said := capsys.readouterr().out)
    assert "has no label 'reaction_time'" in said
    assert "probe" not in told(tmp_path / "run")


def test_people_are_left_out_and_windows_stay_the_same(finished: Path, labelled: Path) -> None:
    encoder = load_encoder(finished)
    asked = ProbeConfig(label="hr", kind="regression")
    windows = open_probe_set(asked, labelled, encoder, "cpu")
    assert len(windows.folds) == 8
    for fold in windows.folds:
        fold.check(windows.examples)
    one, other = windows.ask(encoder), windows.ask(encoder)
    np.testing.assert_array_equal(one.score, other.score)
    assert windows.metric == "nrmse"


def test_time_stays_visible_and_channels_apart_where_they_have_names(finished: Path) -> None:
    tokens = torch.arange(2.0 * 16).view(1, 2, 16, 1)
    encoder = load_encoder(finished)
    found = features(tokens, encoder)
    assert found.tolist() == [[0.5 + 2 * n for n in range(8)] + [16.5 + 2 * n for n in range(8)]]
    encoder.any_montage = True
    assert features(tokens, encoder).tolist() == [[8.5 + 2 * n for n in range(8)]]

"""Pretraining from a store to a run folder, and every way to hold it wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from biosig_cli.catalog import load_encoder
from biosig_cli.core.errors import CheckpointError, ConfigError, DataError, InterruptedRunError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Machine
from biosig_cli.data.store import open_split
from biosig_cli.engine.checkpoint import load_checkpoint
from biosig_cli.engine.optimize import PlanConfig
from biosig_cli.engine.train import Training
from biosig_cli.models.ttm import TtmConfig
from biosig_cli.objectives.kinds import ObjectivesConfig
from biosig_cli.objectives.masked import MaskedConfig
from biosig_cli.services.evaluate import EvaluateConfig, evaluate
from biosig_cli.services.pretrain import PretrainResult, compare, pretrain
from biosig_cli.services.pretrain_config import PretrainConfig

QUIET = Reporter(silent=True)
SMALL = TtmConfig(width=32, n_layers=1, n_levels=1)


def make_config(windows: Path, folder: Path, **changes: object) -> PretrainConfig:
    plan = PlanConfig(epochs=2, batch_size=8, lr=2e-3, warmup_epochs=1)
    settings = {"device": "cpu", "precision": "fp32", "model": SMALL, "plan": plan} | changes
    return PretrainConfig(windows=windows, output_dir=folder, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(windows: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainResult:
    folder = tmp_path_factory.mktemp("finished") / "run"
    return pretrain(make_config(windows, folder), QUIET)


def test_run_folder_holds_what_was_promised(finished: PretrainResult) -> None:
    names = {path.name for path in finished.folder.iterdir()}
    assert names == {
        "best_model.pt",
        "last_model.pt",
        "training_history.json",
        "training_config.json",
        "metrics.jsonl",
        "history.png",
        "manifest.json",
        "MODEL_CARD.md",
    }
    history = json.loads((finished.folder / "training_history.json").read_text("utf-8"))
    parts = ("loss", "msm", "stft")
    expected = {f"{split}_{part}" for split in ("train", "val") for part in parts}
    assert set(history) == expected | {"epoch", "lr", "val_zero", "val_interpolation"}


def test_total_is_msm_plus_weighted_stft(finished: PretrainResult) -> None:
    history = finished.train.history
    for total, msm, stft in zip(
        history["val_loss"], history["val_msm"], history["val_stft"], strict=True
    ):
        assert total == pytest.approx(msm + 0.3 * stft, rel=1e-5)


def test_trivial_answers_are_scored_on_the_same_masks_every_epoch(
    finished: PretrainResult, windows: Path
) -> None:
    history = finished.train.history
    assert len(set(history["val_zero"])) == len(set(history["val_interpolation"])) == 1
    # Hidden patches are scaled by visible statistics, so zero scores near 1.
    assert history["val_zero"][0] == pytest.approx(1.0, abs=0.25)


def test_checkpoint_is_enough_to_load_the_encoder(finished: PretrainResult, windows: Path) -> None:
    encoder = load_encoder(finished.folder)
    store = open_split(windows, "val")
    tokens = encoder(torch.from_numpy(store.read(np.arange(2)))).tokens
    assert tokens.shape == (2, 2, 10, 32)
    content = load_checkpoint(finished.checkpoint)
    assert content["data"]["train"]["n_windows"] == len(open_split(windows, "train"))
    subjects = [set(content["data"][name]["subjects"]) for name in ("train", "val")]
    assert subjects[0].isdisjoint(subjects[1])


def test_config_of_a_run_repeats_it(finished: PretrainResult, tmp_path: Path) -> None:
    saved = json.loads((finished.folder / "training_config.json").read_text("utf-8"))
    config = PretrainConfig.parse(saved | {"output_dir": str(tmp_path / "again")})
    again = pretrain(config, QUIET)
    assert again.train.history == finished.train.history


def test_folder_that_holds_a_run_is_refused(finished: PretrainResult, windows: Path) -> None:
    with pytest.raises(ConfigError, match="holds a run") as caught:
        pretrain(make_config(windows, finished.folder), QUIET)
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize("stop_after", [2, 6])
def test_resumed_run_equals_the_straight_one(
    finished: PretrainResult,
    windows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_after: int,
) -> None:
    config = make_config(windows, tmp_path / "run")
    fit = Training.fit
    with monkeypatch.context() as patch:
        patch.setattr(Training, "fit", lambda training: fit(training, stop_after=stop_after))
        with pytest.raises(InterruptedRunError) as caught:
            pretrain(config, QUIET)
    assert f"--output-dir {tmp_path / 'run'} --resume" in caught.value.hint
    resumed = pretrain(config, QUIET, resume=True)
    assert resumed.train.history == finished.train.history
    first, second = (load_checkpoint(run.folder / "last_model.pt") for run in (finished, resumed))
    for part in ("encoder_state_dict", "decoder_state_dict"):
        torch.testing.assert_close(first[part], second[part], atol=0, rtol=0)


def test_resume_with_other_settings_is_refused_showing_them(
    finished: PretrainResult, windows: Path
) -> None:
    plan = PlanConfig(epochs=2, batch_size=8, lr=1e-3, warmup_epochs=1)
    config = make_config(windows, finished.folder, seed=7, num_workers=1, plan=plan)
    with pytest.raises(ConfigError, match="seed: 42 then, 7 now") as caught:
        pretrain(config, QUIET, resume=True)
    assert "plan.lr: 0.002 then, 0.001 now" in str(caught.value)
    assert "num_workers" not in str(caught.value)
    assert "plan.epochs" not in str(caught.value)


def test_missing_store_names_the_path_and_the_commands(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/train") as caught:
        pretrain(make_config(tmp_path / "nowhere", tmp_path / "run"), QUIET)
    assert "biosig prepare-splits" in caught.value.hint
    assert "biosig build-windows" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_one_channel_of_a_store_can_be_chosen_by_name(windows: Path, tmp_path: Path) -> None:
    result = pretrain(make_config(windows, tmp_path / "run", channels=("ECG",)), QUIET)
    assert load_encoder(result.folder).spec.names == ("ECG",)


def test_unknown_channel_is_refused_naming_those_there_are(windows: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ABP not found; there are PPG, ECG"):
        pretrain(make_config(windows, tmp_path / "run", channels=("ABP",)), QUIET)


def test_what_gives_way_is_said(
    windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = PlanConfig(epochs=1, batch_size=500, warmup_epochs=10)
    pretrain(make_config(windows, tmp_path / "run", plan=plan), Reporter())
    said = capsys.readouterr().out
    assert "they are one batch" in said
    assert "shortened to 0.1" in said
    for promised in ("device", "asked for", "parameters", "predict zero", "linear interpolation"):
        assert promised in said


def test_encoder_that_is_no_better_than_a_trivial_answer_is_said_to_be(
    windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = PlanConfig(epochs=1, batch_size=64, lr=1e-9, min_lr=0, warmup_epochs=0)
    pretrain(make_config(windows, tmp_path / "run", plan=plan), Reporter())
    assert "no better than a trivial answer (predict zero)" in capsys.readouterr().out


def test_quick_try_is_at_most_five_epochs(windows: Path, tmp_path: Path) -> None:
    plan = PlanConfig(epochs=100, batch_size=64, warmup_epochs=1)
    config = make_config(windows, tmp_path / "run", fast=True, max_windows=4, plan=plan)
    assert config.limit("train") == 4
    assert pretrain(config, QUIET).train.n_epochs == 5


def test_run_can_start_from_the_encoder_of_another(
    finished: PretrainResult, windows: Path, tmp_path: Path
) -> None:
    model = TtmConfig(init_from=str(finished.folder))
    plan = PlanConfig(epochs=1, batch_size=64, lr=1e-9, min_lr=0, warmup_epochs=0)
    config = make_config(windows, tmp_path / "run", model=model, plan=plan)
    result = pretrain(config, QUIET)
    first, second = load_encoder(finished.folder), load_encoder(result.folder)
    torch.testing.assert_close(first.state_dict(), second.state_dict(), atol=1e-6, rtol=0)
    assert load_checkpoint(result.folder)["parent"]["source"] == str(finished.folder)


def test_other_architecture_than_the_weights_is_refused(
    finished: PretrainResult, windows: Path, tmp_path: Path
) -> None:
    model = TtmConfig(init_from=str(finished.folder), patch_size=250)
    with pytest.raises(ConfigError, match=r"patch_size 250 \(weights: 125\)"):
        pretrain(make_config(windows, tmp_path / "run", model=model), QUIET)


def test_other_channels_than_the_weights_are_refused(
    finished: PretrainResult, windows: Path, tmp_path: Path
) -> None:
    model = TtmConfig(init_from=str(finished.folder))
    config = make_config(windows, tmp_path / "run", model=model, channels=("ECG", "PPG"))
    with pytest.raises(CheckpointError, match="trained on PPG, ECG"):
        pretrain(config, QUIET)


def test_weights_that_are_not_there_leave_nothing_behind(windows: Path, tmp_path: Path) -> None:
    model = TtmConfig(init_from=str(tmp_path / "nothing"))
    with pytest.raises(CheckpointError, match="no weights at"):
        pretrain(make_config(windows, tmp_path / "run", model=model), QUIET)
    assert not (tmp_path / "run").exists()


def test_stft_window_that_is_too_long_is_refused_at_the_start(
    windows: Path, tmp_path: Path
) -> None:
    objectives = ObjectivesConfig(masked=MaskedConfig(n_ffts=(512, 2048)))
    with pytest.raises(ConfigError, match="2048 is longer"):
        pretrain(make_config(windows, tmp_path / "run", objectives=objectives), QUIET)


def test_bare_arrays_are_trained_on_once_channels_and_rate_are_given(
    windows: Path, tmp_path: Path
) -> None:
    for split in ("train", "val"):
        store = open_split(windows, split)
        np.savez(tmp_path / f"{split}_windows.npz", data=store.read(np.arange(len(store))))
    settings = {"channels": ("PPG", "ECG"), "sampling_hz": 125.0}
    result = pretrain(make_config(tmp_path, tmp_path / "run", **settings), QUIET)
    assert load_checkpoint(result.folder)["data"]["train"]["subjects"] == []
    with pytest.raises(DataError):
        pretrain(make_config(tmp_path, tmp_path / "other"), QUIET)


def test_on_colab_results_go_to_drive_unless_a_folder_is_asked_for(
    windows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colab = Machine(2, 12.7, is_colab=True, drive=tmp_path / "drive")
    monkeypatch.setattr(Machine, "detect", lambda: colab)
    plan = PlanConfig(epochs=1, batch_size=64, warmup_epochs=0)
    config = PretrainConfig(windows=windows, model=SMALL, plan=plan)
    assert pretrain(config, QUIET).folder == tmp_path / "drive/biosig/artifacts/pretrain"
    asked = make_config(windows, tmp_path / "run", plan=plan)
    assert pretrain(asked, QUIET).folder == tmp_path / "run"


def test_an_autoencoder_is_pretrained_in_two_stages_and_judged(
    windows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objective = {"crop_samples": 500, "crops_per_window": 2}
    settings = {
        "windows": windows,
        "output_dir": tmp_path / "run",
        "channels": ["PPG"],
        "device": "cpu",
        "model": {"kind": "ppg_autoencoder", "width": 8, "hidden": 16},
        "objectives": {"reconstruction": objective | {"whole_epochs": 1}},
        "plan": {"epochs": 2, "batch_size": 8, "warmup_epochs": 0},
    }
    pretrain(PretrainConfig.parse(settings), Reporter())
    said = capsys.readouterr().out
    assert "stage 1 of 2: random crops" in said
    assert "stage 2 of 2: whole windows" in said
    assert "slowest waves in as many numbers" in said
    encoder = load_encoder(tmp_path / "run")
    assert encoder.embed(torch.zeros(2, 1, 900)).shape == (2, 128)
    config = EvaluateConfig(checkpoint=(tmp_path / "run",), device="cpu", n_resamples=50)
    found = evaluate(config, Reporter(silent=True)).metrics["channels"]["PPG"]["answers"]
    assert set(found) == {"model", "zero", "low_pass", "pca"}


def test_an_answer_that_is_never_wrong_is_no_end_of_a_finished_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Of nobody in val is anything known: all errors are 0.
    best = {"val_msm": 0.0, "val_zero": 0.0, "val_interpolation": 0.0}
    compare(MaskedConfig(), best, "masked: val", Reporter())
    assert "nothing to compare, predict zero is never wrong there" in capsys.readouterr().out
    compare(MaskedConfig(), best | {"val_zero": 1.0, "val_msm": 0.5}, "masked: val", Reporter())
    assert "0.500" in capsys.readouterr().out

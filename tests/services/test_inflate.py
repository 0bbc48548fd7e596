"""The command that widens a checkpoint: what it writes loads, says where it comes from, trains."""

from pathlib import Path

import pytest
import torch

from biosig_cli.catalog import load_encoder
from biosig_cli.cli import run
from biosig_cli.core.artifacts import read_json
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.checkpoint import BEST, load_checkpoint
from biosig_cli.services.finetune import finetune
from biosig_cli.services.inflate import InflateConfig, inflate
from tests.services.test_finetune import settings

QUIET = Reporter(silent=True)
FIVE = ("ACC_X", "ACC_Y", "ACC_Z", "PPG", "ECG")


def test_two_channels_become_five(encoder_run: Path, tmp_path: Path) -> None:
    result = inflate(InflateConfig(checkpoint=encoder_run, output=tmp_path / "five"), QUIET)
    before, after = load_encoder(encoder_run), load_encoder(tmp_path / "five")
    assert after.spec.names == FIVE
    assert [each.kind for each in after.spec.channels] == ["acc", "acc", "acc", "ppg", "ecg"]
    signal = torch.randn(2, 5, 1250)
    hidden = torch.zeros(2, 5, 10, dtype=torch.bool)
    hidden[:, :3] = True
    with torch.no_grad():
        alone = before(signal[:, 3:]).tokens
        together = after(signal, hidden).tokens[:, 3:]
    assert (alone - together).abs().max() < 1e-6
    report = read_json(tmp_path / "five" / "inflation_report.json")
    assert report["sha256"] == result.report["sha256"]
    widened = {
        each["name"]: each["after"] for each in report["tensors"] if each["fate"] != "copied"
    }
    assert widened == {"channel_embedding": [5, 16], "mixer.weight": [5, 5]}
    assert report["counts"]["copied"] == len(before.state_dict()) - 2
    assert {each["channel"]: each["known"] for each in report["channels"]} == {
        "ACC_X": None,
        "ACC_Y": None,
        "ACC_Z": None,
        "PPG": "PPG",
        "ECG": "ECG",
    }


def test_whose_windows_shaped_it_is_not_forgotten(encoder_run: Path, tmp_path: Path) -> None:
    result = inflate(InflateConfig(checkpoint=encoder_run, output=tmp_path / "five"), QUIET)
    content, parent = load_checkpoint(result.checkpoint), load_checkpoint(encoder_run)
    assert content["data"] == parent["data"]
    assert content["parent"]["source"] == str(encoder_run)


def test_what_was_inflated_is_fine_tuned_as_it_is(
    encoder_run: Path, labelled: Path, tmp_path: Path
) -> None:
    names = ("ACC_X", "PPG", "ECG")
    wider = InflateConfig(checkpoint=encoder_run, output=tmp_path / "wide", channels=names)
    inflate(wider, QUIET)
    by_hand = settings(labelled, tmp_path / "wide", tmp_path / "one", plan={"epochs": 1})
    at_once = settings(labelled, encoder_run, tmp_path / "two", plan={"epochs": 1})
    one, two = (load_checkpoint(finetune(each, QUIET).checkpoint) for each in (by_hand, at_once))
    for name, tensor in one["encoder_state_dict"].items():
        assert torch.equal(two["encoder_state_dict"][name], tensor), name


def test_the_same_command_twice_writes_the_same(encoder_run: Path, tmp_path: Path) -> None:
    config = InflateConfig(checkpoint=encoder_run, output=tmp_path / "five")
    first = load_checkpoint(inflate(config, QUIET).checkpoint)["encoder_state_dict"]
    second = load_checkpoint(inflate(config, QUIET).checkpoint)["encoder_state_dict"]
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_head_of_a_task_is_dropped_and_said(
    encoder_run: Path, labelled: Path, tmp_path: Path
) -> None:
    finetune(settings(labelled, encoder_run, tmp_path / "tuned", plan={"epochs": 1}), QUIET)
    config = InflateConfig(
        checkpoint=tmp_path / "tuned", output=tmp_path / "two", channels=("PPG", "ECG")
    )
    report = inflate(config, QUIET).report
    assert {e["name"] for e in report["tensors"] if e["fate"] == "dropped"} >= {"head.out.weight"}
    assert "head_state_dict" not in load_checkpoint(tmp_path / "two")


def test_the_folder_of_a_run_is_left_alone(encoder_run: Path) -> None:
    with pytest.raises(ConfigError, match="holds a run"):
        inflate(InflateConfig(checkpoint=encoder_run, output=encoder_run), QUIET)


def test_it_works_from_the_command_line(
    encoder_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["inflate", "--checkpoint", str(encoder_run / BEST), "--output", str(tmp_path / "out")]
    assert run([*words, "--channels", "PLETH,ECG", "--map", "PLETH=PPG"]) == 0
    assert "copied from PPG" in capsys.readouterr().out
    assert load_encoder(tmp_path / "out").spec.names == ("PLETH", "ECG")
    assert run([*words, "--channels", "EEG"]) == 4
    assert "none of which is among EEG" in capsys.readouterr().err
    assert run([*words, "--map", "PLETH"]) == 2
    assert "--map NEW=OLD" in capsys.readouterr().err

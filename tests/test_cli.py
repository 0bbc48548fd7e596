"""The command line answers at once, takes the documented lines, and refuses the rest clearly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from biosig_cli.cli import run
from tests.recordings import write_case


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from biosig_cli.cli import run; run(['--help']); "
        "sys.exit(', '.join({'torch', 'numpy', 'scipy', 'tsfm_public'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "prepare-splits" in done.stdout


@pytest.mark.parametrize(
    "command", ["prepare-splits", "build-windows", "pretrain", "audit", "smoke", "runs"]
)
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, "--help"]) == 0
    assert f"biosig {command}" in capsys.readouterr().out


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("biosig 0.")


@pytest.mark.parametrize(
    ("line", "today"),
    [
        ("pretrain --channels PPG ECG", "--channels PPG,ECG"),
        ("pretrain --no-amp", "--precision fp32"),
        ("pretrain --finetune-channels 5", "--channels ACC_X,ACC_Y,ACC_Z,PPG,ECG"),
        ("pretrain --save-interval 5", "--save-every N"),
    ],
)
def test_older_form_is_refused_with_todays(
    line: str, today: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == 2
    assert today in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("pretrian", 2, "Did you mean 'pretrain'"),
        ("pretrain --epocs 3", 2, "--epochs"),
        ("pretrain --epochs many", 2, "valid integer"),
        ("pretrain --set plan.epocs=3", 2, "did you mean plan.epochs"),
        ("pretrain --config ssl_pretrian", 2, "did you mean ssl_pretrain"),
        ("pretrain --device cuda:99 --data-dir nowhere", 3, "nowhere/train"),
        ("prepare-splits --case-set biss", 2, "bis, desflurane"),
        ("prepare-splits --source nowhere --case-set bis", 2, "--case-set"),
        ("prepare-splits --source nowhere", 3, "nowhere"),
        ("prepare-splits --mode quick", 2, "fasttrack"),
        ("build-windows --split-file nowhere.json", 3, "prepare-splits"),
        ("build-windows --windows-yaml channels", 2, "windows"),
        ("audit nowhere", 3, "build-windows"),
        ("audit", 2, "stores"),
        ("smoke --data-dir nowhere", 3, "build-windows"),
        ("audit", 2, "stores: needed, and not given"),
        ("runs", 3, "no folder artifacts"),
        ("runs nowhere", 3, "no folder nowhere"),
        ("runs show nowhere", 2, "nowhere is no run"),
        ("runs compare one", 2, "RUN..."),
        ("runs compare one two", 2, "one is no run"),
    ],
)
def test_wrong_line_gives_its_code_and_what_to_do(
    line: str,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(line.split()) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert "Traceback" not in error


def test_documented_chain_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIOSIG_DATA", str(tmp_path / "source"))
    for number in range(4):
        write_case(tmp_path / "source", f"{number}", rate_bpm=60 + 9 * number)
    lines = [
        "prepare-splits --mode fasttrack --output data",
        "build-windows --channels-yaml configs/channels.yaml --windows-yaml configs/windows.yaml "
        "--split-file data/splits_fasttrack.json --split all --outdir data/vitaldb_windows",
        "pretrain --config configs/ssl_pretrain.yaml --data-dir data/vitaldb_windows "
        "--channels PPG,ECG --output-dir artifacts/foundation_model --mask-ratio 0.4 "
        "--mask-type random --epochs 1 --batch-size 128 --lr 5e-4 --weight-decay 0.01 "
        "--warmup-epochs 10 --context-length 1250 --patch-size 125 --stft-weight 0.3 --device cpu",
        "pretrain --output-dir artifacts/foundation_model --resume",
        "smoke --max-windows 8",
    ]
    for line in lines:
        assert run(line.split()) == 0, capsys.readouterr()
    config = json.loads(Path("artifacts/foundation_model/training_config.json").read_text("utf-8"))
    assert config["plan"]["epochs"] == 1
    assert Path("artifacts/smoke/smoke_metrics.json").is_file()
    assert Path("data/vitaldb_windows/train/windows.png").is_file()

"""`biosig configs` tells what a file comes to, and its schema fits every shipped file."""

import json
from pathlib import Path

import pytest

from biosig_cli.cli import run
from biosig_cli.core.config import COMMANDS, read_file, shipped_configs
from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.services.configs import (
    CONFIGS,
    commands_of,
    copy_config,
    diff_configs,
    resolve,
    schema,
)

QUIET = Reporter(silent=True)


def test_every_command_with_settings_is_known() -> None:
    assert set(CONFIGS) == set(COMMANDS)


def test_ls_names_every_shipped_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["configs", "ls"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in shipped_configs())


def test_every_value_says_where_it_is_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOSIG_DEVICE", "cpu")
    file = tmp_path / "mine.yaml"
    file.write_text("plan: {epochs: 7}\nobjectives: {masked: {span: 3}}\nseed: 1\n", "utf-8")
    (settings,) = resolve(str(file)).values()
    found = {each.path: (each.value, each.origin) for each in settings}
    assert found["plan.epochs"] == (7, str(file))
    assert found["plan.lr"] == (5e-4, "default")
    assert found["objectives.masked.span"] == (3, str(file))
    assert found["device"] == ("cpu", "BIOSIG_DEVICE")


def test_recipe_says_what_it_has_of_the_shipped_ones(tmp_path: Path) -> None:
    file = str(tmp_path / "w.yaml")
    Path(file).write_text("windows: {step_s: 5.0}\n", "utf-8")
    found = {each.path: each.origin for each in resolve(file)["build_windows"]}
    assert found["windows.step_s"] == file
    assert found["windows.max_flat"] == "windows.yaml"
    assert found["channels.ECG.filter.low_hz"] == "channels.yaml"
    assert found["outdir"] == "default"


def test_show_as_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["configs", "show", "finetune_heart_rate", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["finetune"]["task.kind"] == {"value": "regression", "from": "finetune_heart_rate"}


def test_copy_is_the_same_and_never_overwrites(tmp_path: Path) -> None:
    copied = copy_config("but_ppg", tmp_path / "mine.yaml", QUIET)
    assert copied.read_bytes() == shipped_configs()["but_ppg"].read_bytes()
    with pytest.raises(ConfigError, match="there already"):
        copy_config("but_ppg", tmp_path / "mine.yaml", QUIET)


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_config_is_valid(name: str) -> None:
    assert run(["configs", "validate", name]) == 0


def test_wrong_file_names_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text("pretrain: {plan: {epocs: 3, lr: fast}}\n", "utf-8")
    assert run(["configs", "validate", str(tmp_path / "x.yaml")]) == 2
    said = capsys.readouterr().err
    assert "plan.epocs: unknown key, did you mean plan.epochs?" in said
    assert "plan.lr" in said


def test_diff_shows_what_differs_defaults_filled_in(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("pretrain: {seed: 42}\n", "utf-8")
    (tmp_path / "b.yaml").write_text("pretrain: {plan: {lr: 0.001}}\n", "utf-8")
    found = diff_configs(str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"), QUIET)
    assert found == [("pretrain", "plan.lr", 5e-4, 0.001)]
    assert diff_configs("ssl_pretrain", "ssl_pretrain", QUIET) == []
    with pytest.raises(ConfigError, match="finetune"):
        diff_configs("ssl_pretrain", "finetune_but_ppg", QUIET)


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        ({"checkpoint", "inputs", "per"}, "embed"),
        ({"pretrained", "task"}, "finetune"),
        ({"model", "plan"}, "pretrain"),
        ({"windows"}, "build_windows"),
    ],
)
def test_command_is_told_by_the_keys(keys: set[str], command: str) -> None:
    assert commands_of({key: {} for key in keys}) == [command]


@pytest.mark.parametrize("name", shipped_configs())
def test_schema_accepts_every_shipped_config_and_no_misspelt_key(name: str) -> None:
    import jsonschema

    check = jsonschema.Draft202012Validator(schema())
    data = read_file(shipped_configs()[name])
    assert not list(check.iter_errors(data))
    assert list(check.iter_errors(data | {"epocs": 3}))

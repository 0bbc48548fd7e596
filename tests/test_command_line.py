"""What holds for every command: examples, JSON that a program reads, quiet, completion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from biosig_cli.cli import app, run
from biosig_cli.core.progress import Reporter


def all_commands() -> dict[str, str]:
    """Return the help of every command that does something, by the words that call it."""
    found = {}
    groups = [("", typer.main.get_command(app))]
    while groups:
        prefix, group = groups.pop()
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                groups.append((f"{prefix}{name} ", command))
            else:
                found[prefix + name] = command.help or ""
    return found


@pytest.mark.parametrize("name", sorted(all_commands()))
def test_every_command_shows_two_lines_to_copy(name: str) -> None:
    examples = [line for line in all_commands()[name].splitlines() if "Example: `biosig" in line]
    assert len(examples) == 2
    word = name.removesuffix(" list").split()[0]
    assert all(f"`biosig {word}" in line for line in examples)


@pytest.mark.parametrize("name", sorted(all_commands()))
def test_examples_name_flags_that_there_are(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*name.split(), "--help"]) == 0
    said = capsys.readouterr().out
    for line in all_commands()[name].splitlines():
        for word in line.replace("`", " ").split() if "Example" in line else ():
            if word.startswith("--"):
                assert word in said


def test_help_is_grouped_in_panels(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    said = capsys.readouterr().out
    for panel in ("Windows from recordings", "Training", "Take the model with you"):
        assert panel in said


@pytest.fixture
def past(tmp_path: Path) -> Path:
    for name, lr in (("one", 1e-3), ("two", 2e-3)):
        folder = tmp_path / "artifacts" / name
        folder.mkdir(parents=True)
        config = {"seed": 1, "plan": {"epochs": 1, "lr": lr}, "output_dir": name}
        (folder / "training_config.json").write_text(json.dumps(config), "utf-8")
        manifest = {"command": "pretrain", "best_epoch": 1, "monitor": "loss"}
        (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        history = {"epoch": [1], "train_loss": [0.5], "val_loss": [float("nan")]}
        (folder / "training_history.json").write_text(json.dumps(history), "utf-8")
    return tmp_path / "artifacts"


def printed(line: list[str], capsys: pytest.CaptureFixture[str]) -> object:
    assert run(line) == 0
    out = capsys.readouterr().out
    assert "NaN" not in out
    return json.loads(out)


def test_runs_are_told_as_json(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (str(past / name) for name in ("one", "two"))
    listed = printed(["runs", str(past), "--json"], capsys)
    assert [each["folder"] for each in listed] == [one, two]
    shown = printed(["runs", "show", one, "--json"], capsys)
    assert shown["settings"]["plan"]["lr"] == 1e-3
    assert shown["history"]["val_loss"] == [None]
    compared = printed(["runs", "compare", one, two, "--json"], capsys)
    assert compared["settings"] == {"plan.lr": [1e-3, 2e-3]}


def test_configs_are_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    listed = printed(["configs", "ls", "--json"], capsys)
    assert {"name", "for", "about"} == set(listed[0])
    valid = printed(["configs", "validate", "eeg", "--json"], capsys)
    assert valid["valid"] is True
    assert valid["values_stated"]["build_windows"] > 5
    differing = printed(["configs", "diff", "windows", "windows_1024", "--json"], capsys)
    lengths = {each["setting"]: (each["first"], each["second"]) for each in differing}
    assert lengths["windows.n_samples"] == (1250, 1024)


def test_quiet_leaves_warnings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["configs", "validate", "eeg", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    Reporter.loudness = "quiet"
    reporter = Reporter()
    reporter.say("nothing of this")
    reporter.warn("but this")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "warning: but this\n")
    assert run(["configs", "validate", "eeg"]) == 0
    assert "valid" in capsys.readouterr().out


def test_verbose_says_where_an_error_arose(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "nowhere"]) == 3
    assert "Traceback" not in capsys.readouterr().err
    assert run(["runs", "nowhere", "--verbose"]) == 3
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.count("error: no folder nowhere") == 1
    assert run(["--quiet", "--verbose", "doctor"]) == 2
    Reporter.loudness = "verbose"
    assert list(Reporter(silent=True).first(2, [1, 2, 3])) == [1, 2, 3]
    Reporter.loudness = "normal"
    assert list(Reporter(silent=True).first(2, [1, 2, 3])) == [1, 2]


def biosig(*words: str, **environment: str) -> str:
    code = "import sys; from biosig_cli.cli import main; main()"
    line = [sys.executable, "-c", code, *words]
    env = os.environ | environment
    return subprocess.run(line, capture_output=True, text=True, check=False, env=env).stdout


def test_pipe_gets_no_colours() -> None:
    said = biosig("configs", "ls", TERM="xterm-256color")
    assert "ssl_pretrain" in said
    assert "\x1b" not in said


def test_shell_completes_commands_and_recipes() -> None:
    def complete(*words: str) -> list[str]:
        place = str(len(words) - 1)
        asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": place}
        return biosig(_BIOSIG_COMPLETE="complete_bash", **asked).split()

    assert complete("biosig", "pret") == ["pretrain"]
    assert "eeg_phase1b" in complete("biosig", "pretrain", "--config", "eeg_")
    assert complete("biosig", "runs", "comp") == ["compare"]

"""Runs are listed, shown and compared as people ask for them."""

import json
from pathlib import Path

import pytest

from biosig_cli.core.errors import ConfigError
from biosig_cli.core.progress import Reporter
from biosig_cli.services.runs import compare_runs, list_runs, show_run
from tests.services.past import write_run


def rows(said: str) -> dict[str, list[str]]:
    """Return the cells of each line by its first."""
    lines = [line.split("  ") for line in said.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return {line[0]: line[1:] for line in cells if line}


def test_list_says_state_best_value_and_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "done")
    write_run(tmp_path / "deep" / "stopped", n_epochs=2, ended=False, command="finetune")
    broken = write_run(tmp_path / "broken", ended=False)
    (broken / "last_model.pt").write_bytes(b"half")
    list_runs(tmp_path, Reporter())
    said = capsys.readouterr().out
    found = rows(said)
    assert found["done"][:5] == ["pretrain", "finished", "val_auroc 0.9000", "3", "1 min 15 s"]
    assert found["deep/stopped"][:4] == ["finetune", "unfinished", "val_auroc 0.9000", "2/3"]
    assert found["broken"][1] == "damaged"
    assert "broken: last_model.pt is not whole" in said
    stopped = tmp_path / "deep" / "stopped"
    assert f"go on with deep/stopped: biosig finetune --output-dir {stopped} --resume" in said
    assert "go on with done" not in said


def test_empty_folder_says_what_makes_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list_runs(tmp_path, Reporter()) == []
    assert "biosig pretrain" in capsys.readouterr().out


def test_show_draws_curves_and_says_where_a_run_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", lr=0.25)
    show_run(folder, Reporter())
    said = capsys.readouterr().out
    found = rows(said)
    assert found["best"] == ["val_auroc 0.9000", "epoch 2"]
    assert found["train"] == ["1,364 windows of 22 subjects", "digest 0123456789"]
    assert said.index("artifacts/first") < said.index("artifacts/zeroth"), "the nearest is first"
    assert found["device"] == ["cpu, bf16, 2 processes"]
    assert found["speed"][0] == "512 windows/s, 2 % waiting for data"
    assert found["plan.lr"] == ["0.25", "0.0005"]
    assert "seed  " not in said, "it is the default"
    assert "loss  • train  ○ val" in said
    assert "auroc  ○ val" in said
    assert (folder / "history.png").read_bytes().startswith(b"\x89PNG")


def test_show_leaves_a_picture_as_it_is_and_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", n_epochs=2, ended=False)
    (folder / "history.png").write_bytes(b"as it was")
    show_run(folder, Reporter())
    assert (folder / "history.png").read_bytes() == b"as it was"
    assert f"go on: biosig pretrain --output-dir {folder} --resume" in capsys.readouterr().out


def test_show_says_when_there_is_nothing_to_draw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_run(write_run(tmp_path / "run", n_epochs=0, ended=False), Reporter())
    assert "no epoch is complete yet" in capsys.readouterr().out


def test_run_of_ours_is_shown_whole(encoder_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_run(encoder_run, Reporter())
    found = rows(capsys.readouterr().out)
    assert found["state"][0] == "pretrain, finished"
    assert found["model.width"] == ["16", "192"]
    assert found["train"][0].endswith("windows of 5 subjects")
    assert "device" in found


def test_compare_shows_only_what_differs_and_the_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_run(tmp_path / "one")
    two = write_run(tmp_path / "two", lr=0.5, data={"train": "0123456789abcdef", "val": "00" * 9})
    three = write_run(tmp_path / "three", n_epochs=1, ended=False)
    compare_runs([one, two, three], Reporter())
    said = capsys.readouterr().out
    found = rows(said)
    assert found["plan.lr"] == ["0.001", "0.5", "0.001"]
    assert not {"seed", "output_dir", "plan.epochs"} & set(found)
    assert found["best"] == ["val_auroc 0.9000", "val_auroc 0.9000", "-"]
    assert found["epochs"] == ["3", "3", "1/3"]
    assert found["train windows"] == ["0123456789", "the same", "the same"]
    assert found["val windows"] == ["fedcba9876", "0000000000", "the same"]
    assert found["state"] == ["finished", "finished", "unfinished"]


def test_runs_alike_are_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare_runs([write_run(tmp_path / "one"), write_run(tmp_path / "two")], Reporter())
    assert "no setting differs" in capsys.readouterr().out


def test_what_is_no_run_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "manifest.json").write_text(json.dumps({}), "utf-8")
    with pytest.raises(ConfigError, match="is no run"):
        compare_runs([write_run(tmp_path / "one"), tmp_path / "two"], Reporter())

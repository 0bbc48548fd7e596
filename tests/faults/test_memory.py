"""Memory that is not enough: said, and what was finished stays."""

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biosig_cli.cli import run
from biosig_cli.data import work
from biosig_cli.data.store import open_store
from biosig_cli.engine.gradients import Gradients
from biosig_cli.services import split_store
from tests.faults import kills
from tests.faults.commands import COMMANDS


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is tested elsewhere, and takes longer than everything here."""
    for drawn in ("draw_some", "write_quality"):
        monkeypatch.setattr(split_store, drawn, lambda *_, **__: None)


def line(name: str, base: Path, out: Path) -> list[str]:
    return [
        each.replace("BASE", str(base)).replace("OUT", str(out))
        for each in COMMANDS[name].arguments
    ]


def starve(*_: Any, **__: Any) -> None:
    raise MemoryError("Unable to allocate 3.4 GiB")


def test_a_recording_too_large_for_the_memory_is_counted(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = work.cut_record

    def cut(record: Any, *given: Any, **more: Any) -> Any:
        return starve() if record.id == "3" else whole(record, *given, **more)

    monkeypatch.setattr(work, "cut_record", cut)
    assert run(line("build-windows", base, tmp_path)) == 0
    skipped = [open_store(tmp_path / each).manifest["skipped"] for each in ("train", "val", "test")]
    assert [each for each in skipped if each] == [
        {"3": "unexpected MemoryError: Unable to allocate 3.4 GiB"}
    ]


@pytest.mark.parametrize("where", ["write_part", "pack"])
def test_a_build_without_memory_says_so_and_goes_on_later(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, capsys: Any
) -> None:
    assert run(line("build-windows", base, tmp_path / "straight")) == 0
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(*((work, where, starve) if where == "write_part" else (np, "save", starve)))
        assert run(line("build-windows", base, out)) == 3
    said = capsys.readouterr().err
    assert "there is not enough memory" in said
    assert "--workers" in said
    assert not list(out.rglob("manifest.json"))
    assert run(line("build-windows", base, out)) == 0
    assert kills.differences(kills.left(tmp_path / "straight"), kills.left(out)) == []


def test_a_training_without_memory_says_so_and_goes_on_later(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert run(line("pretrain", base, tmp_path / "straight")) == 0
    out, whole = tmp_path / "out", Gradients.find

    def find(self: Gradients, *given: Any) -> None:
        whole(self, *given)
        if self.state.epoch == 1:
            torch.empty(10**15)

    with monkeypatch.context() as patch:
        patch.setattr(Gradients, "find", find)
        assert run(line("pretrain", base, out)) == 3
    assert "--batch-size" in capsys.readouterr().err
    assert run([*line("pretrain", base, out), "--resume"]) == 0
    assert kills.differences(kills.left(tmp_path / "straight"), kills.left(out)) == []


def test_a_process_that_reads_ahead_and_is_ended_is_said(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    whole = Gradients.find

    def find(self: Gradients, *given: Any) -> None:
        whole(self, *given)
        for each in multiprocessing.active_children():
            each.kill()

    monkeypatch.setattr(Gradients, "find", find)
    settings = ["--set", "plan.batch_size=2", "--num-workers", "1"]
    assert run([*line("pretrain", base, tmp_path / "out"), *settings]) == 3
    said = capsys.readouterr().err
    assert "there is not enough memory" in said
    assert "--num-workers" in said

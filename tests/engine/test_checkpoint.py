"""Checkpoints are found, refused when damaged, and never run anything."""

import os
from pathlib import Path

import pytest
import torch

from biosig_cli.core.errors import CheckpointError
from biosig_cli.engine.checkpoint import load_checkpoint, save_checkpoint

CONTENT = {"encoder_state_dict": {"weight": torch.arange(3.0)}, "epoch": 2}


def test_checkpoint_comes_back_bit_for_bit_from_file_or_folder(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best_model.pt", CONTENT)
    for path in (tmp_path, tmp_path / "best_model.pt"):
        content = load_checkpoint(path)
        assert content["format"] == 1
        assert torch.equal(content["encoder_state_dict"]["weight"], torch.arange(3.0))


def test_missing_checkpoint_is_explained(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.pt"):
        with pytest.raises(CheckpointError, match="no checkpoint"):
            load_checkpoint(path)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_cut_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "last_model.pt"
    save_checkpoint(path, CONTENT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "proof"),)

    torch.save({"encoder_state_dict": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "proof").exists()


def test_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="holds no encoder"):
        load_checkpoint(tmp_path / "other.pt")


def test_newer_format_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best_model.pt", CONTENT | {"format": 99})
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(tmp_path)


def test_failed_write_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "last_model.pt"
    save_checkpoint(path, CONTENT)
    with pytest.raises(AttributeError):
        save_checkpoint(path, CONTENT | {"bad": lambda: None})
    assert load_checkpoint(path)["epoch"] == 2
    assert list(tmp_path.iterdir()) == [path]

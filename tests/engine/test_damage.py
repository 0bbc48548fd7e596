"""A damaged checkpoint is skipped, a full disk spoils nothing, and both are said."""

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from biosig_cli.core.errors import CheckpointError, InterruptedRunError
from biosig_cli.core.progress import Reporter
from biosig_cli.engine.checkpoint import (
    LAST,
    PREVIOUS,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from tests.engine.small import QUIET, left_by, make


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit_of_a_weight(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    weight = load_checkpoint(path)["encoder_state_dict"]["0.weight"]
    whole[whole.index(weight.numpy().tobytes())] ^= 1
    path.write_bytes(bytes(whole))


def stopped_run(folder: Path, step: int = 10) -> None:
    with pytest.raises(InterruptedRunError):
        make(folder, rescue_s=0.0).fit(stop_after=step)


@pytest.mark.parametrize("damage", [cut, empty, flip_a_bit_of_a_weight, Path.unlink])
def test_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    make(tmp_path / "straight").fit()
    stopped_run(tmp_path / "run")
    damage(tmp_path / "run" / LAST)
    content = newest_checkpoint(tmp_path / "run", Reporter())
    assert content is not None
    # Saved at every step: the one before the tenth is the ninth; the best is of step seven.
    assert content["position"]["step"] == 9
    said = capsys.readouterr().out
    assert ("damaged" in said and "skipped" in said) is (damage is not Path.unlink)
    assert load_checkpoint(tmp_path / "run" / LAST)["position"]["step"] == 9
    resumed = make(tmp_path / "run")
    resumed.restore(content)
    resumed.fit()
    assert left_by(tmp_path / "run") == left_by(tmp_path / "straight")


def test_with_two_damaged_the_best_is_used(tmp_path: Path) -> None:
    stopped_run(tmp_path)
    for name in (LAST, PREVIOUS):
        cut(tmp_path / name)
    content = newest_checkpoint(tmp_path, QUIET)
    assert content is not None
    assert content["position"]["step"] == 7


def test_run_whose_checkpoints_are_all_damaged_is_refused(tmp_path: Path) -> None:
    stopped_run(tmp_path)
    for file in tmp_path.glob("*.pt"):
        cut(file)
    with pytest.raises(CheckpointError, match="all 3 checkpoints"):
        newest_checkpoint(tmp_path, QUIET)


def test_run_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path, QUIET) is None


def test_finished_run_keeps_no_previous_checkpoint(tmp_path: Path) -> None:
    make(tmp_path, rescue_s=0.0).fit()
    assert not (tmp_path / PREVIOUS).exists()


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """Let the system refuse to write more into a file, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_disk_that_is_full_amid_a_checkpoint_keeps_the_one_before(tmp_path: Path) -> None:
    stopped_run(tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.glob("*.pt")}
    resumed = make(tmp_path, rescue_s=0.0, log_every=1000)
    resumed.restore(load_checkpoint(tmp_path / LAST))
    size = (tmp_path / LAST).stat().st_size
    with files_of_at_most(size // 2), pytest.raises(CheckpointError) as caught:
        resumed.fit()
    assert caught.value.exit_code == 4
    assert "can't be written" in str(caught.value)
    assert "is untouched" in caught.value.hint
    assert {path: path.read_bytes() for path in tmp_path.glob("*.pt")} == files
    assert not list(tmp_path.glob(".*")), "what was half written is gone"


def test_error_of_a_full_disk_is_said_as_the_system_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / LAST, {"encoder_state_dict": {}})
    save = torch.save

    def run_full(content: Any, path: Path) -> None:
        save(content, path)
        cut(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", run_full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_checkpoint(tmp_path / LAST, {}, before=tmp_path / PREVIOUS)
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


def test_full_disk_amid_the_log_is_said_too(tmp_path: Path) -> None:
    with files_of_at_most(300), pytest.raises(CheckpointError, match=r"metrics\.jsonl can't be"):
        make(tmp_path).fit()


def test_damaged_line_of_the_log_is_dropped(tmp_path: Path) -> None:
    make(tmp_path / "straight").fit()
    stopped_run(tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b'\x00\x00\xff\n7\n{"step": 3')
    resumed = make(tmp_path / "run")
    resumed.restore(load_checkpoint(tmp_path / "run" / LAST))
    resumed.fit()
    assert left_by(tmp_path / "run") == left_by(tmp_path / "straight")

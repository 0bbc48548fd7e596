"""Places that can't be written, and files that are gone when they are wanted."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from biosig_cli.data.store import SPLITS, open_store
from tests.faults import kills
from tests.faults.commands import COMMANDS, PLAIN, Command, log_of, start
from tests.faults.wrongs import vanish


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Return a place that nobody may write to, not even root: a file system mounted so."""
    place = tmp_path / "there"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", str(place)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount).returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("name", PLAIN)
def test_a_place_that_is_read_only_is_said(
    base: Path, tmp_path: Path, read_only: Path, name: str
) -> None:
    command = COMMANDS[name]
    arguments = [each.replace("OUT", str(read_only / "out")) for each in command.arguments]
    process = start(Command(tuple(arguments)), base, tmp_path / "out")
    process.join()
    said = log_of(tmp_path / "out").read_text("utf-8")
    assert process.exitcode in (3, 4), said
    assert "Read-only file system" in said
    assert "Traceback" not in said


@pytest.fixture
def own_base(base: Path, tmp_path: Path) -> Path:
    """Return a copy of the inputs that may be spoilt."""
    return shutil.copytree(base, tmp_path / "base")


def test_a_recording_that_is_gone_when_it_is_read_is_counted(
    base: Path, own_base: Path, tmp_path: Path
) -> None:
    start(COMMANDS["prepare-splits"], own_base, own_base / "splits").join()
    out = tmp_path / "out"
    gone = partial(vanish, own_base / "source", "*.vital")
    process = start(COMMANDS["build-windows"], own_base, out, wrong=gone)
    process.join()
    assert process.exitcode == 0, log_of(out).read_text()
    (missing,) = _names(base / "source") - _names(own_base / "source")
    ((record, why),) = (each for split in SPLITS for each in _skipped(out / split).items())
    assert record == missing.removesuffix(".vital")
    assert f"{missing} is not in" in why
    shutil.copy(base / "source" / missing, own_base / "source" / missing)
    process = start(COMMANDS["build-windows"], own_base, out)
    process.join()
    assert process.exitcode == 0, log_of(out).read_text()
    assert [_skipped(out / split) for split in SPLITS] == [{}, {}, {}]


def _skipped(store: Path) -> dict[str, str]:
    return dict(open_store(store).manifest["skipped"])


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_windows_that_are_gone_stop_a_training_which_goes_on_when_they_are_back(
    own_base: Path, tmp_path: Path
) -> None:
    out, shards = tmp_path / "out", own_base / "windows" / "train" / "shards"
    expected, _ = kills.straight("pretrain", own_base, tmp_path / "straight")
    kept = shutil.copytree(shards, tmp_path / "kept")
    process = start(
        COMMANDS["pretrain"], own_base, out, wrong=partial(vanish, own_base / "windows", "*.npy")
    )
    process.join()
    assert process.exitcode == 3, log_of(out).read_text()
    assert "No such file" in log_of(out).read_text()
    assert kills.broken(out) == []
    shutil.rmtree(shards)
    shutil.copytree(kept, shards)
    process = start(COMMANDS["pretrain"], own_base, out, again=True)
    process.join()
    assert process.exitcode == 0, log_of(out).read_text()
    assert kills.differences(expected, kills.left(out)) == []


@pytest.mark.parametrize("name", ["inflate", "finetune", "embed"])
def test_a_checkpoint_that_is_gone_when_it_is_read_is_said(
    own_base: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    gone = partial(vanish, own_base / "encoder", "best_model.pt")
    process = start(COMMANDS[name], own_base, out, wrong=gone)
    process.join()
    said = log_of(out).read_text()
    assert process.exitcode == 4, said
    assert "Traceback" not in said

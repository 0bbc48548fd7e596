"""A command that is ended at any moment leaves whole artifacts or none, and is finished later."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from biosig_cli.core.artifacts import alone_in
from biosig_cli.core.errors import ConfigError
from tests.faults import kills
from tests.faults.commands import COMMANDS, PLAIN, log_of, start

SEEDS = {"prepare-splits": 1, "build-windows": 2, "pretrain": 2, "inflate": 1, "finetune": 2}
SEEDS |= {"export": 1, "embed": 1}
"""How often each command is ended here; `make faults` does it hundreds of times."""


@pytest.mark.parametrize("name", SEEDS)
def test_an_ended_command_is_finished_by_the_same_command(
    base: Path, tmp_path: Path, name: str
) -> None:
    expected, duration_s = kills.straight(name, base, tmp_path / "straight")
    assert expected
    for seed in range(SEEDS[name]):
        course = kills.try_one(name, seed, base, tmp_path / f"{seed}", expected, duration_s)
        assert course.faults == [], course


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "submission"])
def test_a_command_may_be_ended_a_hundred_times(base: Path, tmp_path: Path, name: str) -> None:
    expected, duration_s = kills.straight(name, base, tmp_path / "straight")
    for seed in range(30):
        course = kills.try_one(name, seed, base, tmp_path / f"{seed}", expected, duration_s)
        assert course.faults == [], course


LOSES = """
import os, signal, time
from biosig_cli import cli

class Ended:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

def run(arguments):
    Ended()
    time.sleep(60)
    return 0

cli.run = run
cli.main()
"""
"""A command to which SIGTERM comes where Python drops what is raised."""


def test_a_stop_that_comes_as_an_object_ends_is_not_lost() -> None:
    done = subprocess.run([sys.executable, "-c", LOSES], capture_output=True, text=True, timeout=50)
    assert done.returncode == 130
    assert done.stderr.startswith("error: stopped")
    assert "Traceback" not in done.stderr


def hold(folder: Path, ready: Any) -> None:
    with alone_in(folder):
        ready.set()
        time.sleep(60)


def test_two_commands_do_not_write_into_one_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=hold, args=(tmp_path / "out", ready))
    other.start()
    assert ready.wait(60)
    with (
        pytest.raises(ConfigError, match="another command writes into") as caught,
        alone_in(tmp_path / "out"),
    ):
        pytest.fail("both are in")
    assert "wait until it ends" in caught.value.hint
    other.kill()  # however it ends, the folder is free then
    other.join()
    with alone_in(tmp_path / "out"):
        assert list((tmp_path / "out").iterdir()) == []


LOCKED = {"build-windows": "train", "export": "../.out.biosig-folder"}
"""Where a command keeps others out, if that is not its output folder."""
ALONE = ("prepare-splits", "audit", "embed", "predict")
"""Commands whose result is a file or two, of which the last one that is written stays."""


@pytest.mark.parametrize(
    "name", [each for each in PLAIN if each.values[0] not in ALONE] + ["pretrain, phases"]
)
def test_the_second_of_two_commands_is_refused(base: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    place = out / LOCKED.get(name, "")
    with alone_in(place.resolve()):
        process = start(COMMANDS[name], base, out)
        process.join()
    assert process.exitcode == 2, log_of(out).read_text()
    assert "another command writes into" in log_of(out).read_text()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [log_of(out)]


def test_a_folder_that_nothing_was_written_into_is_not_left(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("new", "mine"):
        with pytest.raises(ZeroDivisionError), alone_in(tmp_path / name):
            raise ZeroDivisionError
    with alone_in(tmp_path / "full"):
        (tmp_path / "full" / "a").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "full"}


def test_what_was_half_written_is_taken_away_and_nothing_else(tmp_path: Path) -> None:
    kept = [".hidden", ".a.json.bak", "a.json", ".env.template", ".a.txt.biosig-abcdefgh.json"]
    half = [".a.json.biosig-abcd_123.json", "parts/.1-ab.npz.biosig-0a1b2c3d.npz"]
    for name in (*kept, *half, ".b.biosig-0a1b2c3d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with alone_in(tmp_path):
        found = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert found == sorted(kept)


def test_workers_end_with_the_command_that_started_them(base: Path, tmp_path: Path) -> None:
    process = start(COMMANDS["build-windows, 2 workers"], base, tmp_path / "out")
    children: list[psutil.Process] = []
    until_s = time.monotonic() + 60
    while len(children) < 2 and process.exitcode is None and time.monotonic() < until_s:
        found = psutil.Process(process.pid).children(recursive=True)
        children = [each for each in found if "spawn_main" in " ".join(_command(each))]
        time.sleep(0.02)
    assert len(children) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_dead_worker_is_said_and_the_command_finishes_later(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(COMMANDS["build-windows, 2 workers"], base, out)
    until_s = time.monotonic() + 60
    killed = 0
    while not killed and process.exitcode is None and time.monotonic() < until_s:
        for each in psutil.Process(process.pid).children(recursive=True):
            if "spawn_main" in " ".join(_command(each)):
                with suppress(psutil.NoSuchProcess):  # the command ends the other ones itself
                    each.kill()
                killed += 1
        time.sleep(0.02)
    process.join(60)
    assert process.exitcode == 3, log_of(out).read_text()
    assert "died, most likely for lack of memory" in log_of(out).read_text()
    assert kills.broken(out) == []
    process = start(COMMANDS["build-windows, 2 workers"], base, out)
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("name", PLAIN)
def test_a_file_where_the_output_folder_should_be_is_said(
    base: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    process = start(COMMANDS[name], base, out)
    process.join()
    assert process.exitcode in (2, 3, 4), log_of(out).read_text()
    said = log_of(out).read_text()
    assert "error:" in said
    assert "Traceback" not in said
    assert out.read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs a small mount")
@pytest.mark.parametrize("name", ["prepare-splits", "build-windows", "pretrain", "finetune"])
def test_a_full_disk_is_said_and_the_command_finishes_when_there_is_room(
    base: Path, tmp_path: Path, name: str
) -> None:
    out, size = tmp_path / "out", {"prepare-splits": 4, "build-windows": 100}.get(name, 300)
    out.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", out]).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        filler = out / "filler"
        if name == "prepare-splits":
            filler.write_bytes(bytes(4096))
        process = start(COMMANDS[name], base, out)
        process.join()
        said = log_of(out).read_text()
        assert process.exitcode in (3, 4), said
        assert kills.broken(out) == []
        subprocess.run(["mount", "-o", "remount,size=80m", out], check=True)
        filler.unlink(missing_ok=True)
        process = start(COMMANDS[name], base, out, again=True)
        process.join()
        assert process.exitcode == 0, log_of(out).read_text()[-1500:]
    finally:
        subprocess.run(["umount", out], check=True)

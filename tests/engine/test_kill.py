"""A run that is killed, whenever that is, and resumed leaves what the run left that was not."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.engine.small import (
    left_by,
    start,
    train,
    train_and_die_at_rename,
    train_and_die_while_writing,
)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, float]:
    """What the run leaves that was never killed, and how long it takes, in seconds."""
    folder = tmp_path_factory.mktemp("straight")
    for name in ("first", "second"):  # the first one waits for torch to be imported
        start_s = time.monotonic()
        process = start(train, folder / name, rescue_s=0.0 if name == "second" else 1e9)
        process.join()
        assert process.exitcode == 0
    assert left_by(folder / "first") == left_by(folder / "second"), "saving changes nothing"
    return left_by(folder / "first"), time.monotonic() - start_s


def kill(pid: int) -> None:
    """Kill a process and the one that reads ahead for it."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has not begun, or has just ended
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random_moments_and_resumed(
    straight: tuple[object, float], tmp_path: Path, seed: int
) -> None:
    expected, duration_s = straight
    draw, n_killed = random.Random(seed), 0
    while True:
        process = start(train, tmp_path / "run", rescue_s=0.0 if seed % 2 else duration_s / 9)
        process.join(draw.uniform(0, duration_s))
        if process.exitcode is not None:
            break
        kill(process.pid)
        process.join()
        n_killed += 1
        assert n_killed < 200
    assert process.exitcode == 0
    assert left_by(tmp_path / "run") == expected


# The log, the first steps; the end of the first epoch; that of the second, which stays.
@pytest.mark.parametrize("number", [1, 2, 3, 4, 14, 15, 16, 17, 18, 19, 33, 34, 35, 36, 37])
def test_killed_between_two_files(
    straight: tuple[object, float], tmp_path: Path, number: int
) -> None:
    killed = start(train_and_die_at_rename, tmp_path / "run", number)
    killed.join()
    assert killed.exitcode == -9
    resumed = start(train, tmp_path / "run")
    resumed.join()
    assert left_by(tmp_path / "run") == straight[0]


@pytest.mark.parametrize("number", [1, 5, 8, 9])
def test_killed_while_a_checkpoint_is_written(
    straight: tuple[object, float], tmp_path: Path, number: int
) -> None:
    killed = start(train_and_die_while_writing, tmp_path / "run", number)
    killed.join()
    assert killed.exitcode == -9
    resumed = start(train, tmp_path / "run")
    resumed.join()
    assert left_by(tmp_path / "run") == straight[0]

"""A clock that is set back an hour, or forward a year, changes nothing but what says when."""

import json
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from biosig_cli.core.progress import Reporter
from biosig_cli.services.run_facts import read_run
from biosig_cli.services.runs import list_runs
from tests.faults import kills
from tests.faults.commands import COMMANDS, log_of, start
from tests.faults.wrongs import HOUR_S, YEAR_S, odd_clock


def negative(value: Any, where: str = "") -> list[str]:
    """Return the durations and speeds in a result that are less than nothing."""
    if isinstance(value, dict):
        return [line for key, each in value.items() for line in negative(each, f"{where}/{key}")]
    if isinstance(value, list):
        return [line for each in value for line in negative(each, where)]
    is_time = where.rpartition("/")[2].endswith(("_s", "wait_share"))
    return [where] if is_time and isinstance(value, float | int) and value < 0 else []


def times_of(folder: Path) -> list[str]:
    said = [json.loads(path.read_text("utf-8")) for path in folder.rglob("*.json")]
    rows = [
        json.loads(line)
        for path in folder.rglob("*.jsonl")
        for line in path.read_text("utf-8").splitlines()
    ]
    elapsed_s = [row["elapsed_s"] for row in rows]
    return negative([*said, *rows]) + ["elapsed_s falls"] * (elapsed_s != sorted(elapsed_s))


@pytest.mark.parametrize("name", ["prepare-splits", "build-windows", "inflate", "embed"])
def test_a_clock_that_jumps_at_every_look_changes_no_result(
    base: Path, tmp_path: Path, name: str
) -> None:
    expected, _ = kills.straight(name, base, tmp_path / "straight")
    out = tmp_path / "out"
    process = start(COMMANDS[name], base, out, wrong=partial(odd_clock, 0.0, -HOUR_S, YEAR_S))
    process.join()
    assert process.exitcode == 0, log_of(out).read_text()
    assert kills.differences(expected, kills.left(out)) == []
    assert times_of(out) == []


@pytest.mark.parametrize("later_s", [-HOUR_S, YEAR_S])
def test_a_run_goes_on_after_the_clock_was_set(base: Path, tmp_path: Path, later_s: float) -> None:
    expected, _ = kills.straight("pretrain", base, tmp_path / "straight")
    out = tmp_path / "out"
    process = start(COMMANDS["pretrain"], base, out)
    until_s = time.monotonic() + 60
    while not (out / "last_model.pt").exists() and time.monotonic() < until_s:
        time.sleep(0.01)
    kills.end(process.pid, signal.SIGKILL, whole_group=True)
    process.join()
    jumps = partial(odd_clock, later_s, later_s + HOUR_S, later_s - HOUR_S)
    process = start(COMMANDS["pretrain"], base, out, again=True, wrong=jumps)
    process.join()
    assert process.exitcode == 0, log_of(out).read_text()
    assert kills.differences(expected, kills.left(out)) == []
    assert times_of(out) == []
    assert read_run(out).state == "finished"
    assert len(list_runs(tmp_path, Reporter(silent=True))) == 2

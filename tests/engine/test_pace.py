"""Timings are measured and written, and never part of what a run is compared by."""

import json
from pathlib import Path

import pytest

from biosig_cli.core.errors import InterruptedRunError
from biosig_cli.engine.checkpoint import LAST, load_checkpoint
from biosig_cli.engine.pace import N_POINTS, TIMINGS, Pace, Trail
from biosig_cli.engine.state import State


def rows_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]


def test_trail_keeps_the_whole_course_in_few_points() -> None:
    trail = Trail()
    for value in range(1000):
        trail.add(float(value))
        assert len(trail.points) < N_POINTS
    assert trail.size == 64
    assert trail.points == [31.5 + 64 * place for place in range(15)]


def test_pace_is_that_of_the_epoch_and_waiting_is_a_share_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = [100.0]
    monkeypatch.setattr("biosig_cli.engine.pace.time.monotonic", lambda: now_s[0])
    pace = Pace("cpu", elapsed_s=50.0)
    # Resumed in the middle of an epoch, after 40 windows and 3 s of waiting.
    pace.begin(State(n_windows=40, sums={"loss": 80.0}), 3.0)
    now_s[0] = 110.0
    pace.look(State(n_windows=140, sums={"loss": 180.0}), 3.5)
    timings = pace.timings()
    assert timings["windows_per_s"] == 10.0
    assert timings["wait_share"] == 0.05
    assert timings["elapsed_s"] == 60.0
    assert 0.01 < timings["memory_gb"] < 100
    assert pace.trail.points == [1.0], "the loss since it was resumed"
    said = pace.say(1e-3, 0.25)
    assert said.startswith("loss 1.2857, lr 1.0e-03, gradient 0.25, 10 windows/s, 5 % waiting")


def test_timings_stand_in_the_log_alone(make_training, plan) -> None:
    training = make_training(plan, log_every=1)
    result = training.fit()
    rows = rows_of(training.run.folder)
    assert all(set(TIMINGS) <= set(row) for row in rows)
    assert all(0 <= row["wait_share"] <= 1 and row["windows_per_s"] > 0 for row in rows)
    elapsed = [row["elapsed_s"] for row in rows]
    assert elapsed == sorted(elapsed)
    assert not set(TIMINGS) & set(result.history)


def test_resumed_run_goes_on_counting_its_time(make_training, plan) -> None:
    training = make_training(plan, log_every=1)
    with pytest.raises(InterruptedRunError):
        training.fit(stop_after=5)
    log = training.run.folder / "metrics.jsonl"
    *earlier, last = log.read_text("utf-8").splitlines()
    lines = [*earlier, json.dumps(json.loads(last) | {"elapsed_s": 1000.0})]
    log.write_text("\n".join(lines) + "\n", "utf-8")
    resumed = make_training(plan, log_every=1)
    resumed.restore(load_checkpoint(resumed.run.folder / LAST))
    resumed.fit()
    assert 1000 <= rows_of(training.run.folder)[-1]["elapsed_s"] < 1100

"""What a command says while it works: live on a terminal, now and then in a log."""

import io
import math

import pytest
from rich.console import Console

from biosig_cli.core import progress
from biosig_cli.core.progress import Reporter, sparkline

WHERE = {"part": "epoch", "part_size": 10}


class Clock:
    """A clock that goes on when it is told to."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("biosig_cli.core.progress.time.monotonic", clock)
    return clock


def on_terminal(width: int) -> Reporter:
    reporter = Reporter()
    reporter.console = Console(
        file=io.StringIO(), force_terminal=True, width=width, highlight=False, soft_wrap=True
    )
    reporter.is_live = True
    return reporter


def test_log_gets_a_line_with_place_time_left_and_facts(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Reporter().progress("training", 40, **WHERE) as advance:
        clock.now_s = 20.0
        advance(10, note="loss 0.5", trail=[1.0, 0.5])
        clock.now_s = 34.0
        advance(note="loss 0.4")
    assert capsys.readouterr().out == "training 10/40, epoch 2/4, 1 min 00 s left  loss 0.5\n"


def test_work_done_before_says_nothing_of_the_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Reporter().progress("training", 40, n_before=30, **WHERE) as advance:
        clock.now_s = 20.0
        advance(5)
    assert capsys.readouterr().out == "training 35/40, epoch 4/4, 20 s left\n"


def test_work_without_parts_has_one_bar_and_its_note(clock: Clock) -> None:
    reporter = on_terminal(80)
    with reporter.progress("cases", 4) as advance:
        clock.now_s = 8.0
        advance(note="case 12")
        assert isinstance(advance, progress._LiveProgress)
        reporter.console.print(advance)
    said = reporter.console.file.getvalue()  # type: ignore[attr-defined]
    assert "cases" in said
    assert "24 s left" in said
    assert "case 12" in said
    assert "epoch" not in said


@pytest.mark.parametrize("width", [120, 46])
def test_terminal_shows_part_whole_trail_and_every_fact(clock: Clock, width: int) -> None:
    reporter = on_terminal(width)
    facts = "loss 0.5, lr 1.0e-03, gradient 0.2, 513 windows/s, 1 % waiting for data, 0.6 GB"
    with reporter.progress("training", 40, **WHERE) as advance:
        clock.now_s = 13.0
        advance(13, note=facts, trail=[3.0, 2.0, 1.0])
        with reporter.console.capture() as captured:
            reporter.console.print(advance)
    said = captured.get()
    plain = "".join(part.partition("m")[2] for part in said.split("\x1b[")) or said
    for fact in ("epoch 2/4", "3/10", "training", "13/40", "27 s left", "█▅▁"):
        assert fact in plain, fact
    assert facts.replace(" ", "") in "".join(plain.split()), "a narrow terminal wraps it"


def test_silent_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(silent=True).progress("training", 40, **WHERE) as advance:
        clock.now_s = 60.0
        advance(10, note="loss 0.5")
    assert capsys.readouterr().out == ""


def test_sparkline_spans_its_values_and_leaves_gaps() -> None:
    assert sparkline([0.0, 7.0, 3.0]) == "▁█▄"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([0.0, math.nan, 1.0]) == "▁ █"
    assert sparkline([]) == sparkline([math.inf]) == ""

"""Stopping when the user asks: at the next step, with everything saved."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REPEAT_S = 1.0
"""torchrun passes on a Ctrl-C that the terminal has already sent: two signals are then one wish."""


class Stop:
    """Whether, or after which step, to stop."""

    asked: bool = False
    asked_at_s: float = 0.0
    after: int | None = None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Let Ctrl-C and SIGTERM ask for a stop at the next step; a later one stops at once."""
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if stop.asked and now_s - stop.asked_at_s > REPEAT_S:
            raise KeyboardInterrupt
        if not stop.asked:
            stop.asked, stop.asked_at_s = True, now_s

    try:
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        # Only the main thread may listen; elsewhere, as in a notebook's worker, no one asks.
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

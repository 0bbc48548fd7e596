"""Workers that die as they start are said; nothing waits for them."""

import os
import signal
import threading
import time
from multiprocessing.context import SpawnProcess

import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.data.work import local_workers, make_parts


def outcome_of(n_workers):
    """Return what comes of three tasks, where that is within a minute."""
    found = []

    def work():
        try:
            found.append(list(make_parts(range(3), local_workers(None, n_workers))))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert found, "it waits for ever"
    return found[0]


@pytest.mark.parametrize("lived_s", [0.0, 0.3])
def test_workers_that_die_as_they_start_are_said(monkeypatch, lived_s):
    start = SpawnProcess.start

    def start_doomed(self):
        start(self)
        time.sleep(lived_s)
        os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr(SpawnProcess, "start", start_doomed)
    error = outcome_of(2)
    assert isinstance(error, DataError)
    assert "died, most likely for lack of memory" in str(error)


def test_a_worker_that_another_ones_death_keeps_from_starting_is_said(monkeypatch):
    start, started = SpawnProcess.start, []

    def start_first(self):
        if started:
            raise OSError("handle is closed")
        started.append(self)
        start(self)

    monkeypatch.setattr(SpawnProcess, "start", start_first)
    assert isinstance(outcome_of(2), DataError)

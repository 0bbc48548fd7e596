"""A Dask cluster on this machine for tests, whose scheduler and workers are processes."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_S = 60.0


class Cluster:
    """A scheduler and its workers; each is a process that may be stopped or killed."""

    def __init__(self, folder: Path, n_workers: int) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._start("scheduler", "--port", str(port))
        alone = ("--nthreads", "1", "--no-nanny")
        self.workers = [
            self._start("worker", self.address, *alone, "--name", str(number))
            for number in range(n_workers)
        ]

    def _start(self, what, *words):
        line = [sys.executable, "-m", f"distributed.cli.dask_{what}", *words, "--host", "127.0.0.1"]
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=what, delete=False) as log:
            return subprocess.Popen(
                [*line, "--no-dashboard"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            )

    def client(self):
        import distributed

        return distributed.Client(self.address, timeout=START_S, set_as_default=False)

    def wait_until_ready(self):
        with self.client() as client:
            if self.workers:
                client.wait_for_workers(len(self.workers), timeout=START_S)

    def wait_until_at_work(self):
        """Return the first worker that is given work."""
        end_s = time.monotonic() + START_S
        with self.client() as client:
            known = client.scheduler_info(n_workers=-1)["workers"]
            while not (busy := [at for at, tasks in client.processing().items() if tasks]):
                assert time.monotonic() < end_s
                time.sleep(0.02)
        return self.workers[int(known[busy[0]]["name"])]

    def kill(self, process):
        """End a process without a word, even one that is stopped."""
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextmanager
def cluster(folder: Path, n_workers: int = 2):
    """Have a cluster while the context lasts."""
    started = Cluster(folder, n_workers)
    try:
        started.wait_until_ready()
        yield started
    finally:
        for process in (*started.workers, started.scheduler):
            started.kill(process)

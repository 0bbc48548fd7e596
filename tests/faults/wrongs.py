"""What may be wrong around a command: little memory, a clock that jumps; and a watch on its files.

Each is called in the process of a command, before it begins.
"""

import datetime
import itertools
import os
import resource
import sys
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Self

from biosig_cli.core import artifacts
from biosig_cli.services import run_folder

HOUR_S, YEAR_S = 3600.0, 365 * 86400.0


def little_memory(room_mb: float) -> None:
    """Leave so many megabytes beyond what the process has now."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + int(room_mb * 1e6)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def odd_clock(*offsets_s: float) -> None:
    """Let the clock be wrong by each of these in turn, each time that it is asked."""
    wrong_s, real = itertools.cycle(offsets_s), time.time

    class Odd(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Self:
            return cls.fromtimestamp(time.time(), tz)

    time.time = lambda: real() + next(wrong_s)
    time.time_ns = lambda: int(time.time() * 1e9)
    artifacts.datetime = run_folder.datetime = Odd  # type: ignore[misc]


def watch(log: Path) -> None:
    """Write a line for each file that is flushed to the disk, and for each that is renamed."""
    handle, fsync = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), os.fsync

    def tell(*said: object) -> None:
        os.write(handle, ("\t".join(map(str, said)) + "\n").encode())

    def flush(file: Any) -> None:
        fsync(file)
        number = file if isinstance(file, int) else file.fileno()
        tell("flushed", Path(f"/proc/self/fd/{number}").readlink())

    def heard(event: str, given: tuple[Any, ...]) -> None:
        if event == "os.rename":
            tell("renamed", *map(os.path.abspath, given[:2]))

    os.fsync = flush  # type: ignore[assignment]
    sys.addaudithook(heard)


def vanish(folder: Path, pattern: str, after: int = 0) -> None:
    """Take the first file in `folder` that fits away as it is opened, after so many others."""
    left = [after]

    def heard(event: str, given: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(given[0], str | Path) or left[0] < 0:
            return
        path = Path(given[0])
        if path.is_relative_to(folder) and fnmatch(path.name, pattern) and path.is_file():
            left[0] -= 1
            if left[0] < 0:
                path.unlink()

    sys.addaudithook(heard)

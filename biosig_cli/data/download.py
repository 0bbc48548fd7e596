"""Files of a server, brought to their places: whole and checked, or not at all.

A file is received under `.parts`, goes on where it stopped, is checked, and is then moved to its
place in one step. Beside it `NAME.json` keeps where it came from, its size and its SHA-256.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import IO

from biosig_cli.core.artifacts import put_in_place, read_json, sha256, write_json
from biosig_cli.core.errors import DataError, DiskFullError, DownloadError
from biosig_cli.data.transfer import (
    Check,
    Course,
    Patience,
    Transfer,
    UnansweredError,
    cannot_write,
)

N_AT_ONCE = 4
"""Files on their way at a time; the server is a hospital's, and serves everybody."""
N_UNANSWERED = 8
"""Files in a row without an answer, after which the others are not asked for."""
PARTS = ".parts"

Wanted = Mapping[str, tuple[str, Path]]
"""By name, where a file is and where it goes."""


class Downloads:
    """Brings files of servers to their places, a few at a time.

    Args:
        offline: Ask no server; only what is here can be had.
        patience: How long a server is waited for.
    """

    def __init__(self, *, offline: bool = False, patience: Patience | None = None) -> None:
        self.offline = offline
        self.patience = patience or Patience()

    def fetch(
        self,
        url: str,
        path: Path,
        check: Check,
        *,
        is_stale: bool = False,
        course: Course | None = None,
        stop: Event | None = None,
    ) -> None:
        """Bring the file at `url` to `path`, unless it is there.

        Args:
            url: Where it is; a redirection to another server is not followed.
            path: Where it goes.
            check: What must be so of it; it may also mend it.
            is_stale: Bring it even if one is there, which stays until the new one is whole.
            course: Is told how far it has come, if it is one of several.
            stop: Set when it is no longer wanted.

        Raises:
            DownloadError: If it can't be had now.
            DiskFullError: If there is no room for it.
            DataError: If the server has no such file.
        """
        if not is_stale and is_complete(path, check):
            return
        if self.offline:
            raise DownloadError(
                f"{path.name} is not in {path.parent}, and nothing is downloaded offline",
                hint="run the command once without --offline",
            )
        part = path.parent / PARTS / path.name
        with alone(part) as file:
            if not is_stale and is_complete(path, check):
                return  # another process has brought it meanwhile
            course, stop = course or Course(1), stop or Event()
            Transfer(url, part, file, check, self.patience, course, stop).run()
            facts = {"url": url, "bytes": part.stat().st_size, "sha256": sha256(part)}
            # A file without its facts is checked once more; facts without their file are nothing.
            _facts_file(path).unlink(missing_ok=True)
            put_in_place(part, path)
            write_json(_facts_file(path), facts)

    def fetch_all(
        self, wanted: Wanted, check: Check, tell: Callable[[str], None]
    ) -> Iterator[tuple[str, DataError | None]]:
        """Bring files to their places, and yield the name of each with what went wrong, if so.

        Those that are there come first, the others as they arrive.

        Args:
            wanted: The files.
            check: What must be so of each.
            tell: Is told in words how far the downloads have come, about twice a second.

        Raises:
            DiskFullError: If there is no room for them.
        """
        missing = dict(wanted)
        for name, (_, path) in wanted.items():
            if is_complete(path, check):
                del missing[name]
                yield name, None
        batch = _Batch(self, missing, check)
        try:
            yield from batch.arrivals(tell)
        finally:
            batch.stop.set()


class _Batch:
    """Several files, brought by threads that end with the process, however it ends."""

    def __init__(self, downloads: Downloads, wanted: Wanted, check: Check) -> None:
        self.downloads, self.wanted, self.check = downloads, wanted, check
        self.course = Course(len(wanted))
        self.stop = Event()
        self.n_unanswered = 0
        self.waiting: SimpleQueue[str] = SimpleQueue()
        self.arrived: SimpleQueue[tuple[str, BaseException | None]] = SimpleQueue()
        for name in wanted:
            self.waiting.put(name)

    def arrivals(self, tell: Callable[[str], None]) -> Iterator[tuple[str, DataError | None]]:
        """Start, and yield each file when it is here or can't be had."""
        for _ in range(min(N_AT_ONCE, len(self.wanted))):
            Thread(target=self._work, daemon=True).start()
        while self.course.n_done < len(self.wanted):
            try:
                name, problem = self.arrived.get(timeout=0.5)
            except Empty:
                tell(self.course.describe())
                continue
            self.course.n_done += 1
            is_of_one = isinstance(problem, DataError) and not isinstance(problem, DiskFullError)
            if problem is not None and not is_of_one:
                raise problem
            yield name, problem if isinstance(problem, DataError) else None

    def _work(self) -> None:
        while not self.stop.is_set():
            try:
                name = self.waiting.get_nowait()
            except Empty:
                return
            self.arrived.put((name, self._bring(name)))

    def _bring(self, name: str) -> BaseException | None:
        if self.n_unanswered >= N_UNANSWERED:
            return DownloadError(f"not asked for: {N_UNANSWERED} files in a row had no answer")
        url, path = self.wanted[name]
        problem: BaseException | None = None
        try:
            self.downloads.fetch(url, path, self.check, course=self.course, stop=self.stop)
        except BaseException as error:  # raised where the files are waited for
            problem = error
        self.n_unanswered = self.n_unanswered + 1 if isinstance(problem, UnansweredError) else 0
        return problem


def is_complete(path: Path, check: Check) -> bool:
    """Return whether a file is there as it was fetched; one that was put there is checked once."""
    if not path.is_file():
        return False
    with suppress(DataError):
        if _facts_file(path).is_file():
            return bool(read_json(_facts_file(path)).get("bytes") == path.stat().st_size)
        check(path)
        write_json(_facts_file(path), {"bytes": path.stat().st_size, "sha256": sha256(path)})
        return True
    return False


def origin(path: Path) -> str:
    """Return where a file was fetched from; empty where that is not known."""
    if not _facts_file(path).is_file():
        return ""
    return str(read_json(_facts_file(path)).get("url", ""))


def _facts_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


@contextmanager
def alone(part: Path) -> Iterator[IO[bytes]]:
    """Open a part to add to it; another process that wants the same file waits here.

    Raises:
        DiskFullError: If it can't be opened.
    """
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        file = _open_locked(part)
        while not _is_at(part, file):  # moved to its place by the process that had it
            file.close()
            file = _open_locked(part)
    except OSError as error:
        raise cannot_write(part, error) from None
    with file:
        try:
            yield file
        finally:
            if _is_at(part, file) and not os.fstat(file.fileno()).st_size:
                part.unlink()


def _open_locked(part: Path) -> IO[bytes]:
    file = part.open("ab", buffering=0)
    # Some network drives can't, and Windows has other means; then one process should download.
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _is_at(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False

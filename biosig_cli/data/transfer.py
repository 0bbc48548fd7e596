"""One file on its way from a server: patient, resumed where it stopped, checked at the end."""

import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import IO
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from biosig_cli import __version__
from biosig_cli.core.errors import DataError, DiskFullError, DownloadError

N_REDIRECTS = 5
CHUNK_BYTES = 2**18
SPARE_BYTES = 2**28
"""Room on the disk that downloads leave to others."""
N_TO_ESTIMATE = 4
"""Files whose sizes tell how large the others are."""
AGAIN = (429, 500, 502, 503, 504)
"""Answers that may be others a moment later."""
GONE = (404, 410)
"""Answers that say that there is no such file."""

Check = Callable[[Path], object]
"""Raises a `DataError` where a file is not what it should be; may also mend it."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, in seconds, and how often it is asked."""

    connect_s: float = 10.0
    read_s: float = 20.0
    """Longest silence, before an answer or within it."""
    n_tries: int = 4
    pause_s: float = 1.0
    """Before the second try; doubled each time."""
    longest_pause_s: int = 120
    """Also where the server asks for more."""


@dataclass
class Course:
    """How far the downloads of several files have come."""

    n_files: int
    n_done: int = 0
    n_bytes: int = 0
    start_s: float = field(default_factory=time.monotonic)
    receiving: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of each file on its way, the bytes that are here and the bytes that it has, 0 if unknown."""
    sizes: dict[str, int] = field(default_factory=dict)

    def needs(self) -> tuple[int, int]:
        """Return the bytes to come of the files on their way, and those of the files after them.

        The latter are estimated from the sizes met so far; 0 while these are too few.
        """
        now = sum(max(size - here, 0) for here, size in self.receiving.copy().values())
        n_waiting = max(self.n_files - self.n_done - len(self.receiving), 0)
        sizes = list(self.sizes.values())
        later = n_waiting * sum(sizes) // len(sizes) if len(sizes) >= N_TO_ESTIMATE else 0
        return now, later

    def describe(self) -> str:
        """Return in one line what is on its way and what is here."""
        speed = self.n_bytes / 1e6 / max(time.monotonic() - self.start_s, 1e-3)
        each = ", ".join(
            f"{name} {here / 1e6:.1f}" + (f" of {size / 1e6:.1f} MB" if size else " MB")
            for name, (here, size) in sorted(self.receiving.copy().items())
        )
        total = f"{self.n_done} of {self.n_files} files, {self.n_bytes / 1e6:.1f} MB"
        return f"downloading {each or '(no answer yet)'}; {total}, {speed:.1f} MB/s"


class UnansweredError(DownloadError):
    """A server did not answer at all."""


class StoppedError(Exception):
    """The downloads are no longer wanted."""


class _BrokenError(Exception):
    """An answer stopped before its end; the rest can be asked for."""


@dataclass(frozen=True)
class Transfer:
    """One file on its way into an open part.

    Attributes:
        url: Where it is.
        part: Where it is received; its name is that of the file.
        file: The part, opened to add to it.
        check: What must be so of it.
        patience: How long the server is waited for.
        course: Is told how far it has come.
        stop: Set when it is no longer wanted.
    """

    url: str
    part: Path
    file: IO[bytes]
    check: Check
    patience: Patience
    course: Course
    stop: Event

    def run(self) -> None:
        """Receive the file until its check passes; what came before a break is kept.

        Raises:
            DownloadError: If it can't be had now.
            DiskFullError: If there is no room for it.
            DataError: If the server has no such file.
            StoppedError: If it is no longer wanted.
        """
        try:
            with _session(self.patience) as session:
                self._receive_whole(session)
        except OSError as error:
            raise cannot_write(self.part, error) from None
        finally:
            self.course.receiving.pop(self.part.name, None)

    def _receive_whole(self, session: requests.Session) -> None:
        for n_tried in range(1, self.patience.n_tries + 1):
            n_before = self._n_here()
            try:
                self._receive(session)
            except _BrokenError as error:
                if n_tried == self.patience.n_tries:
                    raise DownloadError(f"{self.url}: {error}; {n_tried} tries") from None
                self.stop.wait(self.patience.pause_s * 2 ** (n_tried - 1))
                continue
            self.file.flush()
            os.fsync(self.file.fileno())
            try:
                self.check(self.part)
                return
            except DataError as error:
                self.file.truncate(0)
                # What was begun earlier may have been the beginning of another file.
                if not n_before or n_tried == self.patience.n_tries:
                    raise DownloadError(f"what the server sent is no use: {error}") from None

    def _receive(self, session: requests.Session) -> None:
        """Receive what is missing of the file, as far as the server sends it."""
        n_here = self._n_here()
        with self._answer(session, n_here) as response:
            first, size = _extent(response)
            if response.status_code == 416 and n_here == size:
                return
            if response.status_code == 416 or first not in (0, n_here):
                self.file.truncate(0)
                raise _BrokenError("the server sent another part than was asked for")
            if first < n_here:
                self.file.truncate(0)  # it sends the whole file, as some servers always do
            if size:
                self.course.sizes[self.part.name] = size
            self.course.receiving[self.part.name] = (first, size)
            _check_room(self.part.parent, self.course)
            n_here = self._store(response, first, size)
        if size and n_here != size:
            raise _BrokenError(f"the server sent {n_here:,} of {size:,} bytes")

    def _store(self, response: requests.Response, n_here: int, size: int) -> int:
        """Store what an answer brings, and return how many bytes of the file are then here."""
        try:
            # As it was sent: a .vital file is compressed itself, and its length counts.
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
                if self.stop.is_set():
                    raise StoppedError
                self.file.write(chunk)
                n_here += len(chunk)
                self.course.n_bytes += len(chunk)
                self.course.receiving[self.part.name] = (n_here, size)
                if not size and not _free(self.part.parent):
                    self.file.truncate(0)  # it may have no end
                    raise DiskFullError(
                        f"{self.part.parent.parent} has no more room; the server does not say how "
                        f"large {self.part.name} is, and has sent {n_here / 1e9:.2f} GB",
                        hint="make room, or choose another folder: --cache FOLDER",
                    )
        except HTTPError as error:
            raise _BrokenError(
                f"the connection broke after {n_here:,} bytes ({_cause(error)})"
            ) from None
        return n_here

    def _answer(self, session: requests.Session, n_here: int) -> requests.Response:
        """Return the answer that has the file, after redirections on the same server."""
        limits = (self.patience.connect_s, self.patience.read_s)
        headers = {"Range": f"bytes={n_here}-"} if n_here else {}
        place = self.url
        for _ in range(N_REDIRECTS):
            try:
                response = session.get(
                    place, headers=headers, timeout=limits, stream=True, allow_redirects=False
                )
            except requests.RequestException as error:
                raise UnansweredError(f"{self.url}: no answer ({_cause(error)})") from None
            if not response.is_redirect:
                break
            response.close()
            place = urljoin(place, response.headers["Location"])
            if _server(place) != _server(self.url):
                raise DownloadError(
                    f"{self.url} points to another server, {_server(place)[1]}; it is not followed"
                )
        if response.status_code in (200, 206) or (n_here and response.status_code == 416):
            return response
        response.close()
        said = f"{self.url}: the server answers {response.status_code} {response.reason}"
        raise (DataError if response.status_code in GONE else DownloadError)(said.rstrip())

    def _n_here(self) -> int:
        return self.file.seek(0, os.SEEK_END)


def cannot_write(part: Path, error: OSError) -> DiskFullError:
    """Return what to raise where a part can't be written."""
    return DiskFullError(
        f"{part} can't be written: {error.strerror or error}",
        hint="make room there, or choose another folder: --cache FOLDER, or BIOSIG_CACHE",
    )


def _session(patience: Patience) -> requests.Session:
    """Return a session that asks again where no answer came, or one that may soon be another."""
    retries = Retry(
        total=patience.n_tries - 1,
        status_forcelist=AGAIN,
        backoff_factor=patience.pause_s,
        backoff_max=patience.longest_pause_s,
        retry_after_max=patience.longest_pause_s,
        raise_on_status=False,
    )
    # It warns of every try, in words for those who wrote it; what comes of them is said in ours.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    session = requests.Session()
    session.headers.update({"User-Agent": f"biosig/{__version__}", "Accept-Encoding": "identity"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retries))
    return session


def _extent(response: requests.Response) -> tuple[int, int]:
    """Return the place of an answer's first byte in the file, and the file's size, 0 if unknown."""
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else 0
    stated = re.fullmatch(
        r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", "")
    )
    if stated is None:
        return -1, 0
    return int(stated[1] or 0), int(stated[2]) if stated[2].isdigit() else 0


def _check_room(folder: Path, course: Course) -> None:
    free = _free(folder)
    now, later = course.needs()
    if now + later > free:
        after = f", and those after them about {later / 1e9:.2f} GB" if later else ""
        raise DiskFullError(
            f"{folder.parent} has room for {free / 1e9:.2f} GB; the files on their way need "
            f"{now / 1e9:.2f} GB{after}",
            hint="make room, take fewer cases, or choose another folder: --cache FOLDER",
        )


def _free(folder: Path) -> int:
    return max(shutil.disk_usage(folder).free - SPARE_BYTES, 0)


def _server(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _cause(error: Exception) -> str:
    """Return why there was no answer, or no more of it, without the layers round the error."""
    inner = error.args[0] if error.args else error
    reason = str(getattr(inner, "reason", None) or inner)
    return re.sub(r"^.*?(object at 0x[0-9a-f]+>|\)): ", "", reason)

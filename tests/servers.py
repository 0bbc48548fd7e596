"""A stand-in for VitalDB's server on this machine, which fails in every way that servers do."""

import threading
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HANG, STALL, CUT, TRUNCATED, HTML = "hang", "stall", "cut", "truncated", "html"
ENDLESS = "endless"
ELSEWHERE, HERE, WRONG_PART, SHORT_PART = "elsewhere", "here", "wrong part", "short part"


class VitalDbServer(ThreadingHTTPServer):
    """Serves `/cases` and `/1.0.1/<case>.vital` of a folder; `faults` says what goes wrong.

    `faults["900001"] = [CUT, 500]` cuts the first answer, and answers the second request with 500;
    a last element `...` repeats the one before it for ever.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.faults = {}
        self.knows_ranges = True
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.asked = defaultdict(list)
        """By name of the file, the `Range` of each request, None where the whole is asked for."""
        self.n_now = self.n_most = 0
        self.slowly = None
        """Seconds that each answer takes."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def n_asked(self):
        return {name: len(each) for name, each in self.asked.items()}

    def fault(self, name):
        waiting = self.faults.get(name, [])
        if len(waiting) > 1 and waiting[1] is ...:
            return waiting[0]
        return waiting.pop(0) if waiting else None

    def handle_error(self, request, client_address):
        """Say nothing: clients that hang up are what is tested."""


class Handler(BaseHTTPRequestHandler):
    server: VitalDbServer

    def do_GET(self):
        name = Path(self.path).stem
        with self.server.lock:
            self.server.asked[name].append(self.headers["Range"])
            fault = self.server.fault(name)
            self.server.n_now += 1
            self.server.n_most = max(self.server.n_most, self.server.n_now)
        try:
            if self.server.slowly:
                self.server.closing.wait(self.server.slowly)
            self.answer(fault)
        finally:
            with self.server.lock:
                self.server.n_now -= 1

    def answer(self, fault):
        name = "cases.csv" if self.path == "/cases" else Path(self.path).name
        file = self.server.folder / name
        if fault == HANG:
            self.server.closing.wait(30)
        elif isinstance(fault, int) or not file.is_file():
            retry = {"Retry-After": "1"} if fault == 429 else {}
            self.send(fault or 404, b"trouble", retry)
        elif fault == HTML:
            self.send(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})
        elif fault == ELSEWHERE:
            self.send(
                302, b"", {"Location": f"http://127.0.0.2:{self.server.server_port}{self.path}"}
            )
        elif fault == HERE:
            self.send(302, b"", {"Location": self.path})
        elif fault == ENDLESS:
            self.send_response(200)
            self.end_headers()
            for _ in range(128):  # 8 MB, which is more than there is room for
                self.wfile.write(bytes(2**16))
        elif fault == TRUNCATED:
            whole = file.read_bytes()
            self.send(200, whole[: len(whole) // 2])
        else:
            self.send_file(file.read_bytes(), fault)

    def send_file(self, whole, fault):
        start, headers = 0, {}
        stated = self.headers["Range"]
        if stated and self.server.knows_ranges:
            start = int(stated.removeprefix("bytes=").rstrip("-"))
            if start >= len(whole):
                self.send(416, b"", {"Content-Range": f"bytes */{len(whole)}"})
                return
            start -= 7 * (fault == WRONG_PART)
            headers = {"Content-Range": f"bytes {start}-{len(whole) - 1}/{len(whole)}"}
        body = whole[start : start + 50 if fault == SHORT_PART else None]
        sent = body[: len(body) // 2] if fault in (CUT, STALL) else body
        self.send(206 if headers else 200, sent, headers, length=len(body))
        if fault == STALL:
            self.wfile.flush()
            self.server.closing.wait(30)

    def send(self, status, body, headers=None, length=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def vitaldb_server(folder):
    """Serve a folder while the context lasts."""
    server = VitalDbServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()

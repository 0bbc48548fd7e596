"""Against a server that fails: nothing wrong is kept, nothing finished is fetched twice."""

import gzip
import hashlib
import json
import shutil
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from biosig_cli.core.errors import DataError, DiskFullError, DownloadError
from biosig_cli.data import download, transfer
from biosig_cli.data.download import Downloads, alone, is_complete
from biosig_cli.data.readers.vital import check_file
from biosig_cli.data.transfer import Course, Patience
from tests.recordings import write_case
from tests.servers import (
    CUT,
    ELSEWHERE,
    ENDLESS,
    HANG,
    HERE,
    HTML,
    SHORT_PART,
    STALL,
    TRUNCATED,
    WRONG_PART,
    vitaldb_server,
)

QUICK = Patience(connect_s=0.5, read_s=0.2, n_tries=3, pause_s=0.01, longest_pause_s=2)
NAMES = ("900001", "900002", "900003", "900004", "900005", "900006")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for name in NAMES:
        write_case(folder, name, duration_s=10.0)
    return folder


@pytest.fixture
def server(cases):
    with vitaldb_server(cases) as server:
        yield server


def place(server, cache, name):
    return f"{server.url}/1.0.1/{name}.vital", cache / f"{name}.vital"


def fetch(server, cache, name="900001", **settings):
    Downloads(**{"patience": QUICK} | settings).fetch(*place(server, cache, name), check_file)


def fetch_all(server, cache, names=NAMES, check=check_file):
    wanted = {name: place(server, cache, name) for name in names}
    return dict(Downloads(patience=QUICK).fetch_all(wanted, check, lambda words: None))


def assert_whole(server, cache, name="900001"):
    served = (server.folder / f"{name}.vital").read_bytes()
    assert (cache / f"{name}.vital").read_bytes() == served
    facts = json.loads((cache / f"{name}.vital.json").read_text())
    assert facts["sha256"] == hashlib.sha256(served).hexdigest()
    assert facts["bytes"] == len(served)
    assert not list((cache / ".parts").iterdir())


def assert_nothing_kept(cache):
    assert [path.name for path in cache.glob("*")] == [".parts"]


@pytest.mark.parametrize("fault", [CUT, STALL, HANG, 429, 500, 503, HERE, None])
def test_a_passing_trouble_ends_in_a_whole_file(server, tmp_path, fault):
    server.faults = {"900001": [fault]}
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)
    assert server.n_asked == {"900001": 1 + (fault is not None)}


@pytest.mark.parametrize(
    ("fault", "error", "said", "n_asked"),
    [
        (404, DataError, "answers 404 Not Found", 1),
        (403, DownloadError, "answers 403 Forbidden", 1),
        (500, DownloadError, "answers 500", 3),
        (HANG, DownloadError, r"no answer \(Read timed out", 3),
        (HTML, DownloadError, "no use: 900001.vital is not a .vital file", 1),
        (TRUNCATED, DownloadError, "no use: 900001.vital is truncated", 1),
        (ELSEWHERE, DownloadError, "another server, 127.0.0.2:", 1),
        (HERE, DownloadError, "answers 302", 5),
    ],
)
def test_a_lasting_trouble_is_said_and_nothing_is_kept(
    server, tmp_path, fault, error, said, n_asked
):
    server.faults = {"900001": [fault, ...]}
    with pytest.raises(DataError, match=said) as caught:
        fetch(server, tmp_path)
    assert isinstance(caught.value, DownloadError) == (error is DownloadError)
    assert_nothing_kept(tmp_path)
    assert not list((tmp_path / ".parts").iterdir())
    assert server.n_asked == {"900001": n_asked}


def test_a_server_that_asks_for_a_pause_gets_it(server, tmp_path):
    server.faults = {"900001": [429]}
    began = time.monotonic()
    fetch(server, tmp_path)
    assert time.monotonic() - began >= 1


def test_a_server_that_is_not_there_is_said(server, tmp_path, cases):
    with vitaldb_server(cases) as gone:
        url = gone.url
    with pytest.raises(DownloadError, match="Connection refused"):
        Downloads(patience=QUICK).fetch(f"{url}/1.0.1/1.vital", tmp_path / "1.vital", check_file)
    assert_nothing_kept(tmp_path)


def test_what_came_before_a_break_is_kept_and_only_the_rest_is_asked_for(server, tmp_path):
    server.faults = {"900001": [CUT, ...]}
    with pytest.raises(DownloadError, match="broke after"):
        fetch(server, tmp_path)
    assert_nothing_kept(tmp_path)
    size = (server.folder / "900001.vital").stat().st_size
    n_here = (tmp_path / ".parts" / "900001.vital").stat().st_size
    expected = 0
    for _ in range(QUICK.n_tries):
        expected += (size - expected) // 2
    assert n_here == expected
    server.faults = {}
    fetch(server, tmp_path)
    assert server.asked["900001"][-1] == f"bytes={n_here}-"
    assert_whole(server, tmp_path)


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_the_beginning_of_another_file_is_thrown_away(server, tmp_path, knows_ranges):
    server.knows_ranges = knows_ranges
    part = tmp_path / ".parts" / "900001.vital"
    part.parent.mkdir()
    part.write_bytes(b"something else")
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)
    assert server.asked["900001"] == (["bytes=14-", None] if knows_ranges else ["bytes=14-"])


def test_a_part_that_is_whole_already_is_taken(server, tmp_path):
    part = tmp_path / ".parts" / "900001.vital"
    part.parent.mkdir()
    shutil.copy(server.folder / part.name, part)
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)
    size = (tmp_path / part.name).stat().st_size
    assert server.asked["900001"] == [f"bytes={size}-"]


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    part = tmp_path / ".parts" / "900001.vital"
    part.parent.mkdir()
    part.write_bytes((server.folder / part.name).read_bytes() + b"more")
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)


def test_another_part_than_asked_for_is_not_joined(server, tmp_path):
    server.faults = {"900001": [CUT, WRONG_PART]}
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)
    assert server.asked["900001"][-1] is None
    server.faults = {"900002": [CUT, WRONG_PART, CUT, WRONG_PART]}
    with pytest.raises(DownloadError, match="another part than was asked for; 4 tries"):
        fetch(server, tmp_path, "900002", patience=replace(QUICK, n_tries=4))


def test_a_part_shorter_than_asked_for_is_joined_and_the_rest_asked_for(server, tmp_path):
    server.faults = {"900001": [CUT, SHORT_PART]}
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)
    half = (tmp_path / "900001.vital").stat().st_size // 2
    assert server.asked["900001"] == [None, f"bytes={half}-", f"bytes={half + 50}-"]


def test_nothing_finished_is_fetched_twice(server, tmp_path):
    assert set(fetch_all(server, tmp_path).values()) == {None}
    fetch(server, tmp_path)
    assert list(fetch_all(server, tmp_path)) == list(NAMES)
    assert server.n_asked == dict.fromkeys(NAMES, 1)


def test_a_file_that_was_put_there_is_checked_and_kept(server, tmp_path):
    shutil.copy(server.folder / "900001.vital", tmp_path)
    (tmp_path / "900002.vital").write_bytes(gzip.compress(b"VITA, but nothing more"))
    assert set(fetch_all(server, tmp_path, NAMES[:2]).values()) == {None}
    assert server.n_asked == {"900002": 1}
    assert_whole(server, tmp_path, "900002")


def test_a_file_that_was_cut_in_the_cache_is_fetched_again(server, tmp_path):
    fetch(server, tmp_path)
    (tmp_path / "900001.vital").write_bytes(b"VITA")
    assert not is_complete(tmp_path / "900001.vital", check_file)
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)


def test_damaged_facts_are_no_facts(server, tmp_path):
    fetch(server, tmp_path)
    (tmp_path / "900001.vital.json").write_text("{")
    fetch(server, tmp_path)
    assert_whole(server, tmp_path)


def test_offline_asks_nobody(server, tmp_path):
    with pytest.raises(DownloadError, match=r"900001.vital is not in .* offline"):
        fetch(server, tmp_path, offline=True)
    fetch(server, tmp_path)
    fetch(server, tmp_path, offline=True)
    assert server.n_asked == {"900001": 1}


def test_one_bad_case_does_not_stop_the_others(server, tmp_path):
    server.faults = {"900001": [404, ...], "900003": [HTML, ...], "900005": [CUT]}
    problems = fetch_all(server, tmp_path)
    assert {name for name, problem in problems.items() if problem} == {"900001", "900003"}
    assert not isinstance(problems["900001"], DownloadError)
    assert isinstance(problems["900003"], DownloadError)
    assert {path.stem for path in tmp_path.glob("*.vital")} == {*NAMES} - {"900001", "900003"}


def test_at_most_four_are_on_their_way(server, tmp_path):
    server.slowly = 0.1
    assert len(fetch_all(server, tmp_path)) == len(NAMES)
    assert server.n_most == 4


def test_a_server_that_never_answers_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "N_UNANSWERED", 2)
    monkeypatch.setattr(download, "N_AT_ONCE", 1)
    server.faults = {name: [HANG, ...] for name in NAMES}
    problems = fetch_all(server, tmp_path)
    assert sum("not asked for" in str(problem) for problem in problems.values()) == len(NAMES) - 2
    assert len(server.asked) == 2


def test_a_disk_without_room_stops_all_before_a_byte_is_written(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    free = transfer.SPARE_BYTES + 100
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda folder: usage(0, 0, free))
    with pytest.raises(DiskFullError, match=r"has room for 0.00 GB") as caught:
        fetch_all(server, tmp_path)
    assert "--cache" in caught.value.hint
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]


def test_an_answer_without_an_end_stops_before_the_disk_is_full(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    part = tmp_path / ".parts" / "900001.vital"

    def left(folder):
        return usage(0, 0, transfer.SPARE_BYTES + 1_000_000 - part.stat().st_size)

    monkeypatch.setattr(transfer.shutil, "disk_usage", left)
    server.faults = {"900001": [ENDLESS, ...]}
    with pytest.raises(DiskFullError, match=r"does not say how large 900001\.vital is"):
        fetch(server, tmp_path)
    assert_nothing_kept(tmp_path)
    assert not list((tmp_path / ".parts").iterdir())


def test_room_is_needed_for_the_files_on_their_way_and_those_after_them():
    course = Course(10, n_done=4, receiving={"a": (40, 100), "b": (0, 60)})
    course.sizes = {"a": 100, "b": 60, "c": 50}
    assert course.needs() == (120, 0)  # three sizes tell too little
    course.sizes["d"] = 30
    assert course.needs() == (120, 4 * 60)


def test_progress_tells_each_file_and_the_whole():
    course = Course(10, n_done=4, n_bytes=5_000_000, receiving={"b": (0, 0), "a": (10**6, 10**7)})
    said = course.describe()
    assert said.startswith("downloading a 1.0 of 10.0 MB, b 0.0 MB; 4 of 10 files, 5.0 MB, ")


def test_two_who_want_the_same_file_fetch_it_once(server, tmp_path):
    server.slowly = 0.2
    wanted = {f"{n}": place(server, tmp_path, "900001") for n in range(3)}
    downloads = Downloads(patience=Patience(connect_s=1, read_s=5))
    problems = dict(downloads.fetch_all(wanted, check_file, lambda words: None))
    assert set(problems.values()) == {None}
    assert server.n_asked == {"900001": 1}
    assert_whole(server, tmp_path)


def test_a_part_may_vanish_at_any_moment(tmp_path):
    part, place = tmp_path / "parts" / "a", tmp_path / "a"

    def bring(_):
        with alone(part) as file:
            file.write(b"1")
            part.replace(place)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # threads take turns at every step
    try:
        with ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(bring, range(2000)))) == 2000
    finally:
        sys.setswitchinterval(interval)
    assert place.read_bytes() == b"1"


def test_progress_is_told_while_files_are_awaited(server, tmp_path):
    server.slowly = 0.8
    patience = Patience(connect_s=1, read_s=5)
    wanted = {"900001": place(server, tmp_path, "900001")}
    told = []
    list(Downloads(patience=patience).fetch_all(wanted, check_file, told.append))
    assert told
    assert "0 of 1 files" in told[0]

import json
import shutil
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import numpy as np
import pytest

from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data import remote
from biosig_cli.data.remote import StorePath, local_store, stated
from biosig_cli.data.store import open_split
from tests.stores import cut, spec_of, waves, write_clean, write_store

URL = "memory://bucket/windows"
QUIET = Reporter(silent=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of copies."""
    monkeypatch.setenv("BIOSIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BIOSIG_OFFLINE", raising=False)
    remote._checked.clear()
    return tmp_path / "cache"


@pytest.fixture
def there(tmp_path):
    """Train, val and test in the memory file system."""
    write_clean(tmp_path / "windows")
    files = fsspec.filesystem("memory")
    files.put(str(tmp_path / "windows"), "/bucket/windows", recursive=True)
    yield files
    files.rm("/bucket", recursive=True)


def later(url=URL):
    """Ask as another process does, which has not looked yet."""
    remote._checked.clear()
    return local_store(url, QUIET)


def test_a_store_at_a_url_is_read_as_one_on_disk(there, tmp_path):
    for split in ("train", "val", "test"):
        here = open_split(tmp_path / "windows", split)
        copied = open_split(local_store(URL, QUIET), split)
        assert copied.digest == here.digest
        rows = np.arange(len(here))
        np.testing.assert_array_equal(copied.read(rows), here.read(rows))


def test_one_store_alone_may_stand_at_a_url(there, tmp_path):
    folder = local_store(f"{URL}/train/", QUIET)
    assert (folder / "manifest.json").read_bytes() == there.cat_file(
        "/bucket/windows/train/manifest.json"
    )


def test_a_path_stays_what_it_is(tmp_path):
    for place in (tmp_path, "data/windows", "C:/windows", "C:\\windows"):
        assert str(local_store(place)) == str(place)


def test_files_are_copied_once_and_those_that_change_again(there, tmp_path, capsys):
    folder = local_store(URL, QUIET)
    times = {file: file.stat().st_mtime_ns for file in folder.rglob("*.npy")}
    assert len(times) == 3
    later()
    assert {file: file.stat().st_mtime_ns for file in times} == times
    # Another train, of the same people; val and test stay.
    changed = tmp_path / "changed" / "train"
    people = range(4)
    write_store(changed, [cut(f"r{n}", f"s{n}", 2 * waves(n + 50), spec_of()) for n in people])
    there.put(str(changed), "/bucket/windows", recursive=True)
    remote._checked.clear()
    local_store(URL)
    assert "memory://bucket/windows/train has changed, and is copied" in capsys.readouterr().out
    assert open_split(folder, "train").digest == open_split(changed.parent, "train").digest
    same = [file for file, time in times.items() if file.stat().st_mtime_ns == time]
    assert {file.parts[-3] for file in same} == {"val", "test"}


def test_a_split_that_was_taken_away_is_no_longer_there(there):
    folder = local_store(URL, QUIET)
    there.rm("/bucket/windows/test/manifest.json")
    later()
    assert not (folder / "test" / "manifest.json").exists()
    open_split(folder, "train")


def test_what_came_before_a_break_stays_and_the_rest_follows(there, monkeypatch):
    get = type(there).get_file

    def broken(self, source, target, **more):
        if "val" in source and source.endswith(".npy"):
            raise TimeoutError("the line is dead")
        return get(self, source, target, **more)

    with monkeypatch.context() as patched:
        patched.setattr(type(there), "get_file", broken)
        with pytest.raises(DataError, match=r"windows/val/shards/.* the line is dead") as caught:
            local_store(URL, QUIET)
    assert "files that are whole stay" in caught.value.hint
    asked = []
    monkeypatch.setattr(
        type(there), "get_file", lambda self, *a, **k: asked.append(a[0]) or get(self, *a, **k)
    )
    folder = local_store(URL, QUIET)
    assert not [name for name in asked if "train" in name]
    assert [name for name in asked if "val" in name] == ["/bucket/windows/val/shards/0000.npy"]
    open_split(folder, "val")


def test_an_unfinished_copy_is_no_store(there, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(type(there), "get_file", lambda *_, **__: 1 / 0)
        with pytest.raises(DataError, match="division by zero"):
            local_store(URL, QUIET)
    assert not list(remote.Path(remote.Environment().cache).rglob("manifest.json"))


def test_a_file_that_is_cut_is_not_believed(there):
    shard = next(name for name in there.find("/bucket/windows/train") if name.endswith(".npy"))
    there.pipe_file(shard, there.cat_file(shard)[:-1])
    with pytest.raises(DataError, match=r"train/shards/0000\.npy is not what its manifest says"):
        local_store(URL, QUIET)


def test_a_file_that_the_manifest_names_and_nobody_has_is_said(there):
    (shard,) = there.glob("/bucket/windows/train/shards/*.npy")[:1]
    there.rm(shard)
    with pytest.raises(DataError, match=r"train/shards/.*\.npy is not there"):
        local_store(URL, QUIET)


def test_a_manifest_can_not_write_outside_of_its_folder(there):
    manifest = json.loads(there.cat_file("/bucket/windows/train/manifest.json"))
    for name in ("../../elsewhere.npy", "/etc/elsewhere.npy"):
        manifest["shards"][0]["file"] = name
        there.pipe_file("/bucket/windows/train/manifest.json", json.dumps(manifest).encode())
        with pytest.raises(DataError, match="is no name of a file in train"):
            later()


def test_what_can_not_be_had_says_why(there):
    with pytest.raises(DataError, match=r"no finished store at memory://bucket/nothing"):
        local_store("memory://bucket/nothing", QUIET)
    with pytest.raises(ConfigError, match="nonsense://bucket/x: Protocol not known") as caught:
        local_store("nonsense://bucket/x", QUIET)
    assert "s3fs for s3" in caught.value.hint
    there.pipe_file("/bucket/windows/train/manifest.json", b"<html>log in</html>")
    with pytest.raises(DataError, match="is not the manifest of a store"):
        local_store(URL, QUIET)


def test_offline_takes_the_copy_and_asks_nobody(there, monkeypatch):
    monkeypatch.setenv("BIOSIG_OFFLINE", "1")
    with pytest.raises(DataError, match="is not in"):
        local_store(URL, QUIET)
    monkeypatch.delenv("BIOSIG_OFFLINE")
    folder = local_store(URL, QUIET)
    monkeypatch.setenv("BIOSIG_OFFLINE", "1")
    monkeypatch.setattr(type(there), "cat_file", lambda *_, **__: pytest.fail("asked"))
    assert later() == folder


class Where(Config):
    store: StorePath


def test_a_config_goes_on_to_say_the_url(there, tmp_path):
    # A flag is a path, which has one slash where the URL has two.
    for given in (URL, remote.Path(URL)):
        config = Where.parse({"store": given})
        assert (config.store / "train" / "manifest.json").is_file()
        assert config.dump() == {"store": URL}
    assert Where.parse(config.dump()) == config
    assert stated(tmp_path) == str(tmp_path)


@contextmanager
def web_server(folder):
    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_a_web_server_will_do(tmp_path):
    pytest.importorskip("aiohttp", reason="fsspec speaks http through aiohttp")
    write_clean(tmp_path / "windows")
    with web_server(tmp_path) as url:
        folder = local_store(f"{url}/windows", QUIET)
        with pytest.raises(DataError, match="no finished store at http"):
            local_store(f"{url}/nothing", QUIET)
        shutil.rmtree(tmp_path / "windows")
        with pytest.raises(DataError, match="no finished store at http"):
            later(f"{url}/windows")
    with pytest.raises(DataError, match="can't be read") as caught:
        later(f"{url}/windows")
    assert "BIOSIG_OFFLINE=1" in caught.value.hint
    assert len(open_split(folder, "train"))

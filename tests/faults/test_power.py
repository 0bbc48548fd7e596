"""The order in which files reach the disk, so that a power cut leaves whole ones or none.

No power is cut here: what the system is told, and in which order, is watched.
"""

import os
from functools import partial
from pathlib import Path

import pytest

from biosig_cli.core.artifacts import atomic_folder, atomic_path
from biosig_cli.data.download import Downloads
from tests.faults.commands import COMMANDS, PLAIN, log_of, start
from tests.faults.wrongs import watch
from tests.servers import vitaldb_server

LOGS = ("metrics.jsonl",)
"""Files that grow line by line; a cut line is dropped when a run goes on."""


def unsafe(log: Path, folder: Path) -> list[str]:
    """Return the files in `folder` that a power cut could leave with another content than meant.

    Each must have been flushed before it, or a folder round it, was renamed to what it is called,
    and the folder that has the name must have been flushed afterwards.
    """
    told = [line.split("\t") for line in log.read_text("utf-8").splitlines()]
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in LOGS and not _is_safe(path, told)
    ]


def _is_safe(path: Path, told: list[list[str]]) -> bool:
    for number in reversed(range(len(told))):
        if told[number][0] != "renamed":
            continue
        _, source, target = told[number]
        if Path(target) in (path, *path.parents):
            before = str(Path(source, path.relative_to(target)))
            return ["flushed", before] in told[:number] and [
                "flushed", str(Path(target).parent)
            ] in told[number:]  # fmt: skip
    return False


@pytest.mark.parametrize("name", PLAIN)
def test_every_file_is_on_the_disk_before_it_gets_its_name(
    base: Path, tmp_path: Path, name: str
) -> None:
    out, log = tmp_path / "out", tmp_path / "told"
    process = start(COMMANDS[name], base, out, wrong=partial(watch, log))
    process.join()
    assert process.exitcode == 0, log_of(out).read_text()
    assert unsafe(log, out) == []


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is flushed and renamed, by the names that files have then."""
    order: list[tuple[str, str]] = []
    fsync, replace = os.fsync, Path.replace

    def flush(handle: int) -> None:
        order.append(("flushed", Path(f"/proc/self/fd/{handle}").readlink().name))
        fsync(handle)

    def rename(path: Path, to: Path) -> Path:
        order.append(("renamed", to.name))
        return replace(path, to)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", rename)
    return order


def test_a_name_is_on_the_disk_after_its_file(tmp_path: Path, told: list[tuple[str, str]]) -> None:
    with atomic_path(tmp_path / "a.json") as temporary:
        temporary.write_text("{}")
    expected = [("flushed", temporary.name), ("renamed", "a.json"), ("flushed", tmp_path.name)]
    assert told == expected


def test_a_folder_is_on_the_disk_with_all_that_is_in_it(
    tmp_path: Path, told: list[tuple[str, str]]
) -> None:
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "in").mkdir()
        (folder / "in" / "a.bin").write_bytes(b"1")
    at = told.index(("renamed", "out"))
    assert {("flushed", name) for name in ("new", "in", "a.bin")} == set(told[:at])
    assert told[at + 1] == ("flushed", tmp_path.name)


def test_a_download_is_on_the_disk_before_it_is_in_its_place(
    tmp_path: Path, told: list[tuple[str, str]]
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "cases.csv").write_text("as sent")
    with vitaldb_server(tmp_path / "there") as server:
        url, here = f"{server.url}/cases", tmp_path / "here" / "cases.csv"
        Downloads().fetch(url, here, lambda path: path.write_text("unpacked"))
    at = told.index(("renamed", "cases.csv"))
    assert told[at - 1] == ("flushed", "cases.csv")  # after its check, which may mend it
    assert told[at + 1] == ("flushed", "here")
    assert here.read_text() == "unpacked"

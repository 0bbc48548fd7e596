"""The bare commands of a newcomer, on the open data set as a server on this machine gives it."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from biosig_cli.catalog import open_source
from biosig_cli.cli import run
from biosig_cli.core.errors import ConfigError, DataError, DiskFullError
from biosig_cli.core.progress import Reporter
from biosig_cli.data import download
from biosig_cli.data.store import open_split
from biosig_cli.data.transfer import Patience
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from tests.recordings import write_case
from tests.servers import CUT, HTML, STALL, vitaldb_server

QUIET = Reporter(silent=True)
FROM_HERE = {"PYTHONPATH": str(Path(__file__).parents[2])}
"""A process that is started elsewhere finds the package."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Six cases of five people, none of them published."""
    folder = tmp_path_factory.mktemp("served")
    for number in range(6):
        write_case(folder, f"{900001 + number}", duration_s=40.0, rate_bpm=60.0 + 7 * number)
    lines = [f"{900001 + number},{max(number, 1)},{40 + number},F" for number in range(6)]
    (folder / "cases.csv").write_text("\n".join(["caseid,subjectid,age,sex", *lines]) + "\n")
    return folder


@pytest.fixture
def server(cases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIOSIG_DATA", raising=False)
    monkeypatch.delenv("BIOSIG_OFFLINE", raising=False)
    monkeypatch.setenv("BIOSIG_CACHE", str(tmp_path / "cache"))
    quick = Patience(connect_s=0.5, read_s=2, n_tries=2, pause_s=0.01, longest_pause_s=1)
    monkeypatch.setattr(download, "Patience", lambda: quick)
    with vitaldb_server(cases) as server:
        monkeypatch.setenv("BIOSIG_VITALDB_URL", server.url)
        yield server


def build(**settings):
    return build_windows(BuildWindowsConfig.parse({"workers": 1} | settings), QUIET)


def serve(folder, cases, tables):
    """Make another folder to serve."""
    shutil.copytree(cases, folder)
    (folder / "cases.csv").write_bytes(tables)
    return folder


def test_a_newcomer_gets_a_model_by_three_bare_commands(server, tmp_path, capsys):
    assert run(["prepare-splits", "--mode", "fasttrack"]) == 0
    said = capsys.readouterr().out
    assert said.count("CC BY-NC-SA 4.0") == 1
    assert "VitalDB open data set, 6 records" in said
    assert server.n_asked == {"cases": 1}
    splits = json.loads(Path("data/splits_fasttrack.json").read_text())
    assert splits["meta"]["source"] == "vitaldb"
    assert splits["meta"]["case_set"] == "bis"
    assert splits["meta"]["subjects"]["900001"] == splits["meta"]["subjects"]["900002"] == "1"
    assert run(["build-windows"]) == 0
    assert server.n_asked == {"cases": 1} | {f"{900001 + n}": 1 for n in range(6)}
    manifest = json.loads(Path("data/vitaldb_windows/train/manifest.json").read_text())
    assert manifest["source"]["licence"].startswith("CC BY-NC-SA 4.0")
    assert manifest["skipped"] == {}
    assert set(manifest["attributes"]) == {"age", "sex"}
    small = ["--set", "model.width=16", "--set", "model.n_layers=2", "--set", "model.n_levels=1"]
    small += ["--epochs", "1", "--max-windows", "8", "--device", "cpu"]
    assert run(["pretrain", *small]) == 0
    assert Path("artifacts/pretrain/best_model.pt").is_file()
    assert run(["prepare-splits"]) == 0
    assert run(["build-windows"]) == 0
    assert "complete, nothing to do" in capsys.readouterr().out
    assert set(server.n_asked.values()) == {1}


def test_after_the_windows_are_built_the_cache_may_go(server):
    prepare_splits(PrepareSplitsConfig(), QUIET)
    build()
    for file in Path("cache/vitaldb/1.0.1").glob("*.vital"):
        file.unlink()
    build()
    assert set(server.n_asked.values()) == {1}


def test_a_case_that_can_not_be_had_is_counted_and_fetched_the_next_time(server):
    prepare_splits(PrepareSplitsConfig(), QUIET)
    train = json.loads(Path("data/splits_fasttrack.json").read_text())["train"]
    lost, gone = train[0], train[1]
    server.faults = {lost: [HTML, ...], gone: [404, ...]}
    result = build(split="train")
    skipped = result.splits["train"].skipped
    assert set(skipped) == {lost, gone}
    assert "is not a .vital file" in skipped[lost]
    assert "404" in skipped[gone]
    assert result.n_windows > 0
    # What was cut waits for the case that may still come.
    assert len(list(Path("data/vitaldb_windows/train").glob("parts-*/*.npz"))) == len(train) - 2
    server.faults = {gone: [404, ...]}
    asked = dict(server.n_asked)
    again = build(split="train")
    assert set(again.splits["train"].skipped) == {gone}
    assert again.n_windows > result.n_windows
    assert server.n_asked == asked | {lost: 2, gone: 2}
    # Now all is here that the server has: nothing is left to do or to ask.
    build(split="train")
    assert server.n_asked == asked | {lost: 2, gone: 2}
    assert not list(Path("data/vitaldb_windows/train").glob("parts-*"))


def test_a_download_that_was_stopped_goes_on(server):
    prepare_splits(PrepareSplitsConfig(), QUIET)
    case = json.loads(Path("data/splits_fasttrack.json").read_text())["train"][0]
    server.faults = {case: [CUT, ...]}
    build(split="train")
    server.faults = {}
    result = build(split="train")
    assert result.splits["train"].skipped == {}
    assert server.asked[case][-1].startswith("bytes=")


def test_a_download_that_was_killed_goes_on(server):
    prepare_splits(PrepareSplitsConfig(), QUIET)
    case = json.loads(Path("data/splits_fasttrack.json").read_text())["train"][0]
    server.faults = {case: [STALL]}
    part = Path(f"cache/vitaldb/1.0.1/.parts/{case}.vital")
    half = (server.folder / part.name).stat().st_size // 2
    command = [sys.executable, "-m", "biosig_cli", "build-windows", "--split", "train"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env=FROM_HERE | os.environ
    ) as process:
        wait_until(lambda: part.is_file() and part.stat().st_size == half)
        process.kill()
    assert not part.parent.with_name(part.name).exists()
    result = build(split="train")
    assert result.splits["train"].skipped == {}
    assert server.asked[case] == [None, f"bytes={half}-"]


def wait_until(is_so):
    end_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.02)


def test_several_processes_cut_what_arrives(server):
    prepare_splits(PrepareSplitsConfig(), QUIET)
    build(outdir="one", split="train")
    shutil.rmtree("cache/vitaldb/1.0.1")
    server.slowly = 0.2
    build(outdir="two", split="train", workers=2)
    one, two = (open_split(Path(name), "train") for name in ("one", "two"))
    assert len(one) == len(two) > 0
    assert one.digest == two.digest


def test_nothing_usable_is_an_error(server, capsys):
    assert run(["prepare-splits"]) == 0
    server.faults = {f"{900001 + number}": [404, ...] for number in range(6)}
    assert run(["build-windows"]) == 3
    said = capsys.readouterr()
    assert "6 cases skipped" in said.err
    assert "404 Not Found" in said.err


def test_offline_uses_what_is_here_and_asks_nobody(server, capsys):
    assert run(["prepare-splits", "--offline"]) == 3
    assert "without --offline" in capsys.readouterr().err
    assert run(["prepare-splits", "--cache", "elsewhere"]) == 0
    assert Path("elsewhere/vitaldb/1.0.1/cases.csv").is_file()
    assert run(["prepare-splits", "--cache", "elsewhere", "--offline"]) == 0
    assert run(["build-windows", "--cache", "elsewhere", "--offline"]) == 3
    assert "offline" in capsys.readouterr().err
    assert server.n_asked == {"cases": 1}


def test_a_full_disk_stops_the_command(server, monkeypatch):
    prepare_splits(PrepareSplitsConfig(), QUIET)
    monkeypatch.setattr("biosig_cli.data.transfer.SPARE_BYTES", 2**62)
    with pytest.raises(DiskFullError):
        build()
    assert not list(Path("cache/vitaldb/1.0.1").glob("*.vital"))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"<html>Please log in</html>", "needs the columns caseid, subjectid"),
        (b"caseid,subjectid\n../../x,1\n", "a case '../../x', not a number"),
        (b"caseid,subjectid\n", "no case"),
        (gzip.compress(b"caseid,subjectid\n1,1\n", mtime=0)[:-9], "damaged"),
    ],
)
def test_a_table_of_cases_that_is_none_is_refused(
    tmp_path, cases, monkeypatch, server, table, said
):
    with vitaldb_server(serve(tmp_path / "odd", cases, table)) as other:
        monkeypatch.setenv("BIOSIG_VITALDB_URL", other.url)
        with pytest.raises(DataError, match=said):
            open_source("vitaldb")
    assert not list(Path("cache").rglob("*.csv"))


def test_a_packed_table_and_the_table_of_another_server_are_taken(
    tmp_path, cases, monkeypatch, server
):
    assert len(open_source("vitaldb").ids()) == 6
    packed = gzip.compress(b"caseid,subjectid\n1,7\n2,8\n6,9\n")
    with vitaldb_server(serve(tmp_path / "other", cases, packed)) as other:
        monkeypatch.setenv("BIOSIG_VITALDB_URL", other.url + "/")
        source = open_source("vitaldb")
        assert source.subjects() == {"1": "7", "2": "8", "6": "9"}
        # The package lists cases 1 and 6, but not case 2, as anaesthetized by desflurane.
        assert source.cases_of("desflurane") == ["1", "6"]
        assert source.cases_of("all") == ["1", "2", "6"]
    monkeypatch.setenv("BIOSIG_VITALDB_URL", server.url)
    assert len(open_source("vitaldb", offline=True).ids()) == 3
    assert len(open_source("vitaldb").ids()) == 6


def test_an_address_that_is_none_is_refused(server, monkeypatch):
    monkeypatch.setenv("BIOSIG_VITALDB_URL", "ftp://somewhere")
    with pytest.raises(ConfigError, match="BIOSIG_VITALDB_URL is 'ftp://somewhere'"):
        open_source("vitaldb")


def test_a_single_record_is_fetched_when_it_is_read(server):
    from biosig_cli.data.channels import ChannelConfig

    channels = {"PPG": ChannelConfig(kind="ppg", tracks=("SNUADC/PLETH",))}
    record = open_source("vitaldb").read("900003", channels)
    assert record.subject == "2"
    assert record.tracks["PPG"].sampling_hz == 125
    assert server.n_asked == {"cases": 1, "900003": 1}


def test_the_real_recordings_are_served_and_read_alike(real_data, tmp_path, monkeypatch, server):
    with vitaldb_server(real_data / "vital") as real:
        monkeypatch.setenv("BIOSIG_VITALDB_URL", real.url)
        fast = prepare_splits(PrepareSplitsConfig(), QUIET).splits
        folder = PrepareSplitsConfig(source=str(real_data / "vital"), output=tmp_path / "local")
        assert fast.cases == prepare_splits(folder, QUIET).splits.cases
        source, local = open_source("vitaldb"), open_source(str(real_data / "vital"))
        channels = BuildWindowsConfig().recipe.channels
        for case in ("900001", "900002"):
            one, other = source.read(case, channels), local.read(case, channels)
            assert one.subject == other.subject
            for name, track in one.tracks.items():
                assert track.samples.tobytes() == other.tracks[name].samples.tobytes()

"""What people bring by mistake: each is said in words, and good records still come out."""

import csv
import errno
import gzip
import os
import struct

import numpy as np
import pytest

from biosig_cli.catalog import open_source
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.data import parts
from biosig_cli.data.store import open_split
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits
from tests.recordings import cut_file, ecg, ppg, write_case, write_cases_table, write_vital

QUIET = Reporter(silent=True)
S = 40.0


def tracks(pleth=None, ecg_ii=None):
    return {
        "SNUADC/PLETH": pleth or (125.0, [(0.0, ppg(125.0, S, delay_s=0.2))]),
        "SNUADC/ECG_II": ecg_ii or (250.0, [(0.0, ecg(250.0, S))]),
    }


def no_vital(folder):
    (folder / "bad.vital").write_text("These are notes, no signals.")


def empty(folder):
    (folder / "bad.vital").touch()


def cut(folder):
    cut_file(write_case(folder, "bad"), 0.6)


def all_missing(folder):
    nothing = (125.0, [(0.0, np.full(round(125 * S), np.nan))])
    write_vital(folder / "bad.vital", tracks(pleth=nothing))


def rate_0(folder):
    # The package can't write such a file, but devices can: the rate is a float32 in the header.
    path = write_vital(folder / "bad.vital", tracks(pleth=(123.0, [(0.0, ppg(125.0, S))])))
    whole, rate = gzip.decompress(path.read_bytes()), struct.pack("<f", 123.0)
    assert whole.count(rate) == 1
    path.write_bytes(gzip.compress(whole.replace(rate, struct.pack("<f", 0.0))))


def wrong_unit(folder):
    write_vital(folder / "bad.vital", tracks(), units={"SNUADC/ECG_II": "mmHg"})


def link_to_itself(folder):
    (folder / "bad.vital").symlink_to(folder / "bad.vital")


def a_folder(folder):
    (folder / "bad.vital").mkdir()


BAD = {
    no_vital: "not a .vital file",
    empty: "truncated or damaged: it is empty",
    cut: "truncated or damaged",
    all_missing: "PPG has no 10 s without a gap (0.0 s of samples)",
    rate_0: "SNUADC/PLETH has a sampling rate of 0",
    wrong_unit: "ECG (SNUADC/ECG_II) is in mmHg, the channel's unit is mV",
    link_to_itself: "can't be read: Too many levels of symbolic links",
    a_folder: "can't be read: Is a directory",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A store of one good record beside one of every bad kind."""
    folder = tmp_path_factory.mktemp("bad")
    source = folder / "in"
    write_case(source, "good one é")
    for make in BAD:
        make(source)
        (source / "bad.vital").rename(source / f"{make.__name__}.vital")
    link = source / f"{link_to_itself.__name__}.vital"
    link.unlink()
    link.symlink_to(link)
    cases = ("good one é", *(make.__name__ for make in BAD))
    config = PrepareSplitsConfig(source=str(source), output=folder, splits={"train": cases})
    made = prepare_splits(config, QUIET)
    config = BuildWindowsConfig(split_file=made.path, outdir=folder / "w", workers=1)
    return folder / "w", build_windows(config, QUIET)


def test_good_records_beside_bad_ones_come_out(built):
    folder, result = built
    assert result.n_windows == 4
    assert set(open_split(folder, "train").column("record")) == {"good one é"}
    assert len(result.splits["train"].skipped) == len(BAD)


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_a_bad_record_is_skipped_with_its_reason(built, make):
    with (built[0] / "train" / "skipped.csv").open(newline="") as file:
        assert (
            BAD[make]
            in {row["record"]: row["reason"] for row in csv.DictReader(file)}[make.__name__]
        )


def test_volts_become_millivolts(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    write_vital(source / "1.vital", tracks(), units={"SNUADC/ECG_II": "uV"})
    channels = BuildWindowsConfig().channels
    track = open_source(str(source)).read("1", {"ECG": channels["ECG"]}).tracks["ECG"]
    assert track.unit == "mV"
    np.testing.assert_allclose(track.samples, ecg(250.0, S) / 1000, rtol=1e-6)


def test_a_missing_subject_stops_the_split(tmp_path):
    source = tmp_path / "in"
    for case in ("1", "2"):
        write_case(source, case, duration_s=1)
    write_cases_table(source, {"1": "a", "2": ""})
    with pytest.raises(DataError, match="line 3: caseid '2', subjectid ''"):
        prepare_splits(PrepareSplitsConfig(source=str(source), output=tmp_path), QUIET)
    write_cases_table(source, {"1": "a"})
    with pytest.raises(DataError, match=r"no subject for 1 of 2 records: 2"):
        prepare_splits(PrepareSplitsConfig(source=str(source), output=tmp_path), QUIET)


def test_a_link_to_the_folder_above_has_an_end(tmp_path):
    from tests.recordings import write_but_ppg

    write_but_ppg(tmp_path / "a", "112001", parts=("PPG",))
    (tmp_path / "a" / "112001" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert open_source(str(tmp_path)).ids() == ["112001"]


@pytest.fixture
def prepared(tmp_path):
    source = tmp_path / "in"
    for case in ("1", "2", "3"):
        write_case(source, case)
    prepare_splits(
        PrepareSplitsConfig(source=str(source), output=tmp_path, splits={"train": ("1", "2", "3")}),
        QUIET,
    )
    return BuildWindowsConfig(
        split_file=tmp_path / "splits_fasttrack.json", outdir=tmp_path / "w", workers=1
    )


def test_a_file_where_the_output_folder_should_be(prepared, tmp_path):
    (tmp_path / "w").write_text("not a folder")
    with pytest.raises(DataError, match=r"w.* can't be written") as caught:
        build_windows(prepared, QUIET)
    assert "choose another" in caught.value.hint
    assert (tmp_path / "w").read_text() == "not a folder"
    with pytest.raises(DataError, match="can't be written"):
        prepare_splits(
            PrepareSplitsConfig(source=str(tmp_path / "in"), output=tmp_path / "w"), QUIET
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(prepared, tmp_path):
    (tmp_path / "w").mkdir(mode=0o500)
    with pytest.raises(DataError, match="can't be written: Permission denied"):
        build_windows(prepared, QUIET)


def test_a_full_disk_keeps_what_is_done_and_the_next_run_goes_on(prepared, tmp_path, monkeypatch):
    whole = np.savez

    def full_at_the_third(file, **arrays):
        if len(list((tmp_path / "w").rglob("parts-*/[0-9]*.npz"))) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(file, **arrays)

    with monkeypatch.context() as patched:
        patched.setattr(parts.np, "savez", full_at_the_third)
        with pytest.raises(DataError, match="can't be written: No space left on device") as caught:
            build_windows(prepared, QUIET)
    assert caught.value.exit_code == 3
    assert "has room" in caught.value.hint
    left = sorted((tmp_path / "w").rglob("*.npz"))
    assert [path.name[0] for path in left] == ["1", "2"]
    assert not list((tmp_path / "w").rglob(".*.npz"))  # nothing half written
    assert build_windows(prepared, QUIET).n_windows == 12


def test_a_pattern_that_names_no_subject(tmp_path):
    (tmp_path / "r1.csv").write_text("pulse\n1\n")
    (tmp_path / "dataset.yaml").write_text(
        "sampling_hz: 50\nsubject: '[a-z]([0-9]*)x?'\ncolumns: {PPG: {column: pulse}}\n"
    )
    (tmp_path / "rx.csv").write_text("pulse\n1\n")
    with pytest.raises(DataError, match="does not fit 'rx'"):
        open_source(str(tmp_path)).subjects()
    (tmp_path / "dataset.yaml").write_text("subject: '(r)'\nsubjects: {table: t.csv}\n")
    with pytest.raises(ConfigError, match="not both"):
        open_source(str(tmp_path))

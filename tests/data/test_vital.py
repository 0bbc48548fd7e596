import gzip
import shutil

import numpy as np
import pytest

from biosig_cli.catalog import open_source
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.readers.base import natural_key
from biosig_cli.data.readers.vital import VitalFolder
from tests.recordings import (
    VitalFile,
    cut_file,
    cut_payload,
    ppg,
    write_case,
    write_cases_table,
    write_vital,
)

CHANNELS = {
    "PPG": ChannelConfig(kind="ppg", tracks=("SNUADC/PLETH", "PLETH")),
    "ECG": ChannelConfig(kind="ecg", tracks=("SNUADC/ECG_II",)),
}
PPG_ONLY = {"PPG": CHANNELS["PPG"]}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("integers", [True, False])
def test_gaps_become_missing_in_every_form_of_file(tmp_path, packed, integers):
    samples = np.linspace(-1, 2, 200, dtype=np.float32)
    stretches = [(0.0, samples), (5.0, samples)]
    write_vital(
        tmp_path / "1.vital",
        {"SNUADC/PLETH": (100.0, stretches)},
        packed=packed,
        integers=integers,
    )
    track = VitalFolder(tmp_path).read("1", PPG_ONLY).tracks["PPG"]
    # 2 s of samples, 3 s of nothing, 2 s of samples, at 100 Hz.
    assert len(track.samples) == 700
    assert np.isnan(track.samples[200:500]).all()
    tolerance = 1 / 8000 if integers else 0
    np.testing.assert_allclose(track.samples[:200], samples, atol=tolerance + 1e-6)
    np.testing.assert_allclose(track.samples[500:], samples, atol=tolerance + 1e-6)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files left open
def test_samples_equal_those_of_the_vitaldb_package_at_the_native_rate(real_data):
    source = VitalFolder(real_data / "vital")
    for case in source.ids()[:2]:  # one float32, one int16 with gain and offset
        record = source.read(case, CHANNELS)
        theirs = VitalFile(str(real_data / "vital" / f"{case}.vital"))
        for name, config in CHANNELS.items():
            track = theirs.trks[config.tracks[0]]
            raw = np.concatenate([rec["val"] for rec in track.recs])
            expected = raw * track.gain + track.offset if track.fmt == 5 else raw
            assert record.tracks[name].sampling_hz == 500.0
            np.testing.assert_allclose(record.tracks[name].samples, expected, atol=1e-6)


def test_monitor_files_with_several_rates_keep_their_start_times(real_data):
    channels = {
        "PPG": ChannelConfig(kind="ppg", tracks=("Intellivue/PLETH",)),
        "ECG": ChannelConfig(kind="ecg", tracks=("Intellivue/ECG_II",)),
    }
    record = VitalFolder(real_data / "vital_recorder_demo").read("test_data_demo", channels)
    assert [record.tracks[name].sampling_hz for name in ("PPG", "ECG")] == [125.0, 500.0]
    # Both began 0.768 s after the file's first packet (seen with the vitaldb package).
    assert record.tracks["PPG"].start_s == pytest.approx(0.768, abs=1e-3)
    assert record.tracks["ECG"].start_s == pytest.approx(0.768, abs=1e-3)


@pytest.mark.parametrize("part", [0.2, 0.7, 0.95, 0.999])
def test_a_truncated_file_is_refused(tmp_path, part):
    path = write_case(tmp_path, "1")
    cut_file(path, part)
    with pytest.raises(DataError, match="truncated"):
        VitalFolder(tmp_path).read("1", CHANNELS)


@pytest.mark.parametrize("n_bytes", [1, 3, 100, 5000])
def test_a_file_cut_before_it_was_compressed_is_refused(tmp_path, n_bytes):
    path = write_case(tmp_path, "1")
    cut_payload(path, n_bytes)
    with pytest.raises(DataError, match="truncated"):
        VitalFolder(tmp_path).read("1", CHANNELS)


def test_a_flipped_byte_is_refused(tmp_path):
    path = write_case(tmp_path, "1")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="damaged"):
        VitalFolder(tmp_path).read("1", CHANNELS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"<html>please log in</html>", "not a .vital file"),
        (gzip.compress(b"something else"), "does not start with VITA"),
        (gzip.compress(b"VITA"), "damaged"),
    ],
    ids=["empty", "html", "gzip of something else", "gzip cut short"],  # gzip bytes hold the time
)
def test_what_is_no_vital_file_is_refused(tmp_path, content, said):
    (tmp_path / "1.vital").write_bytes(content)
    with pytest.raises(DataError, match=said):
        VitalFolder(tmp_path).read("1", CHANNELS)


def test_a_missing_track_names_what_was_looked_for(tmp_path):
    write_vital(tmp_path / "1.vital", {"SNUADC/PLETH": (100.0, [(0.0, ppg(100.0, 5))])})
    with pytest.raises(DataError, match=r"no ECG.*SNUADC/ECG_II"):
        VitalFolder(tmp_path).read("1", CHANNELS)


def test_track_names_match_exactly_and_by_preference(tmp_path):
    one, two = (np.full(100, value, np.float32) for value in (1, 2))
    tracks = {
        "Solar8000/PLETH": (100.0, [(0.0, one)]),
        "SNUADC/PLETH": (100.0, [(0.0, two)]),
    }
    write_vital(tmp_path / "1.vital", tracks)
    read = VitalFolder(tmp_path).read("1", PPG_ONLY).tracks["PPG"]
    assert read.samples[0] == 2
    suffix = {"PPG": ChannelConfig(kind="ppg", tracks=("PLETH",))}
    with pytest.raises(DataError, match="no PPG"):
        VitalFolder(tmp_path).read("1", suffix)


def test_packets_with_jittery_stamps_join_without_gaps(tmp_path):
    jitter_s = [0.0, 0.004, -0.003, 0.002]
    samples = np.arange(400, dtype=np.float32)
    stretches = [
        (k + jitter, samples[100 * k : 100 * k + 100]) for k, jitter in enumerate(jitter_s)
    ]
    write_vital(tmp_path / "1.vital", {"PLETH": (100.0, stretches)}, packed=False)
    track = VitalFolder(tmp_path).read("1", PPG_ONLY).tracks["PPG"]
    np.testing.assert_array_equal(track.samples, samples)


def test_an_absurd_time_stamp_does_not_fill_the_memory(tmp_path):
    stretches = [(0.0, ppg(100.0, 5)), (1e9, ppg(100.0, 5))]
    write_vital(tmp_path / "1.vital", {"PLETH": (100.0, stretches)}, packed=False)
    with pytest.raises(DataError, match="days"):
        VitalFolder(tmp_path).read("1", PPG_ONLY)


def test_subjects_come_from_the_table_even_with_a_byte_order_mark(tmp_path):
    for case in ("10", "9", "2"):
        write_case(tmp_path, case, duration_s=1)
    source = VitalFolder(tmp_path)
    assert source.subjects() == {"2": "2", "9": "9", "10": "10"}
    assert "one subject" in source.subject_origin
    write_cases_table(tmp_path, {"2": "a", "9": "a", "10": "b"}, bom=True)
    source = VitalFolder(tmp_path)
    assert source.ids() == ["2", "9", "10"]
    assert source.subjects() == {"2": "a", "9": "a", "10": "b"}


def test_a_table_without_a_case_or_without_its_columns_is_refused(tmp_path):
    write_case(tmp_path, "1", duration_s=1)
    write_cases_table(tmp_path, {"2": "a"})
    with pytest.raises(DataError, match="no subject"):
        VitalFolder(tmp_path).subjects()
    (tmp_path / "cases.csv").write_text("case,patient\n1,a\n")
    with pytest.raises(DataError, match="caseid, subjectid"):
        VitalFolder(tmp_path)


def test_numbers_in_ids_sort_as_numbers():
    assert sorted(["b1", "a10", "a9", "10", "9"], key=natural_key) == ["9", "10", "a9", "a10", "b1"]


def test_an_unknown_folder_names_what_was_looked_for_and_found(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"\.vital.*dataset\.yaml.*notes\.txt"):
        open_source(str(tmp_path))
    with pytest.raises(DataError, match="no answer") as caught:
        open_source("vitaldb")
    assert "--source FOLDER" in caught.value.hint
    with pytest.raises(DataError, match="not there"):
        open_source(str(tmp_path / "nowhere"))


def test_a_file_name_with_spaces_and_unicode_is_read(tmp_path):
    path = write_case(tmp_path, "1", duration_s=1)
    shutil.move(path, tmp_path / "Fall 3 é.vital")
    source = open_source(str(tmp_path))
    assert source.ids() == ["Fall 3 é"]
    assert source.read("Fall 3 é", CHANNELS).tracks["PPG"].samples.size

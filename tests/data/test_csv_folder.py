import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from biosig_cli.catalog import open_source
from biosig_cli.core.config import find_config, read_file
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.readers.csv_folder import DatasetConfig

PPG = {"PPG": ChannelConfig(kind="ppg", unit="a.u.")}
COLUMN = {"PPG": {"column": "pulse"}}


def write(folder, text, name="s1.csv"):
    (folder / name).write_text(text)


def read(folder, record="s1", **settings):
    settings = {"columns": COLUMN} | settings
    return open_source(str(folder), DatasetConfig.parse(settings)).read(record, PPG)


def test_a_stated_rate_and_missing_values(tmp_path):
    write(tmp_path, "pulse\n1\n\n2.5\nnan\n3\n")
    track = read(tmp_path, sampling_hz=50).tracks["PPG"]
    assert track.sampling_hz == 50
    np.testing.assert_array_equal(track.samples, [1, 2.5, np.nan, 3])


def test_a_file_without_header_goes_by_place(tmp_path):
    write(tmp_path, "7;1\n8;2\n")
    settings = {"columns": {"PPG": {"column": 1}}, "header": False, "delimiter": ";"}
    track = read(tmp_path, sampling_hz=50, **settings).tracks["PPG"]
    np.testing.assert_array_equal(track.samples, [1, 2])


def test_a_jump_in_time_becomes_missing_samples(tmp_path):
    times_ms = [*range(0, 1000, 10), *range(3000, 4000, 10)]
    write(tmp_path, "t,pulse\n" + "".join(f"{t},1\n" for t in times_ms))
    track = read(tmp_path, time="t", time_unit="ms").tracks["PPG"]
    assert track.sampling_hz == 100
    assert len(track.samples) == 400
    assert np.isnan(track.samples[100:300]).all()
    assert np.isfinite(track.samples[:100]).all()
    assert np.isfinite(track.samples[300:]).all()


def test_stamps_of_a_coarse_clock_are_even_samples(tmp_path):
    # A sensor at 100 Hz stamped by a clock that ticks 64 times a second.
    ticks = np.floor(np.arange(1000) / 100 * 64) / 64
    rows = [f"2020-01-01 10:00:{t:09.6f},{k}\n" for k, t in enumerate(ticks)]
    write(tmp_path, "t,pulse\n" + "".join(rows))
    track = read(tmp_path, time="t", time_unit="datetime").tracks["PPG"]
    assert track.sampling_hz == pytest.approx(100, rel=2e-3)
    np.testing.assert_array_equal(track.samples, np.arange(1000))


def test_a_wrong_rate_is_found_by_its_time_stamps(tmp_path):
    write(tmp_path, "t,pulse\n" + "".join(f"{k / 100},1\n" for k in range(500)))
    with pytest.raises(DataError, match=r"100\.00 Hz.*125 Hz"):
        read(tmp_path, time="t", sampling_hz=125)


def test_time_that_goes_back_is_refused(tmp_path):
    write(tmp_path, "t,pulse\n0,1\n1,1\n0.5,1\n")
    with pytest.raises(DataError, match="goes back"):
        read(tmp_path, time="t")


def test_text_among_numbers_and_a_missing_column_are_refused(tmp_path):
    write(tmp_path, "pulse\n1\nabc\n")
    with pytest.raises(DataError, match="'abc' is no number"):
        read(tmp_path, sampling_hz=50)
    write(tmp_path, "ppg\n1\n")
    with pytest.raises(DataError, match="no column 'pulse'; it has ppg"):
        read(tmp_path, sampling_hz=50)
    write(tmp_path, "")
    with pytest.raises(DataError, match="empty"):
        read(tmp_path, sampling_hz=50)


def test_a_dataset_file_in_the_folder_describes_it(tmp_path):
    write(tmp_path, "pulse\n1\n2\n", "p07_rest.csv")
    write(tmp_path, "pulse\n1\n2\n", "p07_walk.csv")
    (tmp_path / "dataset.yaml").write_text(
        "sampling_hz: 50\nsubject: '(p[0-9]+)_.*'\ncolumns: {PPG: {column: pulse}}\n"
    )
    source = open_source(str(tmp_path))
    assert source.kind == "CSV files"
    assert source.subjects() == {"p07_rest": "p07", "p07_walk": "p07"}
    write(tmp_path, "pulse\n1\n", "other.csv")
    with pytest.raises(DataError, match="does not fit 'other'"):
        open_source(str(tmp_path)).subjects()


def test_a_misspelt_or_impossible_description_is_refused(tmp_path):
    write(tmp_path, "pulse\n1\n")
    (tmp_path / "dataset.yaml").write_text("samplinghz: 50\ncolumns: {PPG: {column: pulse}}\n")
    with pytest.raises(ConfigError, match="did you mean sampling_hz"):
        open_source(str(tmp_path))
    with pytest.raises(ConfigError, match="sampling_hz"):
        DatasetConfig.parse({"columns": COLUMN})
    with pytest.raises(ConfigError, match="one group"):
        DatasetConfig.parse({"columns": COLUMN, "sampling_hz": 1, "subject": "p.*"})


def test_the_demo_recipe_reads_its_three_recordings():
    package = importlib.util.find_spec("heartpy")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the extra `demo` is not installed")
    folder = Path(package.submodule_search_locations[0]) / "data"
    dataset = DatasetConfig.parse(read_file(find_config("demo"))["dataset"])
    source = open_source(str(folder), dataset)
    assert source.ids() == ["data", "data2", "data3"]
    tracks = {name: source.read(name, PPG).tracks["PPG"] for name in source.ids()}
    assert {name: len(track.samples) for name, track in tracks.items()} == {
        "data": 2483,
        "data2": 15000,
        "data3": 68476,
    }
    # The length that the time columns state: 128.21 s and 681.898 s.
    assert tracks["data2"].end_s == pytest.approx(128.2, abs=0.1)
    assert tracks["data3"].end_s == pytest.approx(681.9, abs=0.3)
    assert not any(np.isnan(track.samples).any() for track in tracks.values())


def test_parquet_files_are_read_like_csv(tmp_path):
    table = pa.table({"t": np.arange(200) / 100, "pulse": np.arange(200.0)})
    pq.write_table(table, tmp_path / "s1.parquet")
    source_of = {"files": "*.parquet", "time": "t"}
    track = read(tmp_path, **source_of).tracks["PPG"]
    assert track.sampling_hz == 100
    np.testing.assert_array_equal(track.samples, np.arange(200))
    dataset = DatasetConfig.parse({"columns": COLUMN} | source_of)
    assert open_source(str(tmp_path), dataset).kind == "Parquet files"
    with pytest.raises(DataError, match="no column 'puls'; it has t, pulse"):
        read(tmp_path, **source_of, columns={"PPG": {"column": "puls"}})
    (tmp_path / "s1.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="can't be read as Parquet"):
        read(tmp_path, **source_of)


def test_parquet_knows_dates_and_missing_values(tmp_path):
    stamps = np.datetime64("2024-01-01T10:00:00") + np.arange(100) * np.timedelta64(20, "ms")
    pulse = pa.array([None, *range(99)], pa.float32())
    pq.write_table(pa.table({"t": stamps, "pulse": pulse}), tmp_path / "s1.parquet")
    track = read(tmp_path, files="*.parquet", time="t", time_unit="datetime").tracks["PPG"]
    assert track.sampling_hz == 50
    assert np.isnan(track.samples[0])
    assert track.samples[99] == 98


def test_npz_files_hold_channels_of_several_rates(tmp_path):
    np.savez(tmp_path / "s1.npz", pulse=np.arange(50), both=np.arange(400.0).reshape(2, 200))
    columns = {
        "PPG": {"column": "pulse", "sampling_hz": 25},
        "ECG": {"column": "both", "row": 1, "unit": "uV", "sampling_hz": 100},
    }
    dataset = DatasetConfig.parse({"files": "*.npz", "columns": columns})
    channels = PPG | {"ECG": ChannelConfig(kind="ecg", unit="mV")}
    tracks = open_source(str(tmp_path), dataset).read("s1", channels).tracks
    assert (tracks["PPG"].sampling_hz, tracks["ECG"].sampling_hz) == (25, 100)
    np.testing.assert_allclose(tracks["ECG"].samples, np.arange(200, 400) / 1000, rtol=1e-6)
    columns["ECG"]["row"] = 2
    dataset = DatasetConfig.parse({"files": "*.npz", "columns": columns})
    with pytest.raises(DataError, match="both has 2 rows, none at 2"):
        open_source(str(tmp_path), dataset).read("s1", channels)
    with pytest.raises(DataError, match=r"both has shape \(2, 200\).*one row"):
        read(tmp_path, files="*.npz", sampling_hz=50, columns={"PPG": {"column": "both"}})
    with pytest.raises(ConfigError, match="needs `sampling_hz`"):
        DatasetConfig.parse({"files": "*.npz", "columns": COLUMN})


def test_two_columns_of_one_name_are_refused(tmp_path):
    write(tmp_path, "pulse,pulse\n1,2\n")
    with pytest.raises(DataError, match="2 columns called 'pulse'"):
        read(tmp_path, sampling_hz=50)


def test_files_of_one_name_in_two_folders_are_two_records(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "pulse\n1\n2\n")
    dataset = {"columns": COLUMN, "files": "**/*.csv", "sampling_hz": 50, "subject": "(.*)/"}
    source = open_source(str(tmp_path), DatasetConfig.parse(dataset))
    assert source.subjects() == {"a/s1": "a", "b/s1": "b"}


def test_a_table_of_labels_or_subjects_is_no_recording(tmp_path):
    for name in ("p1.csv", "p2.csv"):
        write(tmp_path, "pulse\n1\n2\n", name)
    write(tmp_path, "file,hr\np1,60\n", "labels.csv")
    write(tmp_path, "file,who\np1,a\np2,b\n", "people.csv")
    write(tmp_path, "t,hr\n0,60\n", "p1_rates.csv")
    settings = {
        "columns": COLUMN,
        "sampling_hz": 50,
        "subjects": {"table": "people.csv", "record": "file", "subject": "who"},
        "labels": {
            "hr": {"table": "labels.csv", "record": "file", "column": "hr"},
            "rate": {"table": "{record}_rates.csv", "column": "hr", "time": "t"},
        },
    }
    source = open_source(str(tmp_path), DatasetConfig.parse(settings))
    assert source.subjects() == {"p1": "a", "p2": "b"}


@pytest.mark.parametrize("settings", [{"columns": {"PPG": {"column": -1}}}, {"time": -2}])
def test_places_are_counted_from_the_first(settings):
    with pytest.raises(ConfigError, match=r"greater than or equal to 0|found -"):
        DatasetConfig.parse({"columns": COLUMN, "sampling_hz": 50} | settings)

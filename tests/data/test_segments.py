"""Segments of a Parquet table, however their samples lie, and whose they are."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from biosig_cli.catalog import open_source
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from tests.recordings import ppg

PPG = {"PPG": ChannelConfig(kind="ppg", unit="a.u.", tracks=("PLETH",))}
N = 6


def signals(n=N, n_samples=1500):
    return np.stack([ppg(125.0, n_samples / 125, rate_bpm=60 + 5 * row) for row in range(n)])


def table(n=N, **columns):
    """Return a table of `n` segments, two of each person."""
    return {
        "record_name": [f"3000{row // 2:03d}_0001" for row in range(n)],
        "subject_id": [f"p{52 + row // 2:06d}" for row in range(n)],
        "segment_idx": [row % 2 for row in range(n)],
        "fs": [125.0] * n,
        "sqi_score": [0.9 - 0.01 * row for row in range(n)],
        "quality_grade": ["Excellent"] * n,
        "snr_db": [40.0 + row for row in range(n)],
        "channel_name": ["PLETH"] * n,
        "global_segment_idx": list(range(n)),
    } | columns


def write_table(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({k: v for k, v in columns.items() if v is not None}), path)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def write_array(folder):
    save(folder / "signals.npy", signals())


def write_files(folder):
    for row, samples in enumerate(signals()):
        save(folder / "segments" / f"{row:06d}.npy", samples)


def write_batches(folder):
    save(folder / "signal_batches" / "batch_000.npy", signals()[[0, 2, 4]])
    save(folder / "signal_batches" / "batch_001.npy", signals()[[1, 3, 5]])


def read(folder, segment):
    return open_source(str(folder)).read(segment, PPG)


@pytest.mark.parametrize(
    ("write", "columns"),
    [
        (write_array, {}),
        (write_array, {"batch_num": [0] * N}),  # a column of its making, but no such files
        (write_files, {}),
        (write_files, {"global_segment_idx": [f"{row:06d}" for row in range(N)]}),
        (write_files, {"global_segment_idx": None, "segment_id": list(range(N))}),
        (write_batches, {"batch_num": [0, 1] * 3}),
        (write_array, {"global_segment_idx": None}),  # ids of the segments are not different
    ],
)
def test_each_row_is_a_record_of_its_subject_with_its_own_samples(tmp_path, write, columns):
    write(tmp_path)
    columns = table(**columns)
    write_table(tmp_path / "metadata.parquet", columns)
    source = open_source(str(tmp_path))
    assert source.kind == "segments in a Parquet table"
    ids = [str(each) for each in columns["global_segment_idx"] or range(N)]
    assert source.ids() == ids
    assert list(source.subjects().values()) == columns["subject_id"]
    for row, segment in enumerate(ids):
        record = source.read(segment, PPG)
        assert record.subject == columns["subject_id"][row]
        track = record.tracks["PPG"]
        assert (track.sampling_hz, track.unit) == (125.0, "a.u.")
        np.testing.assert_array_equal(track.samples, signals()[row])


def test_what_was_measured_becomes_labels_that_say_where_they_are_from(tmp_path):
    write_array(tmp_path)
    write_table(tmp_path / "metadata.parquet", table())
    source = open_source(str(tmp_path))
    assert set(source.labels) == {"sqi_score", "snr_db"}
    assert source.labels["snr_db"].derived_from == ("PPG",)
    assert source.labels["snr_db"].record == "global_segment_idx"


def test_tables_of_single_splits_are_taken_together(tmp_path):
    write_array(tmp_path)
    whole = table()
    for name, rows in {"train": (0, 1, 4), "val": (5,), "test": (2, 3)}.items():
        part = {column: [cells[row] for row in rows] for column, cells in whole.items()}
        write_table(tmp_path / f"ssl_{name}_data.parquet", part)
    source = open_source(str(tmp_path))
    assert source.ids() == [str(row) for row in range(N)]
    np.testing.assert_array_equal(read(tmp_path, "3").tracks["PPG"].samples, signals()[3])
    write_table(tmp_path / "other.parquet", table(2, subject_id=["p000052", "p000999"]))
    with pytest.raises(DataError, match=r"segment 1 is of subject p000052 .* and of p000999"):
        open_source(str(tmp_path))


def test_a_subject_that_is_the_segment_is_refused(tmp_path):
    write_array(tmp_path)
    write_table(tmp_path / "t.parquet", table(subject_id=[f"{row:06d}" for row in range(N)]))
    with pytest.raises(DataError, match=r"subject_id of t.parquet is the id of the segment"):
        open_source(str(tmp_path)).subjects()
    write_table(tmp_path / "t.parquet", table(subject_id=["p1", None, *"abcd"]))
    with pytest.raises(DataError, match="names no subject for 1 of 6 segments: 1"):
        open_source(str(tmp_path)).subjects()


def test_ids_keep_their_zeros(tmp_path):
    write_array(tmp_path)
    people = ["007", "007", "0012", "0012", "12", "12"]
    write_table(tmp_path / "t.parquet", table(subject_id=people))
    assert set(open_source(str(tmp_path)).subjects().values()) == {"007", "0012", "12"}


@pytest.mark.parametrize(
    ("change", "segment", "said"),
    [
        ({"fs": [0.0] * N}, "0", "segment 0: fs is '0.0', expected a rate in Hz"),
        ({"channel_name": ["II"] * N}, "0", r"segment 0 has no PPG \(looked for PLETH; found II\)"),
        ({}, "17", "no segment 17"),
    ],
)
def test_what_does_not_fit_is_said_segment_by_segment(tmp_path, change, segment, said):
    write_array(tmp_path)
    write_table(tmp_path / "metadata.parquet", table(**change))
    with pytest.raises(DataError, match=said):
        read(tmp_path, segment)


def test_arrays_that_do_not_fit_the_table_are_refused(tmp_path):
    write_table(tmp_path / "metadata.parquet", table(batch_num=[0, 0, 0, 0, 1, 1]))
    save(tmp_path / "signals.npy", signals()[:4])
    with pytest.raises(DataError, match=r"0 arrays with a row for each of 6.*signals.npy \(4, 15"):
        open_source(str(tmp_path))
    write_batches(tmp_path)
    with pytest.raises(DataError, match=r"batch_00[01].npy holds 3 segments, the table"):
        open_source(str(tmp_path))


def test_a_missing_file_skips_its_segment_alone(tmp_path):
    write_files(tmp_path)
    write_table(tmp_path / "metadata.parquet", table())
    (tmp_path / "segments" / "000003.npy").unlink()
    (tmp_path / "segments" / "000004.npy").write_bytes(b"cut")
    assert len(read(tmp_path, "2").tracks["PPG"].samples) == 1500
    with pytest.raises(DataError, match=r"segment 3 has no .npy file"):
        read(tmp_path, "3")
    with pytest.raises(DataError, match=r"000004.npy can't be read"):
        read(tmp_path, "4")


@pytest.mark.parametrize("value", ["{:06d}.npy", "twins\\{:06d}.npy", "twins/{:06d}.npy"])
@pytest.mark.parametrize("write", [write_array, write_files])
def test_twins_are_found_from_the_folder_of_the_index_with_either_slash(tmp_path, value, write):
    write(tmp_path)
    write_table(tmp_path / "metadata.parquet", table())
    at = tmp_path / "processed"
    for row, samples in enumerate(signals()):
        where = at / "twins" if "twins" in value else at
        save(where / f"{row:06d}.npy", 0.5 * samples)
    index = {str(row): value.format(row) for row in range(N - 1)}
    (at / "denoised_signal_index.json").write_text(json.dumps(index))
    source = open_source(str(tmp_path))
    assert source.has_targets
    np.testing.assert_array_equal(source.read("4", PPG).tracks["PPG"].samples, signals()[4])
    np.testing.assert_array_equal(source.targets("4", PPG)["PPG"].samples, 0.5 * signals()[4])
    with pytest.raises(DataError, match="segment 5 has no denoised twin: denoised_signal_index"):
        source.targets("5", PPG)


def test_a_twin_that_is_named_and_gone_is_said_and_no_twins_are_no_promise(tmp_path):
    write_array(tmp_path)
    write_table(tmp_path / "metadata.parquet", table())
    assert not open_source(str(tmp_path)).has_targets
    (tmp_path / "denoised_index.json").write_text('{"0": "gone.npy"}')
    with pytest.raises(DataError, match=r"names .*gone.npy, which is not there"):
        open_source(str(tmp_path)).targets("0", PPG)
    (tmp_path / "denoised_index.json").write_text("[1]")
    with pytest.raises(DataError, match="does not say a file for each"):
        open_source(str(tmp_path))

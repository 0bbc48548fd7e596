"""A table of windows becomes a store of them, or says in which row it is wrong."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.data.window_table import open_window_table

PPG = np.array([[1.0, 2, 3, 6], [10, 30, 10, 30], [5, 5, 5, 5]])
ECG = np.array([[0.5, -0.5, 0.5, -0.5], [0, 0, 0, 4], [1, 2, 3, 4]])


def columns(**more):
    """Return the columns of three windows, of four samples each, of two people."""
    table = {"subject": ["a", "a", "b"], "sampling_hz": ["4"] * 3, "quality": ["1", "0", ""]}
    table |= {f"PPG_{n}": [f"{value:g}" for value in PPG[:, n]] for n in range(4)}
    table |= {f"ECG_{n}": [f"{value:g}" for value in ECG[:, n]] for n in range(4)}
    return {name: cells for name, cells in (table | more).items() if cells is not None}


def write(path, table, *, delimiter=",", encoding="utf-8"):
    with path.open("w", encoding=encoding, newline="") as file:
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerow(table)
        rows.writerows(zip(*table.values(), strict=True))
    return path


def table_of(tmp_path, **more):
    return write(tmp_path / "windows.csv", columns(**more))


def test_samples_labels_and_subjects_reach_the_store(tmp_path):
    store = open_window_table(
        table_of(tmp_path, record=["r1", "r2", "r3"], start_s=["0", "5", "0"])
    )
    assert store.spec.names == ("PPG", "ECG")
    assert store.spec.kinds == ("ppg", "ecg")
    assert (store.spec.sampling_hz, store.spec.n_samples, len(store)) == (4.0, 4, 3)
    assert store.subjects == ("a", "b")
    assert store.labels == ("quality",)
    np.testing.assert_array_equal(store.column("label_quality"), [1, 0, np.nan])
    assert store.column("record").tolist() == ["r1", "r2", "r3"]
    np.testing.assert_array_equal(store.column("start_s"), [0, 5, 0])


def test_each_channel_of_each_window_is_z_scored_and_its_values_come_back(tmp_path):
    store = open_window_table(table_of(tmp_path))
    # Mean 3 and variance (4 + 1 + 0 + 9) / 4 = 3.5; mean 20 and deviation 10; a flat line.
    expected = np.array([(PPG[0] - 3) / np.sqrt(3.5), [-1, 1, -1, 1], [0, 0, 0, 0]])
    rows = np.arange(3)
    np.testing.assert_allclose(store.read(rows)[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(store.physical(rows), np.stack([PPG, ECG], axis=1), atol=1e-6)
    assert store.manifest["normalization"] == "window"


def test_channels_come_in_the_order_asked_for(tmp_path):
    store = open_window_table(table_of(tmp_path), channels=["ECG", "PPG"])
    assert store.spec.names == ("ECG", "PPG")
    np.testing.assert_allclose(store.physical(np.array([1])), [[ECG[1], PPG[1]]], atol=1e-6)


def test_the_order_of_columns_and_leading_zeros_do_not_matter(tmp_path):
    table = columns()
    shuffled = {name: table[name] for name in sorted(table, key=lambda name: name[::-1])}
    renamed = {name.replace("PPG_", "PPG_00"): cells for name, cells in shuffled.items()}
    store = open_window_table(write(tmp_path / "w.csv", renamed), channels=["PPG", "ECG"])
    expected = open_window_table(table_of(tmp_path))
    np.testing.assert_array_equal(store.read(np.arange(3)), expected.read(np.arange(3)))


def test_samples_are_counted_from_one_too(tmp_path):
    table = columns(**{f"PPG_{n}": None for n in range(4)})
    table |= {f"PPG_{n + 1}": [f"{value:g}" for value in PPG[:, n]] for n in range(4)}
    store = open_window_table(write(tmp_path / "w.csv", table), channels=["PPG"])
    np.testing.assert_allclose(store.physical(np.arange(3))[:, 0], PPG, atol=1e-6)


def test_a_name_with_underscores_is_one_channel(tmp_path):
    more = {f"ACC_X_{n}": ["1", "2", str(n)] for n in range(4)}
    assert open_window_table(table_of(tmp_path, **more)).spec.names == ("PPG", "ECG", "ACC_X")


def test_every_other_number_is_a_label_and_age_and_sex_belong_to_people(tmp_path):
    more = {
        "hr": ["72.5", "n/a", "60"],
        "label_good": ["True", "false", "True"],
        "score_1": ["3", "1", "2"],
        "age": ["51", "51", "33"],
        "sex": ["F", "female", "M"],
        "subject_height": ["170", "170", "181"],
    }
    store = open_window_table(table_of(tmp_path, **more))
    assert store.labels == ("quality", "hr", "good", "score_1")
    np.testing.assert_array_equal(store.column("label_hr"), np.float32([72.5, np.nan, 60]))
    np.testing.assert_array_equal(store.column("label_good"), [1, 0, 1])
    assert store.attributes == ("age", "sex", "height")
    np.testing.assert_array_equal(store.column("subject_sex"), [0, 0, 1])
    assert store.manifest["attributes"]["sex"] == {"values": {"F": 0, "M": 1}}


def test_text_is_no_label_and_is_named_as_such(tmp_path):
    more = {"device": ["watch", "watch", "ring"], "note": ["", "", ""], "site": ["x", "7", "y"]}
    store = open_window_table(table_of(tmp_path, **more))
    assert store.labels == ("quality",)
    assert store.manifest["ignored"] == ["device", "note", "site"]


def test_a_column_of_row_numbers_without_a_name_is_passed_over(tmp_path):
    table = {"": ["0", "1", "2"]} | columns()
    assert open_window_table(write(tmp_path / "w.csv", table)).labels == ("quality",)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("w.csv", {"encoding": "utf-8-sig"}),
        ("w.csv", {"delimiter": ";"}),
        ("w.tsv", {"delimiter": "\t"}),
    ],
)
def test_spreadsheets_write_tables_in_their_own_ways(tmp_path, name, how):
    store = open_window_table(write(tmp_path / name, columns(), **how))
    assert store.subjects == ("a", "b")
    np.testing.assert_allclose(store.physical(np.arange(3))[:, 1], ECG, atol=1e-6)


def test_a_parquet_table_holds_the_same_windows(tmp_path):
    table = columns()
    typed = {
        name: cells if name == "subject" else [float(cell or "nan") for cell in cells]
        for name, cells in table.items()
    }
    pq.write_table(pa.table(typed), tmp_path / "w.parquet")
    store, other = open_window_table(tmp_path / "w.parquet"), open_window_table(table_of(tmp_path))
    np.testing.assert_array_equal(store.read(np.arange(3)), other.read(np.arange(3)))
    np.testing.assert_array_equal(store.column("label_quality"), [1, 0, np.nan])
    assert store.subjects == other.subjects


def test_a_rate_is_given_where_the_table_does_not_say(tmp_path):
    path = table_of(tmp_path, sampling_hz=None)
    with pytest.raises(DataError, match="does not say how fast"):
        open_window_table(path)
    assert open_window_table(path, sampling_hz=8.0).spec.duration_s == 0.5
    with pytest.raises(DataError, match=r"sampled at 4.0 Hz, asked for 125 Hz"):
        open_window_table(table_of(tmp_path), sampling_hz=125)


def test_a_table_without_subjects_is_one_of_nobody_known(tmp_path):
    assert open_window_table(table_of(tmp_path, subject=None)).subjects == ()


def test_samples_of_a_channel_that_is_not_read_may_be_missing(tmp_path):
    path = table_of(tmp_path, ECG_2=["1", "", "text"])
    assert len(open_window_table(path, channels=["PPG"])) == 3
    with pytest.raises(DataError):
        open_window_table(path)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"PPG_2": None}, "PPG_0 to PPG_3, but lacks PPG_2"),
        (
            {"PPG_4": ["1"] * 3, "PPG_900000000000": ["1"] * 3},
            "lacks PPG_5 and 899,999,999,994 more",
        ),
        ({"PPG_0": None, "PPG_1": None}, "PPG_2 to PPG_3, but lacks PPG_1"),
        ({"PPG_4": ["1"] * 3}, "number of samples: PPG 5, ECG 4"),
        ({"PPG_01": ["1"] * 3}, "the columns PPG_1 and PPG_01 are one sample"),
        ({"PPG_2": ["3", "nan", "5"]}, "missing or infinite in row 3; the first is PPG_2 in row 3"),
        (
            {"PPG_2": ["3", "", "inf"], "ECG_0": ["", "0", "1"]},
            "in rows 2, 3, 4; the first is ECG_0",
        ),
        ({"PPG_2": ["nan", "x", "y"]}, "PPG_2 has 'x' in rows 3, 4, expected a number"),
        ({"PPG_2": ["3", "10", "5_0"]}, "PPG_2 has '5_0' in row 4, expected a number"),
        ({"hr": ["70", "75", "fast"]}, "hr has 'fast' in row 4, expected a number"),
        ({"label_mood": ["good", "bad", "bad"]}, "label_mood has 'good' in rows 2, 3, 4"),
        ({"label_quality": ["1", "0", "1"]}, "label_quality twice, once as label_quality"),
        ({"age": ["1"] * 3, "subject_age": ["1"] * 3}, "subject_age twice"),
        ({"subject": ["a", "", "b"]}, "no subject in row 3"),
        ({"sampling_hz": ["4", "4", "8"]}, "sampling_hz is 4, 8, expected one positive rate"),
        ({"sampling_hz": ["0"] * 3}, "sampling_hz is 0"),
        ({"sampling_hz": ["4", "", "4"]}, "no sampling_hz in row 3"),
        ({"start_s": ["0", "soon", "1"]}, "start_s has 'soon' in row 3"),
        ({"record": ["1", "2", "1"]}, "record 1 is of subject a, and in row 4 of b"),
    ],
)
def test_what_is_wrong_is_said_with_column_and_row(tmp_path, more, said):
    with pytest.raises(DataError, match=said):
        open_window_table(table_of(tmp_path, **more))


def test_rows_of_other_lengths_are_named(tmp_path):
    path = table_of(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2] + ",7", lines[3], lines[3][:-2]]) + "\n")
    with pytest.raises(DataError, match=r"rows 3, 5 should have 11 cells.* row 3 has 12"):
        open_window_table(path)


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = table_of(tmp_path)
    path.write_text(path.read_text().replace("PPG_3", "PPG_2"))
    with pytest.raises(DataError, match="two columns called 'PPG_2'"):
        open_window_table(path)


def test_a_comma_in_a_number_is_explained(tmp_path):
    table = columns(PPG_1=["2,5", "30,5", "5,0"])
    with pytest.raises(DataError, match="PPG_1 has '2,5' in rows 2, 3, 4") as refused:
        open_window_table(write(tmp_path / "w.csv", table, delimiter=";"))
    assert "with a point" in refused.value.hint


def test_a_channel_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    with pytest.raises(DataError, match="channel ACC_X, EEG not found; there are PPG, ECG"):
        open_window_table(table_of(tmp_path), channels=["PPG", "ACC_X", "EEG"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no samples"),
        (b"subject,quality\na,1\n", "has no samples: no columns are called like PPG_0"),
        (b"subject,PPG_0,PPG_1\n", "has no window"),
        ("subject,PPG_0,PPG_1\na,1,2\n".encode("utf-16"), "can't be read as a table"),
        (b"subject,PPG_0,PPG_1\n\xff\xfe,1,2\n", "can't be read as a table"),
        (b"\x00\x01PAR1\n\x00", "has no samples"),
    ],
)
def test_what_is_no_table_of_windows_is_refused(tmp_path, content, said):
    (tmp_path / "w.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        open_window_table(tmp_path / "w.csv")


def test_a_parquet_file_that_is_none_or_holds_text_is_refused(tmp_path):
    (tmp_path / "w.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"w\.parquet can't be read as a table"):
        open_window_table(tmp_path / "w.parquet")
    pq.write_table(pa.table({"PPG_0": [1.0, 2.0], "PPG_1": ["1", "x"]}), tmp_path / "w.parquet")
    with pytest.raises(DataError, match="PPG_1 has 'x' in row 3"):
        open_window_table(tmp_path / "w.parquet", sampling_hz=2.0)


def test_the_digest_is_that_of_the_file(tmp_path):
    first = open_window_table(table_of(tmp_path)).digest
    assert open_window_table(table_of(tmp_path), channels=["ECG"]).digest == first
    assert open_window_table(table_of(tmp_path, quality=["0", "0", "0"])).digest != first

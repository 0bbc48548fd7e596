import gzip
import json

import numpy as np
import pytest

from biosig_cli.catalog import open_source
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig

PPG = {"PPG": ChannelConfig(kind="ppg", unit="a.u.", tracks=("cardiac",))}
REST = "sub-01_task-rest_run-01"
ABOUT = {"SamplingFrequency": 50, "StartTime": 0, "Columns": ["cardiac", "respiratory"]}


def write(folder, name=REST, rows=((1, 2), (3, 4))):
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    with gzip.open(folder / f"{name}_physio.tsv.gz", "wt") as file:
        file.write(text)


def describe(path, **about):
    path.write_text(json.dumps(about))


def read(folder, record=REST):
    return open_source(str(folder)).read(record, PPG).tracks["PPG"]


def test_columns_and_rate_come_from_the_json_above_or_beside(tmp_path):
    write(tmp_path / "sub-01" / "func")
    write(tmp_path / "sub-02" / "func", "sub-02_task-rest_run-02")
    describe(tmp_path / "task-rest_physio.json", **ABOUT)
    describe(tmp_path / "sub-01" / "func" / f"{REST}_physio.json", SamplingFrequency=100)
    source = open_source(str(tmp_path))
    assert source.kind == "BIDS physio recordings"
    assert source.ids() == [REST, "sub-02_task-rest_run-02"]
    assert source.subjects() == {REST: "sub-01", "sub-02_task-rest_run-02": "sub-02"}
    assert read(tmp_path).sampling_hz == 100
    track = read(tmp_path, "sub-02_task-rest_run-02")
    assert track.sampling_hz == 50
    np.testing.assert_array_equal(track.samples, [1, 3])


def test_missing_values_are_missing(tmp_path):
    write(tmp_path, rows=(("n/a", 2), (3, 4)))
    describe(tmp_path / "sub-01_task-rest_physio.json", **ABOUT)
    np.testing.assert_array_equal(read(tmp_path).samples, [np.nan, 3])


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({}, "no description with Columns"),
        (ABOUT | {"SamplingFrequency": 0}, "SamplingFrequency of 0"),
        (ABOUT | {"Columns": ["cardiac"]}, r"does not hold the 1 columns of numbers.*cardiac"),
        (ABOUT | {"Columns": ["cardiac", "cardiac"]}, "2 tracks called cardiac"),
        (ABOUT | {"Columns": ["a", "b"]}, r"no PPG \(looked for cardiac; found a, b\)"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path, about, said):
    write(tmp_path)
    describe(tmp_path / "sub-01_task-rest_physio.json", **about)
    with pytest.raises(DataError, match=said):
        read(tmp_path)


def test_a_cut_file_is_refused(tmp_path):
    write(tmp_path, rows=[(n, n) for n in range(5000)])
    describe(tmp_path / "sub-01_task-rest_physio.json", **ABOUT)
    path = tmp_path / f"{REST}_physio.tsv.gz"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="truncated or damaged"):
        read(tmp_path)


def test_participants_give_attributes(tmp_path):
    write(tmp_path)
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t24\tF\n")
    source = open_source(str(tmp_path))
    assert set(source.attributes) == {"age", "sex"}
    assert source.attributes["age"].subject == "participant_id"


def test_real_rest_runs_hold_ten_minutes(real_data):
    source = open_source(str(real_data / "ppg_long"))
    assert source.licence == "PDDL"
    rest = [record for record in source.ids() if "rest" in record]
    assert len(rest) == 11
    assert len(set(source.subjects().values())) == 11
    track = source.read(rest[0], PPG).tracks["PPG"]
    assert track.sampling_hz == 50
    assert track.end_s >= 600

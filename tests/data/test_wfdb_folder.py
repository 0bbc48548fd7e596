import numpy as np
import pytest

from biosig_cli.catalog import open_source
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.dataset import DatasetConfig
from tests.recordings import ecg, ppg, write_wfdb

CHANNELS = {
    "PPG": ChannelConfig(kind="ppg", unit="a.u.", tracks=("PLETH", "Pleth")),
    "ECG": ChannelConfig(kind="ecg", unit="mV", tracks=("II",)),
}
N_SAMPLES = 2500


def pulses():
    return {"PLETH": ppg(125.0, 20.0), "II": ecg(125.0, 20.0)}


def write(folder, name="r1", *, signals=None, units=("NU", "mV"), **more):
    return write_wfdb(folder, name, signals or pulses(), units=list(units), **more)


def read(folder, record="r1"):
    return open_source(str(folder)).read(record, CHANNELS).tracks


def test_channels_go_by_name_whatever_their_order(tmp_path):
    signals = pulses()
    write(tmp_path, "r1")
    write(tmp_path, "r2", signals=dict(reversed(signals.items())), units=("mV", "NU"))
    for record in ("r1", "r2"):
        tracks = read(tmp_path, record)
        np.testing.assert_allclose(tracks["PPG"].samples, signals["PLETH"], atol=1e-4)
        np.testing.assert_allclose(tracks["ECG"].samples, signals["II"], atol=1e-4)
        assert tracks["ECG"].unit == "mV"


def test_records_in_folders_below_have_their_path_as_id(tmp_path):
    write(tmp_path / "p1", "r")
    write(tmp_path / "p2", "r")
    source = open_source(str(tmp_path), DatasetConfig(subject="(p[0-9]+)/.*"))
    assert source.ids() == ["p1/r", "p2/r"]
    assert source.subjects() == {"p1/r": "p1", "p2/r": "p2"}
    assert source.read("p2/r", CHANNELS).subject == "p2"


def test_the_subject_comes_from_a_table_where_the_data_set_names_one(tmp_path):
    write(tmp_path, "r1")
    write(tmp_path, "r2")
    (tmp_path / "who.csv").write_text("\ufefffile,person\nr1,a\nr2,a\n", "utf-8")
    columns = "{table: who.csv, record: file, subject: person}"
    (tmp_path / "dataset.yaml").write_text(f"licence: mine\nsubjects: {columns}\n")
    source = open_source(str(tmp_path))
    assert source.kind == "WFDB records"
    assert source.licence == "mine"
    assert source.subject_origin == "from who.csv (file, person)"
    assert source.subjects() == {"r1": "a", "r2": "a"}
    (tmp_path / "who.csv").write_text("file,person\nr1,a\n")
    with pytest.raises(DataError, match="no subject for 1 of 2 records: r2"):
        open_source(str(tmp_path)).subjects()
    (tmp_path / "who.csv").write_text("file,person\nr1,a\nr2,\n")
    with pytest.raises(DataError, match="line 3: file 'r2', person ''"):
        open_source(str(tmp_path))


def test_segments_stand_where_the_master_header_puts_them(tmp_path):
    for name in ("seg_1", "seg_2"):
        write(tmp_path, name)
    lines = ["whole/4 2 125 6000", "seg_1 2500", "~ 500", "seg_2 2500", "~ 500"]
    (tmp_path / "whole.hea").write_text("\n".join(lines) + "\n")
    source = open_source(str(tmp_path))
    assert source.ids() == ["whole"]
    track = read(tmp_path, "whole")["PPG"]
    assert len(track.samples) == 6000
    known = np.isfinite(track.samples)
    np.testing.assert_array_equal(
        np.flatnonzero(np.diff(known.astype(int))) + 1, [2500, 3000, 5500]
    )
    np.testing.assert_allclose(track.samples[3000:5500], pulses()["PLETH"], atol=1e-4)


def test_a_channel_may_be_missing_in_some_segments(tmp_path):
    write(tmp_path, "seg_1")
    write(tmp_path, "seg_2", signals={"PLETH": pulses()["PLETH"]}, units=["NU"])
    (tmp_path / "layout.hea").write_text(
        "layout 2 125 0\n~ 0 200/mV 16 0 0 0 0 II\n~ 0 200/NU 16 0 0 0 0 PLETH\n"
    )
    lines = ["whole/3 2 125 5000", "layout 0", "seg_1 2500", "seg_2 2500"]
    (tmp_path / "whole.hea").write_text("\n".join(lines) + "\n")
    tracks = read(tmp_path, "whole")
    assert np.isfinite(tracks["PPG"].samples).all()
    assert np.isnan(tracks["ECG"].samples[2500:]).all()


def test_a_unit_with_full_stops_is_read_as_one(tmp_path):
    write(tmp_path, units=("a.u.", "uV"))
    tracks = read(tmp_path)
    assert tracks["PPG"].unit == "a.u."
    np.testing.assert_allclose(tracks["PPG"].samples, pulses()["PLETH"], atol=1e-4)
    assert tracks["ECG"].unit == "mV"
    np.testing.assert_allclose(tracks["ECG"].samples, pulses()["II"] / 1000, atol=1e-6)


def test_a_unit_that_contradicts_the_channel_is_refused(tmp_path):
    write(tmp_path, units=("NU", "mmHg"))
    with pytest.raises(DataError, match=r"ECG \(II\) is in mmHg, the channel's unit is mV"):
        read(tmp_path)


def test_two_signals_of_one_name_are_refused(tmp_path):
    path = write(tmp_path)
    path.write_text(path.read_text().replace("PLETH", "II"))
    with pytest.raises(DataError, match="2 tracks called II"):
        open_source(str(tmp_path)).read("r1", {"ECG": CHANNELS["ECG"]})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda hea, dat: hea.write_text(""), "no WFDB header: its first line is nothing"),
        (lambda hea, dat: hea.write_text("hello world\n"), "no WFDB header.*hello world"),
        (lambda hea, dat: dat.unlink(), r"not complete: r1\.dat is not beside it"),
        (lambda hea, dat: dat.write_bytes(dat.read_bytes()[:999]), "truncated or damaged"),
        (
            lambda hea, dat: hea.write_text(hea.read_text().replace(" 125 2500", " 0 2500")),
            "sampling rate of 0 Hz",
        ),
    ],
)
def test_damaged_records_say_what_is_wrong(tmp_path, damage, said):
    path = write(tmp_path)
    damage(path, path.with_suffix(".dat"))
    with pytest.raises(DataError, match=said):
        read(tmp_path)


def test_a_changed_signal_file_changes_the_fingerprint(tmp_path):
    path = write(tmp_path)
    before = open_source(str(tmp_path)).fingerprint("r1")
    with path.with_suffix(".dat").open("ab") as file:
        file.write(b"12")
    assert open_source(str(tmp_path)).fingerprint("r1") != before


def test_real_records_of_several_rates_and_formats(real_data):
    source = open_source(str(real_data / "wfdb"))
    assert source.ids() == ["a103l", "mixedsignals"]
    many = source.read("mixedsignals", CHANNELS).tracks
    # 62.4725 Hz by a computer's clock is a device's 62.5 Hz; FLAC, four and two samples a frame.
    assert (many["ECG"].sampling_hz, many["PPG"].sampling_hz) == (250.0, 125.0)
    assert (len(many["ECG"].samples), len(many["PPG"].samples)) == (57600, 28800)
    tracks = source.read("a103l", CHANNELS).tracks
    assert tracks["ECG"].sampling_hz == 250
    assert len(tracks["PPG"].samples) == 82500


def test_real_records_whose_channels_stand_in_another_order(real_data):
    source = open_source(str(real_data / "bidmc_wfdb"))
    assert len(source.ids()) == 5
    for record in source.ids():
        tracks = source.read(record, CHANNELS).tracks
        assert np.nanmin(tracks["PPG"].samples) >= 0  # the monitor's PPG lies between 0 and 1
        assert np.nanmax(tracks["PPG"].samples) <= 1.001
        assert tracks["ECG"].unit == "mV"

import time

import numpy as np
import pytest

from biosig_cli.catalog import open_source
from biosig_cli.core.config import find_config, read_file
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.windows import WindowRecipe, WindowsConfig, cut_record
from tests.recordings import ecg, ppg, write_but_ppg, write_release_1

RECIPE = read_file(find_config("but_ppg"))
CHANNELS = {name: ChannelConfig.parse(each) for name, each in RECIPE["channels"].items()}
FIVE = {name: CHANNELS[name] for name in RECIPE["sets"]["finetune"]}
WINDOWS = WindowsConfig.parse(RECIPE["windows"])
TABLE = "\ufeffID,Quality,HR\n100001,1,72.5\n112001,0,\n"
ABOUT = (
    "\ufeffID,Gender,Age [years],Height [cm],Weight [kg],Blood pressure [mmHg],SpO2 [%]\n"
    "112001,F,51,,58,120/80,97\n"
)


@pytest.fixture
def folder(tmp_path):
    return write_but_ppg(tmp_path, "112001")


def test_it_is_recognised_and_the_subject_is_in_the_id(folder):
    write_but_ppg(folder / "records", "112002", parts=("PPG",))
    source = open_source(str(folder))
    assert source.kind == "BUT PPG tree"
    assert source.subjects() == {"112001": "112", "112002": "112"}


def test_parts_come_at_their_own_rates(folder):
    tracks = open_source(str(folder)).read("112001", FIVE).tracks
    rates = {name: track.sampling_hz for name, track in tracks.items()}
    assert rates == {"ACC_X": 100, "ACC_Y": 100, "ACC_Z": 100, "PPG": 30, "ECG": 1000}
    assert (tracks["PPG"].unit, tracks["ACC_X"].unit) == ("a.u.", "g")


def test_ten_seconds_make_one_window_with_pulses_up_and_in_time(folder):
    record = open_source(str(folder)).read("112001", FIVE)
    made = cut_record(record, WindowRecipe(channels=FIVE, windows=WINDOWS), subject="112")
    assert made.data.shape == (1, 5, 1250)
    assert made.columns["start_s"].tolist() == [0.0]
    pulse, heart = made.data[0, 3].astype(float), made.data[0, 4].astype(float)
    for signal, at_s in ((pulse, 0.7), (heart, 0.5)):
        beats_s = at_s + 60 / 72 * np.arange(11)
        places = np.round(beats_s * 125).astype(int)
        peaks = [place - 12 + signal[place - 12 : place + 13].argmax() for place in places]
        assert np.abs(np.array(peaks) - beats_s * 125).max() <= 2  # 16 ms
    assert np.abs(made.data).max() < 10


def test_a_camera_s_brightness_is_turned_over_and_a_ppg_is_not(folder):
    source = open_source(str(folder))
    raw = source.read("112001", {"PPG": ChannelConfig(kind="ppg", tracks=("PPG_R",))})
    turned = source.read("112001", {"PPG": CHANNELS["PPG"]})
    np.testing.assert_array_equal(turned.tracks["PPG"].samples, -raw.tracks["PPG"].samples)
    shipped = ChannelConfig.parse(read_file(find_config("channels"))["channels"]["PPG"])
    assert "PPG_R" in shipped.inverted
    assert "PPG" not in shipped.inverted + CHANNELS["PPG"].inverted


def test_a_record_without_accelerometer_says_what_it_has(tmp_path):
    write_but_ppg(tmp_path, "100001", parts=("PPG", "ECG"))
    with pytest.raises(DataError, match=r"100001 has no ACC_X .*found PPG_R, PPG_G, PPG_B, ECG"):
        open_source(str(tmp_path)).read("100001", FIVE)


def test_release_1_is_turned_back_quickly(tmp_path):
    pulse, heart = ppg(30.0, 10.0), ecg(1000.0, 10.0)
    write_release_1(tmp_path, "100001", "PPG", pulse, 30.0)
    write_release_1(tmp_path, "100001", "ECG", heart, 1000.0)
    begun = time.monotonic()
    channels = {name: CHANNELS[name] for name in ("PPG", "ECG")}
    record = open_source(str(tmp_path)).read("100001", channels)
    assert time.monotonic() - begun < 2  # the package takes seconds for 10,000 signals
    np.testing.assert_allclose(record.tracks["PPG"].samples, pulse, atol=1e-3)
    np.testing.assert_allclose(record.tracks["ECG"].samples, heart, atol=1e-3)
    assert record.tracks["ECG"].sampling_hz == 1000
    assert all("release 1" in note for note in record.notes)


def test_release_1_without_samples_is_refused(tmp_path):
    write_release_1(tmp_path, "100001", "PPG", np.ones(300), 30.0)
    with pytest.raises(DataError, match=r"its samples are lost: all 300 are 1") as caught:
        open_source(str(tmp_path)).read("100001", {"PPG": CHANNELS["PPG"]})
    assert "release 2" in caught.value.hint


def test_its_tables_give_labels_and_attributes_by_themselves(folder):
    (folder / "quality-hr-ann.csv").write_text(TABLE, "utf-8")
    (folder / "subject-info.csv").write_text(ABOUT, "utf-8")
    source = open_source(str(folder))
    assert source.labels["hr"].derived_from == ("ECG",)
    assert set(source.labels["quality"].derived_from) == {"PPG", "ECG"}
    assert set(source.labels) == {"quality", "hr", "sbp", "dbp", "spo2"}
    assert set(source.attributes) == {"age", "sex", "height", "weight"}


def test_real_wrist_records_make_one_window_each(real_data):
    source = open_source(str(real_data / "wrist5"))
    assert len(source.ids()) == 237
    assert len(set(source.subjects().values())) == 8
    recipe = WindowRecipe(channels=FIVE, windows=WINDOWS)
    for record in source.ids()[::40]:
        assert cut_record(source.read(record, FIVE), recipe, subject="").data.shape == (1, 5, 1250)


def test_real_pulses_rise_steeper_than_they_fall(real_data):
    """So each of them stands the right way up: the systolic rise is the steepest slope."""
    for name, records in (("wrist5", ("201001", "206001", "208001")), ("but_ppg", ("101003",))):
        source = open_source(str(real_data / name))
        for record in records:
            track = source.read(record, {"PPG": CHANNELS["PPG"]}).tracks["PPG"]
            slope = np.diff(track.samples)
            assert np.mean(slope**3) > 0

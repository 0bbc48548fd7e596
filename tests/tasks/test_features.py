import numpy as np
import pytest

from biosig_cli.core.errors import DataError
from biosig_cli.tasks.features import hand_made, join_features, peak_rate_bpm
from tests.recordings import pulse_train
from tests.tasks.made import write_npz

HZ = 125.0
RATES_BPM = (55.0, 72.0, 96.0, 130.0)
NAMES = ("ACC_X", "ACC_Y", "PPG", "ECG")


def pulses(rate_bpm, width_s):
    return pulse_train(HZ, 10.0, rate_bpm=rate_bpm, width_s=width_s) - 0.2


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Four windows with clear pulses, then noise, a flat line, and one that lacks a sample."""
    draw = np.random.default_rng(0)
    time_s = np.arange(1250) / HZ
    motion = [3 * np.sin(2 * np.pi * 2.4 * time_s), 4 * np.sin(2 * np.pi * 2.4 * time_s)]
    clear = [[*motion, pulses(rate, 0.12), pulses(rate, 0.015)] for rate in RATES_BPM]
    noise = draw.normal(size=(4, 1250))
    gap = np.array(clear[0])
    gap[2, 600] = np.nan
    data = np.array([*clear, noise, np.full((4, 1250), 0.3), gap])
    return write_npz(tmp_path_factory.mktemp("windows"), data, NAMES)


@pytest.fixture(scope="module")
def features(store):
    return hand_made(store, np.arange(7), NAMES)


@pytest.mark.parametrize("channel", ["PPG", "ECG"])
def test_beats_are_counted(store, features, channel):
    rate = peak_rate_bpm(store, np.arange(4), channel)
    np.testing.assert_allclose(rate, RATES_BPM, rtol=0.01)
    np.testing.assert_array_equal(rate, features.column(f"{channel}_rate_bpm")[:4])
    assert (features.column(f"{channel}_sdnn")[:4] < 0.02).all()
    assert (features.column(f"{channel}_similarity")[:4] > 0.95).all()


def test_the_spectrum_of_a_ppg_shows_its_rate(features):
    found = 60 * features.column("PPG_dominant_hz")[:4]
    np.testing.assert_allclose(found, RATES_BPM, atol=1.5)
    assert (features.column("PPG_spectrum_differs_log")[:4] < np.log1p(2)).all()
    assert (features.column("PPG_concentration")[:4] > 0.8).all()


def test_clear_pulses_stand_out_from_noise(features):
    for name, is_more in {
        "PPG_similarity": True,
        "PPG_quality": True,
        "PPG_entropy": False,
        "PPG_rmssd": False,
        "ECG_kurtosis": True,
    }.items():
        clear, noise = features.column(name)[:4], features.column(name)[4]
        assert (clear > noise).all() if is_more else (clear < noise).all(), name


def test_the_width_of_a_pulse_is_that_at_half_its_height(features):
    # A Gaussian is 2.355 standard deviations wide there.
    np.testing.assert_allclose(features.column("ECG_width_s")[:4], 2.355 * 0.015, atol=0.008)


def test_rates_of_ppg_and_ecg_are_compared(features):
    assert (features.column("ECG_PPG_rates_differ_log")[:4] < np.log1p(1.5)).all()
    assert (features.column("PPG_ECG_spectrum_differs_log")[:4] < np.log1p(2)).all()


def test_motion_is_that_of_all_axes_together(features):
    # Sines of height 3 and 4 have deviations 3 and 4 / sqrt(2); together 5 / sqrt(2).
    assert features.column("motion_log")[0] == pytest.approx(np.log(5 / np.sqrt(2)), abs=1e-3)
    assert features.column("ACC_X_size_log")[0] == pytest.approx(np.log(3 / np.sqrt(2)), abs=1e-3)
    assert features.column("ACC_X_dominant_hz")[0] == pytest.approx(2.4, abs=0.03)


def test_what_a_window_does_not_show_is_missing(features):
    assert np.isnan(features.column("PPG_rate_bpm")[5])
    assert np.isnan(features.column("motion_log")[5])
    assert features.column("PPG_flat")[5] == 1
    # One missing sample leaves nothing known of its channel, and all of the others.
    values = {name: features.column(name)[6] for name in features.names}
    assert all(np.isnan(value) == ("PPG" in name) for name, value in values.items())


def test_a_window_is_measured_by_itself(store, features, monkeypatch):
    rows = np.array([6, 2, 4, 0, 5])
    monkeypatch.setattr("biosig_cli.tasks.features.AT_ONCE", 1)
    again = hand_made(store, rows, NAMES)
    np.testing.assert_allclose(again.values, features.values[rows], rtol=1e-5)


def test_any_choice_of_channels_has_the_features_of_those(store, features):
    for names in (("PPG",), ("ECG", "PPG"), ("ACC_Y",), ("ACC_X", "PPG")):
        chosen, selected = hand_made(store, np.arange(7), names), features.select(names)
        assert set(chosen.names) == set(selected.names)
        assert set().union(*chosen.uses) == set(names)
        for name in chosen.names:
            np.testing.assert_allclose(chosen.column(name), selected.column(name), rtol=1e-6)
    assert "motion_log" not in features.select(["ACC_X"]).names


def test_sizes_are_in_the_unit_of_the_channel(tmp_path):
    wave = np.sin(np.arange(1250) / 5)[None, None]
    stored = write_npz(tmp_path, wave, ["ACC_X"])
    stored._arrays["scale"] = np.full((1, 1), 7.0)
    size = hand_made(stored, np.arange(1), ["ACC_X"]).column("ACC_X_size_log")
    assert size == pytest.approx(np.log(7 * wave.std()))


def test_features_are_joined_only_where_they_are_the_same(store, features):
    joined = join_features([features.take(np.array([0, 1])), features.take(np.array([3]))])
    np.testing.assert_array_equal(joined.values, features.values[[0, 1, 3]])
    with pytest.raises(DataError, match="different features"):
        join_features([features, features.select(["PPG"])])


def test_beats_of_what_has_none_and_features_of_nothing_are_refused(store):
    with pytest.raises(DataError, match="ACC_X is acc: there are no heart beats"):
        peak_rate_bpm(store, np.arange(2), "ACC_X")
    with pytest.raises(DataError, match="no windows to measure"):
        hand_made(store, np.arange(0), ["PPG"])
    with pytest.raises(DataError, match="channel EEG not found"):
        hand_made(store, np.arange(2), ["EEG"])

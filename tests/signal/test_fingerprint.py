import numpy as np
import pytest
from scipy import signal

from biosig_cli.signal.fingerprint import N_FINE_BITS, find_peaks, likeness, make_keys, pass_band
from tests.stores import waves


def keys_of(window, sampling_hz):
    first, keys = make_keys(find_peaks(pass_band(window[None], sampling_hz), sampling_hz))
    assert len(first) == len(keys)
    return set((keys >> np.uint64(N_FINE_BITS)).tolist())


def test_peaks_stand_where_they_were_planted_to_a_tenth_of_a_sample():
    time_s = np.arange(1250) / 125
    planted_s = np.array([2.3, 3.111, 4.007, 5.2345, 6.0])
    pulses = sum(np.exp(-0.5 * ((time_s - moment) / 0.05) ** 2) for moment in planted_s)
    peaks = find_peaks(pass_band(pulses[None], 125.0), 125.0)
    found = peaks.time_s[peaks.height > 2]
    np.testing.assert_allclose(found, planted_s, atol=0.0008)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: 3.7 * x + 12,
        lambda x: np.round(x / x.std() * 200).astype(np.int16),
        lambda x: (x / x.std()).astype(np.float16),
        lambda x: signal.sosfiltfilt(
            signal.butter(2, (0.5, 30), "bandpass", output="sos", fs=125), x
        ),
    ],
    ids=["scale and offset", "int16", "float16", "another filter"],
)
def test_keys_outlive_what_is_done_to_a_recording(change):
    window = waves(1, 10.0)[0]
    before, after = keys_of(window, 125.0), keys_of(change(window), 125.0)
    assert len(before) > 20
    assert len(before & after) > 0.4 * len(before)
    assert not before & keys_of(waves(2, 10.0)[0], 125.0)


@pytest.mark.parametrize("sampling_hz", [50.0, 250.0, 500.0])
def test_keys_outlive_another_rate_and_another_start(sampling_hz):
    shift = round(3.3 * sampling_hz)
    other = waves(1, 20.0, sampling_hz)[0, shift : shift + round(10 * sampling_hz)]
    assert len(keys_of(waves(1, 10.0)[0], 125.0) & keys_of(other, sampling_hz)) >= 3


def test_likeness_is_one_for_the_same_moment_and_low_for_others():
    one = pass_band(waves(1, 10.0), 125.0)
    other = pass_band(waves(1, 20.0, 250.0)[:, 750:3250], 250.0)
    values, offset_s = likeness(one, other, rates_hz=(125.0, 250.0), offset_s=3.01)
    assert (values > 0.995).all()
    assert offset_s == pytest.approx(3.0, abs=0.003)
    values, _ = likeness(one, pass_band(waves(2, 10.0), 125.0), rates_hz=(125.0,) * 2, offset_s=3.0)
    assert (values < 0.6).all()


def test_flat_short_and_slow_signals_have_no_peaks_and_no_likeness():
    flat = pass_band(np.full((2, 1250), 7.0), 125.0)
    assert len(find_peaks(flat, 125.0).window) == 0
    values, _ = likeness(flat, flat, rates_hz=(125.0, 125.0), offset_s=0.0)
    assert np.isnan(values).all()
    assert pass_band(np.ones((2, 100)), 4.0) is None
    assert pass_band(np.ones((2, 20)), 125.0) is None
    assert np.isfinite(pass_band(np.array([[np.nan, np.inf] * 200]), 125.0)).all()

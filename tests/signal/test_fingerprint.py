import numpy as np
import pytest
from scipy import signal

from biosig_cli.signal.fingerprint import (
    N_FINE_BITS,
    Peaks,
    find_peaks,
    likeness,
    make_keys,
    pass_band,
)
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


def bumps(moments_s, sampling_hz, heights=1.0):
    """Return 10 s of (1, T) bumps, narrow enough to stand apart."""
    time_s = np.arange(round(10 * sampling_hz)) / sampling_hz
    away_s = time_s - np.asarray(moments_s)[:, None]
    return (np.exp(-0.5 * (away_s / 0.008) ** 2).T * heights).sum(-1)[None].astype(np.float32)


def test_a_peak_is_the_highest_for_its_time_on_either_side():
    # The lower of two counts when it is more than 60 ms away, 8 samples; an end of a window never.
    moments_s = np.array([0.0, 2.0, 2.056, 4.0, 4.064, 6.0, 6.056, 8.0, 8.064, 9.992])
    peaks = find_peaks(bumps(moments_s, 125.0, [9, 2, 3, 2, 3, 3, 2, 3, 2, 9]), 125.0)
    high = peaks.time_s[peaks.height > 1]
    np.testing.assert_allclose(high, [2.056, 4.0, 4.064, 6.0, 8.0, 8.064], atol=0.002)
    low = bumps([3.0, 6.0], 125.0, [0.24, 0.26])
    np.testing.assert_allclose(find_peaks(low, 125.0).time_s, [6.0], atol=1e-3)
    flat_top = np.minimum(bumps([5.0], 125.0), 0.5)
    np.testing.assert_allclose(find_peaks(flat_top, 125.0).height, 0.5, atol=0.05)


@pytest.mark.parametrize("sampling_hz", [32.0, 50.0, 100.0, 250.0])
def test_times_and_heights_are_finer_than_a_sample_at_any_rate(sampling_hz):
    moments_s = np.array([2.0, 2.1, 3.3141, 7.777])
    time_s = np.arange(round(10 * sampling_hz)) / sampling_hz
    waves = [np.exp(-0.5 * ((time_s - each) / 0.04) ** 2) for each in moments_s]
    band = np.stack([2 * waves[0], 3 * waves[2], 4 * waves[3]]).astype(np.float32)
    peaks = find_peaks(band, sampling_hz)
    assert peaks.window.tolist() == [0, 1, 2]
    np.testing.assert_allclose(peaks.time_s, moments_s[[0, 2, 3]], atol=0.001)
    np.testing.assert_allclose(peaks.height, [2, 3, 4], rtol=0.01)


def test_a_key_is_made_of_four_steps_in_time_and_height():
    """8 bits for 10 ms each, up to 2.55 s, and 4 for 15 % each, from -8 to 7; then what is left."""
    steps_s = np.array([0.203, 0.318, 2.549, 9.0, 0.155, 0.401])
    rises = np.array([0.10, 3.0, -0.31, -3.0, 1.04, 0.0])  # in units of 15 %: 1, 20, -2, -20, 7, 0
    time_s = np.concatenate([[0.5], 0.5 + np.cumsum(steps_s)])
    height = np.exp(np.concatenate([[0.2], 0.2 + np.cumsum(rises)]))
    other = np.arange(5) * 0.105
    peaks = Peaks(
        np.array([0] * 7 + [1] * 4 + [2] * 5),
        np.concatenate([time_s, other[:4], other]),
        np.concatenate([height, np.ones(9)]),
    )
    first, keys = make_keys(peaks)
    assert first.tolist() == [0, 1, 2, 11]  # four peaks make no key, a window has its own
    times, ups = [20, 31, 254, 255, 15, 40], [9, 15, 6, 0, 15, 8]
    rest = [0.3, 0.8, 0.9, 1.0, 0.5, 0.1]
    for number in range(3):
        key = 0
        for step in range(number, number + 4):
            key = (key << 12) | (times[step] << 4) | ups[step]
        assert int(keys[number]) >> N_FINE_BITS == key
        fine = int(keys[number]) & (1 << N_FINE_BITS) - 1
        assert fine / 65535 == pytest.approx(np.mean(rest[number : number + 4]), abs=1e-4)
    assert int(keys[3]) >> N_FINE_BITS == 0x0A80A80A80A8
    _, (key,) = make_keys(Peaks(np.zeros(5, int), 9 * np.arange(5.0), np.ones(5)))
    assert int(key) == 0xFF8FF8FF8FF8FFFF
    for few in range(5):
        first, keys = make_keys(Peaks(np.zeros(few, int), np.arange(float(few)), np.ones(few)))
        assert (len(first), len(keys)) == (0, 0)


@pytest.mark.parametrize("sampling_hz", [20.0, 125.0])
def test_the_band_has_2_to_8_hz_in_standard_deviations(sampling_hz):
    time_s = np.arange(round(20 * sampling_hz)) / sampling_hz
    drift, inner, outer = (np.sin(2 * np.pi * each * time_s) for each in (0.3, 4.0, 30.0))
    outer *= sampling_hz > 60
    band = pass_band(np.stack([inner, 100 * inner + 70 * drift + 900, inner + outer]), sampling_hz)
    middle = slice(round(2 * sampling_hz), -round(2 * sampling_hz))
    np.testing.assert_allclose(band.std(-1), 1, atol=1e-4)
    for each in band:
        np.testing.assert_allclose(each[middle], np.sqrt(2) * inner[middle], atol=0.1)


def test_at_its_edges_half_of_a_wave_is_left():
    """-6 dB at 2 and 8 Hz, as of any filter here after its pass back and forth."""
    time_s = np.arange(2500) / 125
    window = sum(np.sin(2 * np.pi * each * time_s) for each in (2, 4, 8))
    spectrum = np.abs(np.fft.rfft(pass_band(window, 125.0)[250:2250]))[[32, 64, 128]]
    np.testing.assert_allclose(spectrum / spectrum[1], [0.5, 1, 0.5], atol=0.03)


def test_what_is_missing_counts_as_zero_and_what_is_flat_is_zero():
    window = waves(1, 10.0)
    holes = np.where(np.arange(1250) % 100 < 5, np.nan, window)
    holes[:, ::201] = [[np.inf], [-np.inf]]
    known = np.where(np.isfinite(holes), holes, 0)
    np.testing.assert_array_equal(pass_band(holes, 125.0), pass_band(known, 125.0))
    flat = 1000 + 1e-4 * window  # a ripple of a ten-millionth is rounding
    assert not pass_band(flat, 125.0).any()
    np.testing.assert_allclose(pass_band(1e4 * flat, 125.0), 0)
    np.testing.assert_allclose(pass_band(1e-9 * window, 125.0), pass_band(window, 125.0), atol=1e-5)


def test_the_band_of_a_batch_is_that_of_its_rows():
    windows = np.stack([waves(seed, 10.0) + 5 for seed in range(3)])
    band = pass_band(windows, 125.0)
    assert (band.shape, band.dtype) == ((3, 2, 1250), np.float32)
    np.testing.assert_allclose(band[2, 1], pass_band(windows[2, 1], 125.0), atol=1e-6)


def test_there_is_a_band_from_a_rate_and_a_length_on():
    # The upper edge, 0.45 of the rate, is 1.5 times the lower one at the least.
    assert pass_band(np.ones((1, 100)), 6.6) is None
    assert pass_band(np.ones((1, 100)), 6.7) is not None
    # 0.3 s at either end are left out of comparisons, and 16 samples stay.
    assert pass_band(np.ones((1, 90)), 125.0) is None
    assert pass_band(np.ones((1, 91)), 125.0).shape == (1, 91)


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


def test_likeness_is_the_correlation_of_what_overlaps_at_the_best_of_a_few_shifts():
    def tone(hz, start_s, duration_s, sampling_hz):
        time_s = start_s + np.arange(round(duration_s * sampling_hz)) / sampling_hz
        return np.sin(2 * np.pi * hz * time_s)

    rates_hz = (125.0, 100.0)
    one = np.stack([tone(3, 0, 10, 125), np.zeros(1250), tone(5, 0, 10, 125)]).astype(np.float32)
    for start_s in (-4.0, 0.0, 4.0):
        other = np.stack([tone(hz, start_s, 10, 100) for hz in (3, 3, 5)]).astype(np.float32)
        for off_s in (0.0, 0.02, -0.02):
            found, at_s = likeness(one, other, rates_hz=rates_hz, offset_s=start_s + off_s)
            np.testing.assert_allclose(found, [1, np.nan, 1], atol=1e-3)
            assert at_s == pytest.approx(start_s, abs=1e-9)
    # 50 ms are too far for the shifts: 26 ms are left, of the period of 333 ms.
    for off_s in (0.05, -0.05):
        found, at_s = likeness(one[:1], other[:1], rates_hz=rates_hz, offset_s=4 + off_s)
        assert at_s == pytest.approx(4 + 0.52 * off_s, abs=1e-9)
        assert found[0] == pytest.approx(np.cos(2 * np.pi * 3 * 0.026), abs=2e-3)


def test_likeness_knows_only_what_both_hold_less_the_margins():
    draw = np.random.default_rng(0)
    shared = waves(3, 10.0)[:1]
    one = np.concatenate([draw.normal(size=(1, 500)), shared], axis=1).astype(np.float32)
    other = np.concatenate([shared, draw.normal(size=(1, 500))], axis=1).astype(np.float32)
    # The first and the last 0.3 s of what both hold are not looked at.
    one[:, 500:530] = other[:, :20] = other[:, 1232:1250] = 50
    found, _ = likeness(one, other, rates_hz=(125.0, 125.0), offset_s=4.0)
    assert found[0] > 0.999
    for seen in (slice(545, 560), slice(1190, 1205)):
        changed = one.copy()
        changed[:, seen] += 5
        assert likeness(changed, other, rates_hz=(125.0, 125.0), offset_s=4.0)[0] < 0.9
        shifted = changed[:, 500:]
        assert likeness(shifted, other, rates_hz=(125.0, 125.0), offset_s=0.0)[0] < 0.9
    # Of 0.6 s of overlap nothing is left; of 0.65 s there are three samples at 64 Hz.
    for offset_s, is_known in ((13.4, False), (13.41, False), (13.35, True)):
        found, at_s = likeness(one, other, rates_hz=(125.0, 125.0), offset_s=offset_s)
        assert np.isfinite(found[0]) == is_known
        assert is_known or at_s == offset_s


def test_flat_short_and_slow_signals_have_no_peaks_and_no_likeness():
    flat = pass_band(np.full((2, 1250), 7.0), 125.0)
    assert len(find_peaks(flat, 125.0).window) == 0
    values, _ = likeness(flat, flat, rates_hz=(125.0, 125.0), offset_s=0.0)
    assert np.isnan(values).all()
    assert pass_band(np.ones((2, 100)), 4.0) is None
    assert pass_band(np.ones((2, 20)), 125.0) is None
    assert np.isfinite(pass_band(np.array([[np.nan, np.inf] * 200]), 125.0)).all()

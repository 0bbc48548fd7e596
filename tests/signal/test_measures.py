import numpy as np
import pytest
from scipy.signal import periodogram
from waves import SAMPLING_HZ, beat_times_s, ppg

from biosig_cli.signal.measures import (
    band_ratio,
    clipped_fraction,
    flat_fraction,
    missing,
    n_parts,
    periodicity,
    pulse_concentration,
    skewness,
)


def test_missing_is_said_per_channel():
    windows = np.zeros((2, 2, 4))
    windows[0, 1, 2], windows[1, 0, 0] = np.nan, np.inf
    assert missing(windows).tolist() == [[False, True], [True, False]]


def test_a_flat_stretch_counts_if_it_lasts():
    wave = np.sin(2 * np.pi * 1.2 * np.arange(1000) / 125)
    half, blinks = wave.copy(), wave.copy()
    half[500:] = half[500]
    blinks[::50] = blinks[1::50]  # single equal neighbours are no flat line
    constant = np.full(1000, 4.2)
    windows = np.stack([wave, half, blinks, constant])
    found = flat_fraction(windows, SAMPLING_HZ)
    np.testing.assert_allclose(found, [0.0, 0.5, 0.0, 1.0], atol=0.002)


def test_a_flat_line_with_a_little_noise_is_flat_beside_a_real_signal():
    wave = np.sin(2 * np.pi * 1.2 * np.arange(1000) / 125)
    noise = 1e-4 * np.random.default_rng(0).normal(size=1000)
    assert flat_fraction(np.stack([wave, noise]), SAMPLING_HZ).tolist() == [0.0, 1.0]


def test_a_clipped_stretch_counts_and_a_rounded_peak_does_not():
    clock_s = np.arange(1250) / 125
    wave = np.sin(2 * np.pi * 1.0 * clock_s)
    # A sine exceeds 0.5 for a third of the time; both rails take two thirds.
    windows = np.stack([wave, np.minimum(wave, 0.5), np.clip(wave, -0.5, 0.5), np.zeros(1250)])
    found = clipped_fraction(windows, SAMPLING_HZ)
    np.testing.assert_allclose(found[:3], [0.0, 1 / 3, 2 / 3], atol=0.03)
    assert found[3] == 1.0


def test_periodicity_is_high_for_a_pulse_and_low_for_noise():
    regular = ppg(beat_times_s(70, 10.0), 10.0)
    noise = np.random.default_rng(0).normal(size=1250)
    found = periodicity(np.stack([regular, noise, np.zeros(1250)]), SAMPLING_HZ)
    assert found[0] > 0.8
    assert found[1] < 0.3
    assert found[2] == 0.0


def test_a_ramp_repeats_nothing():
    assert periodicity(np.arange(1250.0)[None], SAMPLING_HZ)[0] < 0.1


def test_skewness_and_band_ratio_by_hand():
    # 0, 0, 0, 1: mean 1/4, variance 3/16, third moment 3/32, so skewness 2 / sqrt(3).
    found = skewness(np.array([[0.0, 0.0, 0.0, 1.0], [5.0, 5.0, 5.0, 5.0]]))
    np.testing.assert_allclose(found, [2 / np.sqrt(3), 0.0])
    clock_s = np.arange(1250) / 125
    one, ten = (np.sin(2 * np.pi * hz * clock_s) for hz in (1.0, 10.0))
    found = band_ratio(np.stack([one, ten, one + ten, 0 * one]), SAMPLING_HZ)
    np.testing.assert_allclose(found, [1.0, 0.0, 0.5, 0.0], atol=1e-3)


def test_power_at_the_beats_rate_is_all_of_a_tone_and_little_of_another():
    clock_s = np.arange(1250) / SAMPLING_HZ
    tone = np.sin(2 * np.pi * 1.2 * clock_s)[None]
    at = [pulse_concentration(tone, np.array([bpm]), SAMPLING_HZ)[0] for bpm in (72.0, 36.0, 100.0)]
    # 36 bpm has its first harmonic at the tone.
    assert at[0] > 0.99
    assert at[1] > 0.99
    assert at[2] < 0.02
    assert np.isnan(pulse_concentration(tone, np.array([np.nan]), SAMPLING_HZ)[0])


def test_a_long_window_may_change_its_rate():
    clock_s = np.arange(2 * 1250) / SAMPLING_HZ
    tone = np.where(clock_s < 10, np.sin(2 * np.pi * clock_s), np.sin(2 * np.pi * 1.6 * clock_s))
    assert n_parts(2500, SAMPLING_HZ) == 2
    parts = pulse_concentration(tone[None], np.array([[60.0, 96.0]]), SAMPLING_HZ)
    assert parts[0] > 0.98
    assert pulse_concentration(tone[None], np.array([[60.0, np.nan]]), SAMPLING_HZ)[0] > 0.98
    assert pulse_concentration(tone[None], np.array([60.0]), SAMPLING_HZ)[0] < 0.7


def _still(n_samples, at):
    """Return a window that rises and falls between 0 and 1 all the time, but for `n_samples`."""
    window = np.arange(1250) % 2.0
    window[at : at + n_samples] = window[at]
    return window


@pytest.mark.parametrize("at", [0, 500, 1187])
def test_a_line_is_flat_from_half_a_second_on(at):
    # 63 equal samples are 62 steps of 8 ms, 0.496 s.
    found = flat_fraction(np.stack([_still(63, at), _still(61, at)]), SAMPLING_HZ)
    np.testing.assert_allclose(found, [62 / 1249, 0.0])


def test_what_changes_by_an_eighth_of_the_usual_range_in_a_second_is_still():
    clock_s = np.arange(1250) / SAMPLING_HZ
    usual = np.arange(1250) % 2.0
    slow, fast = 0.12 * clock_s, 0.13 * clock_s
    windows = np.stack([slow, fast, 1000 * usual] + [usual] * 40)
    assert flat_fraction(windows, SAMPLING_HZ).tolist() == [1.0] + [0.0] * 42


def test_at_a_low_rate_two_equal_steps_are_the_least_that_is_flat():
    window = np.array([0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    assert flat_fraction(window[None], 2.0).tolist() == [2 / 9]


@pytest.mark.parametrize(
    ("sampling_hz", "shortest"), [(125.0, 5), (250.0, 10), (50.0, 3), (20.0, 3)]
)
@pytest.mark.parametrize("rail", [1.0, -1.0])
def test_a_rail_is_hit_for_40_ms_and_three_samples_at_least(sampling_hz, shortest, rail):
    def hit(n_samples):
        window = np.zeros(1000)
        window[100] = -rail
        window[500 : 500 + n_samples] = rail
        return window

    found = clipped_fraction(np.stack([hit(shortest), hit(shortest - 1)]), sampling_hz)
    np.testing.assert_allclose(found, [shortest / 1000, 0.0])


def test_what_lies_within_a_thousandth_of_the_range_of_an_extreme_is_clipped():
    def near(step):
        window = np.tile([4.0, 5.0, 6.0], 100)
        window[30:42] = [5, *[6, 6 - step] * 5, 5]
        window[130:142] = [5, *[4, 4 + step] * 5, 5]
        return window

    found = clipped_fraction(np.stack([near(0.0019), near(0.0021)]), SAMPLING_HZ)
    np.testing.assert_allclose(found, [20 / 300, 0.0])


def _highest_peak(window, shortest, longest):
    """Return the highest local maximum of the mean product of samples some lag apart."""
    centred = window - window.mean()
    lags = range(shortest - 1, longest + 2)
    mean = np.array([np.mean(centred[:-lag] * centred[lag:]) for lag in lags]) / centred.var()
    peaks = [b for a, b, c in zip(mean, mean[1:], mean[2:], strict=False) if a <= b >= c]
    return min(1.0, max([0.0, *peaks]))


@pytest.mark.parametrize(
    # The lags of 200 and 30 beats a minute, or half of the window where that is shorter.
    ("n_samples", "sampling_hz", "shortest", "longest"),
    [(1250, 125.0, 37, 250), (400, 125.0, 37, 200), (300, 30.0, 9, 60)],
)
def test_periodicity_is_the_highest_peak_of_the_autocorrelation(
    n_samples, sampling_hz, shortest, longest
):
    rng = np.random.default_rng(0)
    windows = 5 + rng.normal(size=(9, n_samples)).cumsum(axis=1)
    expected = [_highest_peak(window, shortest, longest) for window in windows]
    np.testing.assert_allclose(periodicity(windows, sampling_hz), expected, atol=1e-4)


def test_a_rhythm_is_one_of_30_to_200_beats_a_minute():
    def train(period, n_samples):
        return ((np.arange(n_samples) % period) < 3).astype(float)

    # A window of 90 samples is too short for the double of a lag.
    assert periodicity(train(37, 90)[None], SAMPLING_HZ)[0] > 0.9  # 203 a minute, a sample's width
    assert periodicity(train(36, 90)[None], SAMPLING_HZ)[0] < 0.1
    assert periodicity(train(250, 1250)[None], SAMPLING_HZ)[0] > 0.9
    assert periodicity(train(251, 1250)[None], SAMPLING_HZ)[0] < 0.1


def test_a_repetition_is_never_more_than_whole():
    # Two pairs of three equal pulses meet, in half of the samples: 4/3 of the power.
    window = np.zeros(201)
    window[[0, 100, 200]] = 1.0
    assert periodicity(window[None], SAMPLING_HZ).tolist() == [1.0]


def test_a_window_too_short_for_a_rhythm_has_no_periodicity():
    # Between the lags of 37 samples and half of the window must lie three.
    assert np.isnan(periodicity(np.random.default_rng(0).normal(size=(2, 79)), SAMPLING_HZ)).all()
    found = periodicity(np.random.default_rng(0).normal(size=(2, 80)), SAMPLING_HZ)
    assert found.shape == (2,)
    assert np.isfinite(found).all()


def _spectrum(window, sampling_hz, n_fft):
    return periodogram(
        window,
        sampling_hz,
        window=np.hanning(len(window)),
        nfft=n_fft,
        detrend="constant",
        return_onesided=False,
    )


def test_the_band_of_a_pulse_reaches_from_0_7_to_3_5_hz_of_a_hann_spectrum():
    for window in np.random.default_rng(0).normal(3.0, 1.0, (5, 1250)):
        frequencies_hz, power = _spectrum(window, SAMPLING_HZ, 1250)
        known = (frequencies_hz >= 0) | (frequencies_hz == -SAMPLING_HZ / 2)
        inside = (frequencies_hz > 0.69) & (frequencies_hz < 3.51)
        expected = power[inside].sum() / power[known].sum()
        assert band_ratio(window[None], SAMPLING_HZ)[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("n_samples", "sampling_hz", "count"), [(1250, 125.0, 1), (3750, 125.0, 3), (300, 30.0, 1)]
)
def test_concentration_is_the_share_of_the_power_near_the_rate_and_its_double(
    n_samples, sampling_hz, count
):
    """From 0.5 to 8 Hz, within 0.2 Hz, of a spectrum four times as fine as the window's own."""
    rng = np.random.default_rng(0)
    windows = 3 + rng.normal(size=(4, n_samples))
    rates_bpm = rng.uniform(40, 150, (4, count))
    shares = np.empty((4, count))
    for row, window in enumerate(windows):
        for part, piece in enumerate(window.reshape(count, -1)):
            frequencies_hz, power = _spectrum(piece, sampling_hz, 4 * len(piece))
            power = power * ((frequencies_hz >= 0.5) & (frequencies_hz <= 8.0))
            rate_hz = rates_bpm[row, part] / 60
            near = np.minimum(abs(frequencies_hz - rate_hz), abs(frequencies_hz - 2 * rate_hz))
            shares[row, part] = power[near <= 0.2].sum() / power.sum()
    found = pulse_concentration(windows, rates_bpm, sampling_hz)
    np.testing.assert_allclose(found, shares.mean(axis=1), rtol=1e-4)


def test_parts_of_a_window_last_about_ten_seconds():
    durations_s = (0.5, 10.0, 14.9, 15.1, 24.9, 25.1, 600.0)
    found = [n_parts(round(each * SAMPLING_HZ), SAMPLING_HZ) for each in durations_s]
    assert found == [1, 1, 1, 2, 2, 3, 60]


def test_no_windows_have_no_figures():
    nothing = np.empty((0, 1250))
    for measure in (flat_fraction, clipped_fraction, periodicity, band_ratio):
        assert measure(nothing, SAMPLING_HZ).shape == (0,)
    assert skewness(nothing).shape == (0,)
    assert pulse_concentration(nothing, np.empty(0), SAMPLING_HZ).shape == (0,)


def test_a_window_that_stands_still_has_power_nowhere():
    still = np.full((1, 1250), 7.0)
    assert band_ratio(still, SAMPLING_HZ).tolist() == [0.0]
    assert pulse_concentration(still, np.array([60.0]), SAMPLING_HZ).tolist() == [0.0]


@pytest.mark.parametrize("unit", [1e-6, 1e3])
def test_figures_know_neither_unit_nor_offset(unit):
    windows = np.random.default_rng(0).normal(size=(3, 1250)).cumsum(axis=1)
    windows[1] = np.clip(windows[1], -5.0, 5.0)
    windows[2, 300:500] = windows[2, 300]
    other = unit * (windows + 100.0)
    for measure in (flat_fraction, clipped_fraction, periodicity, band_ratio):
        found = measure(windows, SAMPLING_HZ)
        np.testing.assert_allclose(measure(other, SAMPLING_HZ), found, rtol=1e-3)
    np.testing.assert_allclose(skewness(other), skewness(windows), rtol=1e-6)
    rates_bpm = np.array([50.0, 75.0, 100.0])
    found = pulse_concentration(windows, rates_bpm, SAMPLING_HZ)
    np.testing.assert_allclose(pulse_concentration(other, rates_bpm, SAMPLING_HZ), found, rtol=1e-3)

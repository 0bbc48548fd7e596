import numpy as np
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

import numpy as np
import pytest
from waves import SAMPLING_HZ, beat_times_s, ecg, ppg

from biosig_cli.signal.beats import (
    beat_similarity,
    beats_per_window,
    ecg_beats,
    ppg_beats,
    rate_per_window_bpm,
)


def _off_by_samples(found, times_s):
    return np.abs(found[:, None] - np.asarray(times_s) * SAMPLING_HZ).min(axis=1)


@pytest.mark.parametrize("rate_bpm", [40, 60, 90, 140, 200])
def test_every_pulse_is_found_once_and_no_dicrotic_wave(rate_bpm):
    dicrotic = 0.35 if rate_bpm <= 90 else 0.0  # at higher rates the two waves merge
    times_s = beat_times_s(rate_bpm, 30.0, jitter=0.03)
    found = ppg_beats(ppg(times_s, 30.0, dicrotic), SAMPLING_HZ)
    assert len(found) == len(times_s)
    assert _off_by_samples(found, times_s).max() <= 4


def test_pulses_that_fade_to_a_tenth_are_still_found():
    times_s = beat_times_s(75, 60.0)
    fading = ppg(times_s, 60.0) * np.geomspace(1.0, 0.1, 7500)
    assert len(ppg_beats(fading, SAMPLING_HZ)) == len(times_s)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_size_of_a_signal_changes_none_of_its_beats(unit):
    noise = np.random.default_rng(0).normal(size=2500)
    for signal in (ppg(beat_times_s(75, 20.0), 20.0), noise):
        np.testing.assert_array_equal(
            ppg_beats(signal, SAMPLING_HZ), ppg_beats(unit * (signal + 3.0), SAMPLING_HZ)
        )


def test_no_two_pulses_are_closer_than_at_214_beats_a_minute():
    found = ppg_beats(np.random.default_rng(0).normal(size=75_000), SAMPLING_HZ)
    assert len(found) > 1000
    assert np.diff(found).min() / SAMPLING_HZ == pytest.approx(0.28, abs=0.01)


@pytest.mark.parametrize("rate_bpm", [45, 75, 150])
def test_every_r_peak_is_found_once(rate_bpm):
    times_s = beat_times_s(rate_bpm, 30.0, jitter=0.1)
    found = ecg_beats(ecg(times_s, 30.0), SAMPLING_HZ)
    assert len(found) == len(times_s)
    # The detector sets the very first beat early, while it learns its thresholds.
    assert _off_by_samples(found[1:], times_s).max() <= 2


@pytest.mark.parametrize("find", [ecg_beats, ppg_beats])
@pytest.mark.parametrize(
    "samples", [np.empty(0), np.ones(1), np.arange(50.0), np.zeros(1250), np.full(1250, 7.3)]
)
def test_a_flat_or_short_signal_has_no_beats(find, samples):
    found = find(samples, SAMPLING_HZ)
    assert found.shape == (0,)
    assert found.dtype == np.int64


def test_beats_are_counted_from_the_first_sample_of_a_window_up_to_the_next():
    beats = np.array([0, 9, 10, 19, 20])
    counts = beats_per_window(beats, np.array([0, 5, 10, 30]), 10)
    assert counts.tolist() == [2, 2, 2, 0]


def test_a_rate_is_the_median_interval_and_unknown_below_two_intervals():
    # Intervals in window 0: 100, 100, 50 -> median 100 samples = 75 bpm at 125 Hz.
    beats = np.array([0, 100, 200, 250, 1000, 1100, 2000, 2125, 2225])
    starts = np.array([0, 1000, 2000, 3000])
    rates = rate_per_window_bpm(beats, starts, 1000, 125.0)
    # Window 2: 125 and 100 -> 112.5 samples.
    np.testing.assert_allclose(rates, [75.0, np.nan, 60 * 125 / 112.5, np.nan])


def test_the_rate_of_overlapping_windows_is_that_of_each():
    beats = np.array([0, 125, 250, 375, 475, 575, 675])
    rates = rate_per_window_bpm(beats, np.array([0, 300, 375]), 400, 125.0)
    np.testing.assert_allclose(rates, [60.0, 75.0, 75.0])


def test_no_beats_give_no_rates():
    assert np.isnan(rate_per_window_bpm(np.empty(0, np.int64), np.array([0, 10]), 10, 125.0)).all()
    assert rate_per_window_bpm(np.arange(3), np.empty(0, np.int64), 10, 125.0).shape == (0,)


def test_tall_dicrotic_waves_of_a_clean_pulse_are_no_beats():
    # Narrow waves leave a small spread, so that lower dicrotic ones stand out by more than it.
    times_s = beat_times_s(60, 60.0, jitter=0.02)
    clock_s = np.arange(round(60 * SAMPLING_HZ)) / SAMPLING_HZ
    away_s = clock_s - times_s[:, None]
    pulse = np.exp(-((away_s / 0.07) ** 2)) + 0.4 * np.exp(-(((away_s - 0.3) / 0.1) ** 2))
    found = ppg_beats(pulse.sum(axis=0), SAMPLING_HZ)
    np.testing.assert_allclose(found / SAMPLING_HZ, times_s, atol=0.05)


def test_weak_pulses_between_strong_ones_stay():
    times_s = beat_times_s(80, 60.0, jitter=0.3, seed=2)
    clock_s = np.arange(round(60 * SAMPLING_HZ)) / SAMPLING_HZ
    heights = np.where(np.arange(len(times_s)) % 2, 0.75, 1.0)
    pulse = heights @ np.exp(-(((clock_s - times_s[:, None]) / 0.1) ** 2))
    assert len(ppg_beats(pulse, SAMPLING_HZ)) == len(times_s)


def test_beats_that_are_copies_score_one_wherever_they_fall_and_opposites_less():
    windows = np.zeros((3, 100))
    for window, signs in enumerate([(1, 1, 1), (1, 1, -1), (1,)]):
        for position, sign in zip((10, 37, 80), signs, strict=False):
            windows[window, position - 1 : position + 2] = np.array([1.0, 3.0, 1.0]) * sign
    starts = np.array([0, 100, 200])
    beats = np.array([10, 37, 80, 110, 137, 180, 210])
    found = beat_similarity(
        windows, beats, starts, sampling_hz=100.0, span_s=(0.03, 0.03), weighted=False
    )
    # Three pairs: +1, -1, -1. A single beat has nothing to be like.
    np.testing.assert_allclose(found, [1.0, -1 / 3, np.nan])


def test_one_large_artefact_lowers_the_weighted_similarity_only():
    rng = np.random.default_rng(0)
    window = ppg(beat_times_s(60, 10.0), 10.0)
    window[650:750] += 10 * np.cumsum(rng.normal(size=100)) / 10
    beats = np.round(beat_times_s(60, 10.0) * SAMPLING_HZ).astype(int)
    scores = {
        weighted: beat_similarity(
            window[None],
            beats,
            np.array([0]),
            sampling_hz=SAMPLING_HZ,
            span_s=(0.25, 0.35),
            weighted=weighted,
        )[0]
        for weighted in (True, False)
    }
    assert scores[True] < 0.5 < scores[False]


def _pulse_train(times_s, duration_s, sampling_hz, dicrotic=0.0):
    clock_s = np.arange(round(duration_s * sampling_hz)) / sampling_hz
    away_s = clock_s - np.asarray(times_s)[:, None]
    waves = np.exp(-((away_s / 0.07) ** 2)) + dicrotic * np.exp(-(((away_s - 0.3) / 0.1) ** 2))
    return waves.sum(axis=0)


@pytest.mark.parametrize("sampling_hz", [10.0, 25.0, 64.0, 300.0])
@pytest.mark.parametrize("rate_bpm", [45, 75, 120])
def test_pulses_are_found_at_any_sampling_rate(sampling_hz, rate_bpm):
    times_s = beat_times_s(rate_bpm, 40.0, jitter=0.03)
    found = ppg_beats(_pulse_train(times_s, 40.0, sampling_hz), sampling_hz) / sampling_hz
    np.testing.assert_allclose(found, times_s, atol=0.03 + 1 / sampling_hz)


@pytest.mark.parametrize("find", [ecg_beats, ppg_beats])
def test_two_seconds_are_the_least_in_which_beats_are_looked_for(find):
    times_s = [0.4, 0.8, 1.2, 1.6]
    signal = ecg(times_s, 2.0) if find is ecg_beats else ppg(times_s, 2.0, dicrotic=0.0)
    assert len(find(signal, SAMPLING_HZ)) >= 3
    assert len(find(signal[:-1], SAMPLING_HZ)) == 0


@pytest.mark.parametrize("clear_first", [True, False])
@pytest.mark.parametrize("duration_s", [40.0, 46.0, 49.992])
def test_dicrotic_waves_are_told_from_pulses_ten_seconds_at_a_time(clear_first, duration_s):
    # What is left after the last whole ten seconds goes with them.
    early_s, late_s = (0.5, 30.0), (30.5, duration_s - 1.0)
    clear_s = np.arange(*(early_s if clear_first else late_s), 1.0)
    quick_s = np.arange(*(late_s if clear_first else early_s), 0.5)
    both = _pulse_train(clear_s, duration_s, SAMPLING_HZ, dicrotic=0.4)
    both += _pulse_train(quick_s, duration_s, SAMPLING_HZ)
    found = ppg_beats(both, SAMPLING_HZ) / SAMPLING_HZ
    np.testing.assert_allclose(found, np.sort(np.concatenate((clear_s, quick_s))), atol=0.05)


@pytest.mark.parametrize("rate_bpm", [100, 130, 160])
def test_every_second_pulse_may_be_half_as_high(rate_bpm):
    times_s = beat_times_s(rate_bpm, 40.0)
    heights = np.where(np.arange(len(times_s)) % 2, 0.5, 1.0)
    clock_s = np.arange(5000) / SAMPLING_HZ
    pulse = heights @ np.exp(-(((clock_s - times_s[:, None]) / 0.07) ** 2))
    np.testing.assert_allclose(ppg_beats(pulse, SAMPLING_HZ) / SAMPLING_HZ, times_s, atol=0.05)


@pytest.mark.parametrize("size", [0.05, 0.02])
def test_weak_pulses_of_changing_size_and_shape_stay(size):
    """Those of them that look like systolic waves are a little more alike than all; few do."""
    rng = np.random.default_rng(2)
    times_s = beat_times_s(75, 40.0, jitter=0.1, seed=2)
    weak = times_s > 20
    heights = np.where(weak, size * rng.uniform(0.4, 1.6, len(times_s)), 1.0)
    widths_s = np.where(weak, rng.uniform(0.05, 0.16, len(times_s)), 0.1)
    clock_s = np.arange(5000) / SAMPLING_HZ
    pulse = heights @ np.exp(-(((clock_s - times_s[:, None]) / widths_s[:, None]) ** 2))
    found_s = ppg_beats(pulse, SAMPLING_HZ) / SAMPLING_HZ
    # The spread about the first weak ones is still that of the strong.
    np.testing.assert_allclose(found_s[found_s > 24], times_s[times_s > 24], atol=0.06)


def test_the_rate_of_a_window_is_sixty_over_the_median_of_its_own_intervals():
    rng = np.random.default_rng(0)
    beats = np.cumsum(rng.integers(40, 200, 400))
    starts = np.sort(rng.integers(-500, beats[-1], 200))
    found = rate_per_window_bpm(beats, starts, 900, 125.0)
    for start, rate in zip(starts, found, strict=True):
        inside = beats[(beats >= start) & (beats < start + 900)]
        if len(inside) < 3:
            assert np.isnan(rate)
        else:
            assert rate == pytest.approx(60 * 125.0 / np.median(np.diff(inside)))


@pytest.mark.parametrize("unit", [1.0, 1e-6])
@pytest.mark.parametrize("weighted", [True, False])
def test_similarity_is_the_mean_over_all_pairs_of_whole_beats(weighted, unit):
    rng = np.random.default_rng(0)
    n_samples, before, after = 300, 10, 20
    starts = np.array([0, 150, 300, 2000])  # they hold 4, 6, 2 and no whole beats
    beats = np.array([9, 10, 60, 160, 279, 280, 290, 300, 330, 440, 580, 590])
    record = unit * rng.normal(2.0, 1.0, 2300).cumsum()
    windows = np.stack([record[start : start + n_samples] for start in starts])
    expected = []
    for start, window in zip(starts, windows, strict=True):
        at = [b - start for b in beats if start + before <= b < start + n_samples - after]
        pieces = [window[b - before : b + after + 1] for b in at]
        pieces = [piece - piece.mean() for piece in pieces]
        if not weighted:
            pieces = [piece / np.linalg.norm(piece) for piece in pieces]
        pairs = [a @ b for i, a in enumerate(pieces) for j, b in enumerate(pieces) if i != j]
        energy = sum(piece @ piece for piece in pieces)
        expected.append(sum(pairs) / (len(pieces) - 1) / energy if pairs else np.nan)
    found = beat_similarity(
        windows, beats, starts, sampling_hz=100.0, span_s=(0.1, 0.2), weighted=weighted
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.isfinite(found[:3]).all()


def test_beats_in_a_line_that_stands_still_are_like_nothing():
    for weighted in (True, False):
        found = beat_similarity(
            np.full((1, 100), 3.0),
            np.array([20, 50, 80]),
            np.array([0]),
            sampling_hz=100.0,
            span_s=(0.05, 0.05),
            weighted=weighted,
        )
        assert found[0] <= 0

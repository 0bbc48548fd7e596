import tracemalloc

import numpy as np
import pytest

from biosig_cli.core.errors import SignalError
from biosig_cli.signal import resample
from biosig_cli.signal.resample import (
    anti_alias_gain,
    rate_ratio,
    resample_segment,
    valid_segments,
)


def _sine(frequency_hz, sampling_hz, duration_s, start_index=0):
    index = start_index + np.arange(round(duration_s * sampling_hz))
    return np.sin(2 * np.pi * frequency_hz * index / sampling_hz)


def test_runs_of_valid_samples_are_found_and_short_ones_left_out():
    valid = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1], bool)
    assert valid_segments(valid, 1) == [slice(0, 2), slice(3, 4), slice(6, 9)]
    assert valid_segments(valid, 2) == [slice(0, 2), slice(6, 9)]
    assert valid_segments(np.zeros(4, bool), 1) == []
    assert valid_segments(np.ones(4, bool), 0) == [slice(0, 4)]


def test_a_70_hz_tone_at_500_hz_does_not_survive_to_125_hz():
    _, values = resample_segment(_sine(70.0, 500.0, 20.0), sampling_hz=500.0, target_hz=125.0)
    assert np.abs(values[125:-125]).max() < 0.001  # 1 would be its aliased image at 55 Hz


def test_a_5_hz_tone_keeps_amplitude_and_phase():
    _, values = resample_segment(_sine(5.0, 500.0, 20.0), sampling_hz=500.0, target_hz=125.0)
    np.testing.assert_allclose(values, _sine(5.0, 125.0, 20.0), atol=2e-3)


@pytest.mark.parametrize("sampling_hz", [30.0, 62.5, 100.0, 128.0, 250.0, 256.0, 500.0, 1000.0])
def test_a_pulse_wave_on_a_large_offset_has_no_edge_artefact_at_any_rate(sampling_hz):
    native = _sine(2.0, sampling_hz, 10.0)
    first, values = resample_segment(200 + native, sampling_hz=sampling_hz, target_hz=125.0)
    assert first == 0
    # All grid points up to the last native sample, and none after it.
    assert len(values) == int((len(native) - 1) * 125 / sampling_hz) + 1
    expected = _sine(2.0, 125.0, 10.0)[: len(values)] - native.mean()
    np.testing.assert_allclose(values, expected, atol=3e-3)


def test_channels_of_500_and_125_hz_stay_aligned_to_a_millisecond():
    def pulse(sampling_hz, start_index):
        time_s = (start_index + np.arange(round(10 * sampling_hz))) / sampling_hz
        return np.exp(-(((time_s - 5.003) / 0.08) ** 2))

    centres_s = []
    for sampling_hz, start_index in ((500.0, 7), (125.0, 3), (128.0, 11)):
        first, values = resample_segment(
            pulse(sampling_hz, start_index),
            sampling_hz=sampling_hz,
            target_hz=125.0,
            start_index=start_index,
        )
        grid_s = (first + np.arange(len(values))) / 125.0
        weight = values - values.min()
        weight[weight < 0.1] = 0
        centres_s.append(np.dot(weight, grid_s) / weight.sum())
    np.testing.assert_allclose(centres_s, 5.003, atol=0.001)


@pytest.mark.parametrize("sampling_hz", [30.0, 128.0, 499.5, 500.0])
@pytest.mark.parametrize("start_index", [0, 1, 37, 1003])
def test_a_segment_lands_on_the_same_grid_values_as_the_whole(sampling_hz, start_index):
    whole = _sine(1.3, sampling_hz, 60.0) + 0.3 * _sine(4.1, sampling_hz, 60.0)
    rates = {"sampling_hz": sampling_hz, "target_hz": 125.0}
    _, everything = resample_segment(whole, **rates)
    segment = whole[start_index : start_index + round(12 * sampling_hz)]
    first, values = resample_segment(segment, start_index=start_index, **rates)
    assert first == int(np.ceil(start_index * 125 / sampling_hz - 1e-9))
    expected = everything[first : first + len(values)]
    difference = (values - expected)[125:-125]  # the two differ by their mean, and nothing else
    assert np.ptp(difference) < 1e-3
    assert difference.mean() == pytest.approx(whole.mean() - segment.mean(), abs=1e-3)


def test_equal_rates_give_back_the_samples_without_their_mean():
    first, values = resample_segment(
        np.array([1.0, 2.0, 6.0]), sampling_hz=125.0, target_hz=125.0, start_index=9
    )
    assert first == 9
    np.testing.assert_allclose(values, [-2.0, -1.0, 3.0])


def test_a_flat_line_becomes_exactly_zero():
    samples = np.full(5000, 0.1, np.float32)
    _, values = resample_segment(samples, sampling_hz=500.0, target_hz=125.0)
    assert len(values) == 1250
    assert not values.any()


def test_a_segment_without_a_grid_point_gives_no_values():
    first, values = resample_segment(np.ones(3), sampling_hz=500.0, target_hz=125.0, start_index=1)
    assert (first, len(values)) == (1, 0)
    _, values = resample_segment(np.ones(1), sampling_hz=500.0, target_hz=125.0, start_index=4)
    assert len(values) == 1
    first, values = resample_segment(np.empty(0), sampling_hz=500.0, target_hz=125.0, start_index=5)
    assert (first, len(values)) == (2, 0)


def test_a_sample_between_two_grid_points_stands_for_the_next_one_within_its_time():
    # Sample 1 of 128 Hz stands from 0.977 to 1.953 grid points.
    how = {"sampling_hz": 128.0, "target_hz": 125.0, "start_index": 1}
    assert resample_segment(np.ones(1), **how)[0] == 1
    assert len(resample_segment(np.ones(1), **how)[1]) == 0
    assert len(resample_segment(np.ones(1), **how, pad_s=0.008)[1]) == 1


def test_a_rate_that_is_no_simple_fraction_is_refused_by_name():
    with pytest.raises(SignalError, match=r"499\.9731"):
        resample_segment(np.zeros(5000), sampling_hz=499.9731, target_hz=125.0)


@pytest.mark.parametrize("rates", [(0.0, 125.0), (-500.0, 125.0), (500.0, 0.0), (np.nan, 125.0)])
def test_a_rate_that_is_not_positive_is_refused(rates):
    with pytest.raises(SignalError, match="expected a positive number"):
        resample_segment(np.zeros(5000), sampling_hz=rates[0], target_hz=rates[1])


def test_a_segment_with_a_missing_sample_is_refused():
    samples = np.zeros(5000)
    samples[7] = np.nan
    with pytest.raises(SignalError, match="1 of 5000 samples"):
        resample_segment(samples, sampling_hz=500.0, target_hz=125.0)


@pytest.mark.parametrize("sampling_hz", [30.0, 62.5, 100.0, 125.0, 1000.0])
def test_the_last_sample_stands_for_the_time_until_the_next(sampling_hz):
    """Ten seconds at any rate are ten seconds at 125 Hz, and the added points are close."""
    time_s = np.arange(round(10 * sampling_hz)) / sampling_hz
    beats = {"sampling_hz": sampling_hz, "target_hz": 125.0, "pad_s": 0.05}
    first, values = resample_segment(np.sin(2 * np.pi * 1.2 * time_s), **beats)
    assert (first, len(values)) == (0, 1250)
    exact = np.sin(2 * np.pi * 1.2 * np.arange(1250) / 125)
    assert np.abs(values - exact)[-10:].max() < 0.08
    assert len(resample_segment(time_s, **beats | {"pad_s": 0.0})[1]) <= 1250
    assert len(resample_segment(time_s, **beats | {"pad_s": 0.008})[1]) >= 1247


@pytest.mark.parametrize(
    ("sampling_hz", "n_samples"),
    [(500.0, 9000), (500.0, 9001), (100.0, 6500), (128.0, 7777), (62.5, 4100), (125.0, 5000)],
)
@pytest.mark.parametrize("start_index", [0, 37])
def test_a_long_segment_is_resampled_in_blocks_to_the_same_values(
    monkeypatch, sampling_hz, n_samples, start_index
):
    samples = 50 + np.random.default_rng(0).normal(size=n_samples).cumsum()
    how = {"sampling_hz": sampling_hz, "target_hz": 125.0, "start_index": start_index}
    first, whole = resample_segment(samples, **how, pad_s=0.05)
    monkeypatch.setattr(resample, "BLOCK", 1000)
    again, in_blocks = resample_segment(samples, **how, pad_s=0.05)
    assert again == first
    np.testing.assert_allclose(in_blocks, whole, atol=1e-9)


def test_blocks_take_less_memory_than_the_samples_in_float64(monkeypatch):
    samples = np.ones(1_000_000, np.float32)
    monkeypatch.setattr(resample, "BLOCK", 20_000)
    tracemalloc.start()
    resample_segment(samples, sampling_hz=500.0, target_hz=50.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * len(samples)


@pytest.mark.parametrize(("sampling_hz", "target_hz"), [(500.0, 125.0), (100.0, 125.0)])
@pytest.mark.parametrize("tone_hz", [5.0, 43.0, 48.0])
def test_the_gain_is_what_is_left_of_the_power_of_a_tone(sampling_hz, target_hz, tone_hz):
    tone = _sine(tone_hz, sampling_hz, 60.0)
    _, values = resample_segment(tone, sampling_hz=sampling_hz, target_hz=target_hz)
    left = values[1250:-1250].var() / tone.var()
    gain = anti_alias_gain(sampling_hz, target_hz)(np.array([tone_hz]))
    assert gain == pytest.approx(left, rel=2e-3)


def test_the_anti_alias_filter_passes_most_of_the_band_and_stops_the_rest_by_57_db():
    gain = anti_alias_gain(500.0, 125.0)
    np.testing.assert_allclose(gain(np.linspace(0, 0.39 * 125, 200)), 1.0, atol=4e-3)
    assert gain(np.linspace(0.5 * 125, 250.0, 2000)).max() < 10**-5.7
    np.testing.assert_array_equal(anti_alias_gain(125.0, 125.0)(np.linspace(0, 62, 9)), 1.0)


def test_a_ratio_of_rates_is_made_of_whole_numbers_up_to_1000():
    for sampling_hz, target_hz, terms in (
        (500.0, 125.0, (1, 4)),
        (1000.0, 999.0, (999, 1000)),
        (1.0, 1000.0, (1000, 1)),
        (0.5, 0.25, (1, 2)),
        (100.0, 100.0 * (1 + 9e-10), (1, 1)),
    ):
        assert rate_ratio(sampling_hz, target_hz).as_integer_ratio() == terms
    for sampling_hz, target_hz in ((1.0, 1001.0), (1001.0, 1000.0), (100.0, 100.0 * (1 + 2e-9))):
        with pytest.raises(SignalError, match="whole numbers up to 1000"):
            rate_ratio(sampling_hz, target_hz)

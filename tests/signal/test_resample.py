import numpy as np
import pytest

from biosig_cli.core.errors import SignalError
from biosig_cli.signal.resample import resample_segment, valid_segments


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

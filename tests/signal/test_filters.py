import numpy as np
import pytest
from scipy.signal import sosfiltfilt

from biosig_cli.core.errors import ConfigError, SignalError
from biosig_cli.signal import filters
from biosig_cli.signal.filters import (
    AnyFilter,
    ButterworthConfig,
    ChebyshevIIConfig,
    response_db,
    zero_phase,
)

HALF_AMPLITUDE_DB = 20 * np.log10(0.5)
BANDS = [(0.5, 10.0), (0.5, 40.0), (0.4, 7.0), (None, 8.0), (0.5, None)]


@pytest.mark.parametrize("kind", [ButterworthConfig, ChebyshevIIConfig])
@pytest.mark.parametrize(("low_hz", "high_hz"), BANDS)
@pytest.mark.parametrize("sampling_hz", [100.0, 125.0, 500.0])
@pytest.mark.parametrize("order", [2, 4])
def test_the_whole_pass_halves_the_amplitude_at_every_configured_edge(
    kind, low_hz, high_hz, sampling_hz, order
):
    sos = kind(order=order, low_hz=low_hz, high_hz=high_hz).design(sampling_hz)
    edges = np.array([edge for edge in (low_hz, high_hz) if edge is not None])
    assert response_db(sos, edges, sampling_hz) == pytest.approx(HALF_AMPLITUDE_DB, abs=1e-3)


def test_the_pass_band_of_a_chebyshev_filter_is_flat_and_its_stop_band_is_40_db_down():
    sos = ChebyshevIIConfig(low_hz=0.5, high_hz=10.0, stop_db=20.0).design(125.0)
    inside = response_db(sos, np.linspace(0.8, 7.0, 50), 125.0)
    outside = response_db(sos, np.r_[np.linspace(0.01, 0.37, 50), np.linspace(13.5, 62.0, 50)], 125)
    assert np.abs(inside).max() < 0.5
    assert outside.max() == pytest.approx(-40.0, abs=0.1)


def _warped(frequencies_hz, edge_hz, sampling_hz):
    """Return the frequencies over the edge as the bilinear transform sees both."""
    return np.tan(np.pi * frequencies_hz / sampling_hz) / np.tan(np.pi * edge_hz / sampling_hz)


@pytest.mark.parametrize("order", [1, 3, 4])
def test_the_gain_is_that_of_the_closed_form(order):
    """Two passes make of the amplitude what one makes of the power."""
    frequencies_hz = np.linspace(0.5, 60.0, 200)
    sos = ButterworthConfig(order=order, high_hz=20.0).design(125.0)
    away = _warped(frequencies_hz, 20.0, 125.0)
    expected = -20 * np.log10(1 + away ** (2 * order))
    np.testing.assert_allclose(response_db(sos, frequencies_hz, 125.0), expected, atol=1e-6)


@pytest.mark.parametrize("order", [2, 5])
@pytest.mark.parametrize("stop_db", [20.0, 45.0])
def test_the_gain_of_a_chebyshev_filter_is_that_of_the_closed_form(order, stop_db):
    frequencies_hz = np.linspace(0.5, 60.0, 200)
    sos = ChebyshevIIConfig(order=order, high_hz=20.0, stop_db=stop_db).design(125.0)
    ripple = 10 ** (stop_db / 10) - 1
    # Where the stop band begins, over the edge with half the power: cosh(acosh(1 / eps) / n).
    stop = np.cosh(np.arccosh(np.sqrt(ripple)) / order)
    polynomial = np.polynomial.Chebyshev.basis(order)
    away = stop / _warped(frequencies_hz, 20.0, 125.0)
    expected = -20 * np.log10(1 + ripple / polynomial(away) ** 2)
    np.testing.assert_allclose(response_db(sos, frequencies_hz, 125.0), expected, atol=1e-4)


@pytest.mark.parametrize("kind", [ButterworthConfig, ChebyshevIIConfig])
def test_a_filter_for_which_nothing_is_said_has_order_4_and_loses_20_db_in_a_pass(kind):
    said = {"order": 4} | ({"stop_db": 20.0} if kind is ChebyshevIIConfig else {})
    assert kind() == kind(**said)
    assert kind().settle_s == 0.0


@pytest.mark.parametrize(
    ("kind", "name", "accepted", "refused"),
    [
        (ButterworthConfig, "order", (1, 12), (0, 13)),
        (ChebyshevIIConfig, "stop_db", (6.0, 120.0), (5.9, 120.1)),
        (ButterworthConfig, "low_hz", (0.01,), (0.0,)),
        (ButterworthConfig, "high_hz", (0.01,), (0.0,)),
    ],
)
def test_settings_that_no_filter_can_have_are_refused(kind, name, accepted, refused):
    assert [getattr(kind.parse({name: each}), name) for each in accepted] == list(accepted)
    for each in refused:
        with pytest.raises(ConfigError, match=name):
            kind.parse({name: each})


def test_a_large_offset_costs_no_more_than_it_costs_to_write_it_down():
    noise = np.random.default_rng(0).normal(size=12_500)
    config = ButterworthConfig(low_hz=0.05, high_hz=40.0)
    how = {"sos": config.design(125.0), "sampling_hz": 125.0, "settle_s": config.settle_s}
    away = zero_phase(1e9 + noise, **how) - zero_phase(noise, **how)
    assert np.abs(away).max() < 10 * np.spacing(1e9)


def test_a_frequency_that_is_gone_has_a_finite_response():
    sos = ButterworthConfig(low_hz=0.5).design(125.0)
    assert response_db(sos, np.array([0.0]), 125.0) == pytest.approx(-480.0)


@pytest.mark.parametrize(
    ("config", "gain"),
    [
        (ButterworthConfig(high_hz=10.0), 1.0),
        (ButterworthConfig(low_hz=0.5), 0.0),
        (ButterworthConfig(low_hz=0.5, high_hz=10.0), 0.0),
        (ChebyshevIIConfig(high_hz=10.0), 1.0),
        (ChebyshevIIConfig(low_hz=0.5, high_hz=10.0), 0.01),  # 20 dB in each pass
        (ChebyshevIIConfig(low_hz=0.5, high_hz=10.0, order=3), 0.0),
    ],
)
def test_a_line_comes_out_as_a_line_times_the_gain_at_0_hz(config, gain):
    lines = 5.0 + np.outer([0.0, 2.0, -7.0], np.arange(1250) / 125.0)
    filtered = zero_phase(lines, config.design(125.0), sampling_hz=125.0, settle_s=config.settle_s)
    np.testing.assert_allclose(filtered, gain * lines, atol=1e-7)


@pytest.mark.parametrize("n_samples", [4001, 4999, 5000, 9123])
def test_a_long_signal_is_filtered_in_blocks_to_the_same_values(monkeypatch, n_samples):
    samples = np.random.default_rng(0).normal(size=n_samples).cumsum()
    before = samples.copy()
    config = ButterworthConfig(low_hz=0.5, high_hz=40.0)
    how = {"sos": config.design(125.0), "sampling_hz": 125.0, "settle_s": config.settle_s}
    whole = zero_phase(samples, **how)
    monkeypatch.setattr(filters, "BLOCK", 1000)
    np.testing.assert_allclose(zero_phase(samples, **how), whole, atol=1e-9)
    np.testing.assert_array_equal(samples, before)


def test_the_ends_go_on_for_as_long_as_the_filter_settles():
    """Of noise about no line, even reflection by so many samples is all that is done."""
    samples = np.random.default_rng(0).normal(size=1250)
    samples -= np.polynomial.Polynomial.fit(np.arange(1250), samples, 1)(np.arange(1250))
    sos = ButterworthConfig(low_hz=0.5, high_hz=40.0).design(125.0)
    for settle_s, padding in ((6.0, 750), (2.001, 251), (0.0, 27), (60.0, 1249)):
        np.testing.assert_allclose(
            zero_phase(samples, sos, sampling_hz=125.0, settle_s=settle_s),
            sosfiltfilt(sos, samples, padtype="even", padlen=padding),
            atol=1e-9,
        )


def test_response_db_says_what_zero_phase_does_to_a_tone():
    sos = ButterworthConfig(low_hz=0.5, high_hz=10.0).design(125.0)
    time_s = np.arange(125 * 40) / 125
    tone = np.sin(2 * np.pi * 10.0 * time_s)
    filtered = zero_phase(tone, sos, sampling_hz=125.0, settle_s=6.0)
    middle = slice(1250, -1250)
    assert np.dot(filtered[middle], tone[middle]) / np.dot(tone[middle], tone[middle]) == (
        pytest.approx(0.5, abs=1e-3)
    )


def test_zero_phase_leaves_a_pulse_where_it_was():
    time_s = np.arange(125 * 20) / 125
    pulse = np.exp(-(((time_s - 10.0) / 0.1) ** 2))
    config = ChebyshevIIConfig(low_hz=0.5, high_hz=10.0)
    filtered = zero_phase(pulse, config.design(125.0), sampling_hz=125.0, settle_s=config.settle_s)
    assert np.argmax(filtered) == 1250
    np.testing.assert_allclose(filtered, filtered[::-1][np.r_[-1, 0:2499]], atol=1e-3)


def test_zero_phase_keeps_shape_and_dtype_and_filters_each_channel_by_itself():
    samples = np.random.default_rng(0).normal(size=(2, 1250)).astype(np.float32)
    config = ButterworthConfig(low_hz=0.5, high_hz=40.0)
    settings = {"sos": config.design(125.0), "sampling_hz": 125.0, "settle_s": config.settle_s}
    both = zero_phase(samples, **settings)
    assert both.shape == samples.shape
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both[1], zero_phase(samples[1], **settings))


@pytest.mark.parametrize("phase", np.linspace(0, 2 * np.pi, 16, endpoint=False))
def test_a_pulse_on_a_steep_drift_has_no_transient_at_the_ends(phase):
    time_s = np.arange(125 * 10) / 125
    pulse = np.sin(2 * np.pi * 1.2 * time_s + phase)
    config = ButterworthConfig(low_hz=0.5, high_hz=10.0)
    how = {"sampling_hz": 125.0, "settle_s": config.settle_s}
    filtered = zero_phase(pulse, config.design(125.0), **how)
    # Odd reflection leaves 1.0 where the record begins on a peak; a continuation of a few samples
    # of the drift would leave 1.9.
    assert np.abs(filtered - pulse).max() < 0.4
    drifting = zero_phase(pulse + 20 * time_s, config.design(125.0), **how)
    np.testing.assert_allclose(drifting, filtered, atol=1e-9)


def test_the_filter_settles_in_three_periods_of_its_lower_edge():
    assert ChebyshevIIConfig(low_hz=0.5, high_hz=10.0).settle_s == 6.0
    assert ButterworthConfig(high_hz=30.0).settle_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("low_hz", "high_hz", "said"),
    [
        (10.0, 0.5, "from 10 to 0.5 Hz is empty"),
        (5.0, 5.0, "is empty"),
        (0.5, 62.5, "62.5 Hz, expected below 62.5 Hz"),
        (80.0, None, "80 Hz, expected below 62.5 Hz"),
        (None, None, "no band edge"),
    ],
)
@pytest.mark.parametrize("kind", [ButterworthConfig, ChebyshevIIConfig])
def test_a_band_that_makes_no_sense_is_refused_with_what_to_do(kind, low_hz, high_hz, said):
    with pytest.raises(SignalError, match=said) as refused:
        kind(low_hz=low_hz, high_hz=high_hz).design(125.0)
    assert refused.value.hint


def test_samples_that_are_missing_or_too_few_are_refused():
    sos = ButterworthConfig(low_hz=0.5, high_hz=10.0).design(125.0)
    samples = np.zeros(1000)
    samples[[3, 500]] = np.nan, np.inf
    with pytest.raises(SignalError, match="2 of 1000 samples are missing"):
        zero_phase(samples, sos, sampling_hz=125.0, settle_s=6.0)
    # As many as scipy's own filter refuses: three times the length of the filter.
    with pytest.raises(SignalError, match=r"27 samples \(0.22 s\) are too few .* more than 27"):
        zero_phase(np.zeros(27), sos, sampling_hz=125.0, settle_s=6.0)
    assert zero_phase(np.zeros(28), sos, sampling_hz=125.0, settle_s=6.0).shape == (28,)


def test_a_segment_shorter_than_the_settling_time_is_still_filtered():
    config = ButterworthConfig(low_hz=0.5, high_hz=10.0)
    filtered = zero_phase(
        np.ones(100), config.design(125.0), sampling_hz=125.0, settle_s=config.settle_s
    )
    assert np.isfinite(filtered).all()


def test_the_kind_of_a_filter_in_a_config_decides_its_class():
    from pydantic import TypeAdapter

    adapter = TypeAdapter(AnyFilter)
    assert isinstance(adapter.validate_python({"kind": "chebyshev2"}), ChebyshevIIConfig)
    assert isinstance(adapter.validate_python({"kind": "butterworth"}), ButterworthConfig)


def test_a_record_that_begins_within_a_beat_is_filtered_as_in_the_middle_of_a_longer_one():
    """Odd reflection would turn about the one sample that the cut falls on, and make a step."""
    time_s = np.arange(125 * 60) / 125
    beats = np.exp(-0.5 * (((time_s % 0.8) - 0.4) / 0.02) ** 2) + 0.3 * time_s
    config = ButterworthConfig(low_hz=0.5, high_hz=40.0)
    sos, how = config.design(125.0), {"sampling_hz": 125.0, "settle_s": config.settle_s}
    whole = zero_phase(beats, sos, **how)
    first = round(30.0 * 125)  # 30.0 s lie half a beat after one: a peak
    assert whole[first] > 0.7
    piece = slice(first, first + 1250)
    error = zero_phase(beats[piece], sos, **how) - whole[piece]
    assert np.sqrt(np.mean(error**2)) < 0.1 * whole.std()

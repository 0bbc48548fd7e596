"""Denoising takes noise and leaves the pulse; what it says of itself is what it does."""

from functools import cache

import numpy as np
import pytest
import pywt

from biosig_cli.catalog import open_source
from biosig_cli.core.errors import ConfigError, SignalError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.signal.denoise import (
    DenoiseConfig,
    decibels,
    finest_gain,
    noise_power,
    wavelet_denoise,
)
from biosig_cli.signal.filters import ChebyshevIIConfig, response_db, zero_phase
from biosig_cli.signal.resample import resample_segment
from tests.signal.waves import beat_times_s, ppg

UNIVERSAL = DenoiseConfig(threshold="universal")
FILTER = ChebyshevIIConfig(low_hz=0.5, high_hz=10.0)


def snr_db(truth, found):
    return float(decibels(truth.var(), (found - truth).var()))


@cache
def pulse(duration_s=120.0):
    return ppg(beat_times_s(70, duration_s, jitter=0.1), duration_s)


def by_hand(samples, threshold, mode, seen):
    """Return one signal, denoised as the papers have it."""
    levels = pywt.wavedec(samples, "db4", mode="symmetric", level=5)
    sigma = np.median(np.abs(levels[-1])) / 0.6745 / np.sqrt(seen)
    shrunk = [levels[0]]
    for detail in levels[1:]:
        limit = universal = sigma * np.sqrt(2 * np.log(len(samples)))
        spread = np.mean(detail**2) - sigma**2
        if threshold == "adaptive" and spread > 0:  # Chang et al., equations 10 to 13
            limit = min(universal, sigma**2 / np.sqrt(spread))
        left = {"soft": limit / np.abs(detail), "garrote": (limit / detail) ** 2}[mode]
        shrunk.append(detail * np.maximum(1 - left, 0))
    return pywt.waverec(shrunk, "db4", mode="symmetric")[: len(samples)]


@pytest.mark.parametrize("seen", [1.0, 0.3])
@pytest.mark.parametrize("mode", ["soft", "garrote"])
@pytest.mark.parametrize("threshold", ["adaptive", "universal"])
def test_thresholds_are_those_of_the_papers(threshold, mode, seen):
    """Donoho and Johnstone (1994), Chang, Yu and Vetterli (2000), Gao (1998) for the garrote."""
    noise = np.random.default_rng(0).normal(size=(2, 4096))
    # Waves at every level but the finest, and noise of two sizes.
    samples = 3 * np.sin(np.arange(4096) ** 1.5 / 400) + noise * [[1.0], [0.1]]
    config = DenoiseConfig(threshold=threshold, mode=mode)
    expected = [by_hand(row, threshold, mode, seen) for row in samples]
    np.testing.assert_allclose(wavelet_denoise(samples, config, seen=seen), expected, atol=1e-12)


@pytest.mark.parametrize("threshold", ["adaptive", "universal"])
def test_noise_alone_goes(threshold):
    noise = np.random.default_rng(1).normal(size=75_000)
    left = wavelet_denoise(noise, DenoiseConfig(threshold=threshold))
    # What stays is the approximation: 1 of 32 numbers.
    assert left.var() == pytest.approx(1 / 32, rel=0.15)


@pytest.mark.parametrize("mode", ["soft", "garrote"])
@pytest.mark.parametrize("noise_db", [0, 10, 20, 30])
def test_a_noisy_pulse_comes_out_cleaner_and_by_as_much_as_is_said(mode, noise_db):
    clean = pulse()
    noise = np.random.default_rng(2).normal(size=len(clean))
    noisy = clean + noise * clean.std() * 10 ** (-noise_db / 20)
    config = DenoiseConfig(mode=mode)
    before, after = snr_db(clean, noisy), snr_db(clean, wavelet_denoise(noisy, config))
    assert after > before + 3
    said = noise_power(noisy, config, sampling_hz=125.0)
    assert decibels(clean.var(), said[0]) == pytest.approx(before, abs=0.5)
    assert decibels(clean.var(), said[1]) == pytest.approx(after, abs=1.0)


def of_power(frequencies_hz):
    """Return what a low-pass of 10 Hz leaves of the power."""
    return 1 / (1 + (frequencies_hz / 10) ** 4)


def filtered(samples, sampling_hz):
    gain = np.sqrt(of_power(np.fft.rfftfreq(samples.shape[-1], 1 / sampling_hz)))
    return np.fft.irfft(gain * np.fft.rfft(samples))


@pytest.mark.parametrize("threshold", ["adaptive", "universal"])
@pytest.mark.parametrize("mode", ["soft", "garrote"])
@pytest.mark.parametrize("gain", [None, of_power])
def test_noise_and_error_are_told_without_the_clean_signal(gain, mode, threshold):
    """Stein's estimate is right on average: over forty draws of the noise, with any gain after."""
    clean = 2 * pulse(65.536)
    noise = np.random.default_rng(6).normal(0, 0.2, (40, len(clean)))
    config = DenoiseConfig(mode=mode, threshold=threshold)
    said = noise_power(clean + noise, config, sampling_hz=125.0, gain=gain)
    error = wavelet_denoise(clean + noise, config) - clean
    after = (lambda x: x) if gain is None else (lambda x: filtered(x, 125.0))
    true = [(after(each) ** 2).mean() for each in (noise, error)]
    assert said[0].shape == said[1].shape == (40,)
    assert said[0].mean() == pytest.approx(true[0], rel=0.02)
    assert said[1].mean() == pytest.approx(true[1], rel=0.09)


@pytest.mark.parametrize("gain", [None, of_power])
def test_the_noise_of_two_seconds_is_not_overrated(gain):
    """At its five levels there are twice the numbers that two seconds have room for."""
    noise = np.random.default_rng(8).normal(size=(400, 260))
    said, _ = noise_power(noise, sampling_hz=125.0, gain=gain)
    true = noise if gain is None else filtered(noise, 125.0)
    assert said.mean() == pytest.approx(true.var(), rel=0.06)


@pytest.mark.parametrize("wavelet", ["db4", "sym8"])
def test_what_a_filter_hid_of_the_finest_level_is_counted_in(wavelet):
    config = DenoiseConfig(wavelet=wavelet, level=4)
    assert finest_gain(config, sampling_hz=125.0, gain=np.ones_like) == pytest.approx(1)
    noise = np.random.default_rng(7).normal(size=(20, 16_384))
    hidden = filtered(noise, 125.0)
    seen = finest_gain(config, sampling_hz=125.0, gain=of_power)
    details = pywt.wavedec(hidden, wavelet, level=4)[-1]
    assert seen == pytest.approx(details.var(), rel=0.02)
    power, _ = noise_power(hidden, config, sampling_hz=125.0, seen=seen)
    np.testing.assert_allclose(power.mean(), 1.0, rtol=0.03)


def test_decibels_are_ten_for_a_factor_of_ten_up_to_a_hundred():
    signal = np.array([1.0, 200, 1, 0, 1e-9, 1e30, 2e-29, 0.02])
    noise = np.array([1.0, 2, 0, 1, 1, 1e-30, 1e-30, 1e-9])
    found = decibels(signal, noise)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0, 20, 100, -100, -90, 100, 13.0103, 73.0103], atol=1e-4)


def test_length_dtype_and_rows_of_any_batch_stay_their_own():
    rows = np.stack([pulse(30.0), 5 * pulse(30.0) + 80])[:, None, :-3].astype(np.float32)
    rows += np.random.default_rng(3).normal(0, 0.05, rows.shape).astype(np.float32)
    whole = wavelet_denoise(rows)
    assert (whole.shape, whole.dtype) == (rows.shape, np.float32)
    for row, alone in zip(rows, whole, strict=True):
        np.testing.assert_allclose(wavelet_denoise(row), alone, rtol=1e-5)
    assert noise_power(rows, sampling_hz=125.0)[0].shape == (2, 1)


def test_a_signal_without_noise_stays_as_it_is():
    flat = np.full(2000, 5.0)
    np.testing.assert_allclose(wavelet_denoise(flat), flat)
    assert decibels(np.array(1.0), noise_power(flat, sampling_hz=125.0)[1]) == 100


@pytest.mark.parametrize("mode", ["soft", "garrote"])
def test_nothing_stays_nothing(mode):
    config = DenoiseConfig(mode=mode)
    assert not wavelet_denoise(np.zeros(2000), config).any()
    assert [float(each) for each in noise_power(np.zeros(2000), config, sampling_hz=50.0)] == [0, 0]


def test_a_signal_is_halved_once_to_twelve_times():
    assert [DenoiseConfig.parse({"level": level}).level for level in (1, 12)] == [1, 12]
    for level in (0, 13):
        with pytest.raises(ConfigError, match="level"):
            DenoiseConfig.parse({"level": level})


def test_a_filter_before_hides_the_noise_from_the_universal_threshold():
    """So the denoised twin is made before the band filter, not after it."""
    noisy = pulse() + 0.2 * np.random.default_rng(4).normal(size=15_000)
    sos = FILTER.design(125.0)
    filtered = zero_phase(noisy, sos, sampling_hz=125.0, settle_s=FILTER.settle_s)
    removed = filtered - wavelet_denoise(filtered, UNIVERSAL)
    assert removed.var() < 0.01 * filtered.var()
    assert (noisy - wavelet_denoise(noisy, UNIVERSAL)).var() > 0.2 * noisy.var()


@pytest.mark.parametrize("noise_db", [20, 10, 5])
def test_real_pulses_gain_in_their_band_and_the_universal_threshold_would_harm(real_data, noise_db):
    source = open_source(str(real_data / "ppg_long"))
    channels = {"PPG": ChannelConfig(kind="ppg", tracks=("cardiac",))}
    track = source.read("sub-05_task-rest_run-01", channels).tracks["PPG"]
    clean = track.samples - track.samples.mean(dtype=np.float64)
    noise = np.random.default_rng(5).normal(size=len(clean))
    noisy = clean + noise * clean.std() * 10 ** (-noise_db / 20)
    sos = FILTER.design(125.0)

    def stored(samples):
        _, values = resample_segment(samples, sampling_hz=50.0, target_hz=125.0)
        return zero_phase(values, sos, sampling_hz=125.0, settle_s=FILTER.settle_s)

    truth = stored(clean)
    before, after = (snr_db(truth, stored(each)) for each in (noisy, wavelet_denoise(noisy)))
    assert after > before + {20: 0.2, 10: 0.7, 5: 1.2}[noise_db]
    assert snr_db(truth, stored(wavelet_denoise(noisy, UNIVERSAL))) < before - 5

    def gain(frequencies_hz):
        return 10 ** (response_db(sos, frequencies_hz, 125.0) / 10)

    said = [decibels(truth.var(), each) for each in noise_power(noisy, sampling_hz=50, gain=gain)]
    np.testing.assert_allclose(said, [before, after], atol=0.7)


def test_what_can_not_be_denoised_is_refused():
    with pytest.raises(SignalError, match=r"223 samples are too few.*5 levels.*at least 224"):
        wavelet_denoise(np.zeros(223))
    assert len(wavelet_denoise(np.zeros(224))) == 224
    with pytest.raises(SignalError, match="1 of 500 samples are missing"):
        wavelet_denoise(np.r_[np.zeros(499), np.nan])
    with pytest.raises(ConfigError, match="'db99' is no discrete wavelet"):
        DenoiseConfig.parse({"wavelet": "db99"})

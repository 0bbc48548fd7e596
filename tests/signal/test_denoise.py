"""Denoising takes noise and leaves the pulse; what it says of itself is what it does."""

import numpy as np
import pytest
import pywt

from biosig_cli.catalog import open_source
from biosig_cli.core.errors import ConfigError, SignalError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.signal.denoise import DenoiseConfig, decibels, noise_power, wavelet_denoise
from biosig_cli.signal.filters import ChebyshevIIConfig, response_db, zero_phase
from biosig_cli.signal.resample import resample_segment
from tests.signal.waves import beat_times_s, ppg

UNIVERSAL = DenoiseConfig(threshold="universal")
FILTER = ChebyshevIIConfig(low_hz=0.5, high_hz=10.0)


def snr_db(truth, found):
    return float(decibels(truth.var(), (found - truth).var()))


def pulse(duration_s=600.0):
    return ppg(beat_times_s(70, duration_s, jitter=0.1), duration_s)


def test_the_universal_threshold_is_that_of_donoho_and_johnstone():
    samples = np.random.default_rng(0).normal(size=4096) + np.sin(np.arange(4096) / 40)
    levels = pywt.wavedec(samples, "db4", mode="symmetric", level=5)
    sigma = np.median(np.abs(levels[-1])) / 0.6745
    limit = sigma * np.sqrt(2 * np.log(4096))
    soft = [np.sign(d) * np.maximum(np.abs(d) - limit, 0) for d in levels[1:]]
    expected = pywt.waverec([levels[0], *soft], "db4", mode="symmetric")[:4096]
    np.testing.assert_allclose(wavelet_denoise(samples, UNIVERSAL), expected, atol=1e-12)


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


def test_a_filter_before_hides_the_noise_from_the_universal_threshold():
    """So the denoised twin is made before the band filter, not after it."""
    noisy = pulse() + 0.2 * np.random.default_rng(4).normal(size=75_000)
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

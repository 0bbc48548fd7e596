"""Similarities are those of scikit-image, and those of waves that a hand can calculate."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from biosig_cli.core.errors import ConfigError
from biosig_cli.objectives.similarity import fft_distance, low_pass, pearson, ssim_1d

SAMPLING_HZ = 125.0
BAND_HZ = (0.5, 10.0)
TIME_S = torch.arange(1250) / SAMPLING_HZ


def wave(hz: float, phase: float = 0.0, height: float = 1.0) -> torch.Tensor:
    return height * torch.sin(2 * math.pi * hz * TIME_S + phase)[None]


def test_ssim_is_that_of_scikit_image() -> None:
    rng = np.random.default_rng(0)
    target = np.cumsum(rng.normal(size=(3, 1250)), axis=-1)
    target = (target - target.mean(-1, keepdims=True)) / target.std(-1, keepdims=True)
    prediction = target + rng.normal(scale=0.3, size=target.shape)
    expected = [
        structural_similarity(
            first, second, data_range=8.0, gaussian_weights=True, use_sample_covariance=False
        )
        for first, second in zip(prediction, target, strict=True)
    ]
    found = ssim_1d(torch.tensor(prediction), torch.tensor(target), data_range=8.0)
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_ssim_of_two_levels_is_their_luminance() -> None:
    one, two = torch.ones(1, 11), torch.full((1, 11), 2.0)
    # Without variance the structure is 1; (2 * 1 * 2 + c1) / (1 + 4 + c1), c1 = (0.01 * 8) ** 2.
    assert ssim_1d(one, two, data_range=8.0).item() == pytest.approx(4.0064 / 5.0064, rel=1e-4)
    assert ssim_1d(one, one, data_range=8.0).item() == pytest.approx(1.0)


def test_signal_shorter_than_the_window_of_ssim_is_refused() -> None:
    with pytest.raises(ConfigError, match="10 samples are shorter than the window"):
        ssim_1d(torch.zeros(1, 10), torch.zeros(1, 10), data_range=8.0)


@pytest.mark.parametrize("phase", [0.0, math.pi / 3, math.pi / 2, math.pi])
def test_phase_error_of_a_wave_is_one_minus_the_cosine(phase: float) -> None:
    spectra = fft_distance(wave(1.5, phase), wave(1.5), sampling_hz=SAMPLING_HZ, band_hz=BAND_HZ)
    assert spectra.phase.item() == pytest.approx(1 - math.cos(phase), abs=1e-3)
    assert spectra.magnitude.item() == pytest.approx(0.0, abs=1e-4)


def test_magnitude_error_of_a_wave_is_half_the_square_of_the_difference_in_height() -> None:
    # A wave of height h has mean square h ** 2 / 2; its phase is right, its height 1.0 too low.
    spectra = fft_distance(
        wave(1.5), wave(1.5, height=2.0), sampling_hz=SAMPLING_HZ, band_hz=BAND_HZ
    )
    assert spectra.magnitude.item() == pytest.approx(0.5, rel=1e-3)
    assert spectra.phase.item() == pytest.approx(0.0, abs=1e-3)


def test_phases_are_weighted_by_magnitude() -> None:
    target = wave(1.0, height=3.0) + wave(2.0, height=1.0)
    prediction = wave(1.0, height=3.0) + wave(2.0, math.pi, height=1.0)
    spectra = fft_distance(prediction, target, sampling_hz=SAMPLING_HZ, band_hz=BAND_HZ)
    # One quarter of the magnitude is opposite, which costs 2.
    assert spectra.phase.item() == pytest.approx(0.5, abs=0.01)


def test_waves_outside_the_band_and_the_mean_do_not_count() -> None:
    prediction = wave(1.5) + wave(0.2) + wave(20.0) + 3.0
    spectra = fft_distance(prediction, wave(1.5), sampling_hz=SAMPLING_HZ, band_hz=BAND_HZ)
    assert spectra.total.item() == pytest.approx(0.0, abs=1e-3)


def test_edges_of_the_band_are_in_it() -> None:
    for hz in BAND_HZ:
        spectra = fft_distance(
            torch.zeros(1, 1250), wave(hz), sampling_hz=SAMPLING_HZ, band_hz=BAND_HZ
        )
        assert spectra.magnitude.item() == pytest.approx(0.5, rel=1e-3)


def test_zero_scores_about_one_on_a_normalized_signal() -> None:
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(8, 1250, generator=rng)
    spectrum = torch.fft.rfft(noise)
    spectrum[:, :5] = 0
    spectrum[:, 101:] = 0
    target = torch.fft.irfft(spectrum)
    target = target / target.std(-1, keepdim=True)
    spectra = fft_distance(
        torch.zeros_like(target), target, sampling_hz=SAMPLING_HZ, band_hz=BAND_HZ
    )
    assert spectra.magnitude.tolist() == pytest.approx([1.0] * 8, rel=0.01)
    assert spectra.total.mean().item() == pytest.approx(1.0, abs=0.1)


def test_gradients_at_silence_are_finite() -> None:
    silence = torch.zeros(1, 1250, requires_grad=True)
    spectra = fft_distance(silence, wave(1.5), sampling_hz=SAMPLING_HZ, band_hz=BAND_HZ)
    (spectra.total + ssim_1d(silence, wave(1.5), 8.0)).sum().backward()
    assert silence.grad is not None
    assert torch.isfinite(silence.grad).all()


def test_band_without_a_wave_is_refused() -> None:
    short = torch.zeros(1, 50)
    with pytest.raises(ConfigError, match=r"0.4 s have no wave between 0.5 and 2 Hz"):
        fft_distance(short, short, sampling_hz=SAMPLING_HZ, band_hz=(0.5, 2.0))


def test_pearson_is_that_of_numpy_and_zero_for_a_flat_answer() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 4, 100)) + 5
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)]
    found = pearson(torch.tensor(first), torch.tensor(second))
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert pearson(torch.ones(1, 100), torch.tensor(second[:1])).item() == 0


def test_low_pass_spends_two_numbers_on_every_wave_but_the_mean() -> None:
    signal = 1.0 + wave(0.1) + wave(0.2) + wave(0.3)
    # The mean, and the waves of 0.1 and 0.2 Hz.
    torch.testing.assert_close(low_pass(signal, 5), 1.0 + wave(0.1) + wave(0.2), atol=1e-5, rtol=0)
    torch.testing.assert_close(low_pass(signal, 6), low_pass(signal, 5))

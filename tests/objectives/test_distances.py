"""Distances give the numbers that a hand calculation gives."""

import numpy as np
import pytest
import scipy.signal
import torch

from biosig_cli.core.errors import ConfigError
from biosig_cli.objectives.distances import MultiResolutionStft, interpolate, masked_mse


def test_masked_mse_counts_hidden_patches_only() -> None:
    target = torch.zeros(1, 1, 3, 2)
    prediction = torch.tensor([[[[1.0, 1.0], [2.0, 4.0], [100.0, 100.0]]]])
    hidden = torch.tensor([[[True, True, False]]])
    # ((1 + 1) / 2 + (4 + 16) / 2) / 2
    assert masked_mse(prediction, target, hidden).item() == pytest.approx(5.5)


def test_stft_distance_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 1250))
    n_fft = 256
    window = np.hanning(n_fft + 1)[:-1]

    def log_magnitude(signal: np.ndarray) -> np.ndarray:
        padded = np.pad(signal, n_fft // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[:: n_fft // 4]
        return np.log1p(np.abs(np.fft.rfft(frames * window)))

    apart = np.abs(log_magnitude(first) - log_magnitude(second))
    # Huber: a difference d costs d - 0.05, and d * d / 0.2 where it is below 0.1.
    expected = np.where(apart < 0.1, apart**2 / 0.2, apart - 0.05).mean()
    distance = MultiResolutionStft([n_fft], 1250)
    found = distance(torch.tensor(first)[None], torch.tensor(second)[None])
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert scipy.signal.get_window("hann", n_fft) == pytest.approx(window)


def test_silence_against_near_silence_costs_next_to_nothing() -> None:
    distance = MultiResolutionStft([256, 512], 1250)
    silence = torch.zeros(1, 1250)
    assert distance(silence, silence + 1e-6 * torch.randn(1, 1250)).item() < 1e-4


def test_gradient_at_silence_is_finite() -> None:
    silence = torch.zeros(1, 1250, requires_grad=True)
    MultiResolutionStft([256], 1250)(silence, torch.ones(1, 1250)).backward()
    assert silence.grad is not None
    assert torch.isfinite(silence.grad).all()


def test_window_longer_than_the_signal_is_refused_naming_one_that_fits() -> None:
    MultiResolutionStft([1024], 1250)
    with pytest.raises(ConfigError, match="2048 is longer than the signal of 1250") as caught:
        MultiResolutionStft([512, 2048], 1250)
    assert "is 1024" in caught.value.hint


def test_interpolation_draws_lines_and_holds_the_ends() -> None:
    signal = torch.tensor([[9.0, 9.0, 2.0, 9.0, 9.0, 5.0, 9.0]])
    hidden = torch.tensor([[True, True, False, True, True, False, True]])
    expected = torch.tensor([[2.0, 2.0, 2.0, 3.0, 4.0, 5.0, 5.0]])
    torch.testing.assert_close(interpolate(signal, hidden), expected)

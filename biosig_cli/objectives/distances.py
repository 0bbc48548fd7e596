"""How far a prediction is from its target: in samples, and in spectra."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biosig_cli.core.errors import ConfigError


def masked_mse(prediction: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Return the mean squared error over hidden patches only.

    Args:
        prediction: (B, C, P, L).
        target: (B, C, P, L).
        hidden: (B, C, P) bool, the same number in every window.

    Returns:
        () float32.
    """
    error = (prediction.float() - target.float()).square().mean(dim=-1)
    return (error * hidden).sum() / hidden.sum()


SMOOTH = 0.1
"""Differences of log(|S| + 1) below this cost their square. The sign of a difference that is
nothing but rounding, as in a filter's stop band, makes two ways to sum a batch drift apart."""


class MultiResolutionStft(nn.Module):
    """Distance of two signals in the magnitude of their short-time spectra.

    L1 distance of log(|S| + 1), smooth near zero, averaged over resolutions; Hann window, hop of a
    quarter window.

    Args:
        n_ffts: Lengths of the windows, in samples.
        n_samples: Length of the signals.

    Raises:
        ConfigError: If a window is longer than the signal.

    Source:
        Yamamoto, Song, Kim, ICASSP 2020, doi 10.1109/ICASSP40776.2020.9053795, equation 5 (the
        log-magnitude term). Deviations: log(|S| + 1) instead of log|S|, because with a small
        epsilon the stop band of the filters, which holds nothing but rounding, decides the loss;
        smooth below 0.1 (Huber), for the same reason; no spectral convergence term.
    """

    def __init__(self, n_ffts: Sequence[int], n_samples: int) -> None:
        super().__init__()
        too_long = [n_fft for n_fft in n_ffts if n_fft > n_samples]
        if too_long:
            fitting = 2 ** (n_samples.bit_length() - 1)
            raise ConfigError(
                f"STFT window {max(too_long)} is longer than the signal of {n_samples} samples",
                hint=f"the largest power of two that fits is {fitting}: "
                f"--set objectives.masked.n_ffts=[{fitting // 4},{fitting // 2},{fitting}]",
            )
        self.n_ffts = tuple(n_ffts)
        for n_fft in n_ffts:
            self.register_buffer(f"hann_{n_fft}", torch.hann_window(n_fft), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the distance of signals (N, T), as () float32."""
        each = [
            F.smooth_l1_loss(
                self._log_magnitude(prediction, n_fft),
                self._log_magnitude(target, n_fft),
                beta=SMOOTH,
            )
            for n_fft in self.n_ffts
        ]
        return torch.stack(each).mean()

    def _log_magnitude(self, signal: Tensor, n_fft: int) -> Tensor:
        window = self.get_buffer(f"hann_{n_fft}")
        spectrum = torch.stft(
            signal.float(), n_fft, hop_length=n_fft // 4, window=window, return_complex=True
        )
        return spectrum.abs().log1p()


def interpolate(signal: Tensor, hidden: Tensor) -> Tensor:
    """Fill hidden samples by a straight line between their visible neighbours.

    Where one side has no visible sample, the nearest visible one is held.

    Args:
        signal: (..., T).
        hidden: (..., T) bool, with at least one sample visible in each row.

    Returns:
        (..., T) the signal, hidden samples replaced.
    """
    n_samples = signal.shape[-1]
    index = torch.arange(n_samples, device=signal.device).expand(signal.shape)
    before = index.masked_fill(hidden, -1).cummax(dim=-1).values
    after = index.masked_fill(hidden, n_samples).flip(-1).cummin(dim=-1).values.flip(-1)
    left = torch.where(before < 0, after, before)
    right = torch.where(after == n_samples, left, after)
    fraction = (index - left) / (right - left).clamp(min=1)
    start, end = signal.gather(-1, left), signal.gather(-1, right)
    return torch.where(hidden, start + fraction * (end - start), signal)

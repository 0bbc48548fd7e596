"""How alike two signals are: in their local structure, and in the waves they are made of."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from biosig_cli.core.errors import ConfigError

SSIM_SIGMA = 1.5
"""Width of the window, in samples."""
SSIM_RADIUS = 5
"""Samples on either side: the window is cut after 3.5 sigma, and has 11 samples."""
SSIM_K = (0.01, 0.03)
"""What keeps the quotients of the similarity finite, as parts of the data range."""

PHASE_FLOOR = 0.1
"""Waves below this part of the target's root mean square hardly have a phase."""


def ssim_1d(prediction: Tensor, target: Tensor, data_range: float) -> Tensor:
    """Return the mean structural similarity of each signal to its target: 1 if they are the same.

    Local means, variances and covariances are taken under a Gaussian window of 11 samples; the
    five samples at either end, where it does not fit, are not counted.

    Args:
        prediction: (N, T), T >= 11.
        target: (N, T).
        data_range: From the lowest to the highest value that signals have: 8 for z-scores, 1 for
            [0, 1]. Where the target is much smaller than this, everything is similar.

    Returns:
        (N,) float32.

    Raises:
        ConfigError: If the signals are shorter than the window.

    Source:
        Wang et al., IEEE TIP 13(4), 2004, doi 10.1109/TIP.2003.819861, equation 13, as
        `skimage.metrics.structural_similarity` with `gaussian_weights=True`,
        `use_sample_covariance=False`. Deviation: one dimension.
    """
    n_samples = target.shape[-1]
    if n_samples < 2 * SSIM_RADIUS + 1:
        raise ConfigError(
            f"signals of {n_samples} samples are shorter than the window of SSIM, "
            f"{2 * SSIM_RADIUS + 1} samples",
            hint="give longer windows, or give the weight of ssim to mse and fft",
        )
    first, second = prediction.float(), target.float()
    c1, c2 = ((k * data_range) ** 2 for k in SSIM_K)
    moments = torch.stack([first, second, first * first + second * second, first * second])
    mean1, mean2, power, product = _smooth(moments)
    means, squares = mean1 * mean2, mean1 * mean1 + mean2 * mean2
    luminance = (2 * means + c1) / (squares + c1)
    structure = (2 * (product - means) + c2) / (power - squares + c2)
    similarity: Tensor = (luminance * structure).mean(-1)
    return similarity


def _smooth(signals: Tensor) -> Tensor:
    """Return signals (..., T) under the Gaussian window, (..., T - 10)."""
    place = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, device=signals.device)
    window = torch.exp(-0.5 * (place / SSIM_SIGMA) ** 2)
    flat = signals.reshape(-1, 1, signals.shape[-1])
    smooth = F.conv1d(flat, (window / window.sum())[None, None])
    return smooth.view(*signals.shape[:-1], -1)


@dataclass(frozen=True)
class SpectralDistance:
    """How far apart the spectra of signals are.

    Attributes:
        magnitude: (N,) float32, in the units of a mean squared error.
        phase: (N,) float32, from 0 to 2.
    """

    magnitude: Tensor
    phase: Tensor

    @property
    def total(self) -> Tensor:
        """The mean of both: about 1 for an answer of zero to a signal of variance 1."""
        return (self.magnitude + self.phase) / 2


def fft_distance(
    prediction: Tensor, target: Tensor, *, sampling_hz: float, band_hz: tuple[float, float]
) -> SpectralDistance:
    """Return how far each signal is from its target in the magnitudes and phases of their waves.

    The magnitude error is the sum of squared differences, scaled so that the waves of a signal
    sum to its mean square: zero scores the part of the target's variance that is in the band. The
    phase error is the mean over waves of 1 - cos(difference), weighted by the target's magnitude:
    opposite waves score 2, waves of random phase 1, and so does zero, nearly. A wave
    far below the target's root mean square counts as having no phase.

    Args:
        prediction: (N, T).
        target: (N, T), with something in the band.
        sampling_hz: Sampling rate, in Hz.
        band_hz: Lowest and highest wave that counts, in Hz; what is constant never does.

    Raises:
        ConfigError: If the signals are too short to have a wave in the band.
    """
    n_samples = target.shape[-1]
    waves = waves_between(n_samples, sampling_hz, band_hz)
    # Two for the negative frequencies that a real signal has as well.
    scale = 2**0.5 / n_samples
    answer, truth = (
        torch.view_as_real(torch.fft.rfft(signal.float())[..., waves] * scale)
        for signal in (prediction, target)
    )
    power, true_power = answer.square().sum(-1), truth.square().sum(-1)
    # The root of a square has no slope at zero, where a first answer may be.
    size, true_size = (power + 1e-20).sqrt(), (true_power + 1e-20).sqrt()
    magnitude = (size - true_size).square().sum(-1)
    floor = PHASE_FLOOR**2 * true_power.mean(-1, keepdim=True) + 1e-20
    cosine = ((answer * truth).sum(-1) + floor) / ((power + floor) * (true_power + floor)).sqrt()
    weights = true_size / true_size.sum(-1, keepdim=True)
    return SpectralDistance(magnitude, (weights * (1 - cosine)).sum(-1))


def waves_between(n_samples: int, sampling_hz: float, band_hz: tuple[float, float]) -> slice:
    """Return which waves of a spectrum are in the band, never the first, which is the mean."""
    duration_s = n_samples / sampling_hz
    low_hz, high_hz = band_hz
    # Rounded first: 0.5 Hz times 10 s may come out as 5.000000001.
    first = max(1, int(-(-round(low_hz * duration_s, 6) // 1)))
    last = min(n_samples // 2, int(round(high_hz * duration_s, 6)))
    if first > last:
        raise ConfigError(
            f"signals of {duration_s:g} s have no wave between {low_hz:g} and {high_hz:g} Hz",
            hint=f"give longer windows or crops, or a band wider than {1 / duration_s:.2g} Hz",
        )
    return slice(first, last + 1)


def pearson(prediction: Tensor, target: Tensor) -> Tensor:
    """Return (N,) how signals (N, T) go along with each other; 0 where one of two is flat."""
    first, second = (
        each.float() - each.float().mean(-1, keepdim=True) for each in (prediction, target)
    )
    spread = first.square().sum(-1) * second.square().sum(-1)
    correlation: Tensor = (first * second).sum(-1) / spread.clamp(min=1e-20).sqrt()
    return correlation


def low_pass(signal: Tensor, n_numbers: int) -> Tensor:
    """Return what `n_numbers` numbers can say of a signal if they are spent on its slowest waves.

    Args:
        signal: (..., T).
        n_numbers: Numbers kept: the mean is one, every further wave takes two.
    """
    spectrum = torch.fft.rfft(signal.float())
    spectrum[..., 1 + max(0, n_numbers - 1) // 2 :] = 0
    slow: Tensor = torch.fft.irfft(spectrum, n=signal.shape[-1])
    return slow

"""Other windows that could as well have been recorded: moved, scaled, drifting, noisy."""

import math

import torch
from pydantic import Field, field_validator
from torch import Tensor

from biosig_cli.core.config import Config
from biosig_cli.engine.draws import fork, uniform

PULSE_HZ = (0.5, 5.0)
"""Where the pulse and its harmonics are; everything else in a window is taken for noise."""

NOISE = 1
"""Purpose of the draws that noise is made of."""

Range = tuple[float, float]


class AugmentConfig(Config):
    """How much a training window is changed, and how often."""

    shift: float = Field(0.1, ge=0, le=0.5)
    """Longest circular shift either way, as a part of the window."""
    shift_p: float = Field(0.5, ge=0, le=1)
    """Share of windows that are shifted; 0 switches it off, as for all that follow."""
    scale: Range = (0.85, 1.15)
    """What a window is multiplied by."""
    scale_p: float = Field(1.0, ge=0, le=1)
    """Share of windows that are scaled."""
    wander_hz: float = Field(0.2, gt=0)
    """Frequency at which the baseline wanders: breathing, at rest."""
    wander: Range = (0.05, 0.25)
    """How far the baseline wanders either way, in standard deviations of the window."""
    wander_p: float = Field(0.6, ge=0, le=1)
    """Share of windows whose baseline wanders."""
    snr: float = Field(0.8, gt=0, le=1)
    """What noise leaves of a window's own signal-to-noise ratio in dB."""
    noise_p: float = Field(0.4, ge=0, le=1)
    """Share of windows that get noise."""

    @field_validator("scale", "wander")
    @classmethod
    def _ranges_rise(cls, ends: Range) -> Range:
        if not 0 <= ends[0] <= ends[1]:
            raise ValueError(f"a range goes from a smaller to a larger number, not {list(ends)}")
        return ends

    @property
    def changes_anything(self) -> bool:
        """Whether any window is changed at all."""
        return any((self.shift_p, self.scale_p, self.wander_p, self.noise_p))


def augment(
    signal: Tensor, target: Tensor, keys: Tensor, config: AugmentConfig, sampling_hz: float
) -> tuple[Tensor, Tensor]:
    """Return windows changed as `config` says, and their targets.

    What moves or scales the window moves and scales its target; what disturbs it, baseline wander
    and noise, is added to the input alone, after that. The time between beats stays as it is.

    Args:
        signal: (B, C, T), the windows.
        target: (B, C, T), what is to be made of them.
        keys: (B,) int64 keys to draw from; the same ones give the same change in any batch.
        config: How much and how often.
        sampling_hz: Sampling rate, in Hz.

    Returns:
        Both, (B, C, T) float32.
    """
    draws = uniform(keys, 8)
    is_shifted, is_scaled, wanders, is_noisy = (
        draws[:, place] < p
        for place, p in enumerate((config.shift_p, config.scale_p, config.wander_p, config.noise_p))
    )
    places = (2 * draws[:, 4] - 1) * config.shift * signal.shape[-1] * is_shifted
    scale = torch.where(is_scaled, _between(draws[:, 5], config.scale), 1.0)[:, None, None]
    scale = scale.to(signal.dtype)
    signal, target = (scale * roll(each, places.round().long()) for each in (signal, target))
    wander = _wander(signal, draws[:, 6], draws[:, 7], config, sampling_hz)
    changed = signal + wanders[:, None, None] * wander
    if config.noise_p:
        # For every window, also those that get none: a GPU need not be asked how many there are.
        noise = gaussian(fork(keys, NOISE), signal[0].numel()).view_as(signal)
        level = noise_level(signal, config.snr, sampling_hz)
        changed = changed + is_noisy[:, None, None] * level * noise
    return changed, target


def roll(windows: Tensor, places: Tensor) -> Tensor:
    """Return windows (B, C, T), each turned by its own number (B,) of samples to the right."""
    n_samples = windows.shape[-1]
    time = torch.arange(n_samples, device=windows.device)
    origin = (time - places[:, None]) % n_samples
    return windows.gather(-1, origin[:, None].expand_as(windows))


def _wander(
    signal: Tensor, size: Tensor, phase: Tensor, config: AugmentConfig, sampling_hz: float
) -> Tensor:
    """Return a slow wave (B, C, T) in the units of each window."""
    time_s = torch.arange(signal.shape[-1], device=signal.device) / sampling_hz
    wave = torch.sin(2 * math.pi * (config.wander_hz * time_s + phase[:, None]))
    height = _between(size, config.wander)[:, None, None] * signal.std(-1, keepdim=True)
    return (height * wave[:, None]).to(signal.dtype)


def noise_level(signal: Tensor, part: float, sampling_hz: float) -> Tensor:
    """Return the deviation of white noise that leaves `part` of a window's SNR in dB.

    The signal-to-noise ratio of a window is the power between 0.5 and 5 Hz over the power
    elsewhere, without the mean. What the noise adds between 0.5 and 5 Hz counts as signal, too,
    so that the ratio measured afterwards is the one that was meant. A window with more power
    elsewhere than in that band has no ratio that could be made smaller so: it gets no noise.

    Args:
        signal: (B, C, T).
        part: From 0 to 1, such as 0.8: from 20 dB to 16 dB.
        sampling_hz: Sampling rate, in Hz.

    Returns:
        (B, C, 1) in the units of the signal.
    """
    pulse, rest, share = _powers(signal, sampling_hz)
    wanted = (pulse / torch.maximum(rest, 1e-9 * pulse).clamp(min=1e-30)).pow(part)
    variance = (pulse - wanted * rest) / (wanted * (1 - share) - share)
    return torch.where(pulse > rest, variance.clamp(min=0).sqrt(), 0.0)[..., None]


def snr_db(signal: Tensor, sampling_hz: float) -> Tensor:
    """Return the signal-to-noise ratio (B, C) of windows (B, C, T) in dB; see `noise_level`."""
    pulse, rest, _ = _powers(signal, sampling_hz)
    return 10 * torch.log10(pulse / rest)


def _powers(signal: Tensor, sampling_hz: float) -> tuple[Tensor, Tensor, float]:
    """Return the power (B, C) in the band of the pulse, and elsewhere; and that band's width.

    The width is a share of all there is: the share of white noise that falls into the band.
    """
    n_samples = signal.shape[-1]
    power = torch.fft.rfft(signal).abs().square() * (2 / n_samples**2)
    waves_hz = torch.fft.rfftfreq(n_samples, 1 / sampling_hz, device=signal.device)
    is_pulse = (waves_hz >= PULSE_HZ[0]) & (waves_hz <= PULSE_HZ[1])
    pulse = (power * is_pulse).sum(-1)
    rest = (power * ~is_pulse)[..., 1:].sum(-1)
    return pulse, rest, float(is_pulse.sum()) / (n_samples / 2)


def gaussian(keys: Tensor, n: int) -> Tensor:
    """Return `n` draws (B, n) float32 of a standard normal distribution per key.

    Source:
        Box and Muller, Ann. Math. Statist. 29(2), 1958, doi 10.1214/aoms/1177706645.
    """
    n_pairs = -(-n // 2)
    draws = uniform(keys, 2 * n_pairs).to(torch.float32)
    # A draw of 0 would be infinitely far away.
    radius = (-2 * (1 - draws[:, :n_pairs]).clamp(min=1e-7).log()).sqrt()
    angle = 2 * math.pi * draws[:, n_pairs:]
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :n]


def _between(draws: Tensor, ends: Range) -> Tensor:
    """Return draws from [0, 1) as draws from the range `ends`."""
    return ends[0] + (ends[1] - ends[0]) * draws

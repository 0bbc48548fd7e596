"""Artefacts such as movement makes, drawn for each window, to be put on signals that are clean."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from biosig_cli.engine.draws import fork, uniform

TINY = 1e-6


class Damaged(NamedTuple):
    """Windows with artefacts."""

    signal: Tensor
    """(N, T), of unit deviation."""
    snr_db: Tensor
    """(N,) power of the signal against that of the artefact."""


class _Draws:
    """Uniform draws for N windows, each time others."""

    def __init__(self, keys: Tensor) -> None:
        self.keys, self.n_taken = keys, 0

    def take(self, n: int = 1) -> Tensor:
        """Return (N, n) draws in [0, 1)."""
        self.n_taken += 1
        return uniform(fork(self.keys, self.n_taken), n).float()


def scaled(signal: Tensor) -> Tensor:
    """Return signals (..., T) with mean 0 and deviation 1; flat ones stay 0."""
    centred = signal - signal.mean(dim=-1, keepdim=True)
    return centred / centred.std(dim=-1, keepdim=True, correction=0).clamp(min=TINY)


class Played(NamedTuple):
    """Windows at another speed."""

    signal: Tensor
    """(B, C, T)."""
    speed: Tensor
    """(B,) how many times faster than recorded."""


def change_speed(signal: Tensor, keys: Tensor, *, slowest: float, fastest: float) -> Played:
    """Play windows faster or slower, from a random moment, so that hearts beat at other rates.

    At its ends a window is folded back, which keeps it continuous. All channels alike.

    Args:
        signal: (B, C, T).
        keys: (B,) int64 keys to draw from.
        slowest: Lowest speed.
        fastest: Highest speed; speeds are drawn evenly on a logarithmic scale.
    """
    n_samples = signal.shape[-1]
    draw = uniform(keys, 2)
    speed = slowest * (fastest / slowest) ** draw[:, :1]
    last = n_samples - 1
    moment = draw[:, 1:] * 2 * last + speed * torch.arange(n_samples, device=signal.device)
    place = last - (moment % (2 * last) - last).abs()
    before = place.long().clamp(max=last - 1)
    part = (place - before)[:, None].to(signal.dtype)
    index = before[:, None].expand(-1, signal.shape[1], -1)
    played = signal.gather(2, index) * (1 - part) + signal.gather(2, index + 1) * part
    return Played(played, speed[:, 0])


def add_artefacts(
    signal: Tensor,
    keys: Tensor,
    *,
    sampling_hz: float,
    highest_hz: Tensor,
    snr_db: tuple[float, float],
    clean_share: float,
) -> Damaged:
    """Damage windows: noise, rhythmic movement, short bursts, and steps of the amplitude.

    Args:
        signal: (N, T) clean windows.
        keys: (N,) int64 keys to draw from.
        sampling_hz: Their sampling rate.
        highest_hz: (N, 1) upper edge of the band of each window's signal.
        snr_db: Range from which the ratio of signal to artefact is drawn.
        clean_share: Part of the windows that are left as they are; they count as the highest ratio.
    """
    draws = _Draws(keys)
    noise = _noise(draws, signal.shape[-1], sampling_hz, 0.5, highest_hz, 3 * draws.take())
    motion = _motion(draws, signal.shape[-1], sampling_hz)
    burst = _burst(draws, signal.shape[-1], sampling_hz, highest_hz)
    there = draws.take(3) < 0.5
    there[:, 0] |= ~there.any(dim=1)
    weight = draws.take(3) * there
    mixed = weight[:, :1] * noise + weight[:, 1:2] * motion + weight[:, 2:] * burst
    low, high = snr_db
    ratio_db = low + (high - low) * draws.take()
    ratio_db = torch.where(draws.take() < clean_share, math.inf, ratio_db)
    weakened = scaled(signal) * _step(draws, signal.shape[-1], sampling_hz)
    damaged = weakened + scaled(mixed) * 10 ** (-ratio_db / 20)
    return Damaged(scaled(damaged), ratio_db.clamp(max=high)[:, 0])


def _seconds(n_samples: int, sampling_hz: float, like: Tensor) -> Tensor:
    return torch.arange(n_samples, device=like.device) / sampling_hz


def _noise(
    draws: _Draws,
    n_samples: int,
    sampling_hz: float,
    low_hz: float,
    high_hz: Tensor | float,
    slope: Tensor | float,
) -> Tensor:
    """Return Gaussian noise (N, T) whose power falls with frequency to the power of `slope`."""
    frequency_hz = torch.fft.rfftfreq(n_samples, 1 / sampling_hz).to(draws.keys.device)
    size = frequency_hz.clamp(min=frequency_hz[1]) ** (-slope / 2)
    size = size * ((frequency_hz >= low_hz) & (frequency_hz <= high_hz))
    n = len(frequency_hz)
    length = (-2 * draws.take(n).clamp(min=TINY).log()).sqrt()
    spectrum = torch.polar(size * length, 2 * math.pi * draws.take(n))
    return scaled(torch.fft.irfft(spectrum, n=n_samples))


def _motion(draws: _Draws, n_samples: int, sampling_hz: float) -> Tensor:
    """Return a rhythm (N, T) of 0.6 to 3.5 Hz with harmonics, its rate and strength wandering."""
    drift = 0.06 * draws.take() * _noise(draws, n_samples, sampling_hz, 0.05, 0.5, 0.0)
    rate_hz = (0.6 + 2.9 * draws.take()) * (1 + drift)
    phase = 2 * math.pi * rate_hz.cumsum(dim=-1) / sampling_hz
    sizes, starts = draws.take(4), 2 * math.pi * draws.take(4)
    waves: Sequence[Tensor] = [
        sizes[:, k - 1 : k] / k * torch.sin(k * phase + starts[:, k - 1 : k]) for k in range(1, 5)
    ]
    strength = 0.5 * draws.take() * _noise(draws, n_samples, sampling_hz, 0.05, 0.6, 0.0)
    return scaled(sum(waves, torch.zeros_like(phase)) * strength.exp())


def _burst(draws: _Draws, n_samples: int, sampling_hz: float, high_hz: Tensor) -> Tensor:
    """Return noise (N, T) that lasts from half a second to six."""
    seconds = _seconds(n_samples, sampling_hz, draws.keys)
    centre_s, half_s = seconds[-1] * draws.take(), 0.3 + 2.5 * draws.take()
    envelope = torch.sigmoid(6 * (half_s - (seconds - centre_s).abs()))
    return scaled(envelope * _noise(draws, n_samples, sampling_hz, 0.5, high_hz, 2 * draws.take()))


def _step(draws: _Draws, n_samples: int, sampling_hz: float) -> Tensor:
    """Return a gain (N, T): one, in a quarter of the windows down to an eighth before or after."""
    seconds = _seconds(n_samples, sampling_hz, draws.keys)
    part = torch.sigmoid(8 * (seconds - seconds[-1] * draws.take()))
    part = torch.where(draws.take() < 0.5, part, 1 - part)
    low = torch.exp(-2 * draws.take())
    low = torch.where(draws.take() < 0.25, low, 1.0)
    return part + (1 - part) * low

"""Take noise out of a signal without touching its waves, and say how much of it was there.

A wavelet transform puts a pulse into few large numbers and noise into many small ones; those below
a threshold go. What counts is where this is done: after a filter has emptied the finest level,
nothing is left there to measure the noise by.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pywt
from numpy.typing import NDArray
from pydantic import Field, field_validator

from biosig_cli.core.config import Config
from biosig_cli.core.errors import SignalError

Floats = NDArray[np.float64]
Gain = Callable[[Floats], Floats]
"""From frequencies, in Hz, to what part of the power there a filter leaves."""
MAD_OF_NORMAL = 0.6745
"""Median of the absolute value of normal numbers of spread 1."""
N_RESPONSE = 1 << 14
"""Samples over which the spectrum of a wavelet is taken."""
MOST_DB = 100.0
"""What is called noise-free: float16 itself is 66 dB or less."""


class DenoiseConfig(Config):
    """How the denoised twin of a signal is made."""

    wavelet: str = "db4"
    """Discrete wavelet, as PyWavelets calls it."""
    level: int = Field(5, ge=1, le=12)
    """How many times the signal is halved; at 125 Hz, five reach down to 2 Hz."""
    mode: Literal["soft", "garrote"] = "soft"
    """What becomes of larger numbers: moved towards zero by the threshold, or hardly touched."""
    threshold: Literal["adaptive", "universal"] = "adaptive"
    """`universal` is s sqrt(2 ln n) at every level, s the noise of the finest. `adaptive` lowers it
    to s^2 / signal at the levels that hold signal, which the universal one takes away too."""
    channels: tuple[str, ...] = ()
    """Channels to denoise; those of kind ppg when left out."""

    @field_validator("wavelet")
    @classmethod
    def _is_known(cls, wavelet: str) -> str:
        if wavelet not in pywt.wavelist(kind="discrete"):
            raise ValueError(f"{wavelet!r} is no discrete wavelet of PyWavelets, such as db4, sym8")
        return wavelet


def wavelet_denoise(
    samples: NDArray[np.floating],
    config: DenoiseConfig | None = None,
    *,
    seen: float = 1.0,
) -> NDArray[np.floating]:
    """Return a signal without the noise that its finest details show.

    Args:
        samples: (..., T) continuous signal without gaps, in any unit, not yet low-passed: sampled
            no faster than it was recorded, so that the finest level holds noise.
        config: Wavelet, depth and threshold; by default db4, 5 levels, soft, adaptive.
        seen: Part of the power of white noise that the finest level still holds; see `finest_gain`.

    Returns:
        (..., T) denoised signal, in the unit and dtype of `samples`.

    Raises:
        SignalError: If a sample is missing, or the signal is too short for so many levels.

    Source:
        Donoho and Johnstone, Biometrika 81:425 (1994), the universal threshold; Chang, Yu and
        Vetterli, IEEE TIP 9:1532 (2000), the adaptive one, with the universal threshold as
        its upper limit. The approximation is kept; ends are continued by reflection.
    """
    config = config or DenoiseConfig()
    levels, sigma = _decompose(samples, config, seen)
    thresholds = _thresholds(levels, sigma, samples.shape[-1], config)
    shrunk = [levels[0]]
    shrunk += [
        _shrink(detail, limit, config.mode)
        for detail, limit in zip(levels[1:], thresholds, strict=True)
    ]
    whole = pywt.waverec(shrunk, config.wavelet, mode="symmetric", axis=-1)
    return np.asarray(
        whole[..., : samples.shape[-1]], dtype=np.result_type(samples.dtype, np.float32)
    )


def noise_power(
    samples: NDArray[np.floating],
    config: DenoiseConfig | None = None,
    *,
    sampling_hz: float,
    gain: Gain | None = None,
    seen: float = 1.0,
) -> tuple[Floats, Floats]:
    """Return the power of the noise in a signal, and of the error that `wavelet_denoise` leaves.

    The error is noise that stays and signal that was taken: Stein's estimate of it needs no clean
    signal. Noise is taken as white, of the spread that the finest details have.

    Args:
        samples: (..., T) signal as `wavelet_denoise` gets it.
        config: How it is denoised.
        sampling_hz: Sampling rate of `samples`, in Hz.
        gain: What a later filter leaves at each frequency; both powers are those after it.
        seen: As `wavelet_denoise`.

    Returns:
        Noise before and error after, each (...), in the squared unit of `samples`.

    Raises:
        SignalError: As `wavelet_denoise`.

    Source:
        Stein, Ann. Stat. 9:1135 (1981); for soft thresholds Donoho and Johnstone, JASA 90:1200
        (1995), level by level, each weighed by what the filter leaves of its wavelet.
    """
    config = config or DenoiseConfig()
    levels, sigma = _decompose(samples, config, seen)
    thresholds = _thresholds(levels, sigma, samples.shape[-1], config)
    gains = _level_gains(config, sampling_hz, gain)
    variance = sigma[..., 0] ** 2
    # Of white noise each level holds half of what the finer ones leave.
    shares = 0.5 ** np.array([config.level, *range(config.level, 0, -1)])
    after = gains[0] * shares[0] * variance
    for weight, detail, limit in zip(gains[1:], levels[1:], thresholds, strict=True):
        after += weight * _risk(detail, limit, variance, config.mode) / samples.shape[-1]
    return variance * (shares @ gains), np.maximum(after, 0.0)


def finest_gain(config: DenoiseConfig, *, sampling_hz: float, gain: Gain) -> float:
    """Return the part of white noise that an earlier filter leaves in the finest level.

    The anti-alias filter of a resampling, for one: without this, noise would be underrated.

    Args:
        config: Wavelet and depth.
        sampling_hz: Sampling rate of the signal that is decomposed, in Hz.
        gain: What the filter left of the power at each frequency.
    """
    return _level_gains(config, sampling_hz, gain)[-1]


def decibels(signal: NDArray[np.floating], noise: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return 10 log10 of the power of a signal over that of noise, at most 100 dB either way."""
    least = 10 ** (-MOST_DB / 10)
    ratio = np.maximum(signal, 1e-300) / np.maximum(noise, np.maximum(signal, 1e-300) * least)
    return np.asarray(10 * np.log10(np.maximum(ratio, least)), np.float32)


def _decompose(
    samples: NDArray[np.floating], config: DenoiseConfig, seen: float
) -> tuple[list[Floats], Floats]:
    """Return approximation and details, the finest last, and the (..., 1) spread of the noise."""
    n_samples = samples.shape[-1]
    deepest = pywt.dwt_max_level(n_samples, config.wavelet)
    if deepest < config.level:
        shortest = (pywt.Wavelet(config.wavelet).dec_len - 1) << config.level
        raise SignalError(
            f"{n_samples} samples are too few to denoise by {config.level} levels of "
            f"{config.wavelet}, expected at least {shortest}",
            hint="leave out segments this short, or take a smaller windows.denoise.level",
        )
    n_missing = int(np.count_nonzero(~np.isfinite(samples)))
    if n_missing:
        raise SignalError(
            f"{n_missing} of {samples.size} samples are missing or infinite, expected none",
            hint="denoise each segment between the gaps by itself",
        )
    levels: list[Floats] = pywt.wavedec(
        samples.astype(np.float64), config.wavelet, mode="symmetric", level=config.level, axis=-1
    )
    spread = np.median(np.abs(levels[-1]), axis=-1, keepdims=True) / MAD_OF_NORMAL
    return levels, spread / np.sqrt(seen)


def _thresholds(
    levels: list[Floats], sigma: Floats, n_samples: int, config: DenoiseConfig
) -> list[Floats]:
    """Return the (..., 1) threshold of each level of details."""
    universal: Floats = sigma * np.sqrt(2 * np.log(n_samples))
    if config.threshold == "universal":
        return [universal] * (len(levels) - 1)
    limits = []
    for detail in levels[1:]:
        of_signal = np.sqrt(np.maximum((detail**2).mean(-1, keepdims=True) - sigma**2, 0.0))
        # A level of noise alone has no signal to save: there the universal threshold holds.
        is_noise = of_signal * universal <= sigma**2
        limits.append(np.where(is_noise, universal, sigma**2 / np.where(is_noise, 1, of_signal)))
    return limits


def _shrink(detail: Floats, limit: Floats, mode: str) -> Floats:
    with np.errstate(invalid="ignore"):  # 0 / 0 where there is nothing to take away
        shrunk = pywt.threshold(detail, limit, mode)
    return np.where(detail == 0, 0.0, shrunk)


def _risk(detail: Floats, limit: Floats, variance: Floats, mode: str) -> Floats:
    """Return Stein's estimate of the summed squared error of the shrunk details, (...)."""
    is_large = np.abs(detail) > limit
    taken = (detail - _shrink(detail, limit, mode)) ** 2
    # Derivative of what is left with respect to the detail: 1 above a soft threshold, 0 below.
    slope = is_large.astype(np.float64)
    if mode == "garrote":
        slope += np.where(is_large, (limit / np.where(is_large, detail, 1.0)) ** 2, 0.0)
    total = taken.sum(-1) + variance * (2 * slope - 1).sum(-1)
    return np.asarray(total)


def _level_gains(config: DenoiseConfig, sampling_hz: float, gain: Gain | None) -> list[float]:
    """Return what a filter leaves of the power of a wavelet of each level, the coarsest first."""
    if gain is None:
        return [1.0] * (config.level + 1)
    left = gain(np.fft.rfftfreq(N_RESPONSE, 1 / sampling_hz).astype(np.float64))
    empty = pywt.wavedec(
        np.zeros(N_RESPONSE), config.wavelet, mode="periodization", level=config.level
    )
    gains = []
    for number in range(config.level + 1):
        levels = [level.copy() for level in empty]
        levels[number][len(levels[number]) // 2] = 1.0
        wave = pywt.waverec(levels, config.wavelet, mode="periodization")
        power = np.abs(np.fft.rfft(wave)) ** 2
        gains.append(float((power * left).sum() / power.sum()))
    return gains

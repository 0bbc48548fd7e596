"""Put windows of all people on one scale, and remember it, so that physical units come back."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import SignalError

ScaleMethod = Literal["window", "record", "none", "minmax", "robust"]
Floats = NDArray[np.float32]

FLAT = 1e-7
"""A spread below this part of the mean is rounding of float32, not signal."""
STILL = 1e-3
"""A channel that moves less than this part of what the others do holds no signal."""
MAD_TO_SD = 1.4826
"""The standard deviation of normal noise, in units of its median absolute deviation."""
N_LOOKED_AT = 5_000
"""Samples of a channel that its median is taken of: even ones of the whole recording."""


def center_and_scale(windows: NDArray[np.floating], method: ScaleMethod) -> tuple[Floats, Floats]:
    """Return what to subtract from and divide each window by.

    `window` takes mean and standard deviation of each window. `record` takes one pair for all
    windows of the call: the median of their means and of their variances, so that a few
    windows with artefacts change nothing and the differences between windows stay. `minmax` puts
    each window between 0 and 1; `none` leaves it in its unit. `robust` needs the whole recording:
    see `pooled_scale`.

    Args:
        windows: (N, C, T) windows of one record. `record` passes over those with missing samples.
        method: Whose statistics to take.

    Returns:
        Center and scale, both (N, C) in the unit of the windows; the scale of a flat line is 1.

    Raises:
        SignalError: If the method is `robust`.
    """
    if method == "none":
        shape = windows.shape[:-1]
        return np.zeros(shape, np.float32), np.ones(shape, np.float32)
    if method == "robust":
        raise SignalError(
            "`robust` is a scale of a whole recording, and windows are a part of it",
            hint="take it from pooled_scale",
        )
    if method == "minmax":
        return _lowest_and_range(windows)
    mean = windows.mean(axis=-1, dtype=np.float64)
    variance = windows.var(axis=-1, dtype=np.float64)
    if method == "record":
        usable = np.isfinite(mean).all(axis=1)
        mean[:] = np.median(mean[usable], axis=0) if usable.any() else 0.0
        variance[:] = np.median(variance[usable], axis=0) if usable.any() else 1.0
    scale = np.sqrt(variance)
    scale[scale <= FLAT * np.abs(mean)] = 1.0
    return mean.astype(np.float32), scale.astype(np.float32)


def _lowest_and_range(windows: NDArray[np.floating]) -> tuple[Floats, Floats]:
    exact = windows.astype(np.float64)
    lowest = exact.min(axis=-1, initial=np.inf)
    scale = exact.max(axis=-1, initial=-np.inf) - lowest
    scale[scale <= FLAT * np.abs(lowest)] = 1.0
    return lowest.astype(np.float32), scale.astype(np.float32)


def pooled_scale(
    signals: Sequence[NDArray[np.floating]], moving: Sequence[bool]
) -> tuple[Floats, Floats]:
    """Return one center per channel, and the scale that all channels of a recording share.

    One scale keeps what lies between channels and between windows: alpha stays larger at the back
    of the head and with the eyes closed, which a scale of each window or channel takes away.

    Args:
        signals: (T,) whole filtered recordings of C channels, NaN where samples are missing.
        moving: (C,) whether a channel counts; one that stands still would draw the scale down.

    Returns:
        Center, the median of each channel, and scale, the median absolute deviation of all channels
        that count times 1.4826; both (C,), in the unit of the signals. Without any the scale is 1.
    """
    some = [_some(signal) for signal in signals]
    center = np.array([np.median(each) for each in some], np.float32)
    away = [
        np.abs(each - middle)
        for each, middle, counts in zip(some, center, moving, strict=True)
        if counts
    ]
    scale = MAD_TO_SD * float(np.median(np.concatenate(away))) if away else 0.0
    return center, np.full(len(center), scale or 1.0, np.float32)


def constant(signals: Mapping[str, NDArray[np.floating]]) -> tuple[str, ...]:
    """Return the channels that stand still all through a recording, such as its reference.

    Args:
        signals: By name, (T,) whole filtered recordings in one unit, NaN where samples are missing.

    Returns:
        Names of those whose median absolute deviation is less than a thousandth of the median
        channel's.
    """
    spread = {}
    for name, signal in signals.items():
        some = _some(signal)
        spread[name] = float(np.median(np.abs(some - np.median(some))))
    usual = float(np.median(list(spread.values()))) if spread else 0.0
    return tuple(name for name, each in spread.items() if each <= STILL * usual)


def _some(signal: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return samples of a recording, none of them missing, evenly chosen if there are many."""
    known: NDArray[np.floating] = signal[np.isfinite(signal)]
    return known[:: max(1, len(known) // N_LOOKED_AT)]


def normalize(windows: NDArray[np.floating], center: Floats, scale: Floats) -> Floats:
    """Return (N, C, T) windows minus their center, over their scale, as float32."""
    return ((windows - center[..., None]) / scale[..., None]).astype(np.float32, copy=False)


def denormalize(windows: NDArray[np.floating], center: Floats, scale: Floats) -> Floats:
    """Return (N, C, T) windows in the unit they had before `normalize`, as float32."""
    return (windows.astype(np.float32) * scale[..., None] + center[..., None]).astype(np.float32)

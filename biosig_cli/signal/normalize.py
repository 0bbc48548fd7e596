"""Put windows of all people on one scale, and remember it, so that physical units come back."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

ScaleMethod = Literal["window", "record", "none", "minmax"]
Floats = NDArray[np.float32]

FLAT = 1e-7
"""A spread below this part of the mean is rounding of float32, not signal."""


def center_and_scale(windows: NDArray[np.floating], method: ScaleMethod) -> tuple[Floats, Floats]:
    """Return what to subtract from and divide each window by.

    `window` takes mean and standard deviation of each window. `record` takes one pair for all
    windows of the call: the median of their means and of their variances, so that a few
    windows with artefacts change nothing and the differences between windows stay. `minmax` puts
    each window between 0 and 1; `none` leaves it in its unit.

    Args:
        windows: (N, C, T) windows of one record. `record` passes over those with missing samples.
        method: Whose statistics to take.

    Returns:
        Center and scale, both (N, C) in the unit of the windows; the scale of a flat line is 1.
    """
    if method == "none":
        shape = windows.shape[:-1]
        return np.zeros(shape, np.float32), np.ones(shape, np.float32)
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


def normalize(windows: NDArray[np.floating], center: Floats, scale: Floats) -> Floats:
    """Return (N, C, T) windows minus their center, over their scale, as float32."""
    return ((windows - center[..., None]) / scale[..., None]).astype(np.float32, copy=False)


def denormalize(windows: NDArray[np.floating], center: Floats, scale: Floats) -> Floats:
    """Return (N, C, T) windows in the unit they had before `normalize`, as float32."""
    return (windows.astype(np.float32) * scale[..., None] + center[..., None]).astype(np.float32)

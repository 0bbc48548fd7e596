"""Recognize a stretch of recording again, however it was scaled, resampled, cut or stored.

Pulses, R peaks and waves of an EEG come at times and heights that vary from one to the next, and no
two stretches vary alike. A few steps between neighbouring peaks make a number that finds its equals
among millions by sorting; what was found is then compared sample by sample.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, ndimage, signal

BAND_HZ = (2.0, 8.0)
"""Above the drift that a window's edge disturbs, below what one filter keeps and another takes."""
NARROWEST = 1.5
"""The band's upper edge over its lower one, at the least."""
FINE_HZ = 100.0
"""Slower signals are brought to at least this rate, or their peaks would lie too coarsely."""
NEAREST_S = 0.06
"""A peak is the highest sample for so long on either side."""
LOWEST = 0.25
"""A peak is at least so many standard deviations of its window high."""
N_STEPS = 4
"""Steps from peak to peak that make a key: about a second of signal."""
TIME_CELL_S, N_TIME_BITS = 0.010, 8
HEIGHT_CELL, N_HEIGHT_BITS = 0.15, 4
"""The logarithm of one peak's height over the one before, in steps of 15 %."""
N_FINE_BITS = 16
"""How the same key's stretches are ordered: by what is left of their length within the cells."""
COMPARED_HZ = 64.0
MARGIN_S = 0.3
"""Left out at either end of a window, where filtering saw one side only."""
LARGEST_SHIFT_S, SHIFT_STEP_S = 0.024, 0.004


@dataclass(frozen=True)
class Peaks:
    """Peaks of many windows, in their order."""

    window: NDArray[np.int64]
    """(n,) the window that each peak is in."""
    time_s: NDArray[np.float64]
    """(n,) time from the window's start, finer than a sample."""
    height: NDArray[np.float64]
    """(n,) height over the window's standard deviation."""


def pass_band(windows: NDArray[np.floating], sampling_hz: float) -> NDArray[np.float32] | None:
    """Keep the band that fingerprints are taken from; None where the rate or length has none.

    Args:
        windows: (..., T) signal in any unit; a missing sample counts as zero.
        sampling_hz: Sampling rate in Hz.

    Returns:
        (..., T) in standard deviations of each window; zero where a window is flat.
    """
    low_hz, high_hz = BAND_HZ[0], min(BAND_HZ[1], 0.45 * sampling_hz)
    if high_hz < NARROWEST * low_hz or windows.shape[-1] < 2 * MARGIN_S * sampling_hz + 16:
        return None
    sos = signal.butter(2, (low_hz, high_hz), "bandpass", output="sos", fs=sampling_hz)
    known = np.nan_to_num(windows, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float64)
    band = signal.sosfiltfilt(sos, known)
    spread = band.std(-1, keepdims=True)
    is_flat = spread <= 1e-6 * np.abs(known).max(-1, keepdims=True)
    scaled: NDArray[np.float32] = np.where(is_flat, 0.0, band / np.where(is_flat, 1.0, spread))
    return scaled.astype(np.float32)


def find_peaks(band: NDArray[np.float32], sampling_hz: float) -> Peaks:
    """Return the peaks of (n, T) windows that `pass_band` gave."""
    finer = int(np.ceil(FINE_HZ / sampling_hz))
    if finer > 1:
        band = signal.resample_poly(band, finer, 1, axis=-1)
        sampling_hz *= finer
    size = 2 * int(NEAREST_S * sampling_hz) + 1
    is_peak = (ndimage.maximum_filter1d(band, size, axis=-1) == band) & (band > LOWEST)
    is_peak[:, [0, -1]] = False
    window, place = np.nonzero(is_peak)
    before, height, after = (band[window, place + step].astype(np.float64) for step in (-1, 0, 1))
    # The vertex of the parabola through a peak and its neighbours; the limit is for a flat top.
    vertex = 0.5 * (before - after) / np.minimum(before - 2 * height + after, -1e-9)
    height = height - 0.25 * (before - after) * vertex
    return Peaks(window.astype(np.int64), (place + vertex) / sampling_hz, height)


def make_keys(peaks: Peaks) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return a key for each run of peaks in one window: equal stretches have equal keys.

    Returns:
        (m,) the first peak of each run, and (m,) its key; sorting keys brings the stretches with
        the same steps together, the most alike beside each other.
    """
    steps_s, rises = np.diff(peaks.time_s), np.diff(np.log(peaks.height))
    inside = peaks.window[N_STEPS:] == peaks.window[:-N_STEPS]
    first = np.flatnonzero(inside)
    key, rest = np.zeros(len(first), np.uint64), np.zeros(len(first))
    longest = (1 << N_TIME_BITS) - 1
    for number in range(N_STEPS):
        cells = steps_s[first + number] / TIME_CELL_S
        whole = np.minimum(np.floor(cells), longest)
        rest += np.clip(cells - whole, 0, 1)
        height = np.floor(rises[first + number] / HEIGHT_CELL + 0.5) + (1 << N_HEIGHT_BITS - 1)
        height = np.clip(height, 0, (1 << N_HEIGHT_BITS) - 1)
        key = (key << np.uint64(N_TIME_BITS)) | whole.astype(np.uint64)
        key = (key << np.uint64(N_HEIGHT_BITS)) | height.astype(np.uint64)
    fine = (rest / N_STEPS * ((1 << N_FINE_BITS) - 1)).astype(np.uint64)
    return first, (key << np.uint64(N_FINE_BITS)) | fine


def likeness(
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    *,
    rates_hz: tuple[float, float],
    offset_s: float,
) -> tuple[NDArray[np.float64], float]:
    """Return how alike two windows are where they overlap, at the best of a few small shifts.

    Args:
        one: (C, T) window that `pass_band` gave.
        other: (C, T') window of the same channels, which may have another rate and length.
        rates_hz: Their sampling rates.
        offset_s: Where `other` begins on the clock of `one`.

    Returns:
        (C,) correlations from -1 to 1, NaN for a channel that is flat in either; and the offset
        at which their mean is highest.
    """
    n_one, n_other = one.shape[-1] / rates_hz[0], other.shape[-1] / rates_hz[1]
    start = max(0.0, offset_s) + MARGIN_S
    stop = min(n_one, n_other + offset_s) - MARGIN_S
    shifts = np.arange(-LARGEST_SHIFT_S, LARGEST_SHIFT_S + 1e-9, SHIFT_STEP_S)
    time_s = np.arange(start, stop, 1 / COMPARED_HZ)
    if len(time_s) < 2:
        return np.full(len(one), np.nan), offset_s
    here = _at(one, rates_hz[0], time_s)
    there = _at(other, rates_hz[1], time_s - offset_s - shifts[:, None])
    correlations = _correlate(here[:, None], there)
    means = np.nan_to_num(correlations, nan=-1.0).mean(0)
    best = int(np.argmax(means))
    return correlations[:, best], offset_s + float(shifts[best])


def _at(
    window: NDArray[np.float32], sampling_hz: float, time_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the samples of (C, T) between its own, at times of any shape."""
    places = np.arange(window.shape[-1]) / sampling_hz
    first, last = np.searchsorted(places, (time_s.min() - 0.2, time_s.max() + 0.2))
    part = slice(int(first), int(last))
    spline = interpolate.CubicSpline(places[part], window[:, part], axis=-1)
    values: NDArray[np.float64] = spline(time_s)
    return values


def _correlate(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    one = one - one.mean(-1, keepdims=True)
    other = other - other.mean(-1, keepdims=True)
    size = np.sqrt((one**2).sum(-1) * (other**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 1e-9, (one * other).sum(-1) / size, np.nan)

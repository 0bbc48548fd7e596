"""Figures of a window's quality: how still, how clipped, how alike from beat to beat.

Each function takes the (N, T) windows of one channel and returns (N,) figures, without a loop over
windows.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from biosig_cli.signal.beats import beats_per_window

Windows = NDArray[np.floating]
Values = NDArray[np.float64]
Verdict = NDArray[np.bool_]
Indices = NDArray[np.int64]

PLAUSIBLE_BPM = (30.0, 200.0)
PULSE_BAND_HZ = (0.7, 3.5)
FLAT_SLOPE_PER_S = 0.125
"""A change slower than this part of the channel's usual range in a second is no movement."""
CLIP_STEP = 1e-3
"""Samples this close to an extreme of the window, as part of its range, lie on it. Twice as much
takes the broad ST segments of a bundle branch block for a rail."""
SHORTEST_FLAT_S = 0.5
"""Longer than a quiet ECG rests between two beats."""
SHORTEST_CLIP_S = 0.04


def missing(windows: Windows) -> Verdict:
    """Return (N, C) whether a window (N, C, T) lacks a sample."""
    return np.asarray(~np.isfinite(windows).all(axis=-1))


def flat_fraction(windows: Windows, sampling_hz: float) -> Values:
    """Return the part of each window (N, T) that stands still for half a second or longer.

    Standing still is measured against the usual range of all windows of the call, so that a flat
    line with a little noise is flat too, and a tall artefact makes nothing beside it flat.
    """
    usual = np.quantile(np.ptp(windows, axis=-1), 0.9) if len(windows) else 0.0
    still = np.abs(np.diff(windows, axis=-1)) <= FLAT_SLOPE_PER_S / sampling_hz * usual
    return _part_in_runs(still, max(2, round(SHORTEST_FLAT_S * sampling_hz)))


def clipped_fraction(windows: Windows, sampling_hz: float) -> Values:
    """Return the part of each window (N, T) that lies on its own highest or lowest value."""
    top = windows.max(axis=-1, keepdims=True)
    bottom = windows.min(axis=-1, keepdims=True)
    step = CLIP_STEP * (top - bottom)
    run = max(3, round(SHORTEST_CLIP_S * sampling_hz))
    high = _part_in_runs(windows >= top - step, run)
    low = _part_in_runs((windows <= bottom + step) & (top > bottom), run)
    return high + low


def periodicity(windows: Windows, sampling_hz: float) -> Values:
    """Return how well each window (N, T) repeats itself from beat to beat, from 0 to 1.

    The highest peak of the autocorrelation between the lags of 200 and 30 beats a minute.
    """
    n_samples = windows.shape[-1]
    slow_bpm, fast_bpm = PLAUSIBLE_BPM
    shortest = int(60 / fast_bpm * sampling_hz)
    longest = min(int(60 / slow_bpm * sampling_hz), n_samples // 2)
    if longest - shortest < 3:
        return np.full(len(windows), np.nan)
    centred = (windows - windows.mean(axis=-1, keepdims=True)).astype(np.float32)
    n_fft = fft.next_fast_len(n_samples + longest + 1, real=True)
    power = np.abs(fft.rfft(centred, n_fft, axis=-1)) ** 2
    correlation: Values = fft.irfft(power, n_fft, axis=-1)[:, : longest + 2].astype(np.float64)
    energy = np.maximum(correlation[:, :1], np.finfo(np.float32).tiny)
    # Fewer pairs of samples meet at longer lags.
    correlation *= n_samples / (n_samples - np.arange(longest + 2)) / energy
    middle = correlation[:, shortest:-1]
    peak = (middle >= correlation[:, shortest - 1 : -2]) & (
        middle >= correlation[:, shortest + 1 :]
    )
    best: Values = np.where(peak, middle, 0.0).max(axis=-1)
    return np.clip(best, 0.0, 1.0)


def skewness(windows: Windows) -> Values:
    """Return the skewness of each window (N, T); a good PPG leans to positive values."""
    centred = windows - windows.mean(axis=-1, keepdims=True)
    squared = centred * centred
    variance = np.asarray(squared.mean(axis=-1), np.float64)
    third = np.asarray((squared * centred).mean(axis=-1), np.float64)
    return third / np.where(variance > 0, variance, 1.0) ** 1.5


def band_ratio(
    windows: Windows, sampling_hz: float, band_hz: tuple[float, float] = PULSE_BAND_HZ
) -> Values:
    """Return the part of the power of each window (N, T) that lies within `band_hz`."""
    centred = (windows - windows.mean(axis=-1, keepdims=True)).astype(np.float32)
    taper = np.hanning(windows.shape[-1]).astype(np.float32)
    power: NDArray[np.floating] = np.abs(fft.rfft(centred * taper)) ** 2
    frequencies_hz = fft.rfftfreq(windows.shape[-1], 1 / sampling_hz)
    inside = (frequencies_hz >= band_hz[0]) & (frequencies_hz <= band_hz[1])
    total = power.sum(axis=-1, dtype=np.float64)
    return np.asarray(power[:, inside].sum(axis=-1) / np.where(total > 0, total, 1.0), np.float64)


def beat_similarity(
    windows: Windows,
    beats: Indices,
    starts: Indices,
    *,
    sampling_hz: float,
    span_s: tuple[float, float],
    weighted: bool,
) -> Values:
    """Return how alike the beats of each window (N, T) are, near 1 for copies and 0 for noise.

    The mean correlation between all pairs of beats in a window. It asks nothing of the time between
    them, so that an irregular heart with clear beats scores as high as a regular one.

    Args:
        windows: (N, T) filtered windows of one channel.
        beats: (n,) sorted sample indices, on the same clock as `starts`.
        starts: (N,) first sample of each window.
        sampling_hz: Sampling rate, in Hz.
        span_s: Seconds before and after a beat that belong to it.
        weighted: Whether large beats count for more, so that one artefact among small pulses
            shows; an ECG has extra beats that are tall and healthy signal.

    Returns:
        (N,) similarity, at most 1; NaN in windows with fewer than two whole beats.

    Source:
        After template matching as in Orphanidou et al. (2015), doi 10.1109/JBHI.2014.2338351,
        with all pairs in place of a template: for n beats of unit energy that add up
        to S, the mean over pairs is (|S|^2 - n) / (n (n - 1)).
    """
    before, after = (round(part * sampling_hz) for part in span_s)
    window, position = _beats_inside(windows.shape[1], beats, starts, before, after)
    around = np.arange(-before, after + 1)
    pieces = windows[window[:, None], position[:, None] + around].astype(np.float64)
    pieces -= pieces.mean(axis=1, keepdims=True)
    if not weighted:
        size = np.linalg.norm(pieces, axis=1, keepdims=True)
        pieces /= np.where(size > 0, size, 1.0)
    n_windows = len(windows)
    count = np.bincount(window, minlength=n_windows)
    energy = np.bincount(window, weights=(pieces**2).sum(axis=1), minlength=n_windows)
    edges = np.concatenate(([0], np.cumsum(count)))
    running = np.concatenate((np.zeros((1, len(around))), np.cumsum(pieces, axis=0)))
    together = ((running[edges[1:]] - running[edges[:-1]]) ** 2).sum(axis=1)
    alike = together / np.where(energy > 0, energy, 1.0)
    return np.where(count > 1, (alike - 1) / np.maximum(count - 1, 1), np.nan)


def _beats_inside(
    n_samples: int, beats: Indices, starts: Indices, before: int, after: int
) -> tuple[Indices, Indices]:
    """Return window and position in it of each beat that lies in a window as a whole."""
    first = np.searchsorted(beats, starts)
    count = beats_per_window(beats, starts, n_samples)
    window = np.repeat(np.arange(len(starts)), count)
    rank = np.arange(len(window)) - np.repeat(np.cumsum(count) - count, count)
    position = beats[first[window] + rank] - starts[window]
    whole = (position >= before) & (position + after < n_samples)
    return window[whole], position[whole]


def _part_in_runs(marked: Verdict, shortest: int) -> Values:
    """Return the part of each row (N, T) that lies in marked runs of at least `shortest`."""
    n_rows, n_samples = marked.shape
    framed = np.zeros((n_rows, n_samples + 2), np.int8)
    framed[:, 1:-1] = marked
    steps = np.diff(framed, axis=1)
    rows, begins = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    lengths = ends - begins
    counted = np.where(lengths >= shortest, lengths, 0)
    return np.asarray(np.bincount(rows, weights=counted, minlength=n_rows) / max(n_samples, 1))

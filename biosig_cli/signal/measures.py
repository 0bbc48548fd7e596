"""Figures of a window's quality: how still, how clipped, how alike from beat to beat.

Each function takes the (N, T) windows of one channel and returns (N,) figures, without a loop over
windows.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Windows = NDArray[np.floating]
Values = NDArray[np.float64]
Verdict = NDArray[np.bool_]

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
SPECTRUM_HZ = (0.5, 8.0)
"""Where the power of a pulse and of what disturbs it lies."""
RATE_WIDTH_HZ = 0.2
"""Half the width of a line in the spectrum of ten seconds under a Hann taper."""
SPECTRUM_S = 10.0
"""A heart keeps its rate this long; longer windows are looked at in parts."""
N_HARMONICS = 2


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


def pulse_concentration(windows: Windows, rates_bpm: Values, sampling_hz: float) -> Values:
    """Return the part of the power of each window (N, T) that lies at its own pulse rate.

    High only where the time between beats and the spectrum tell of the same rate. Windows much
    longer than ten seconds are averaged over parts of about that length.

    Args:
        windows: (N, T) filtered PPG.
        rates_bpm: (N,) rate of each window from the time between its beats, or (N, P) rates of
            its parts, as many as `n_parts` says.
        sampling_hz: Sampling rate, in Hz.

    Returns:
        (N,) part of the power from 0.5 to 8 Hz within 0.2 Hz of the rate or of its double; NaN
        where the rate is unknown.

    Source:
        The peak agreement of Orphanidou et al. (2015), doi 10.1109/JBHI.2014.2338351, asked of
        the spectrum as Zhang et al. (2015), doi 10.1109/TBME.2014.2359372, read it; the
        width and the one harmonic are ours.
    """
    rates_hz = np.atleast_2d(np.asarray(rates_bpm, np.float64).T).T / 60
    n_windows, count = rates_hz.shape
    length = windows.shape[-1] // count
    parts = windows[:, : count * length].reshape(n_windows * count, length)
    size = fft.next_fast_len(4 * length, real=True)
    taper = np.hanning(length).astype(np.float32)
    centred = (parts - parts.mean(axis=-1, keepdims=True)).astype(np.float32)
    frequencies_hz = fft.rfftfreq(size, 1 / sampling_hz)
    inside = (frequencies_hz >= SPECTRUM_HZ[0]) & (frequencies_hz <= SPECTRUM_HZ[1])
    power = np.abs(fft.rfft(centred * taper, size)[:, inside]) ** 2
    lines = rates_hz.reshape(-1, 1, 1) * np.arange(1, N_HARMONICS + 1)[:, None]
    near = (np.abs(frequencies_hz[inside] - lines) <= RATE_WIDTH_HZ).any(axis=1)
    total = power.sum(axis=-1, dtype=np.float64)
    share = (power * near).sum(axis=-1, dtype=np.float64) / np.where(total > 0, total, 1.0)
    share = np.where(np.isfinite(rates_hz), share.reshape(n_windows, count), np.nan)
    known = np.isfinite(share).sum(axis=1)
    return np.where(known > 0, np.nansum(share, axis=1) / np.maximum(known, 1), np.nan)


def n_parts(n_samples: int, sampling_hz: float) -> int:
    """Return in how many parts `pulse_concentration` looks at a window of `n_samples`."""
    return max(1, round(n_samples / sampling_hz / SPECTRUM_S))


def _part_in_runs(marked: Verdict, shortest: int) -> Values:
    """Return the part of each row (N, T) that lies in marked runs of at least `shortest`."""
    n_rows, n_samples = marked.shape
    framed = np.zeros((n_rows, n_samples + 2), np.bool_)
    framed[:, 1:-1] = marked
    # As one row, which is faster; the frame keeps a run from going on in the next row.
    framed = framed.ravel()
    edges = np.flatnonzero(framed[1:] != framed[:-1])
    lengths = edges[1::2] - edges[::2]
    rows = edges[::2] // (n_samples + 2)
    counted = np.where(lengths >= shortest, lengths, 0)
    return np.asarray(np.bincount(rows, weights=counted, minlength=n_rows) / max(n_samples, 1))

"""Find heart beats in a whole recording, and count them window by window."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal
from sleepecg.heartbeats import detect_heartbeats

Indices = NDArray[np.int64]

SHORTEST_ECG_S = 2.0
"""The ECG detector learns its thresholds from two seconds."""
SHORTEST_PPG_S = 2.0
PULSE_BAND_HZ = (0.5, 5.0)
"""Wide enough for 200 beats a minute, narrow enough to flatten most dicrotic waves."""
SHORTEST_INTERVAL_S = 0.28
"""The time between two pulses at 214 beats a minute."""
LOCAL_S = 6.0
"""Span over which the size of a pulse is taken."""
PROMINENCE = 1.0
"""A pulse stands out by at least this many local standard deviations."""


def ecg_beats(samples: NDArray[np.floating], sampling_hz: float) -> Indices:
    """Return the (n,) sample indices of the R peaks in an ECG without gaps.

    Args:
        samples: (T,) ECG of a whole segment, filtered or not, in any unit.
        sampling_hz: Sampling rate in Hz; 100 or more is best.

    Source:
        `sleepecg.detect_heartbeats`, after Pan and Tompkins (1985),
        doi 10.1109/TBME.1985.325532.
    """
    if len(samples) < SHORTEST_ECG_S * sampling_hz or _is_flat(samples):
        return np.empty(0, np.int64)
    found = detect_heartbeats(samples.astype(np.float64), sampling_hz)
    return np.asarray(found, dtype=np.int64)


def ppg_beats(samples: NDArray[np.floating], sampling_hz: float) -> Indices:
    """Return the (n,) sample indices of the systolic peaks in a PPG without gaps.

    A peak counts if it stands out by the local standard deviation, which follows the pulse when
    it grows or fades; a dicrotic wave stands out by less.

    Args:
        samples: (T,) PPG of a whole segment with its pulses upwards, in any unit.
        sampling_hz: Sampling rate in Hz.

    Source:
        `scipy.signal.find_peaks` on the band from 0.5 to 5 Hz.
    """
    if len(samples) < SHORTEST_PPG_S * sampling_hz or _is_flat(samples):
        return np.empty(0, np.int64)
    low_hz, high_hz = PULSE_BAND_HZ
    band = (low_hz, min(high_hz, 0.45 * sampling_hz))
    sos = signal.butter(2, band, "bandpass", output="sos", fs=sampling_hz)
    padding = min(len(samples) - 1, int(3 * sampling_hz))
    pulse = signal.sosfiltfilt(sos, samples.astype(np.float64), padlen=padding)
    span = int(LOCAL_S * sampling_hz)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter1d(pulse**2, span, mode="reflect"), 0))
    peaks, _ = signal.find_peaks(
        pulse,
        distance=max(1, int(SHORTEST_INTERVAL_S * sampling_hz)),
        prominence=PROMINENCE * spread + np.finfo(np.float64).tiny,
        wlen=int(2 * sampling_hz) | 1,
    )
    return np.asarray(peaks, dtype=np.int64)


def beats_per_window(beats: Indices, starts: Indices, n_samples: int) -> Indices:
    """Return how many of the sorted `beats` lie in each window.

    Args:
        beats: (n,) sample indices, on the same clock as `starts`.
        starts: (N,) first sample of each window.
        n_samples: Length of a window.

    Returns:
        (N,) counts.
    """
    return np.searchsorted(beats, starts + n_samples) - np.searchsorted(beats, starts)


def rate_per_window_bpm(
    beats: Indices, starts: Indices, n_samples: int, sampling_hz: float
) -> NDArray[np.float64]:
    """Return the heart rate of each window, from the median interval between its beats.

    Args:
        beats: (n,) sorted sample indices, on the same clock as `starts`.
        starts: (N,) first sample of each window.
        n_samples: Length of a window.
        sampling_hz: Rate of that clock, in Hz.

    Returns:
        (N,) rates in beats per minute, NaN where there are fewer than two intervals.
    """
    first = np.searchsorted(beats, starts)
    n_intervals = np.maximum(beats_per_window(beats, starts, n_samples) - 1, 0)
    rates = np.full(len(starts), np.nan)
    known = n_intervals >= 2
    if not known.any():
        return rates
    columns = np.arange(n_intervals.max())
    inside = columns < n_intervals[:, None]
    taken = np.minimum(first[:, None] + columns, len(beats) - 2)
    intervals = np.sort(np.where(inside, np.diff(beats)[taken], np.inf), axis=1)
    rows = np.arange(len(starts))
    lower = intervals[rows, np.maximum(n_intervals - 1, 0) // 2]
    upper = intervals[rows, np.minimum(n_intervals // 2, intervals.shape[1] - 1)]
    rates[known] = 60 * sampling_hz / ((lower[known] + upper[known]) / 2)
    return rates


def _is_flat(samples: NDArray[np.floating]) -> bool:
    return float(np.ptp(samples)) == 0.0

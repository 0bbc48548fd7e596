"""Find heart beats in a whole recording; count and compare them window by window."""

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
SYSTOLE_S, BEAT_S = 0.111, 0.667
"""How long a systolic wave and a beat last: the two averages of Elgendi et al. (2013)."""
OFFSET = 0.02
"""How far the short average must be above the long one, as a part of the mean power."""
PULSE_SPAN_S = (0.25, 0.35)
"""What belongs to a pulse, before and after its peak."""
MORE_ALIKE = 0.15
"""Pulses without every second peak must be so much more alike for those to be dicrotic waves."""
CLEAN = 0.8
"""How alike they must be; noise, too, looks more alike with some of its peaks left out."""
STRETCH_S = 10.0
"""How long dicrotic waves are taken for pulses, or are not."""


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
    found = detect_heartbeats(samples.astype(np.float64, copy=False), sampling_hz)
    return np.asarray(found, dtype=np.int64)


def ppg_beats(samples: NDArray[np.floating], sampling_hz: float) -> Indices:
    """Return the (n,) sample indices of the systolic peaks in a PPG without gaps.

    A peak counts if it stands out by the local standard deviation, which follows the pulse when
    it grows or fades. Most dicrotic waves stand out by less. Some do not: where the peaks of
    systolic waves alone are much more alike than all peaks, the others are taken out, ten seconds
    at a time. Weak pulses of an irregular heart look like the strong ones, and stay.

    Args:
        samples: (T,) PPG of a whole segment with its pulses upwards, in any unit.
        sampling_hz: Sampling rate in Hz.

    Source:
        `scipy.signal.find_peaks` on the band from 0.5 to 5 Hz; systolic waves by the two moving
        averages of Elgendi et al. (2013), doi 10.1371/journal.pone.0076585. The choice between
        both is ours.
    """
    if len(samples) < SHORTEST_PPG_S * sampling_hz or _is_flat(samples):
        return np.empty(0, np.int64)
    low_hz, high_hz = PULSE_BAND_HZ
    band = (low_hz, min(high_hz, 0.45 * sampling_hz))
    sos = signal.butter(2, band, "bandpass", output="sos", fs=sampling_hz)
    padding = min(len(samples) - 1, int(3 * sampling_hz))
    exact = samples.astype(np.float64, copy=False)
    pulse = np.ascontiguousarray(signal.sosfiltfilt(sos, exact, padlen=padding))
    span = int(LOCAL_S * sampling_hz)
    peaks, found = signal.find_peaks(
        pulse,
        distance=max(1, int(SHORTEST_INTERVAL_S * sampling_hz)),
        prominence=(None, None),
        wlen=int(2 * sampling_hz),
    )
    # Afterwards, in place, and kept at peaks alone: of a day, an array of all samples is 90 MB.
    power = pulse**2
    ndimage.uniform_filter1d(power, span, mode="reflect", output=power)
    power = power[peaks]
    limit = PROMINENCE * np.sqrt(np.maximum(power, 0))  # a running sum may end below 0
    peaks = np.asarray(peaks[found["prominences"] >= limit], dtype=np.int64)
    systolic = peaks[_is_systolic(pulse, peaks, sampling_hz)]
    return _without_dicrotic(samples, peaks, systolic, sampling_hz)


def _is_systolic(
    pulse: NDArray[np.float64], peaks: Indices, sampling_hz: float
) -> NDArray[np.bool_]:
    """Return at which peaks the power of a pulse is that of a systolic wave; `pulse` is lost."""
    power = np.maximum(pulse, 0, out=pulse)
    power *= power
    short, long = (
        ndimage.uniform_filter1d(power, max(1, round(span_s * sampling_hz)) | 1)[peaks]
        for span_s in (SYSTOLE_S, BEAT_S)
    )
    return np.asarray(short > long + OFFSET * power.mean())


def _without_dicrotic(
    samples: NDArray[np.floating], peaks: Indices, systolic: Indices, sampling_hz: float
) -> Indices:
    """Return `peaks`, or where they are much more alike, the `systolic` ones among them."""
    length = min(len(samples), round(STRETCH_S * sampling_hz))
    starts = np.arange(0, len(samples) - length + 1, length)
    stretches = samples[: len(starts) * length].reshape(-1, length)
    alike, alike_systolic = (
        np.nan_to_num(
            beat_similarity(
                stretches,
                beats,
                starts,
                sampling_hz=sampling_hz,
                span_s=PULSE_SPAN_S,
                weighted=True,
            ),
            nan=-1.0,
        )
        for beats in (peaks, systolic)
    )
    is_dicrotic = alike_systolic > np.maximum(alike + MORE_ALIKE, CLEAN)
    place = np.minimum(peaks // length, len(starts) - 1)
    return peaks[~is_dicrotic[place] | np.isin(peaks, systolic)]


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
    n_intervals = beats_per_window(beats, starts, n_samples) - 1
    rates = np.full(len(starts), np.nan)
    known = n_intervals >= 2
    if not known.any():
        return rates
    columns = np.arange(n_intervals.max())
    inside = columns < n_intervals[:, None]
    taken = np.minimum(first[:, None] + columns, len(beats) - 2)
    intervals = np.sort(np.where(inside, np.diff(beats)[taken], np.inf), axis=1)
    rows = np.arange(len(starts))
    lower, upper = intervals[rows, (n_intervals - 1) // 2], intervals[rows, n_intervals // 2]
    rates[known] = 60 * sampling_hz / ((lower[known] + upper[known]) / 2)
    return rates


def beat_similarity(
    windows: NDArray[np.floating],
    beats: Indices,
    starts: Indices,
    *,
    sampling_hz: float,
    span_s: tuple[float, float],
    weighted: bool,
) -> NDArray[np.float64]:
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


def _is_flat(samples: NDArray[np.floating]) -> bool:
    return float(np.ptp(samples)) == 0.0

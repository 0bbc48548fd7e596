"""Breaths in a recording of the chest or the air flow: how many there are in a minute."""

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from biosig_cli.signal.beats import rate_per_window_bpm

BREATH_BAND_HZ = (0.08, 0.7)
"""From 5 to 42 breaths a minute."""
SHORTEST_BREATH_S = 1.4
PROMINENCE = 0.5
"""A breath stands out by at least this many standard deviations of the whole recording."""


def find_breaths(samples: NDArray[np.floating], sampling_hz: float) -> NDArray[np.int64]:
    """Return the (n,) sample indices of the deepest points of inspiration.

    Args:
        samples: (T,) respiration without gaps, in any unit, breathing in upwards or downwards.
        sampling_hz: Sampling rate, in Hz.

    Source:
        `scipy.signal.find_peaks` in the band of breathing; the limits are ours.
    """
    if np.ptp(samples) == 0:
        return np.empty(0, np.int64)
    sos = signal.butter(2, BREATH_BAND_HZ, "bandpass", output="sos", fs=sampling_hz)
    padding = min(len(samples) - 1, int(10 * sampling_hz))
    breathing = signal.sosfiltfilt(sos, samples.astype(np.float64), padlen=padding)
    peaks, _ = signal.find_peaks(
        breathing,
        distance=int(SHORTEST_BREATH_S * sampling_hz),
        prominence=PROMINENCE * breathing.std(),
    )
    return np.asarray(peaks, dtype=np.int64)


def breaths_per_window_bpm(
    samples: NDArray[np.floating],
    starts: NDArray[np.int64],
    n_samples: int,
    sampling_hz: float,
) -> NDArray[np.float64]:
    """Return the breathing rate of stretches of a recording, from the median time between breaths.

    Args:
        samples: (T,) respiration without gaps, in any unit.
        starts: (N,) first sample of each stretch.
        n_samples: Length of a stretch; half a minute holds four breaths or more.
        sampling_hz: Sampling rate, in Hz.

    Returns:
        (N,) breaths per minute, NaN where there are fewer than three.
    """
    breaths = find_breaths(samples, sampling_hz)
    return rate_per_window_bpm(breaths, starts, n_samples, sampling_hz)

"""What a person would measure in the windows of one channel: rate, rhythm, shape, spectrum.

Each function takes the (N, T) windows of a channel in its unit and returns (N,) measures by name,
NaN where a window does not show them. A window is measured by itself: no other one changes it.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

from biosig_cli.signal.beats import (
    beat_similarity,
    beats_per_window,
    ecg_beats,
    ppg_beats,
    rate_per_window_bpm,
)
from biosig_cli.signal.measures import (
    PULSE_BAND_HZ,
    SPECTRUM_HZ,
    SPECTRUM_S,
    clipped_fraction,
    flat_fraction,
    n_parts,
    periodicity,
    pulse_concentration,
    skewness,
)
from biosig_cli.signal.quality import BEAT_SPAN_S
from biosig_cli.signal.spec import ChannelKind

Values = NDArray[np.float64]
Indices = NDArray[np.int64]
Measures = dict[str, Values]

BEAT_FINDERS = {"ppg": ppg_beats, "ecg": ecg_beats}
TINY = 1e-12
BANDS_HZ = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}
"""Bands of the EEG, from their lowest frequency up to, but without, their highest."""


def of_heart(windows: Values, kind: ChannelKind, sampling_hz: float) -> Measures:
    """Return rate, rhythm and shape of the beats in PPG or ECG windows (N, T).

    A PPG has measures of its spectrum too, and the score by which windows are kept. Those of an
    ECG are the same as `similarity`: its power lies far above its rate.
    """
    n_windows, n_samples = windows.shape
    beats = find_beats(windows, kind, sampling_hz)
    starts = np.arange(n_windows) * n_samples
    own = {
        "rate_bpm": rate_per_window_bpm(beats, starts, n_samples, sampling_hz),
        "n_beats": beats_per_window(beats, starts, n_samples).astype(np.float64),
        "similarity": beat_similarity(
            windows,
            beats,
            starts,
            sampling_hz=sampling_hz,
            span_s=BEAT_SPAN_S[kind],
            weighted=kind == "ppg",
        ),
        "periodicity": periodicity(windows, sampling_hz),
        "skewness": skewness(windows),
        "kurtosis": _kurtosis(windows),
        "flat": flat_fraction(_unit_range(windows), sampling_hz),
        "clipped": clipped_fraction(windows, sampling_hz),
        "size_log": _size_log(windows),
    }
    own |= _rhythm(beats // n_samples, beats / sampling_hz, n_windows)
    own |= _shape(windows, beats, BEAT_SPAN_S[kind], sampling_hz)
    return own | _pulse_spectrum(windows, beats, own, sampling_hz) if kind == "ppg" else own


def _pulse_spectrum(windows: Values, beats: Indices, own: Measures, sampling_hz: float) -> Measures:
    """Return the spectrum of PPG windows, and how well it fits to the beats."""
    n_windows, n_samples = windows.shape
    parts = n_parts(n_samples, sampling_hz)
    begins = np.arange(n_windows)[:, None] * n_samples + np.arange(parts) * (n_samples // parts)
    rates_bpm = rate_per_window_bpm(beats, begins.ravel(), n_samples // parts, sampling_hz)
    rates_bpm = rates_bpm.reshape(n_windows, parts)
    concentration = pulse_concentration(windows, rates_bpm, sampling_hz)
    spectrum = _spectral(windows, sampling_hz, SPECTRUM_HZ, PULSE_BAND_HZ)
    return spectrum | {
        "concentration": concentration,
        "quality": (own["similarity"] + concentration) / 2,
        "spectrum_differs_log": apart_log(own["rate_bpm"], 60 * spectrum["dominant_hz"]),
    }


def of_other(windows: Values, sampling_hz: float) -> Measures:
    """Return size and spectrum of windows (N, T) of a signal that has no heart beats."""
    everything = (1 / SPECTRUM_S, 0.4 * sampling_hz)
    spectrum = _spectral(windows, sampling_hz, everything, everything)
    return {
        "size_log": _size_log(windows),
        "dominant_hz": spectrum["dominant_hz"],
        "entropy": spectrum["entropy"],
    }


def of_brain(windows: Values, sampling_hz: float) -> Measures:
    """Return the logarithm of the power of EEG windows (N, T) in each of the usual bands.

    The spectrum is that of parts of a second (Welch), and a band that the sampling rate does not
    reach is left out.
    """
    length = min(windows.shape[1], round(sampling_hz))
    frequency_hz, power = signal.welch(windows, sampling_hz, nperseg=length)
    bands = {name: band for name, band in BANDS_HZ.items() if band[1] <= 0.45 * sampling_hz}
    return {
        f"{name}_log": np.log(
            power[:, (frequency_hz >= low) & (frequency_hz < high)].sum(axis=1) + TINY
        )
        for name, (low, high) in bands.items()
    }


def apart_log(one_bpm: Values, other_bpm: Values) -> Values:
    """Return how far two rates are apart, on a scale where 20 and 40 are about equally wrong."""
    return np.asarray(np.log1p(np.abs(one_bpm - other_bpm)), np.float64)


def find_beats(windows: Values, kind: ChannelKind, sampling_hz: float) -> Indices:
    """Return the (n,) beats of windows (N, T), counted as if they stood one after the other."""
    find, n_samples = BEAT_FINDERS[kind], windows.shape[1]
    each = [find(window, sampling_hz) + at * n_samples for at, window in enumerate(windows)]
    return np.concatenate([np.empty(0, np.int64), *each])


def _rhythm(window: Indices, moment_s: Values, n_windows: int) -> Measures:
    """Return how much the time between beats varies, as a part of it."""
    interval_s, same = np.diff(moment_s), np.diff(window) == 0
    mean_s, spread_s = _mean_and_spread(interval_s[same], window[1:][same], n_windows)
    both = same[1:] & same[:-1]
    squared, _ = _mean_and_spread(np.diff(interval_s)[both] ** 2, window[2:][both], n_windows)
    return {"sdnn": spread_s / mean_s, "rmssd": np.sqrt(squared) / mean_s}


def _shape(
    windows: Values, beats: Indices, span_s: tuple[float, float], sampling_hz: float
) -> Measures:
    """Return how wide the beats are at half their height, and how much height and width vary."""
    n_windows, n_samples = windows.shape
    before, after = (round(part * sampling_hz) for part in span_s)
    window, place = beats // n_samples, beats % n_samples
    whole = (place >= before) & (place + after < n_samples)
    window, place = window[whole], place[whole]
    pieces = windows[window[:, None], place[:, None] + np.arange(-before, after + 1)]
    low, high = pieces.min(axis=1), pieces.max(axis=1)
    above = pieces > (low + high)[:, None] / 2
    height, height_spread = _mean_and_spread(high - low, window, n_windows)
    width_s, width_spread = _mean_and_spread(above.sum(axis=1) / sampling_hz, window, n_windows)
    return {
        "height_spread": height_spread / np.maximum(height, TINY),
        "width_s": width_s,
        "width_spread": width_spread / np.maximum(width_s, TINY),
    }


def _spectral(
    windows: Values,
    sampling_hz: float,
    band_hz: tuple[float, float],
    dominant_band_hz: tuple[float, float],
) -> Measures:
    """Return where the power within `band_hz` lies, and how spread out it is."""
    length = min(windows.shape[1], round(SPECTRUM_S * sampling_hz))
    # Fine steps of frequency, so that the highest one tells a rate to about a beat a minute.
    frequency_hz, power = signal.welch(windows, sampling_hz, nperseg=length, nfft=4 * length)
    inside = _within(frequency_hz, band_hz)
    share = power[:, inside] / np.maximum(power[:, inside].sum(axis=1, keepdims=True), TINY)
    candidates = _within(frequency_hz, dominant_band_hz)
    highest = frequency_hz[candidates][power[:, candidates].argmax(axis=1)]
    is_still = np.ptp(windows, axis=1) == 0
    inner_hz = frequency_hz[inside]
    measures = {
        "dominant_hz": highest,
        "peak_share": share.max(axis=1),
        "entropy": stats.entropy(share + TINY, axis=1) / np.log(max(2, inside.sum())),
        "slow_share": share[:, inner_hz < PULSE_BAND_HZ[0]].sum(axis=1),
        "fast_share": share[:, inner_hz > PULSE_BAND_HZ[1]].sum(axis=1),
    }
    return {name: np.where(is_still, np.nan, each) for name, each in measures.items()}


def _mean_and_spread(values: Values, window: Indices, n_windows: int) -> tuple[Values, Values]:
    """Return (N,) mean and standard deviation in each window; NaN without one or two values."""
    count = np.bincount(window, minlength=n_windows)
    at_least = np.maximum(count, 1)
    mean = np.bincount(window, weights=values, minlength=n_windows) / at_least
    squared = (values - mean[window]) ** 2
    spread = np.sqrt(np.bincount(window, weights=squared, minlength=n_windows) / at_least)
    return np.where(count > 0, mean, np.nan), np.where(count > 1, spread, np.nan)


def _within(frequency_hz: Values, band_hz: tuple[float, float]) -> NDArray[np.bool_]:
    return np.asarray((frequency_hz >= band_hz[0]) & (frequency_hz <= band_hz[1]), np.bool_)


def _kurtosis(windows: Values) -> Values:
    """Return how heavy the tails are beside a normal distribution; NaN for a flat line."""
    centred = windows - windows.mean(axis=1, keepdims=True)
    variance = (centred**2).mean(axis=1)
    fourth = (centred**4).mean(axis=1)
    return np.where(variance > 0, fourth / np.where(variance > 0, variance, 1) ** 2 - 3, np.nan)


def _size_log(windows: Values) -> Values:
    """Return the logarithm of the standard deviation; NaN for a flat line."""
    deviation = windows.std(axis=1)
    return np.where(deviation > 0, np.log(np.maximum(deviation, TINY)), np.nan)


def _unit_range(windows: Values) -> Values:
    """Return windows from 0 to 1: what is flat is then measured against the window itself."""
    low = windows.min(axis=1, keepdims=True)
    height = np.maximum(np.ptp(windows, axis=1)[:, None], TINY)
    return np.asarray((windows - low) / height, np.float64)

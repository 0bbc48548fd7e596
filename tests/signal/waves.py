"""Pulse and ECG waves whose beats are known, for the tests beside this file."""

import numpy as np

SAMPLING_HZ = 125.0


def beat_times_s(rate_bpm, duration_s, jitter=0.0, seed=0):
    """Return when beats come, each interval off by up to `jitter` of itself."""
    n_beats = int(duration_s * rate_bpm / 60) + 2
    noise = np.random.default_rng(seed).uniform(-jitter, jitter, n_beats)
    times = 0.4 + np.cumsum(60 / rate_bpm * (1 + noise))
    return times[times < duration_s - 0.4]


def ppg(times_s, duration_s, dicrotic=0.35):
    """Return pulses with their peaks at `times_s`, each followed by a dicrotic wave."""
    clock_s = np.arange(round(duration_s * SAMPLING_HZ)) / SAMPLING_HZ
    away_s = clock_s - np.asarray(times_s)[:, None]
    systole = np.exp(-((away_s / 0.1) ** 2))
    diastole = dicrotic * np.exp(-(((away_s - 0.28) / 0.08) ** 2))
    return (systole + diastole).sum(axis=0) + breathing(clock_s)


def ecg(times_s, duration_s):
    """Return R peaks at `times_s` with their T waves."""
    clock_s = np.arange(round(duration_s * SAMPLING_HZ)) / SAMPLING_HZ
    away_s = clock_s - np.asarray(times_s)[:, None]
    waves = np.exp(-((away_s / 0.012) ** 2)) + 0.2 * np.exp(-(((away_s - 0.25) / 0.05) ** 2))
    return waves.sum(axis=0) + breathing(clock_s)


def breathing(clock_s):
    """Return the slow wave on which beats ride; without it a pulse would rest on a floor."""
    return 0.05 * np.sin(2 * np.pi * 0.25 * clock_s)

"""Recordings made for tests: small `.vital` files with pulses planted where we want them."""

import gzip
import warnings
from pathlib import Path

import numpy as np

with warnings.catch_warnings():
    # wfdb, which vitaldb imports, uses a way of pandas that will go away.
    warnings.simplefilter("ignore")
    from vitaldb import VitalFile

START_S = 1_600_000_000.0


def pulse_train(sampling_hz, duration_s, *, start_s=0.0, rate_bpm=72.0, width_s=0.08, delay_s=0.0):
    """Return smooth pulses at fixed moments of the record's clock, sampled from `start_s` on."""
    time_s = start_s + np.arange(round(duration_s * sampling_hz)) / sampling_hz
    period_s = 60 / rate_bpm
    moments_s = np.arange(0.5, start_s + duration_s + 1, period_s) + delay_s
    pulses = np.zeros(len(time_s))
    for moment_s in moments_s:
        pulses += np.exp(-0.5 * ((time_s - moment_s) / width_s) ** 2)
    noise = np.random.default_rng(7).normal(0, 0.005, len(time_s))
    return (pulses + noise).astype(np.float32)


def ppg(sampling_hz, duration_s, **how):
    return pulse_train(sampling_hz, duration_s, **{"width_s": 0.12} | how)


def ecg(sampling_hz, duration_s, **how):
    return pulse_train(sampling_hz, duration_s, width_s=0.015, **how)


def write_vital(path: Path, tracks: dict, *, packed=True, integers=False):
    """Write tracks: name -> (sampling_hz, [(start_s, samples), ...])."""
    file = VitalFile()
    for name, (sampling_hz, stretches) in tracks.items():
        recs = [
            {"dt": START_S + start_s, "val": np.asarray(samples, np.float32)}
            for start_s, samples in stretches
        ]
        file.add_track(name, recs, srate=sampling_hz, unit="mV")
        if integers:
            track = file.trks[name]
            track.fmt, track.gain, track.offset = 5, 1 / 4000, 0.25
            for rec in track.recs:
                stored = np.round((rec["val"] - track.offset) / track.gain)
                rec["val"] = stored.astype(np.int16)
    file.dtstart = START_S
    file.to_vital(str(path), packed=packed)
    return path


def write_case(folder: Path, case: str, *, duration_s=40.0, rate_bpm=72.0, **how):
    """Write a clean recording with PPG and ECG."""
    folder.mkdir(parents=True, exist_ok=True)
    tracks = {
        "SNUADC/PLETH": (125.0, [(0.0, ppg(125.0, duration_s, rate_bpm=rate_bpm, delay_s=0.2))]),
        "SNUADC/ECG_II": (250.0, [(0.0, ecg(250.0, duration_s, rate_bpm=rate_bpm))]),
    }
    return write_vital(folder / f"{case}.vital", tracks, **how)


def write_cases_table(folder: Path, subjects: dict, *, bom=False):
    lines = ["caseid,subjectid", *(f"{case},{subject}" for case, subject in subjects.items())]
    encoding = "utf-8-sig" if bom else "utf-8"
    (folder / "cases.csv").write_text("\n".join(lines) + "\n", encoding)


def cut_file(path: Path, part: float):
    """Keep the first `part` of a file's bytes."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])


def cut_payload(path: Path, n_bytes: int):
    """Take the last bytes away from inside the compression, so that gzip itself looks fine."""
    whole = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(whole[:-n_bytes]))

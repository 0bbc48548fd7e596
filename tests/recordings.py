"""Recordings made for tests: small files with pulses planted where we want them."""

import gzip
import warnings
from pathlib import Path

import numpy as np

with warnings.catch_warnings():
    # wfdb, which vitaldb imports, uses a way of pandas that will go away.
    warnings.simplefilter("ignore")
    import wfdb
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


def write_vital(path: Path, tracks: dict, *, packed=True, integers=False, units=None):
    """Write tracks: name -> (sampling_hz, [(start_s, samples), ...])."""
    file = VitalFile()
    for name, (sampling_hz, stretches) in tracks.items():
        recs = [
            {"dt": START_S + start_s, "val": np.asarray(samples, np.float32)}
            for start_s, samples in stretches
        ]
        file.add_track(name, recs, srate=sampling_hz, unit=(units or {}).get(name, "mV"))
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


def write_wfdb(folder: Path, name: str, signals: dict, *, sampling_hz=125.0, units=None, **more):
    """Write a WFDB record of signals that share a rate, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wfdb.wrsamp(
            name,
            fs=sampling_hz,
            units=units or ["NU"] * len(signals),
            sig_name=list(signals),
            p_signal=np.stack([np.asarray(each, np.float64) for each in signals.values()], axis=1),
            fmt=["16"] * len(signals),
            write_dir=str(folder),
            **more,
        )
    return folder / f"{name}.hea"


def write_but_ppg(folder: Path, record: str, *, duration_s=10.0, rate_bpm=72.0, parts=None):
    """Write a record in BUT PPG's tree: PPG at 30, ECG at 1000 and ACC at 100 Hz."""
    kind = {"duration_s": duration_s, "rate_bpm": rate_bpm}
    still = 0.01 * np.random.default_rng(3).normal(size=(3, round(100 * duration_s)))
    for part, (sampling_hz, signals) in {
        # A camera sees less light when blood comes.
        "PPG": (30.0, {f"PPG_{c}": 200 - ppg(30.0, delay_s=0.2, **kind) for c in "RGB"}),
        "ECG": (1000.0, {"ECG": ecg(1000.0, **kind)}),
        "ACC": (100.0, dict(zip(("ACC_X", "ACC_Y", "ACC_Z"), still, strict=True))),
    }.items():
        if parts is None or part in parts:
            units = {"PPG": "a.u.", "ECG": "mV", "ACC": "g"}[part]
            write_wfdb(
                folder / record,
                f"{record}_{part}",
                signals,
                sampling_hz=sampling_hz,
                units=[units] * len(signals),
            )
    return folder


def write_release_1(folder: Path, record: str, part: str, samples, sampling_hz: float):
    """Write a part as BUT PPG's first release has it: turned on its side, values in baselines."""
    samples = np.asarray(samples, np.float64)
    (folder / record).mkdir(parents=True, exist_ok=True)
    name = f"{record}_{part}"
    lines = [f"{name} {len(samples)} {sampling_hz:g} 1"]
    lines += [f"{name}.dat 16 1000({round(-1000 * x)})/a.u. 16 0 0 0 0 x" for x in samples]
    (folder / record / f"{name}.hea").write_text("\n".join(lines) + "\n")
    np.zeros(len(samples), "<i2").tofile(folder / record / f"{name}.dat")

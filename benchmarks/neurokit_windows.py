"""Windows of PPG and ECG by neurokit2: run by `windows.py` in an environment that has it.

Run: PYTHON benchmarks/neurokit_windows.py SAMPLES.npz TIMES
Each recording is resampled to 125 Hz, cleaned, its beats found, and each window of 10 s is asked
for flat and clipped stretches, beats, the quality of its channels (template matching of the PPG,
average QRS of the ECG) and whether both rates agree; then it is put on its own mean and spread.
`whole` does all of it once for a recording and cuts afterwards, which is as fast as it can be;
`by window` asks each window by itself, as is done where quality must not depend on neighbours.
"""

import json
import sys
import time
import warnings

import neurokit2 as nk
import numpy as np
from numpy.typing import NDArray

HZ, LENGTH = 125, 1250
warnings.simplefilter("ignore")


def still(window: NDArray) -> tuple[float, float]:
    """Return the part of a window that does not move, and that lies on its extremes."""
    flat = np.mean(np.abs(np.diff(window)) < 1e-3 * np.ptp(window))
    step = 1e-3 * np.ptp(window)
    return flat, np.mean((window >= window.max() - step) | (window <= window.min() + step))


def rate(beats: NDArray) -> float:
    """Return beats per minute."""
    return 60 * HZ / np.median(np.diff(beats)) if len(beats) > 1 else np.nan


def quality(ppg: NDArray, ecg: NDArray, pulses: NDArray, peaks: NDArray) -> tuple[NDArray, NDArray]:
    """Return the quality of each sample of both."""
    return (
        nk.ppg_quality(ppg, peaks=pulses, sampling_rate=HZ, method="templatematch"),
        nk.ecg_quality(ecg, rpeaks=peaks, sampling_rate=HZ, method="averageQRS"),
    )


def found(clean: NDArray, what: str) -> NDArray:
    """Return the samples of the beats."""
    finder = nk.ppg_peaks if what == "PPG" else nk.ecg_peaks
    _, info = finder(clean, sampling_rate=HZ)
    return np.asarray(info[f"{what}_Peaks" if what == "PPG" else "ECG_R_Peaks"])


def windows(ppg: NDArray, ecg: NDArray, *, by_window: bool) -> list[NDArray]:
    """Return the windows of a recording that are kept."""
    raw = [
        nk.signal_resample(each, sampling_rate=500, desired_sampling_rate=HZ, method="poly")
        for each in (ppg, ecg)
    ]
    clean = [nk.ppg_clean(raw[0], sampling_rate=HZ), nk.ecg_clean(raw[1], sampling_rate=HZ)]
    beats = [found(each, what) for each, what in zip(clean, ("PPG", "ECG"), strict=True)]
    whole = None if by_window else quality(*clean, *beats)
    kept = []
    for start in range(0, len(clean[0]) - LENGTH + 1, LENGTH):
        part = slice(start, start + LENGTH)
        if any(flat > 0.25 or clipped > 0.05 for flat, clipped in (still(x[part]) for x in raw)):
            continue
        here = [each[(each >= start) & (each < start + LENGTH)] - start for each in beats]
        if min(map(len, here)) < 3 or abs(rate(here[0]) - rate(here[1])) > 10:
            continue
        try:
            scores = (
                quality(*(each[part] for each in clean), *here)
                if whole is None
                else [each[part] for each in whole]
            )
        except (ValueError, IndexError, ZeroDivisionError):
            continue  # too few beats for a template
        if np.nanmean(scores[0]) < 0.5 or np.nanmean(scores[1]) < 0.3:
            continue
        both = np.stack([each[part] for each in clean])
        kept.append((both - both.mean(1, keepdims=True)) / both.std(1, keepdims=True))
    return kept


def main() -> None:
    """Print seconds of the processor and windows kept, as JSON."""
    arrays = np.load(sys.argv[1])
    names = sorted({name.rpartition("_")[0] for name in arrays.files})
    records = [(arrays[f"{n}_PPG"].astype(float), arrays[f"{n}_ECG"].astype(float)) for n in names]
    seconds, kept = {}, {}
    for how in ("whole", "by window"):
        rounds = []
        for _ in range(int(sys.argv[2]) if how == "whole" else 1):
            began_s = time.process_time()
            kept[how] = sum(len(windows(*each, by_window=how == "by window")) for each in records)
            rounds.append(time.process_time() - began_s)
        seconds[how] = min(rounds)
    print(json.dumps({"version": nk.__version__, "seconds": seconds, "kept": kept}))


if __name__ == "__main__":
    main()

"""How fast EEG recordings become windows: seconds of recording per second of one core's work.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/eeg_windows.py
A recording of 128 channels at 500 Hz is written, as the originals of HBN are, in each format; then
it is read, resampled to 100 Hz, filtered, cut into windows of 2 s and judged. What is counted is
the time of the processor, so that other work on the machine changes little.
"""

import argparse
import tempfile
import time
from pathlib import Path

import edfio
import numpy as np

from biosig_cli.catalog import open_source
from biosig_cli.core.config import load_config
from biosig_cli.data.windows import cut_record
from biosig_cli.services.build_windows import BuildWindowsConfig
from biosig_cli.signal.electrodes import montage_electrodes

N_TIMES = 3


def write(path: Path, names: list[str], sampling_hz: float, duration_s: float) -> None:
    """Write pink noise in uV on every channel, of another draw each."""
    draw = np.random.default_rng(0)
    one = edfio.BdfSignal if path.suffix == ".bdf" else edfio.EdfSignal
    whole = edfio.Bdf if path.suffix == ".bdf" else edfio.Edf
    signals = []
    for name in names:
        white = np.fft.rfft(draw.normal(size=round(duration_s * sampling_hz)))
        pink = np.fft.irfft(white / np.sqrt(np.arange(1, len(white) + 1)))
        signals.append(
            one(20 * pink / pink.std(), sampling_hz, label=name, physical_dimension="uV")
        )
    whole(signals).write(path)


def main() -> None:
    """Print a line for each format and rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="length of the recording")
    seconds = parser.parse_args().seconds
    names = list(montage_electrodes("GSN-HydroCel-128"))
    settings = ["channels.EEG.electrodes=GSN-HydroCel-128", "windows.segments=[]"]
    recipe = load_config(BuildWindowsConfig, file="eeg_hbn", settings=settings).recipe
    for ending, sampling_hz in ((".edf", 500.0), (".bdf", 500.0), (".bdf", 100.0)):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / f"sub1{ending}", names, sampling_hz, seconds)
            source = open_source(folder)
            source.read("sub1", recipe.channels)  # once, so that mne is loaded
            best = [np.inf, np.inf]
            for _ in range(N_TIMES):
                began = time.process_time()
                record = source.read("sub1", recipe.channels)
                read = time.process_time()
                windows = cut_record(record, recipe, subject="1")
                done = time.process_time()
                best = min(best, [read - began, done - read], key=sum)
        print(
            f"{ending[1:]} {len(names)} channels {sampling_hz:g} Hz: {len(windows.data)} windows, "
            f"{seconds / sum(best):.0f} x real time (read {best[0]:.2f} s, cut {best[1]:.2f} s)"
        )


if __name__ == "__main__":
    main()

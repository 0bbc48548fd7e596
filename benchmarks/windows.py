"""How fast recordings become windows, beside other pipelines, and how much memory a worker takes.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/windows.py [--neurokit PYTHON] [--hours 1 3 6 12]
Recordings are real ones of PPG and ECG at 500 Hz (`--data`, a folder of .vital files), repeated
where longer ones are needed. What is counted is the time of the processor after reading, of the
same samples in one run, each pipeline in turn; other work on the machine changes little.

- *ours*: `cut_record`, resampling, filters, beats, eleven rules, normalization, of both channels.
- *neurokit2*: the same steps by its functions (see `neurokit_windows.py`), in an environment of its
  own, as it needs pandas < 3: `python3 -m venv NK; NK/bin/pip install neurokit2; --neurokit
  NK/bin/python`. Left out where it is not given.
- *PaPaGei's steps*: its published preprocessing, done again here, of the PPG alone, as it takes no
  other channel; beside ours of the PPG alone. Pillai et al. (2025), arXiv 2410.20542: Chebyshev II
  of order 4, 0.5 to 12 Hz, at the native rate, a moving average of 50 ms, three derivatives with
  averages of 10 ms (all as pyPPG does them), windows of 10 s, each resampled to 125 Hz by FFT,
  dropped if more than a quarter is flat, and put on its own mean and spread. Its windows need no
  derivatives, so it is timed without them, too. It looks for no beats and judges nothing else.

Then the command as a whole on more and more recordings, drawn in `--output`, and the most memory
of a process that makes the windows of one long record, read from a .vital file of packets of 1 s.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from biosig_cli.catalog import open_source
from biosig_cli.core.progress import Reporter
from biosig_cli.data.recipe import WindowRecipe
from biosig_cli.data.record import Record
from biosig_cli.data.windows import cut_record
from biosig_cli.data.work import Maker, Task
from biosig_cli.report.figures import Figure
from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits

N_TIMES = 3
N_CASES = 8
LONG_S = 3 * 3600.0
DATA = Path(__file__).parents[2] / "shared" / "data" / "vital"
NEUROKIT = Path(__file__).with_name("neurokit_windows.py")


def best_s(work: Callable[[], object]) -> float:
    """Return the seconds of the processor that some work takes; the best of a few rounds."""
    rounds = []
    for _ in range(N_TIMES):
        began_s = time.process_time()
        work()
        rounds.append(time.process_time() - began_s)
    return min(rounds)


def repeated(record: Record, duration_s: float) -> Record:
    """Return a record that lasts so long, by saying the same again and again."""
    tracks = {
        name: replace(
            track, samples=np.resize(track.samples, round(duration_s * track.sampling_hz))
        )
        for name, track in record.tracks.items()
    }
    return replace(record, tracks=tracks)


def papagei(
    samples: NDArray[np.floating], sampling_hz: float, *, derivatives: bool
) -> NDArray[np.float64]:
    """Return the (N, 1250) windows that PaPaGei's published steps make of a PPG."""
    sos = signal.cheby2(4, 20, (0.5, 12), "bandpass", output="sos", fs=sampling_hz)
    filtered = signal.sosfiltfilt(sos, samples.astype(np.float64))
    width = round(sampling_hz * 0.05)
    smooth = signal.filtfilt(np.ones(width) / width, 1, filtered)
    slope, short = smooth, round(sampling_hz * 0.01)
    for _ in range(3 if derivatives else 0):
        slope = signal.filtfilt(np.ones(short) / short, 1, np.gradient(slope))
    length, kept = round(10 * sampling_hz), []
    for start in range(0, len(smooth) - length, length):
        window = signal.resample(smooth[start : start + length], 1250)
        still = np.abs(np.diff(window)) <= 1e-7
        if still.mean() <= 0.25:
            kept.append((window - window.mean()) / window.std())
    return np.array(kept)


def neurokit(python: Path, records: Mapping[str, Record]) -> dict[str, Any]:
    """Return what the other environment says of its work on the same samples."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples.npz"
        np.savez(
            file,
            **{
                f"{name}_{channel}": track.samples
                for name, record in records.items()
                for channel, track in record.tracks.items()
            },
        )
        done = subprocess.run(
            [python, NEUROKIT, file, str(N_TIMES)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": ""},
        )
    if done.returncode:
        return {"why": done.stderr.strip().splitlines()[-1]}
    return dict(json.loads(done.stdout))


def compare(records: Mapping[str, Record], recipe: WindowRecipe, python: Path | None) -> None:
    """Print how many windows each pipeline makes in a second of the processor."""
    n_windows = sum(len(cut_record(each, recipe, subject="").data) for each in records.values())
    hours = sum(r.tracks["PPG"].samples.size for r in records.values()) / 500 / 3600
    print(f"{len(records)} recordings, {hours:.1f} h of PPG and ECG at 500 Hz")
    ours_s = best_s(lambda: [cut_record(each, recipe, subject="") for each in records.values()])
    print(f"  ours, PPG and ECG      {ours_s:7.2f} s  {n_windows / ours_s:8,.0f} windows/s")
    compare_papagei(list(records.values()), recipe)
    found = (
        {"why": "no --neurokit PYTHON was given"} if python is None else neurokit(python, records)
    )
    if "why" in found:
        print(f"  neurokit2              left out: {found['why']}")
        return
    for how, spent_s in found["seconds"].items():
        print(
            f"  neurokit2 {found['version']} {how:<11} {spent_s:6.2f} s  "
            f"ours is {spent_s / ours_s:.1f} x as fast; it keeps {found['kept'][how]} windows, "
            f"we {n_windows}"
        )


def compare_papagei(records: Sequence[Record], recipe: WindowRecipe) -> None:
    """Print how long we take for the PPG alone, and how long PaPaGei's steps take."""
    alone = recipe.model_copy(update={"channels": {"PPG": recipe.channels["PPG"]}})
    ours_s = best_s(lambda: [cut_record(each, alone, subject="") for each in records])
    print(f"  ours, PPG alone        {ours_s:7.2f} s")
    pulses = [each.tracks["PPG"] for each in records]
    for what, derivatives in {"PaPaGei's steps": True, "  no derivatives": False}.items():
        theirs_s = best_s(
            lambda also=derivatives: [
                papagei(each.samples, each.sampling_hz, derivatives=also) for each in pulses
            ]
        )
        print(f"  {what}, PPG   {theirs_s:7.2f} s  ours is {theirs_s / ours_s:.1f} x as fast")


def time_long(record: Record, recipe: WindowRecipe) -> None:
    """Print what a case of three hours takes after it was read."""
    long = repeated(record, LONG_S)
    spent_s = best_s(lambda: cut_record(long, recipe, subject=""))
    print(f"one case of 3 h, 2 channels at 500 Hz: {spent_s:.2f} s of the processor after reading")
    compare_papagei([long], recipe)


def draw_cost(source: Path, output: Path) -> None:
    """Print and draw the time of the command by the number of recordings."""
    quiet, points = Reporter(silent=True), []
    with tempfile.TemporaryDirectory() as folder:
        made = prepare_splits(
            PrepareSplitsConfig(source=str(source), output=Path(folder), mode="full"), quiet
        )
        splits = json.loads(made.path.read_text("utf-8"))
        cases = sorted(splits["train"] + splits["val"] + splits["test"])
        for n_cases in [round(part * len(cases)) for part in (0.1, 0.25, 0.5, 0.75, 1.0)]:
            some = {"train": cases[:n_cases], "val": [], "test": []}
            made.path.write_text(json.dumps(splits | some), "utf-8")
            config = BuildWindowsConfig(
                split_file=made.path, outdir=Path(folder) / str(n_cases), split="train", workers=1
            )
            began_s = time.process_time()
            build_windows(config, quiet)
            points.append((n_cases, time.process_time() - began_s))
    n, spent_s = np.array(points, float).T
    slope, base = np.polyfit(n, spent_s, 1)
    off = np.abs(spent_s - (base + slope * n)).max()
    print("build-windows: " + ", ".join(f"{n_cases} cases {s:.1f} s" for n_cases, s in points))
    print(
        f"  {base:.2f} s and {slope:.3f} s a case; no point is more than {off:.2f} s off the line"
    )
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(n, base + slope * n, color="0.7", label=f"{base:.1f} s + {slope:.2f} s a case")
    axes.plot(n, spent_s, "o", color="C0", label="measured")
    axes.set(xlabel="cases of 8 min, PPG and ECG at 500 Hz", ylabel="CPU time of build-windows (s)")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend(frameon=False)
    figure.savefig(output, dpi=150)
    print(f"  drawn in {output}")


def write_long(path: Path, record: Record, duration_s: float) -> None:
    """Write a record as a recorder does: int16 in packets of 1 s."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from vitaldb import VitalFile
    file = VitalFile()
    for name, track in repeated(record, duration_s).tracks.items():
        called = {"PPG": "SNUADC/PLETH", "ECG": "SNUADC/ECG_II"}[name]
        n, gain = round(track.sampling_hz), float(np.abs(track.samples).max()) / 32000
        stored = np.round(track.samples / gain).astype(np.int16)
        packets = [
            {"dt": 1.6e9 + second, "val": stored[second * n : (second + 1) * n]}
            for second in range(int(duration_s))
        ]
        file.add_track(called, packets, srate=track.sampling_hz, unit=track.unit)
        found = file.trks[called]
        found.fmt, found.gain, found.offset = 5, gain, 0.0
    file.dtstart = 1.6e9
    file.to_vital(str(path), packed=False)


WORKER = """
import json, pickle, sys, time
from pathlib import Path


def peak_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


maker, task = pickle.loads(Path(sys.argv[1]).read_bytes())
before_mib, began_s = peak_mib(), time.process_time()
_, why = maker.make(task)
print(json.dumps([before_mib, peak_mib(), time.process_time() - began_s, why]))
"""
"""Does what a worker does, and imports no more than it; says what Linux knows of its memory."""


def weigh(record: Record, recipe: WindowRecipe, hours: list[float]) -> None:
    """Print the most memory that a worker holds for a record, by its length."""
    for each in hours:
        with tempfile.TemporaryDirectory() as folder:
            file, given = Path(folder) / "long.vital", Path(folder) / "given"
            write_long(file, record, each * 3600)
            maker = Maker(open_source(folder), recipe)
            task = Task("long", "1", Path(folder) / "part.npz", "long")
            given.write_bytes(pickle.dumps((maker, task)))
            line = [sys.executable, "-c", WORKER, str(given)]
            done = subprocess.run(line, capture_output=True, text=True, check=True)
            before_mib, peak_mib, spent_s, why = json.loads(done.stdout)
            size_mb = file.stat().st_size / 1e6
        print(
            f"a worker, record of {each:4g} h ({size_mb:.0f} MB): at most {peak_mib:.0f} MiB, "
            f"{before_mib:.0f} before it; {spent_s:.1f} s with reading {why}"
        )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of .vital files")
    parser.add_argument("--neurokit", type=Path, help="a Python that has neurokit2")
    parser.add_argument("--hours", type=float, nargs="*", default=[1.0, 3.0, 6.0, 12.0, 24.0])
    parser.add_argument("--output", type=Path, default=Path("windows_cost.png"))
    asked = parser.parse_args()
    recipe = BuildWindowsConfig().recipe
    source = open_source(str(asked.data))
    records = {case: source.read(case, recipe.channels) for case in source.ids()[:N_CASES]}
    first = next(iter(records.values()))
    compare(records, recipe, asked.neurokit)
    time_long(first, recipe)
    draw_cost(asked.data, asked.output)
    weigh(first, recipe, asked.hours)


if __name__ == "__main__":
    main()

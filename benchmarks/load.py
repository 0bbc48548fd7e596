"""What recordings of a day and folders of 100,000 records cost: time and memory against size.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/load.py [--output docs/images/load.png]
Each figure is measured in a process of its own. A recording is PPG at 125 Hz and ECG at 250 Hz in a
.vital file; a folder holds one tiny recording under many names, and what is timed is
`prepare-splits --mode full`, and all that `build-windows` does before it reads the first record.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HOURS = (1.0, 3.0, 6.0, 12.0, 24.0)
RECORDS = (1_000, 10_000, 30_000, 100_000)
MOST_LINKS = 50_000


def write_long(folder: Path, hours: float) -> None:
    """Write a recording of so many hours."""
    from tests.recordings import ecg, ppg, write_vital

    n_times = round(hours * 6)
    tracks = {
        "SNUADC/PLETH": (125.0, [(0.0, np.tile(ppg(125.0, 600.0), n_times))]),
        "SNUADC/ECG_II": (250.0, [(0.0, np.tile(ecg(250.0, 600.0), n_times))]),
    }
    write_vital(folder / "1.vital", tracks)


def write_many(folder: Path, n_records: int) -> None:
    """Write a folder of so many records, all the same file."""
    from tests.recordings import write_case

    first = folder / "0.vital"
    write_case(folder, "0", duration_s=11.0)
    for number in range(1, n_records):
        path = folder / f"{number}.vital"
        if number % MOST_LINKS:
            path.hardlink_to(first)
        else:
            first = Path(shutil.copyfile(first, path))


def cut_one(folder: Path) -> None:
    """Make the windows of the one recording."""
    from biosig_cli.catalog import open_source
    from biosig_cli.data.parts import write_part
    from biosig_cli.data.windows import cut_record
    from biosig_cli.services.build_windows import BuildWindowsConfig

    recipe = BuildWindowsConfig().recipe
    record = open_source(str(folder)).read("1", recipe.channels)
    write_part(folder / "1.npz", cut_record(record, recipe, subject="s"))


def plan(folder: Path) -> None:
    """Split a folder, and do all that a build does before it reads."""
    from biosig_cli.core.progress import Reporter
    from biosig_cli.services import split_store
    from biosig_cli.services.build_windows import BuildWindowsConfig, build_windows
    from biosig_cli.services.prepare_splits import PrepareSplitsConfig, prepare_splits

    quiet, out = Reporter(silent=True), folder.with_name("out")
    config = PrepareSplitsConfig(source=str(folder), output=out, mode="full")
    splits = prepare_splits(config, quiet).path

    def planned(tasks: Any, *_: Any, **__: Any) -> Any:
        for _ in tasks:
            pass
        raise KeyboardInterrupt

    split_store.make_parts = planned
    windows = BuildWindowsConfig(split_file=splits, outdir=out / "w", workers=1, split="train")
    try:
        build_windows(windows, quiet)
    except KeyboardInterrupt:
        return


KINDS = {"hours": (HOURS, write_long, cut_one), "records": (RECORDS, write_many, plan)}


def measure_here(kind: str, folder: Path) -> dict[str, float]:
    """Return what a job costs in this process."""
    import biosig_cli.services.build_windows
    import biosig_cli.services.prepare_splits  # noqa: F401 (imports are not timed)

    before = resource.getrusage(resource.RUSAGE_SELF)
    start_s = time.process_time()
    KINDS[kind][2](folder)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_s": time.process_time() - start_s,
        "peak_gb": after.ru_maxrss / 2**20,
        "above_gb": (after.ru_maxrss - before.ru_maxrss) / 2**20,
    }


def measure(kind: str, size: float) -> dict[str, float]:
    """Return what a job of a size costs, in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "in"
        folder.mkdir()
        KINDS[kind][1](folder, size)
        command = [sys.executable, "-W", "ignore", __file__, "--measure", kind, str(folder)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(said.splitlines()[-1])


def draw(found: dict[str, dict[float, dict[str, float]]], path: Path) -> None:
    """Draw cost against size, with a straight line through it."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
    titles = {"hours": "one recording cut, hours", "records": "a folder planned, records"}
    for row, (kind, sizes) in zip(axes, found.items(), strict=True):
        for ax, (what, unit) in zip(row, (("cpu_s", "s"), ("peak_gb", "GB")), strict=True):
            xs, ys = list(sizes), [each[what] for each in sizes.values()]
            ax.plot(xs, ys, "o-", color="#1f4e79")
            line = np.polyfit(xs, ys, 1)
            ax.plot(xs, np.polyval(line, xs), ":", color="#888888")
            ax.set(xlabel=titles[kind], ylabel=unit, ylim=(0, None))
            ax.set_title("processor time" if unit == "s" else "peak memory", loc="left")
            ax.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure all sizes and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("docs/images/load.png"))
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure_here(asked.measure[0], Path(asked.measure[1]))))
        return
    found: dict[str, dict[float, dict[str, float]]] = {}
    for kind, (sizes, *_) in KINDS.items():
        for size in sizes if asked.only in (None, kind) else ():
            found.setdefault(kind, {})[size] = measure(kind, size)
            figures = {name: round(value, 2) for name, value in found[kind][size].items()}
            print(f"{kind} {size:>9,g}: {figures}", flush=True)
    if asked.only is None:
        draw(found, asked.output)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()

"""How fast stored windows are read: any windows at once, and a few shards at a time.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/data.py [--windows 200000] [--folder /tmp]
A store of noise is written and read once, so that it is in the page cache. Then batches of 128 are
read in the order of a training, as the float32 windows that a model takes. Last, a store of 10
million windows is opened, whose shards are holes: 50 GB that take no room on the disk.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from biosig_cli.data.loader import Loader
from biosig_cli.data.store import WindowStore, open_split, open_store
from biosig_cli.signal.spec import Channel, SignalSpec

SPEC = SignalSpec(
    channels=(Channel(name="PPG", kind="ppg"), Channel(name="ECG", kind="ecg")),
    sampling_hz=125.0,
    n_samples=1250,
)
N_IN_SHARD = 12_800
N_IN_RECORD = 1_000
BATCH_SIZE = 128
N_TIMES = 3
N_READ = 1000
"""Batches that are read of the large store."""


def write_store(folder: Path, n_windows: int, *, holes: bool = False) -> None:
    """Write a store of noise, or one whose shards take no room on the disk."""
    (folder / "shards").mkdir(parents=True)
    noise = np.random.default_rng(0).normal(size=(N_IN_SHARD, 2, 1250)).astype(np.float16)
    shards = []
    for number, start in enumerate(range(0, n_windows, N_IN_SHARD)):
        name, n = f"shards/{number:04d}.npy", min(N_IN_SHARD, n_windows - start)
        if holes:
            np.lib.format.open_memmap(folder / name, "w+", np.float16, (n, 2, 1250))
        else:
            np.save(folder / name, noise[:n])
        shards.append({"file": name, "n_windows": n, "sha256": ""})
    places = np.arange(n_windows)
    people = places // N_IN_RECORD
    names = pa.array([f"s{number}" for number in range(people[-1] + 1)])
    index = {
        "row": pa.array(places % N_IN_SHARD),
        "shard": pa.array(places // N_IN_SHARD),
        "record": pa.DictionaryArray.from_arrays(pa.array(people), names),
        "subject": pa.DictionaryArray.from_arrays(pa.array(people), names),
        "start_s": pa.array(places % N_IN_RECORD * 10.0),
    }
    pq.write_table(pa.table(index), folder / "index.parquet")
    facts = {"format": 1, "n_windows": n_windows, "spec": SPEC.dump(), "shards": shards}
    (folder / "manifest.json").write_text(json.dumps(facts | {"index": {"sha256": ""}}))


def best_rate(store: WindowStore, batches: Sequence[NDArray[np.int64]]) -> tuple[float, float]:
    """Return windows per second of the clock, and of the processor; the best of a few rounds."""
    wall_s, work_s = np.inf, np.inf
    for _ in range(N_TIMES):
        began_s, worked_s = time.perf_counter(), time.process_time()
        for rows in batches:
            store.read(rows)
        wall_s = min(wall_s, time.perf_counter() - began_s)
        work_s = min(work_s, time.process_time() - worked_s)
    n_windows = sum(len(rows) for rows in batches)
    return n_windows / wall_s, n_windows / work_s


def time_reading(folder: Path, n_windows: int) -> None:
    """Print how fast batches are read of a store that is in the page cache."""
    write_store(folder, n_windows)
    store = open_store(folder)
    in_order = Loader(store, batch_size=BATCH_SIZE, seed=0, shuffle=False).plan(0)
    best_rate(store, in_order)
    print(f"{n_windows:,} windows of 2 x 1250, {store.n_bytes / 1e9:.2f} GB, in the page cache")
    for name, n_shards in {"all windows": None, "4 shards at a time": 4}.items():
        loader = Loader(store, batch_size=BATCH_SIZE, seed=0, shuffle=True, n_shards=n_shards)
        wall, work = best_rate(store, loader.plan(0))
        print(f"  {name:<20} {wall:9,.0f} windows/s, {work:9,.0f} per second of the processor")


def time_opening(folder: Path, n_windows: int) -> None:
    """Print how long a large store takes to open, and to give its first and later batches."""
    write_store(folder, n_windows, holes=True)
    began_s = time.perf_counter()
    store = open_split(folder.parent, folder.name)
    opened_s = time.perf_counter()
    n_subjects = len(store.subjects)
    listed_s = time.perf_counter()
    print(f"{n_windows:,} windows in {len(store.manifest['shards'])} shards, {n_subjects:,} people")
    print(
        f"  opened in {opened_s - began_s:.2f} s, its subjects named in {listed_s - opened_s:.2f} s"
    )
    for name, n_shards in {"all windows": None, "16 shards at a time": 16}.items():
        began_s = time.perf_counter()
        loader = Loader(store, batch_size=BATCH_SIZE, seed=0, shuffle=True, n_shards=n_shards)
        plan = loader.plan(0)
        planned_s = time.perf_counter()
        store.expect("shards" if n_shards else "windows", n_together=32 if n_shards else 0)
        batches = plan[:N_READ]
        for rows in batches:
            store.read(rows)
        rate = sum(map(len, batches)) / (time.perf_counter() - planned_s)
        print(
            f"  {name:<20} planned in {planned_s - began_s:.1f} s; not in the page cache "
            f"{rate:9,.0f} windows/s, then {best_rate(store, batches)[0]:9,.0f}"
        )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=200_000, help="windows of the store")
    parser.add_argument("--large", type=int, default=10_000_000, help="windows of the large one")
    parser.add_argument("--folder", type=Path, help="where they are written, and removed again")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        time_reading(Path(folder) / "small" / "train", asked.windows)
        time_opening(Path(folder) / "large" / "train", asked.large)


if __name__ == "__main__":
    main()

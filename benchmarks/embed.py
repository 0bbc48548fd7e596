"""How fast recordings become embeddings, and how much memory a day of them takes.

Run: .venv/bin/python benchmarks/embed.py --checkpoint RUN [--hours 3] [--store FOLDER]
A `.vital` file of PPG and ECG at 500 Hz is made of a recording of BIOSIG_TEST_DATA (or
../shared/data) repeated, in 16-bit packets as VitalDB's are, and embedded; imports and the loading
of the model are not counted. With `--store`, embedding from windows is compared with the bare
forward pass over the same windows in memory. Wall-clock and processor time are both given, as other
work on the machine changes the first. Memory is the most that was held, imports included.
"""

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from biosig_cli.catalog import load_encoder
from biosig_cli.core.runtime import peak_memory_gb
from biosig_cli.data.store import open_store
from biosig_cli.models.heads import pool
from biosig_cli.services.embed import EmbedConfig, Embeddings

DATA = Path(os.environ.get("BIOSIG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
TRACKS = ("SNUADC/PLETH", "SNUADC/ECG_II")
CASE_S, BATCH = 480, 256


def write_long(path: Path, hours: float) -> None:
    """Write the tracks of a case again and again, a second a packet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from vitaldb import VitalFile
    case, made = VitalFile(str(DATA / "vital" / "900002.vital")), VitalFile()
    for name in TRACKS:
        track = case.trks[name]
        second = int(track.srate)
        stored = np.concatenate([rec["val"] for rec in track.recs]).astype(np.float64)
        samples = (stored * (track.gain or 1) + track.offset)[: CASE_S * second]
        samples = np.tile(samples, int(np.ceil(hours * 3600 / CASE_S)))[
            : int(hours * 3600) * second
        ]
        values = np.clip(np.round(samples * 4000), -32767, 32767).astype(np.int16)
        recs = [
            {"dt": 1.6e9 + at / second, "val": values[at : at + second]}
            for at in range(0, len(values), second)
        ]
        made.add_track(name, recs, srate=track.srate, unit="mV" if "ECG" in name else "")
        made.trks[name].fmt, made.trks[name].gain, made.trks[name].offset = 5, 1 / 4000, 0.0
    made.dtstart = 1.6e9
    made.to_vital(str(path), packed=True)


def embed_all(checkpoint: Path, source: Path) -> tuple[int, float, float]:
    """Return how many windows there were, and the seconds by the wall and of the processor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vitaldb  # noqa: F401
    embeddings = Embeddings(EmbedConfig(checkpoint=checkpoint, inputs=(source,)))
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    n_windows = sum(len(each.windows) for each in embeddings.portions())
    return n_windows, time.perf_counter() - wall_s, time.process_time() - cpu_s


@torch.no_grad()
def bare(checkpoint: Path, store: Path) -> float:
    """Return the processor's seconds of the forward pass alone, windows in memory."""
    encoder = load_encoder(checkpoint)
    opened = open_store(store, channels=encoder.spec.names)
    signal = torch.from_numpy(opened.read(np.arange(len(opened))))
    start_s = time.process_time()
    for first in range(0, len(signal), BATCH):
        pool(encoder(signal[first : first + BATCH]).tokens)
    return time.process_time() - start_s


def main() -> None:
    """Measure, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--store", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.vital"
        # In a process of its own: what it takes to write the file is not to be counted.
        if os.fork() == 0:
            write_long(path, asked.hours)
            os._exit(0)
        os.wait()
        n_windows, wall_s, cpu_s = embed_all(asked.checkpoint, path)
    print(
        f"{asked.hours:g} h .vital: {n_windows} windows, {wall_s:.1f} s ({cpu_s:.1f} s processor)"
    )
    print(f"most memory: {peak_memory_gb():.2f} GiB ({peak_memory_gb() * 1.073741824:.2f} GB)")
    if asked.store:
        n_windows, _, cpu_s = embed_all(asked.checkpoint, asked.store)
        alone_s = min(bare(asked.checkpoint, asked.store) for _ in range(3))
        print(f"store: {n_windows} windows, {alone_s / cpu_s:.2f} of the bare forward pass")


if __name__ == "__main__":
    main()

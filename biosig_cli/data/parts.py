"""From the windows of single records to a store: parts, packed in the order of their ids.

A part is the unit of work: written whole or not at all, the same whoever writes it, so that a
build may stop and go on, on one machine or many.
"""

import csv
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from biosig_cli.core.artifacts import atomic_path, sha256
from biosig_cli.core.errors import DataError
from biosig_cli.data.store import INDEX, WindowStore
from biosig_cli.data.windows import RecordWindows

SHARD_BYTES = 64_000_000
READ_ROWS = 4096
"""Windows held in memory at once while a `.npz` file is written."""


@dataclass(frozen=True)
class Packed:
    """What packing wrote, as the manifest tells it."""

    n_windows: int
    n_cut: int
    dropped: dict[str, int]
    subjects: list[str]
    """Subjects that have windows."""
    shards: list[dict[str, Any]]
    index: dict[str, str]


def write_part(path: Path, windows: RecordWindows) -> None:
    """Write the windows of one record, whole or not at all."""
    facts = {
        "record": windows.record,
        "subject": windows.subject,
        "n_cut": windows.n_cut,
        "dropped": windows.dropped,
    }
    columns: dict[str, Any] = {f"column_{name}": each for name, each in windows.columns.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, data=windows.data, facts=np.array(json.dumps(facts)), **columns)


def read_part(path: Path) -> RecordWindows:
    """Return what `write_part` wrote.

    Raises:
        DataError: If the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as part:
            columns = {
                name.removeprefix("column_"): part[name]
                for name in part.files
                if name.startswith("column_")
            }
            return RecordWindows(
                **json.loads(str(part["facts"])), data=part["data"], columns=columns
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} can't be read: {error}", hint="delete it and go on") from None


def pack(parts: Sequence[Path], folder: Path) -> Packed:
    """Write the windows of `parts`, in their order, as shards and an index in `folder`."""
    shutil.rmtree(folder / "shards", ignore_errors=True)
    shards: list[dict[str, Any]] = []
    tables: list[pa.Table] = []
    dropped: dict[str, int] = {}
    n_cut = 0
    waiting: list[NDArray[np.float16]] = []
    n_waiting = n_done = 0
    for windows in map(read_part, parts):
        n_cut += windows.n_cut
        for reason, count in windows.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
        if not len(windows.data):
            continue
        shard_rows = max(1, SHARD_BYTES // windows.data[0].nbytes)
        places = np.arange(n_done, n_done + len(windows.data))
        tables.append(_table(windows, places // shard_rows, places % shard_rows))
        waiting.append(windows.data)
        n_waiting, n_done = n_waiting + len(windows.data), n_done + len(windows.data)
        while n_waiting >= shard_rows:
            ready = np.concatenate(waiting)
            shards.append(_write_shard(folder, len(shards), ready[:shard_rows]))
            waiting, n_waiting = [ready[shard_rows:]], n_waiting - shard_rows
    if n_waiting:
        shards.append(_write_shard(folder, len(shards), np.concatenate(waiting)))
    if not tables:
        return Packed(0, n_cut, dropped, [], [], {})
    index = pa.concat_tables(tables).unify_dictionaries()
    with atomic_path(folder / INDEX) as temporary:
        pq.write_table(index, temporary, compression="zstd")
    subjects = sorted(set(index.column("subject").unique().to_pylist()))
    facts = {"file": INDEX, "sha256": sha256(folder / INDEX)}
    return Packed(n_done, n_cut, dropped, subjects, shards, facts)


def write_skipped(path: Path, skipped: Mapping[str, str], subjects: Mapping[str, str]) -> None:
    """Write why records could not be used, one line each; no file where all could."""
    if not skipped:
        path.unlink(missing_ok=True)
        return
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(("record", "subject", "reason"))
        table.writerows((record, subjects[record], why) for record, why in skipped.items())


def _table(windows: RecordWindows, shard: NDArray[np.int64], row: NDArray[np.int64]) -> pa.Table:
    n_windows = len(windows.data)
    names = {"record": windows.record, "subject": windows.subject}
    columns: dict[str, Any] = {
        "shard": pa.array(shard.astype(np.int32)),
        "row": pa.array(row.astype(np.int32)),
    }
    columns |= {
        name: pa.array([value] * n_windows).dictionary_encode() for name, value in names.items()
    }
    columns |= {name: pa.array(values) for name, values in windows.columns.items()}
    return pa.table(columns)


def _write_shard(folder: Path, number: int, windows: NDArray[np.float16]) -> dict[str, Any]:
    name = f"shards/{number:04d}.npy"
    with atomic_path(folder / name) as temporary, temporary.open("wb") as file:
        np.save(file, windows)
    return {"file": name, "n_windows": len(windows), "sha256": sha256(folder / name)}


def write_npz(store: WindowStore, path: Path) -> None:
    """Write a store as one `.npz` file for exchange, a few windows at a time.

    `data` (N, C, T) is normalized as in the store; `data * scale + center` is in `units`. There
    are no labels, and a missing label is NaN.
    """
    spec, n_windows = store.spec, len(store)
    small = {
        "labels": np.full(n_windows, np.nan, np.float32),
        "channels": np.array(spec.names),
        "kinds": np.array(spec.kinds),
        "units": np.array([channel.unit for channel in spec.channels]),
        "sampling_hz": np.array(spec.sampling_hz),
        "subject": store.column("subject").astype(str),
        "record": store.column("record").astype(str),
        "start_s": store.column("start_s"),
    }
    for what in ("center", "scale"):
        columns = [store.column(f"{what}_{name}") for name in spec.names]
        small[what] = np.stack(columns, axis=1)
    shape = (n_windows, len(spec.channels), spec.n_samples)
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", allowZip64=True) as archive,
    ):
        with archive.open("data.npy", "w", force_zip64=True) as member:
            _write_rows(member, shape, _in_order(store))
        for name, values in small.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def _in_order(store: WindowStore) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(store), READ_ROWS):
        yield store.read(np.arange(start, min(start + READ_ROWS, len(store))))


def _write_rows(
    member: IO[bytes], shape: tuple[int, ...], blocks: Iterator[NDArray[np.float32]]
) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(member, header)
    for block in blocks:
        member.write(block.tobytes())

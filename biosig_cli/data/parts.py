"""From the windows of single records to a store: parts, packed in the order of their ids.

A part is the unit of work: written whole or not at all, the same whoever writes it, so that a
build may stop and go on, on one machine or many.
"""

import csv
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from biosig_cli.data.unpack import read_npz
from biosig_cli.data.windows import RecordWindows

DROPPED = "dropped.parquet"
"""What was measured of the windows that a store does not hold, and why."""
SHARD_BYTES = 64_000_000
Known = Callable[[int, NDArray[np.float64]], dict[str, NDArray[Any]]]
"""From the number of a part and the starts of windows, in seconds, to what is known of them."""
READ_SAMPLES = 10_000_000
"""Samples held in memory at once while a `.npz` file is written."""


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
    columns |= {f"dropped_{name}": each for name, each in windows.dropped_columns.items()}
    columns |= {} if windows.target is None else {"target": windows.target}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, data=windows.data, facts=np.array(json.dumps(facts)), **columns)


def read_part(path: Path) -> RecordWindows:
    """Return what `write_part` wrote.

    Raises:
        DataError: If the file is damaged.
    """
    try:
        part = read_npz(path)
        columns, dropped = (
            {name.removeprefix(kind): each for name, each in part.items() if name.startswith(kind)}
            for kind in ("column_", "dropped_")
        )
        return RecordWindows(
            **json.loads(str(part["facts"])),
            data=part["data"],
            columns=columns,
            dropped_columns=dropped,
            target=part.get("target"),
        )
    except (DataError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"{path} can't be read: {error}", hint="delete it and go on") from None


def pack(parts: Sequence[Path], folder: Path, known: Known | None = None) -> Packed:
    """Write the windows of `parts`, in their order, as shards and an index in `folder`.

    What was measured of dropped windows goes beside them; it is no part of what the store is.

    Args:
        parts: Files that `write_part` wrote.
        folder: Folder of the store.
        known: Gives the labels of the windows of a part.
    """
    shutil.rmtree(folder / "shards", ignore_errors=True)
    shards = _Shards(folder)
    tables: list[pa.Table] = []
    left_out: list[pa.Table] = []
    dropped: dict[str, int] = {}
    n_cut = 0
    for number, windows in enumerate(map(read_part, parts)):
        about, about_dropped = (
            known(number, columns["start_s"]) if known else {}
            for columns in (windows.columns, windows.dropped_columns)
        )
        n_cut += windows.n_cut
        for reason, count in windows.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
        left_out.append(_table(windows, windows.dropped_columns | about_dropped))
        if len(windows.data):
            place = shards.add(windows)
            tables.append(_table(windows, place | windows.columns | about))
    shards.finish()
    if left_out:
        _write_table(folder / DROPPED, left_out)
    if not tables:
        return Packed(0, n_cut, dropped, [], [], {})
    index = _write_table(folder / INDEX, tables)
    subjects = sorted(set(index.column("subject").unique().to_pylist()))
    facts = {"file": INDEX, "sha256": sha256(folder / INDEX)}
    return Packed(shards.n_windows, n_cut, dropped, subjects, shards.facts, facts)


class _Shards:
    """Writes windows, and their denoised twins beside them, in files of about equal size."""

    def __init__(self, folder: Path) -> None:
        self.facts: list[dict[str, Any]] = []
        self.n_windows = 0
        self._folder = folder
        self._waiting: list[tuple[NDArray[np.float16], NDArray[np.float16] | None]] = []

    def add(self, windows: RecordWindows) -> dict[str, NDArray[np.int32]]:
        """Take the windows of a record; return shard and row of each, as the index names them."""
        n_rows = max(1, SHARD_BYTES // windows.data[0].nbytes)
        places = np.arange(self.n_windows, self.n_windows + len(windows.data))
        self._waiting.append((windows.data, windows.target))
        self.n_windows += len(windows.data)
        while self._n_waiting >= n_rows:
            self._write(n_rows)
        return {
            "shard": (places // n_rows).astype(np.int32),
            "row": (places % n_rows).astype(np.int32),
        }

    def finish(self) -> None:
        """Write what is left."""
        if self._n_waiting:
            self._write(self._n_waiting)

    @property
    def _n_waiting(self) -> int:
        return sum(len(data) for data, _ in self._waiting)

    def _write(self, n_rows: int) -> None:
        data = np.concatenate([each for each, _ in self._waiting])
        twins = [twin for _, twin in self._waiting if twin is not None]
        target = np.concatenate(twins) if twins else None
        name = f"shards/{len(self.facts):04d}"
        facts = _write_array(self._folder, f"{name}.npy", data[:n_rows])
        if target is not None:
            twin = _write_array(self._folder, f"{name}_target.npy", target[:n_rows])
            facts["target"] = {key: twin[key] for key in ("file", "sha256")}
        self.facts.append(facts)
        rest = data[n_rows:], None if target is None else target[n_rows:]
        self._waiting = [rest] if len(rest[0]) else []


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


def _table(windows: RecordWindows, columns: Mapping[str, NDArray[Any]]) -> pa.Table:
    n_rows = len(columns["start_s"])
    names = {"record": windows.record, "subject": windows.subject}
    # No rows have no type of their own: text stays text.
    named = {
        name: pa.array([value] * n_rows, pa.string()).dictionary_encode()
        for name, value in names.items()
    }
    types = {name: pa.string() if v.dtype.kind == "U" else None for name, v in columns.items()}
    return pa.table(
        named | {name: pa.array(values, types[name]) for name, values in columns.items()}
    )


def _write_table(path: Path, tables: Sequence[pa.Table]) -> pa.Table:
    table = pa.concat_tables(tables).unify_dictionaries()
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return table


def _write_array(folder: Path, name: str, windows: NDArray[np.float16]) -> dict[str, Any]:
    with atomic_path(folder / name) as temporary, temporary.open("wb") as file:
        np.save(file, windows)
    return {"file": name, "n_windows": len(windows), "sha256": sha256(folder / name)}


def write_npz(store: WindowStore, path: Path) -> None:
    """Write a store as one `.npz` file for exchange, a few windows at a time.

    `data` (N, C, T) is normalized as in the store; `data * scale + center` is in `units`. Each
    label is an array of its own, and `labels` is the first of them; a missing label is NaN.
    `target`, where the store has it, is the denoised twin of `data`.
    """
    spec, n_windows = store.spec, len(store)
    about = [f"label_{name}" for name in store.labels]
    about += [f"subject_{name}" for name in store.attributes]
    small = {
        "labels": store.column(about[0]) if store.labels else np.full(n_windows, np.nan, "f4"),
        **{name: store.column(name) for name in about},
        "channels": np.array(spec.names),
        "kinds": np.array(spec.kinds),
        "units": np.array([channel.unit for channel in spec.channels]),
        "positions": np.array([channel.position or [np.nan] * 3 for channel in spec.channels]),
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
            _write_rows(member, shape, _in_order(store, store.read))
        if store.has_target:
            with archive.open("target.npy", "w", force_zip64=True) as member:
                _write_rows(member, shape, _in_order(store, store.read_target))
        for name, values in small.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def _in_order(
    store: WindowStore, read: Callable[[NDArray[np.int64]], NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    n_rows = max(1, READ_SAMPLES // (store.spec.n_channels * store.spec.n_samples))
    for start in range(0, len(store), n_rows):
        yield read(np.arange(start, min(start + n_rows, len(store))))


def _write_rows(
    member: IO[bytes], shape: tuple[int, ...], blocks: Iterator[NDArray[np.float32]]
) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(member, header)
    for block in blocks:
        member.write(block.tobytes())

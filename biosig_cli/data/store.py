"""Windows on disk: shards of float16 that are read in any order without loading them.

A store is a folder with `manifest.json` (what the windows are and where they come from),
`index.parquet` (one row per window) and `shards/NNNN.npy`. A `<split>_windows.npz` file holds the
same windows for exchange and is read the same way.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from biosig_cli.core.artifacts import check_format, read_json, sha256
from biosig_cli.core.errors import DataError
from biosig_cli.data.store_files import (
    index_column,
    index_file,
    load_npz,
    map_shard,
    npz_spec,
)
from biosig_cli.signal.spec import SignalSpec

SPLITS = ("train", "val", "test")
MANIFEST = "manifest.json"
INDEX = "index.parquet"
MAX_OPEN_SHARDS = 256
"""Each open memory map holds a file descriptor, and systems commonly allow 1,024."""

HOW_TO_MAKE = (
    "make it: biosig prepare-splits --source FOLDER --output data, then "
    "biosig build-windows --split-file data/splits_fasttrack.json --outdir {folder}"
)


class WindowStore:
    """Windows (C, T) of one split; workers may hold copies, each opens the files by itself."""

    def __init__(
        self, path: Path, spec: SignalSpec, manifest: Mapping[str, Any], positions: Sequence[int]
    ) -> None:
        self.path = path
        self.spec = spec
        self.manifest = dict(manifest)
        self._positions = list(positions)
        self._columns: dict[str, NDArray[Any]] = {}
        self._maps: OrderedDict[int, NDArray[np.float16]] = OrderedDict()

    def __len__(self) -> int:
        return int(self.manifest["n_windows"])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": OrderedDict(), "_columns": {}}

    @property
    def digest(self) -> str:
        """What identifies the content: the same windows have the same digest."""
        content = [self.manifest["spec"], self.manifest["shards"], self.manifest["index"]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def stores(self) -> tuple["WindowStore", ...]:
        """The stores that hold the windows: itself, or those that a view shows."""
        return (self,)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose windows these are, each subject once; empty where it is not stated."""
        return tuple(sorted({str(subject) for subject in self.column("subject")}))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels; `column("label_X")` has one per window, NaN where it is missing."""
        return tuple(self.manifest.get("labels", {}))

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of what is known of people; `column("subject_X")` has one value per window."""
        return tuple(self.manifest.get("attributes", {}))

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the normalized windows at `rows`, in that order.

        Args:
            rows: (n,) places of windows in the store, in any order.

        Returns:
            (n, C, T) windows, each channel as `spec` names it.
        """
        rows = np.asarray(rows, dtype=np.int64)
        shape = (len(rows), len(self._positions), self.spec.n_samples)
        windows = np.empty(shape, np.float32)
        shards, within = self.column("shard")[rows], self.column("row")[rows]
        order = np.argsort(shards, kind="stable")
        edges = np.flatnonzero(np.diff(shards[order])) + 1
        for places in np.split(order, edges):
            if len(places):
                shard = self._open(int(shards[places[0]]))
                windows[places] = self._select(shard[within[places]])
        return windows

    def physical(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the windows at `rows` in the unit of each channel; (n, C, T)."""
        rows = np.asarray(rows, dtype=np.int64)
        center = self._per_channel("center", rows)
        scale = self._per_channel("scale", rows)
        return self.read(rows) * scale[:, :, None] + center[:, :, None]

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the index: `record`, `subject`, `start_s`, `center_PPG`, ...

        Raises:
            DataError: If the store has no such column.
        """
        if name not in self._columns:
            self._columns[name] = self._read_column(name)
        return self._columns[name]

    def _read_column(self, name: str) -> NDArray[Any]:
        column = index_column(self.path / INDEX, name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        values: NDArray[Any] = column.to_numpy()
        return values

    def _per_channel(self, what: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        columns = [self.column(f"{what}_{name}")[rows] for name in self.spec.names]
        return np.stack(columns, axis=1).astype(np.float32)

    def _select(self, windows: NDArray[Any]) -> NDArray[Any]:
        is_all = self._positions == list(range(windows.shape[1]))
        return windows if is_all else windows[:, self._positions]

    def _open(self, shard: int) -> NDArray[np.float16]:
        if shard not in self._maps:
            file = self.path / self.manifest["shards"][shard]["file"]
            self._maps[shard] = np.asarray(map_shard(file))
            if len(self._maps) > MAX_OPEN_SHARDS:
                self._maps.popitem(last=False)
        self._maps.move_to_end(shard)
        return self._maps[shard]


class NpzStore(WindowStore):
    """Windows of a `.npz` file, held in memory; made for exchange, not for size."""

    def __init__(
        self,
        path: Path,
        spec: SignalSpec,
        arrays: Mapping[str, NDArray[Any]],
        positions: Sequence[int],
    ) -> None:
        self._arrays = dict(arrays)
        self._data = arrays["data"]
        manifest: dict[str, Any] = {"n_windows": len(self._data)} | {
            kind: {name.removeprefix(start): {} for name in arrays if name.startswith(start)}
            for kind, start in (("labels", "label_"), ("attributes", "subject_"))
        }
        super().__init__(path, spec, manifest, positions)
        self._columns["row"] = np.arange(len(self._data), dtype=np.int64)
        self._columns["shard"] = np.zeros(len(self._data), np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    @property
    def digest(self) -> str:
        """What identifies the content: the digest of the file."""
        return sha256(self.path)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose windows these are; a bare array does not say."""
        return super().subjects if "subject" in self._arrays else ()

    def _open(self, shard: int) -> NDArray[Any]:
        return self._data

    def _read_column(self, name: str) -> NDArray[Any]:
        what, _, channel = name.partition("_")
        if what in ("center", "scale") and what in self._arrays:
            names = [str(each) for each in self._arrays["channels"]]
            if channel in names:
                values: NDArray[Any] = self._arrays[what][:, names.index(channel)]
                return values
        if name not in self._arrays or name in ("data", "channels", "center", "scale"):
            raise DataError(
                f"{self.path} has no {name!r}", hint=f"it has {', '.join(self._arrays)}"
            )
        return self._arrays[name]


def open_split(
    data_dir: Path,
    split: str,
    *,
    channels: Sequence[str] | None = None,
    sampling_hz: float | None = None,
) -> WindowStore:
    """Open the windows of `split` in `data_dir`, as a store or as a `.npz` file.

    Args:
        data_dir: The folder that `build-windows` wrote.
        split: `train`, `val` or `test`.
        channels: Names of the channels to read, in the order asked for; all when None. For a
            `.npz` file that names none, the names of those it holds.
        sampling_hz: The rate, in Hz, of a `.npz` file that does not say.

    Raises:
        DataError: If there is none, it is damaged, it lacks a channel, or a subject stands in
            two of the splits in `data_dir`.
    """
    data_dir = Path(data_dir)
    folder, file = data_dir / split, data_dir / f"{split}_windows.npz"
    if not has_split(data_dir, split):
        unfinished = folder.is_dir() and any(folder.iterdir())
        raise DataError(
            f"no {split} windows in {data_dir}: {folder / MANIFEST} is not there, nor {file.name}"
            + ("; the folder holds an unfinished build" if unfinished else ""),
            hint=HOW_TO_MAKE.format(folder=data_dir),
        )
    assert_disjoint(data_dir)
    if (folder / MANIFEST).is_file():
        return open_store(folder, channels=channels)
    return open_npz(file, channels=channels, sampling_hz=sampling_hz)


def has_split(data_dir: Path, split: str) -> bool:
    """Return whether `data_dir` holds the windows of `split`, complete."""
    store, file = data_dir / split / MANIFEST, data_dir / f"{split}_windows.npz"
    return store.is_file() or file.is_file()


def open_store(folder: Path, *, channels: Sequence[str] | None = None) -> WindowStore:
    """Open a folder that holds one store.

    Raises:
        DataError: If it is damaged, of a newer format, or lacks a channel.
    """
    manifest = read_json(folder / MANIFEST)
    check_format(manifest, folder / MANIFEST)
    missing = [key for key in ("spec", "shards", "index", "n_windows") if key not in manifest]
    if missing:
        raise DataError(f"{folder / MANIFEST} has no {', '.join(missing)}", hint="build it again")
    files = [INDEX, *(shard["file"] for shard in manifest["shards"])]
    gone = [name for name in files if not (folder / name).is_file()]
    if gone:
        raise DataError(f"{folder} lacks {', '.join(gone[:3])}", hint="build it again")
    whole = SignalSpec.parse(manifest["spec"])
    spec = whole if channels is None else whole.select(channels)
    n_rows = index_file(folder / INDEX).metadata.num_rows
    if n_rows != manifest["n_windows"]:
        raise DataError(
            f"{folder / INDEX} has {n_rows} windows, {MANIFEST} says {manifest['n_windows']}",
            hint="delete the folder and build it again",
        )
    return WindowStore(folder, spec, manifest, whole.positions(spec.names))


def open_npz(
    file: Path, *, channels: Sequence[str] | None = None, sampling_hz: float | None = None
) -> NpzStore:
    """Open a `.npz` file of windows.

    It holds `data` (N, C, T), `channels` and `sampling_hz`; the last two may be given instead.

    Raises:
        DataError: If a key is missing or `data` has another shape.
    """
    return open_arrays(file, load_npz(file), channels=channels, sampling_hz=sampling_hz)


def open_arrays(
    file: Path,
    arrays: Mapping[str, NDArray[Any]],
    *,
    channels: Sequence[str] | None = None,
    sampling_hz: float | None = None,
) -> NpzStore:
    """Return a store of the arrays that a `.npz` file holds; arguments and errors as `open_npz`.

    Args:
        file: Where they come from.
        arrays: `data` and what goes with it, by name.
        channels: Names of the channels to read, or of those that `data` has.
        sampling_hz: Their rate, in Hz, where the arrays do not say.
    """
    if "data" not in arrays:
        raise DataError(
            f"{file} has no 'data'; it has {', '.join(arrays) or 'nothing'}",
            hint="expected data (N, C, T), channels (C,), sampling_hz and, per window, subject, "
            "record, start_s, labels",
        )
    names = arrays.get("channels", channels)
    rate = arrays.get("sampling_hz", sampling_hz)
    if names is None or rate is None:
        raise DataError(
            f"{file} does not say its channels and sampling rate",
            hint="give both by name, or add the keys `channels` and `sampling_hz` to the file",
        )
    whole = npz_spec(file, arrays, [str(name) for name in names], float(rate))
    if sampling_hz is not None and sampling_hz != whole.sampling_hz:
        raise DataError(f"{file} is sampled at {whole.sampling_hz} Hz, asked for {sampling_hz} Hz")
    spec = whole if channels is None else whole.select(channels)
    return NpzStore(file, spec, arrays, whole.positions(spec.names))


def assert_disjoint(data_dir: Path) -> None:
    """Make sure that no subject stands in two of the splits in `data_dir`.

    Raises:
        DataError: Naming the subjects and the splits.
    """
    seen: dict[str, str] = {}
    for split in SPLITS:
        for subject in sorted(_subjects(Path(data_dir), split)):
            if subject in seen:
                raise DataError(
                    f"subject {subject} stands in {seen[subject]} and in {split} of {data_dir}",
                    hint="delete the folder and make it again from one split file",
                )
            seen[subject] = split


def _subjects(data_dir: Path, split: str) -> set[str]:
    folder, file = data_dir / split, data_dir / f"{split}_windows.npz"
    if (folder / MANIFEST).is_file() and (folder / INDEX).is_file():
        return set(index_column(folder / INDEX, "subject").unique().to_pylist())
    if file.is_file():
        with np.load(file, allow_pickle=False) as arrays:
            return {str(subject) for subject in arrays["subject"]} if "subject" in arrays else set()
    return set()

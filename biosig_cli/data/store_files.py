"""The files of windows as they lie on disk: index and shards of a store, and `.npz` files."""

import mmap
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import kind_of
from biosig_cli.signal.spec import Channel, SignalSpec


def load_npz(file: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file, by name.

    Raises:
        DataError: If it can't be read.
    """
    try:
        # numpy leaves a file open that turns out to be no archive.
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file} can't be read: {error}", hint="make it again") from None


def npz_spec(
    file: Path, arrays: Mapping[str, NDArray[Any]], names: Sequence[str], sampling_hz: float
) -> SignalSpec:
    """Return what windows are: `data` (N, C, T) of the channels called `names`.

    Args:
        file: Where the arrays come from, for the error.
        arrays: `data`, and what goes with each window.
        names: (C,) names of the channels.
        sampling_hz: Their rate, in Hz.

    Raises:
        DataError: If `data` has another shape, or something does not have a row per window.
    """
    shape = arrays["data"].shape
    if len(shape) != 3 or shape[1] != len(names):
        raise DataError(
            f"{file}: data has shape {shape}, expected (N, {len(names)}, T) for the channels "
            f"{', '.join(names)}",
            hint="time is the last axis",
        )
    if "target" in arrays and arrays["target"].shape != shape:
        raise DataError(
            f"{file}: target has shape {arrays['target'].shape}, data has {shape}",
            hint="the target is the denoised twin of each window",
        )
    about = [key for key in arrays if key.startswith(("label_", "subject_"))]
    for key in ("subject", "record", "start_s", "center", "scale", "labels", *about):
        if key in arrays and len(arrays[key]) != shape[0]:
            raise DataError(f"{file}: {key} has {len(arrays[key])} rows, data has {shape[0]}")
    units = arrays.get("units", [""] * len(names))
    kinds = arrays.get("kinds", [kind_of(name) for name in names])
    positions = arrays.get("positions", np.full((len(names), 3), np.nan))
    described = [
        {
            "name": name,
            "kind": str(kind),
            "unit": str(unit),
            "position": place.tolist() if np.isfinite(place).all() else None,
        }
        for name, kind, unit, place in zip(names, kinds, units, positions, strict=True)
    ]
    channels = tuple(Channel.parse(each) for each in described)
    return SignalSpec(channels=channels, sampling_hz=sampling_hz, n_samples=shape[2])


def index_file(path: Path) -> pq.ParquetFile:
    """Open the index of a store.

    Raises:
        DataError: If it can't be read.
    """
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} can't be read: {error}", hint="build the store again") from None


def index_column(path: Path, name: str) -> pa.ChunkedArray:
    """Return a column of the index of a store.

    Raises:
        DataError: If there is none.
    """
    file = index_file(path)
    names = file.schema_arrow.names
    if name not in names:
        raise DataError(f"{path} has no column {name!r}", hint=f"it has {', '.join(names)}")
    return file.read(columns=[name]).column(0)


def map_shard(file: Path, advice: str | None = None) -> NDArray[np.float16]:
    """Return the windows of a shard, (n, C, T), which stay on disk until they are asked for.

    Args:
        file: The shard.
        advice: Name of what the system is told of how it is read, such as `MADV_RANDOM`: without
            it, it reads much beside each window; where a system does not know it, nothing.

    Raises:
        DataError: If it can't be read.
    """
    try:
        windows: np.memmap[Any, Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        if advice is not None and hasattr(mmap, advice):
            windows.base.madvise(getattr(mmap, advice))  # type: ignore[union-attr]
        return windows
    except (OSError, ValueError) as error:
        raise DataError(f"{file} can't be read: {error}", hint="build the store again") from None

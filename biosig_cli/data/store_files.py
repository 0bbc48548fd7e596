"""The files of windows as they lie on disk: index and shards of a store, and `.npz` files."""

import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.channels import kind_of
from biosig_cli.data.unpack import map_npy, open_parquet, read_parquet
from biosig_cli.signal.spec import SignalSpec

NUMBERS = ("data", "target", "center", "scale", "positions", "start_s")
"""Arrays that are read as numbers."""


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
    odd = [key for key in NUMBERS if key in arrays and arrays[key].dtype.kind not in "iufb"]
    if odd:
        raise DataError(f"{file}: {odd[0]} is of type {arrays[odd[0]].dtype}, expected numbers")
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
        if key in arrays and arrays[key].shape[:1] != shape[:1]:
            n_rows = len(arrays[key]) if arrays[key].ndim else 0
            raise DataError(f"{file}: {key} has {n_rows} rows, data has {shape[0]}")
    for key, expected in _shapes(*shape[:2]).items():
        if key in arrays and arrays[key].shape != expected:
            raise DataError(f"{file}: {key} has shape {arrays[key].shape}, expected {expected}")
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
    facts = {"channels": described, "sampling_hz": sampling_hz, "n_samples": shape[2]}
    try:
        return SignalSpec.parse(facts)
    except ConfigError as error:
        raise DataError(f"{file} does not say what its windows are: {error}") from None


def _shapes(n_windows: int, n_channels: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what goes with `data`, by name."""
    of_windows: dict[str, tuple[int, ...]] = dict.fromkeys(
        ("subject", "record", "start_s"), (n_windows,)
    )
    return (
        of_windows
        | dict.fromkeys(("center", "scale"), (n_windows, n_channels))
        | {"units": (n_channels,), "kinds": (n_channels,), "positions": (n_channels, 3)}
    )


def index_file(path: Path) -> pq.ParquetFile:
    """Open the index of a store.

    Raises:
        DataError: If it can't be read.
    """
    return open_parquet(path, ())


def index_column(path: Path, name: str) -> pa.ChunkedArray:
    """Return a column of the index of a store.

    Raises:
        DataError: If there is none.
    """
    file = index_file(path)
    names = file.schema_arrow.names
    if name not in names:
        raise DataError(f"{path} has no column {name!r}", hint=f"it has {', '.join(names)}")
    return read_parquet(path, [name]).column(0)


def map_shard(file: Path, advice: str | None = None) -> NDArray[np.float16]:
    """Return the windows of a shard, (n, C, T), which stay on disk until they are asked for.

    Args:
        file: The shard.
        advice: Name of what the system is told of how it is read, such as `MADV_RANDOM`: without
            it, it reads much beside each window; where a system does not know it, nothing.

    Raises:
        DataError: If it can't be read.
    """
    windows = map_npy(file)
    if advice is not None and hasattr(mmap, advice) and isinstance(windows.base, mmap.mmap):
        windows.base.madvise(getattr(mmap, advice))
    return windows

"""Folders of CSV, Parquet or npz files, one record per file, described by a `dataset.yaml`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.dataset import DatasetConfig, FileConfig, SubjectFinder, read_dataset
from biosig_cli.data.readers.base import (
    RecordFolder,
    as_channel,
    file_fingerprint,
    records_by_id,
)
from biosig_cli.data.readers.rates import simple_rate
from biosig_cli.data.readers.sheets import Sheet, open_sheet
from biosig_cli.data.record import Record, Track

__all__ = ["CsvFolder", "DatasetConfig", "read_dataset"]

MAX_RATE_ERROR = 0.02
"""A stated rate that differs more than this from the time stamps is a mistake, not jitter."""


class CsvFolder(RecordFolder):
    """A folder of files with columns that a `DatasetConfig` describes."""

    def __init__(self, folder: Path, dataset: DatasetConfig) -> None:
        self.folder, self.dataset = folder, dataset
        kind = {".parquet": "Parquet", ".npz": "npz"}.get(Path(dataset.files).suffix, "CSV")
        self.kind = f"{kind} files"
        self.licence = dataset.licence
        tables = {path for pattern in dataset.tables for path in _like(folder, pattern)}
        paths = {path for path in _like(folder, dataset.files) if not path.is_dir()} - tables
        self._files = records_by_id(folder, sorted(paths))
        self._finder = SubjectFinder(folder, dataset, each="file")
        self.subject_origin = self._finder.origin
        self.labels, self.attributes = dataset.labels, dataset.attributes

    def fingerprint(self, record_id: str) -> str:
        """Return the size of the record's file."""
        return file_fingerprint(self._path(record_id))

    def read(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> Record:
        """Return a record with every one of `channels`, by the names that `columns` gives.

        Raises:
            DataError: If the file can't be read as described or lacks one of them.
        """
        path, file = self._path(record_id), self.dataset.table(record_id)
        lacking = [name for name in channels if name not in file.columns]
        if lacking:
            raise DataError(
                f"{path.name} has no {', '.join(lacking)}; the dataset's columns give "
                f"{', '.join(file.columns)}"
            )
        sheet = open_sheet(path, file)
        values = {name: sheet.numbers(file.columns[name]) for name in channels}
        if file.time is not None:
            values, rates = _by_stamps(path, sheet, file, values)
        else:
            rates = {
                name: file.columns[name].sampling_hz or file.sampling_hz or 0.0 for name in values
            }
        tracks = {
            name: as_channel(
                Track(samples, rates[name], file.columns[name].unit),
                str(file.columns[name].column),
                name,
                channels[name],
            )
            for name, samples in values.items()
        }
        return Record(record_id, self._finder.find([record_id])[record_id], tracks)

    def _path(self, record_id: str) -> Path:
        ending = Path(self.dataset.files).suffix
        return self._files.get(record_id, self.folder / f"{record_id}{ending}")


def _like(folder: Path, pattern: str) -> list[Path]:
    """Return the files in a folder whose names fit a pattern.

    Raises:
        DataError: If it can be the pattern of no name.
    """
    if Path(pattern).is_absolute():
        return []  # a table elsewhere; no file of this folder
    try:
        return list(folder.glob(pattern))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{pattern[:80]!r} is no pattern of files: {why}") from None


def _by_stamps(
    path: Path, sheet: Sheet, file: FileConfig, values: Mapping[str, NDArray[np.float32]]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, float]]:
    """Return samples on the grid that the time stamps make, and its rate for each channel."""
    stamps_s = sheet.stamps_s(file.time or 0, file.time_unit)
    if not np.isfinite(stamps_s).all():
        raise DataError(f"{path.name}: a time stamp is missing or infinite")
    back = np.flatnonzero(~(np.diff(stamps_s) >= 0))
    if len(back):
        raise DataError(f"{path.name}: time goes back after row {back[0] + 1} of the data")
    odd = [name for name, samples in values.items() if len(samples) != len(stamps_s)]
    if odd:
        raise DataError(f"{path.name}: {odd[0]} and the time stamps differ in length")
    places, rate, size = _on_grid(path, stamps_s - stamps_s[0], file)
    spread = {name: _spread(samples, places, size) for name, samples in values.items()}
    return spread, dict.fromkeys(spread, rate)


def _on_grid(
    path: Path, stamps_s: NDArray[np.float64], file: FileConfig
) -> tuple[NDArray[np.int64], float, int]:
    """Give each row a place on a uniform grid.

    A device samples evenly; it is the computer's clock that stamps unevenly. So rows that follow
    each other are even samples, their rate is their number over the time they took, and only
    where stamps jump is there a gap.

    Returns:
        Place of each row on the grid, the grid's rate in Hz, and its size.
    """
    span_s = stamps_s[-1]
    typical_hz = file.sampling_hz or (len(stamps_s) - 1) / max(span_s, 1e-9)
    limit_s = file.max_step_s or max(0.1, 5 / typical_hz)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(stamps_s) > limit_s) + 1])
    ends = np.concatenate([starts[1:], [len(stamps_s)]]) - 1
    covered_s = float(np.sum(stamps_s[ends] - stamps_s[starts]))
    if not covered_s > 0:
        raise DataError(f"{path.name}: the time stamps do not advance")
    found_hz = float(np.sum(ends - starts)) / covered_s
    rate = file.sampling_hz or simple_rate(found_hz)
    if abs(rate - found_hz) > MAX_RATE_ERROR * found_hz:
        raise DataError(
            f"{path.name}: its time stamps say {found_hz:.2f} Hz, the dataset says {rate:g} Hz",
            hint="leave `sampling_hz` out, or check `time_unit`",
        )
    places = np.empty(len(stamps_s), np.int64)
    end = 0
    for first, last in zip(starts, ends, strict=True):
        start = max(round(stamps_s[first] * rate), end + 1 if first else 0)
        end = start + last - first
        places[first : last + 1] = np.arange(start, end + 1)
    return places, rate, int(end) + 1


def _spread(
    samples: NDArray[np.float32], places: NDArray[np.int64], size: int
) -> NDArray[np.float32]:
    spread = np.full(size, np.nan, np.float32)
    spread[places] = samples
    return spread

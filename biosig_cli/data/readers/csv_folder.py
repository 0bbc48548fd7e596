"""Folders of CSV files, one record per file, described by a small `dataset.yaml`."""

import csv
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.readers.base import file_fingerprint, natural_key
from biosig_cli.data.record import Record, Track

MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
MAX_ROUNDING = 5e-4
"""A rate this close to a whole number is that number."""
MAX_RATE_ERROR = 0.02
"""A stated rate that differs more than this from the time stamps is a mistake, not jitter."""


class ColumnConfig(Config):
    """Where a channel stands in a file."""

    column: str | int
    """Name in the header line, or place counted from 0 where there is none."""
    unit: str = ""
    """Unit of the values."""


class TableConfig(Config):
    """How one file is to be read."""

    columns: dict[str, ColumnConfig] = Field(default_factory=dict)
    """Column of each channel, by the channel's name."""
    header: bool = True
    """Whether the first line names the columns."""
    delimiter: str = Field(",", min_length=1, max_length=1)
    """What stands between values."""
    sampling_hz: float | None = Field(None, gt=0)
    """Sampling rate, in Hz; with a time column it may be left out, and is checked if given."""
    time: str | int | None = None
    """Column of the time stamps, where there is one."""
    time_unit: Literal["s", "ms", "us", "datetime"] = "s"
    """Unit of the time stamps; `datetime` is a date and time as in ISO 8601."""
    max_step_s: float | None = Field(None, gt=0)
    """Stamps further apart than this are a gap; five samples, but at least 0.1 s, when left out."""


class DatasetConfig(TableConfig):
    """A folder of CSV files: how they are read, and whose recordings they are."""

    name: str = ""
    """What the data set is called."""
    licence: str = ""
    """Under which terms it may be used."""
    files: str = "*.csv"
    """Pattern of the file names; the name without its ending is the record's id."""
    subject: str | None = None
    """Regular expression whose first group is the subject's id in the record's id."""
    records: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What is different in single files, by record id."""

    @field_validator("subject")
    @classmethod
    def _has_a_group(cls, subject: str | None) -> str | None:
        try:
            if subject is not None and re.compile(subject).groups != 1:
                raise ValueError(f"{subject!r} needs one group, such as ([0-9]+)_.*")
        except re.error as error:
            raise ValueError(f"{subject!r} is no regular expression: {error}") from None
        return subject

    @model_validator(mode="after")
    def _tables_are_complete(self) -> "DatasetConfig":
        tables = [self.table(record_id) for record_id in self.records] or [self.table("")]
        for table in tables:
            if table.sampling_hz is None and table.time is None:
                raise ValueError("a file needs `sampling_hz` or a `time` column")
            if not table.columns:
                raise ValueError("`columns` must name at least one channel")
        return self

    def table(self, record_id: str) -> TableConfig:
        """Return how the file of a record is read."""
        common = {name: getattr(self, name) for name in TableConfig.model_fields}
        return TableConfig.parse(common | self.records.get(record_id, {}))


class CsvFolder:
    """A folder of CSV files that a `DatasetConfig` describes."""

    kind = "CSV files"

    def __init__(self, folder: Path, dataset: DatasetConfig) -> None:
        self.folder, self.dataset = folder, dataset
        self.licence = dataset.licence
        self._files = {path.stem: path for path in sorted(folder.glob(dataset.files))}
        self.subject_origin = (
            f"from the file name, by {dataset.subject}"
            if dataset.subject
            else "each file counts as one subject"
        )

    def ids(self) -> list[str]:
        """Return the ids of its records, numbers in numeric order."""
        return sorted(self._files, key=natural_key)

    def subjects(self) -> dict[str, str]:
        """Return the subject of each record, by the record's id.

        Raises:
            DataError: If the pattern does not fit a file's name.
        """
        return {record_id: self._subject(record_id) for record_id in self.ids()}

    def fingerprint(self, record_id: str) -> str:
        """Return the size of the record's file."""
        return file_fingerprint(self._path(record_id))

    def read(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> Record:
        """Return a record with every one of `channels`, by the names that `columns` gives.

        Raises:
            DataError: If the file can't be read as described or lacks one of them.
        """
        path, table = self._path(record_id), self.dataset.table(record_id)
        lacking = [name for name in channels if name not in table.columns]
        if lacking:
            raise DataError(
                f"{path.name} has no {', '.join(lacking)}; the dataset's columns give "
                f"{', '.join(table.columns)}"
            )
        header, rows = _read_rows(path, table)
        columns = {name: table.columns[name] for name in channels}
        values = {
            name: _numbers(path, rows, _place(path, header, column.column))
            for name, column in columns.items()
        }
        if table.time is not None:
            stamps_s = _stamps(path, rows, _place(path, header, table.time), table.time_unit)
            places, rate, size = _on_grid(path, stamps_s, table)
            values = {name: _spread(samples, places, size) for name, samples in values.items()}
        else:
            rate = float(table.sampling_hz or 0)
        tracks = {
            name: Track(samples, rate, columns[name].unit or channels[name].unit)
            for name, samples in values.items()
        }
        return Record(record_id, self._subject(record_id), tracks)

    def _path(self, record_id: str) -> Path:
        return self._files.get(record_id, self.folder / f"{record_id}.csv")

    def _subject(self, record_id: str) -> str:
        if self.dataset.subject is None:
            return record_id
        match = re.match(self.dataset.subject, record_id)
        if match is None:
            raise DataError(
                f"the subject pattern {self.dataset.subject!r} does not fit {record_id!r}",
                hint="change `subject` of the dataset, or `files` if it is no recording",
            )
        return str(match.group(1))


def read_dataset(data: Mapping[str, Any], where: object) -> DatasetConfig:
    """Return the description in a `dataset.yaml`.

    Raises:
        ConfigError: If it makes no sense, naming the file.
    """
    try:
        return DatasetConfig.parse(data)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}", hint=error.hint) from None


def _read_rows(path: Path, table: TableConfig) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, delimiter=table.delimiter) if row]
    except FileNotFoundError:
        raise DataError(f"{path.name} is not in {path.parent}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} can't be read as CSV: {error}") from None
    header = [name.strip() for name in rows.pop(0)] if table.header and rows else []
    if not rows:
        raise DataError(f"{path.name} is empty")
    return header, rows


def _place(path: Path, header: Sequence[str], column: str | int) -> int:
    if isinstance(column, int):
        return column
    if column not in header:
        raise DataError(
            f"{path.name} has no column {column!r}; it has {', '.join(header) or 'no header'}",
            hint="without a header, give the place of the column, counted from 0",
        )
    return header.index(column)


def _numbers(path: Path, rows: Sequence[Sequence[str]], place: int) -> NDArray[np.float32]:
    values = np.full(len(rows), np.nan)
    for line, row in enumerate(rows):
        text = row[place].strip() if place < len(row) else ""
        if text.lower() in MISSING:
            continue
        try:
            values[line] = float(text)
        except ValueError:
            raise DataError(
                f"{path.name}, row {line + 1} of the data: {text!r} is no number"
            ) from None
    return values.astype(np.float32)


def _stamps(
    path: Path, rows: Sequence[Sequence[str]], place: int, unit: str
) -> NDArray[np.float64]:
    """Return the time of each row in seconds from the first; they must not go back."""
    try:
        texts = [row[place].strip() for row in rows]
        if unit == "datetime":
            times = [datetime.fromisoformat(text) for text in texts]
            # A clock without a zone is read as UTC, so that no summer time makes a jump.
            stamps_s = np.array([_aware(time).timestamp() for time in times])
        else:
            stamps_s = (
                np.array([float(text) for text in texts]) * {"s": 1, "ms": 1e-3, "us": 1e-6}[unit]
            )
    except (IndexError, ValueError) as error:
        raise DataError(f"{path.name}: a time stamp can't be read as {unit}: {error}") from None
    back = np.flatnonzero(~(np.diff(stamps_s) >= 0))
    if len(back):
        raise DataError(f"{path.name}: time goes back after row {back[0] + 1} of the data")
    return np.asarray(stamps_s - stamps_s[0], np.float64)


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _on_grid(
    path: Path, stamps_s: NDArray[np.float64], table: TableConfig
) -> tuple[NDArray[np.int64], float, int]:
    """Give each row a place on a uniform grid.

    A device samples evenly; it is the computer's clock that stamps unevenly. So rows that follow
    each other are even samples, their rate is their number over the time they took, and only
    where stamps jump is there a gap.

    Returns:
        Place of each row on the grid, the grid's rate in Hz, and its size.
    """
    span_s = stamps_s[-1]
    typical_hz = table.sampling_hz or (len(stamps_s) - 1) / max(span_s, 1e-9)
    limit_s = table.max_step_s or max(0.1, 5 / typical_hz)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(stamps_s) > limit_s) + 1])
    ends = np.concatenate([starts[1:], [len(stamps_s)]]) - 1
    covered_s = float(np.sum(stamps_s[ends] - stamps_s[starts]))
    if not covered_s > 0:
        raise DataError(f"{path.name}: the time stamps do not advance")
    found_hz = float(np.sum(ends - starts)) / covered_s
    rate = table.sampling_hz or _simple_rate(found_hz)
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


def _simple_rate(found_hz: float) -> float:
    """Return the rate nearest to `found_hz` that stands in a simple ratio to usual rates.

    Devices are made for whole rates, and a resampler needs a ratio of small numbers. The change is
    below 0.05 %, and the same for all channels of a file.
    """
    if abs(round(found_hz) / found_hz - 1) < MAX_ROUNDING:
        return float(round(found_hz))
    return float(125 * Fraction(found_hz / 125).limit_denominator(100))


def _spread(
    samples: NDArray[np.float32], places: NDArray[np.int64], size: int
) -> NDArray[np.float32]:
    spread = np.full(size, np.nan, np.float32)
    spread[places] = samples
    return spread

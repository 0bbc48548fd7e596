"""One file of columns, as people keep their own recordings: CSV, Parquet or npz."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.data.dataset import ColumnConfig, FileConfig
from biosig_cli.data.tables import is_missing
from biosig_cli.data.unpack import read_npz, read_parquet

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


class Sheet(Protocol):
    """The columns of an open file."""

    def numbers(self, column: ColumnConfig) -> NDArray[np.float32]:
        """Return (T,) values, NaN where a cell says that there is none.

        Raises:
            DataError: If there is no such column, or it holds something else.
        """

    def stamps_s(self, column: str | int, unit: str) -> NDArray[np.float64]:
        """Return (T,) time stamps in seconds.

        Raises:
            DataError: If there is no such column, or it holds something else.
        """


def open_sheet(path: Path, file: FileConfig) -> Sheet:
    """Open a file; its ending tells its format, and what is neither Parquet nor npz is CSV.

    Raises:
        DataError: If it is missing, empty or damaged.
    """
    if not path.is_file() and not path.is_symlink():
        raise DataError(f"{path.name} is not in {path.parent}")
    if path.suffix == ".parquet":
        return _ArraySheet(path, _read_parquet(path))
    if path.suffix == ".npz":
        return _ArraySheet(path, _read_npz(path))
    return _CsvSheet(path, file)


class _CsvSheet:
    def __init__(self, path: Path, file: FileConfig) -> None:
        self._path = path
        try:
            with path.open(encoding="utf-8-sig", newline="") as opened:
                self._rows = [row for row in csv.reader(opened, delimiter=file.delimiter) if row]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path.name} can't be read as CSV: {error}") from None
        has_header = file.header and bool(self._rows)
        self._header = [name.strip() for name in self._rows.pop(0)] if has_header else []
        if not self._rows:
            raise DataError(f"{path.name} is empty")

    def numbers(self, column: ColumnConfig) -> NDArray[np.float32]:
        values = np.full(len(self._rows), np.nan)
        for line, text in enumerate(self._cells(column.column)):
            if is_missing(text):
                continue
            try:
                values[line] = float(text)
            except ValueError:
                raise DataError(
                    f"{self._path.name}, row {line + 1} of the data: {text!r} is no number"
                ) from None
        return values.astype(np.float32)

    def stamps_s(self, column: str | int, unit: str) -> NDArray[np.float64]:
        texts = self._cells(column)
        try:
            if unit != "datetime":
                return np.array([float(text) for text in texts]) * SECONDS[unit]
            times = [datetime.fromisoformat(text) for text in texts]
        except ValueError as error:
            raise _bad_stamps(self._path, unit, error) from None
        # A clock without a zone is read as UTC, so that no summer time makes a jump.
        return np.array([_aware(time).timestamp() for time in times])

    def _cells(self, column: str | int) -> list[str]:
        place = column if isinstance(column, int) else self._place(column)
        return [row[place].strip() if place < len(row) else "" for row in self._rows]

    def _place(self, column: str) -> int:
        return self._header.index(_only(self._path, column, self._header))


class _ArraySheet:
    """Columns that are arrays already."""

    def __init__(self, path: Path, arrays: dict[str, NDArray[Any]]) -> None:
        self._path, self._arrays = path, arrays

    def numbers(self, column: ColumnConfig) -> NDArray[np.float32]:
        values, name = self._column(column.column), column.column
        if values.ndim == 2 and column.row is not None:
            if column.row >= len(values):
                raise DataError(
                    f"{self._path.name}: {name} has {len(values)} rows, none at {column.row}"
                )
            values = values[column.row]
        if values.ndim != 1 or values.dtype.kind not in "iufb":
            raise DataError(
                f"{self._path.name}: {name} has shape {values.shape} and type {values.dtype}, "
                "expected numbers in one row",
                hint="of a two-dimensional array (rows, samples), name the `row`",
            )
        if not len(values):
            raise DataError(f"{self._path.name} is empty")
        return values.astype(np.float32)

    def stamps_s(self, column: str | int, unit: str) -> NDArray[np.float64]:
        stamps = self._column(column)
        if stamps.ndim != 1 or not len(stamps):
            raise DataError(f"{self._path.name}: the time stamps have shape {stamps.shape}")
        try:
            if unit == "datetime":
                # A missing stamp becomes NaN, which no later check lets pass.
                return stamps.astype("datetime64[ns]").astype(np.float64) / 1e9
            return stamps.astype(np.float64) * SECONDS[unit]
        except (ValueError, TypeError) as error:
            raise _bad_stamps(self._path, unit, error) from None

    def _column(self, column: str | int) -> NDArray[Any]:
        names = list(self._arrays)
        if isinstance(column, int):
            if column >= len(names):
                raise DataError(f"{self._path.name} has {len(names)} columns, none at {column}")
            return self._arrays[names[column]]
        return self._arrays[_only(self._path, column, names)]


def _only(path: Path, column: str, there: Sequence[str]) -> str:
    if column not in there:
        raise DataError(
            f"{path.name} has no column {column!r}; it has {', '.join(there) or 'no header'}",
            hint="without a header, give the place of the column, counted from 0",
        )
    if there.count(column) > 1:
        raise DataError(
            f"{path.name} has {there.count(column)} columns called {column!r}",
            hint="rename one, or give the place of the column, counted from 0",
        )
    return column


def _read_parquet(path: Path) -> dict[str, NDArray[Any]]:
    try:
        table = read_parquet(path)
    except DataError as error:
        raise DataError(f"{path.name} can't be read as Parquet: {error}") from None
    return {
        name: column.to_numpy()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return read_npz(path)
    except DataError as error:
        raise DataError(f"{path.name} can't be read as npz: {error}") from None


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _bad_stamps(path: Path, unit: str, error: Exception) -> DataError:
    return DataError(f"{path.name}: a time stamp can't be read as {unit}: {error}")

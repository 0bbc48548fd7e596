"""A table with a window in each row: its samples, and the cells beside them.

Samples of one channel stand in columns that share a name and are counted on: `PPG_0, PPG_1, ...`.
"""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.data.tables import delimiter_of

SAMPLE = re.compile(r"(?P<channel>.+)_(?P<number>\d+)")
NO_SAMPLE = ("label_", "subject_")
"""How columns begin that say what they are, whatever number they end in."""
N_NAMED = 3
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class SampleTable:
    """What a table holds, row by row."""

    name: str
    samples: dict[str, Samples]
    """(N, T) samples by channel."""
    cells: dict[str, list[str]]
    """(N,) cells of the columns that hold no samples, as text without spaces around it."""


def read_samples(path: Path, channels: Sequence[str] | None = None) -> SampleTable:
    """Return the samples of `channels` and all that is no sample.

    Args:
        path: A .parquet file, or a text file with a line of names.
        channels: The channels to read; all when None. The samples of others are passed over.

    Raises:
        DataError: If it can't be read, has no such channel, or a sample is missing.
    """
    names = _names(path)
    named = [name for name in names if name and not name.startswith("__index_level_")]
    there = _sample_columns(named)
    chosen = _choose(path.name, there, channels)
    taken = {column for numbered in there.values() for column in numbered.values()}
    others = [name for name in named if name not in taken]
    numbers = [column for columns in chosen.values() for column in columns]
    if path.suffix == ".parquet":
        table = _read_parquet(path, numbers, others)
    else:
        table = _read_text(path, names, numbers, others)
    if not len(table):
        raise DataError(f"{path.name} has no window: there is no row below its names")
    samples = {name: _matrix(table, columns) for name, columns in chosen.items()}
    _check_complete(path.name, samples, chosen)
    return SampleTable(path.name, samples, {name: _cells(table[name]) for name in others})


def rows_said(rows: Sequence[int] | NDArray[np.int64]) -> str:
    """Return where something stands, as a spreadsheet counts: the names are in row 1."""
    said = ", ".join(str(int(row) + 2) for row in rows[:N_NAMED])
    more = f" and {len(rows) - N_NAMED:,} more" if len(rows) > N_NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {said}{more}"


def _names(path: Path) -> list[str]:
    """Return the names of all columns; one without a name is ''."""
    try:
        if path.suffix == ".parquet":
            names: list[str] = pq.ParquetFile(path).schema_arrow.names
        else:
            # Spreadsheets like to start a file with a byte-order mark.
            with path.open(encoding="utf-8-sig", newline="") as file:
                first = file.readline()
            names = next(csv.reader([first], delimiter=delimiter_of(path, first)), [])
            names = [name.strip() for name in names]
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowInvalid) as error:
        raise DataError(f"{path.name} can't be read as a table: {error}") from None
    twice = [name for name, n_times in Counter(names).items() if n_times > 1 and name]
    if twice:
        raise DataError(f"{path.name} has two columns called {twice[0]!r}", hint="rename one")
    return names


def _sample_columns(names: Sequence[str]) -> dict[str, dict[int, str]]:
    """Return the columns of each channel by their number; one number alone is no channel."""
    found: dict[str, dict[int, str]] = {}
    for name in names:
        match = SAMPLE.fullmatch(name)
        if match and not name.startswith(NO_SAMPLE):
            numbered = found.setdefault(match["channel"], {})
            if int(match["number"]) in numbered:
                raise DataError(
                    f"the columns {numbered[int(match['number'])]} and {name} are one sample",
                    hint="rename one",
                )
            numbered[int(match["number"])] = name
    return {channel: numbered for channel, numbered in found.items() if len(numbered) > 1}


def _choose(
    name: str, there: Mapping[str, Mapping[int, str]], channels: Sequence[str] | None
) -> dict[str, list[str]]:
    """Return the columns of each channel asked for, in the order of time."""
    if not there:
        raise DataError(
            f"{name} has no samples: no columns are called like PPG_0, PPG_1, ...",
            hint="one row is one window, one column is one sample: CHANNEL_NUMBER",
        )
    missing = [channel for channel in channels or () if channel not in there]
    if missing:
        raise DataError(
            f"{name}: channel {', '.join(missing)} not found; there are {', '.join(there)}",
            hint=f"choose among them: --channels {','.join(there)}",
        )
    chosen = {channel: _in_order(name, channel, there[channel]) for channel in channels or there}
    lengths = {channel: len(columns) for channel, columns in chosen.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{channel} {length}" for channel, length in lengths.items())
        raise DataError(
            f"{name}: channels differ in their number of samples: {said}",
            hint="resample them to one rate; a label that ends in a number is called label_X_1",
        )
    return chosen


def _in_order(name: str, channel: str, numbered: Mapping[int, str]) -> list[str]:
    first, last = min(numbered), max(numbered)
    start = min(first, 1)
    n_missing = last + 1 - start - len(numbered)
    if n_missing:
        gap = next(number for number in count(start) if number not in numbered)
        more = f" and {n_missing - 1:,} more" if n_missing > 1 else ""
        raise DataError(
            f"{name} has {numbered[first]} to {numbered[last]}, but lacks {channel}_{gap}{more}",
            hint="samples are counted on from 0 or from 1",
        )
    return [numbered[number] for number in sorted(numbered)]


def _read_parquet(path: Path, numbers: Sequence[str], others: Sequence[str]) -> pa.Table:
    table = pq.ParquetFile(path).read(columns=[*numbers, *others])
    for name in numbers:
        try:
            cast = table[name].cast(pa.float32(), safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise _no_number(path, table.select([name])) from None
        table = table.set_column(table.column_names.index(name), name, cast)
    return table


def _read_text(
    path: Path, names: Sequence[str], numbers: Sequence[str], others: Sequence[str]
) -> pa.Table:
    types = dict.fromkeys(others, pa.string()) | dict.fromkeys(numbers, pa.float32())
    try:
        return _read_cells(path, names, types)
    except pa.ArrowInvalid as error:
        why = error
    try:  # again, to find the cell; text takes too much memory to be read first
        raise _no_number(path, _read_cells(path, names, dict.fromkeys(numbers, pa.string())))
    except pa.ArrowInvalid:
        raise DataError(f"{path.name} can't be read as a table: {why}") from None


def _read_cells(path: Path, names: Sequence[str], types: Mapping[str, pa.DataType]) -> pa.Table:
    ragged: list[pa_csv.InvalidRow] = []

    def put_down(row: pa_csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    with path.open(encoding="utf-8-sig", newline="") as file:
        delimiter = delimiter_of(path, file.readline())
    table = pa_csv.read_csv(
        path,
        # Columns without a name, such as row numbers, get one that no column of a file has.
        read_options=pa_csv.ReadOptions(
            use_threads=False,
            skip_rows=1,
            column_names=[name or f" {place}" for place, name in enumerate(names)],
        ),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=put_down),
        convert_options=pa_csv.ConvertOptions(column_types=types, include_columns=list(types)),
    )
    if ragged:
        raise DataError(
            f"{path.name}: {rows_said([row.number - 2 for row in ragged])} should have "
            f"{ragged[0].expected_columns} cells, one for each name; row {ragged[0].number} has "
            f"{ragged[0].actual_columns}"
        )
    return table


def _no_number(path: Path, table: pa.Table) -> DataError:
    """Return an error that names the first cell that is text among samples."""
    for name in table.column_names:
        odd = [row for row, cell in enumerate(table[name].to_pylist()) if not _is_number(cell)]
        if odd:
            cell = str(table[name][odd[0]])[:40]
            return DataError(
                f"{path.name}: {name} has {cell!r} in {rows_said(odd)}, expected a number",
                hint="numbers are written with a point: 0.5",
            )
    return DataError(f"{path.name}: a column of samples holds text")


def _is_number(cell: object) -> bool:
    """Return whether a cell is missing or a number; Python alone takes 1_000 for one."""
    try:
        float(str(cell or "nan"))
    except ValueError:
        return False
    return "_" not in str(cell)


def _matrix(table: pa.Table, columns: Sequence[str]) -> Samples:
    matrix = np.empty((len(table), len(columns)), np.float32)
    for place, name in enumerate(columns):
        matrix[:, place] = table[name].to_numpy()
    return matrix


def _check_complete(
    name: str, samples: Mapping[str, Samples], columns: Mapping[str, Sequence[str]]
) -> None:
    whole = np.stack([np.isfinite(values).all(axis=1) for values in samples.values()])
    rows = np.flatnonzero(~whole.all(axis=0))
    if len(rows):
        channel = list(samples)[int(np.argmin(whole[:, rows[0]]))]
        place = int(np.argmin(np.isfinite(samples[channel][rows[0]])))
        raise DataError(
            f"{name}: samples are missing or infinite in {rows_said(rows)}; the first is "
            f"{columns[channel][place]} in row {rows[0] + 2}",
            hint="leave these windows out, or fill their samples in",
        )


def _cells(column: pa.ChunkedArray) -> list[str]:
    return ["" if cell is None else str(cell).strip() for cell in column.to_pylist()]

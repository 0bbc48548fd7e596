"""Tables that people keep beside recordings: CSV, TSV or Parquet, every cell as text."""

import csv
from collections.abc import Sequence
from pathlib import Path

from biosig_cli.core.errors import DataError
from biosig_cli.data.unpack import read_parquet

MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})
"""How tables write that there is no value, in lower case."""

Table = dict[str, list[str]]
"""Cells of each column, by the column's name; all are stripped of spaces."""


def read_table(path: Path, columns: Sequence[str] = ()) -> Table:
    """Return a table's columns; a byte-order mark and spaces round names and cells are no part.

    Args:
        path: The file; its ending tells the format.
        columns: Columns that it must have.

    Raises:
        DataError: If it can't be read, or lacks one of them.
    """
    if not path.is_file():
        beside = sorted(each.name for each in path.parent.glob(f"*{path.suffix}"))[:5]
        raise DataError(
            f"no table {path.name} in {path.parent}"
            + (f"; there are {', '.join(beside)}" if beside else ""),
            hint="give its path from the folder of the recordings; where a shipped recipe "
            "asks for it, copy that recipe and name your own tables: biosig configs copy NAME",
        )
    table = _read_parquet(path) if path.suffix == ".parquet" else _read_text(path)
    lacking = [name for name in columns if name not in table]
    if lacking:
        raise DataError(
            f"{path.name} needs the columns {', '.join(columns)}; it has "
            f"{', '.join(table) or 'none'}",
            hint=f"there is no {' and no '.join(map(repr, lacking))}: name it as the table does",
        )
    return table


def tables_like(path: Path) -> list[Path]:
    """Return the files that a path means, whose last parts may hold `*`; none if there are none."""
    fixed = next((each for each in (path, *path.parents) if "*" not in str(each)), path)
    if fixed == path:
        return [path] if path.is_file() else []
    return sorted(fixed.glob(path.relative_to(fixed).as_posix()))


def read_tables(path: Path, columns: Sequence[str] = ()) -> Table:
    """Return the rows of all tables that a path means as one; arguments and errors as `read_table`.

    A cell whose column a table does not have is empty; `columns` each of them must have.
    """
    tables = [read_table(each, columns) for each in tables_like(path) or [path]]
    names = dict.fromkeys(name for table in tables for name in table)
    n_rows = [len(next(iter(table.values()), [])) for table in tables]
    return {
        name: [
            cell
            for table, n in zip(tables, n_rows, strict=True)
            for cell in table.get(name, [""] * n)
        ]
        for name in names
    }


def table_columns(path: Path) -> list[str]:
    """Return the names of a table's columns; empty where there is no such table."""
    return list(read_table(path)) if path.is_file() else []


def is_missing(cell: str) -> bool:
    """Return whether a cell stands for no value."""
    return cell.lower() in MISSING


def _read_text(path: Path) -> Table:
    try:
        # Spreadsheets like to start a file with a byte-order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            rows = [row for row in csv.reader(file, delimiter=delimiter_of(path, first)) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} can't be read as a table: {error}") from None
    names = [name.strip() for name in rows[0]] if rows else []
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    if twice:
        raise DataError(f"{path.name} has two columns called {twice[0]!r}", hint="rename one")
    return {
        name: [row[place].strip() if place < len(row) else "" for row in rows[1:]]
        for place, name in enumerate(names)
        if name
    }


def delimiter_of(path: Path, first: str) -> str:
    """Return what stands between the cells of a text file, judged by its ending and first line."""
    if path.suffix == ".tsv":
        return "\t"
    return max(",;\t", key=first.count)


def _read_parquet(path: Path) -> Table:
    try:
        table = read_parquet(path)
        return {
            name.strip(): ["" if cell is None else str(cell).strip() for cell in column.to_pylist()]
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    except (DataError, ValueError, ArithmeticError) as error:
        raise DataError(f"{path.name} can't be read as a table: {error}") from None

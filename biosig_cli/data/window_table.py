"""A table of labelled windows, one a row: CSV, TSV or Parquet, as people exchange them.

Beside the samples stand `subject`, and where known `record`, `start_s` and `sampling_hz`. `age`,
`sex` and `subject_X` are attributes of people; every other column of numbers is a label of its
name, and may be called `label_NAME` too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.errors import DataError
from biosig_cli.data.sample_table import SampleTable, read_samples, rows_said
from biosig_cli.data.store import NpzStore, open_arrays
from biosig_cli.data.tables import is_missing
from biosig_cli.signal.normalize import center_and_scale, normalize

KEYS = ("subject", "record", "start_s", "sampling_hz")
PLAIN = {"age": "subject_age", "sex": "subject_sex"}
WORDS = {"true": 1.0, "false": 0.0}
"""How tables write yes and no."""
SEX = {"f": 0.0, "female": 0.0, "m": 1.0, "male": 1.0}
Arrays = dict[str, NDArray[Any]]


def open_window_table(
    path: Path, *, channels: Sequence[str] | None = None, sampling_hz: float | None = None
) -> NpzStore:
    """Return the windows of a table, held in memory, each channel of each window z-scored.

    Mean and spread are kept, so that `physical` gives the values of the table.

    Args:
        path: A .parquet file, or a text file with a line of names.
        channels: The channels to read, in the order asked for; all when None. Whether samples of
            others are missing does not matter.
        sampling_hz: The rate, in Hz, of a table that does not say.

    Raises:
        DataError: If it can't be read, lacks a sample or a channel, or contradicts itself.
    """
    table = read_samples(path, channels)
    windows = np.stack(list(table.samples.values()), axis=1)
    center, scale = center_and_scale(windows, "window")
    known, ignored = _known(table)
    arrays = {
        "data": normalize(windows, center, scale),
        "center": center,
        "scale": scale,
        "channels": np.array(list(table.samples)),
        **_keys(table),
        **known,
    }
    if "sampling_hz" not in arrays and sampling_hz is None:
        raise DataError(
            f"{table.name} does not say how fast its windows were sampled",
            hint="add a column sampling_hz, or give the rate, in Hz, as sampling_hz",
        )
    store = open_arrays(path, arrays, sampling_hz=sampling_hz)
    store.manifest |= {"normalization": "window", "ignored": ignored}
    if _is_sex_in_words(table):
        store.manifest["attributes"]["sex"] = {"values": {"F": 0, "M": 1}}
    return store


def _keys(table: SampleTable) -> Arrays:
    """Return what the table says of where its windows are from, and of their rate."""
    keys: Arrays = {}
    for name in ("subject", "record"):
        if name in table.cells:
            _refuse_missing(table, name, [is_missing(cell) for cell in table.cells[name]])
            keys[name] = np.array(table.cells[name])
    for name in ("start_s", "sampling_hz"):
        if name in table.cells:
            numbers = _numbers(table, name, {})
            _refuse_missing(table, name, np.isnan(numbers))
            keys[name] = numbers
    if "sampling_hz" in keys:
        keys["sampling_hz"] = np.array(_one_rate(table, keys["sampling_hz"]))
    if "subject" in keys and "record" in keys:
        _check_owners(table)
    return keys


def _known(table: SampleTable) -> tuple[Arrays, list[str]]:
    """Return labels and attributes by the name of their column, and what is neither."""
    known: Arrays = {}
    ignored = []
    for name in table.cells:
        if name in KEYS:
            continue
        is_named = name.startswith(("label_", "subject_"))
        column = PLAIN.get(name, name if is_named else f"label_{name}")
        words = SEX if column == "subject_sex" else WORDS
        if not name.startswith("label_") and _is_text(table.cells[name], words):
            ignored.append(name)
            continue
        if column in known:
            raise DataError(f"{table.name} has {column} twice, once as {name}", hint="drop one")
        known[column] = _numbers(table, name, words).astype(np.float32)
    return known, ignored


def _numbers(table: SampleTable, name: str, words: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the number in each cell of a column, NaN where there is none."""
    values = [_number(cell, words) for cell in table.cells[name]]
    odd = [row for row, value in enumerate(values) if value is None]
    if odd:
        raise DataError(
            f"{table.name}: {name} has {table.cells[name][odd[0]]!r} in {rows_said(odd)}, expected "
            f"a number{' or ' + ', '.join(words) if words else ''}",
            hint="empty and n/a are missing; give classes as numbers: 0, 1, ...",
        )
    return np.array(values, np.float64)


def _number(cell: str, words: Mapping[str, float]) -> float | None:
    """Return the number in a cell, NaN where it is missing and None where it is text."""
    if is_missing(cell):
        return np.nan
    try:
        value = words[cell.lower()] if cell.lower() in words else float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else np.nan


def _is_text(cells: Sequence[str], words: Mapping[str, float]) -> bool:
    """Return whether a column is no label: it has fewer numbers than words, or nothing at all."""
    values = [_number(cell, words) for cell in cells]
    n_numbers = sum(value is not None and not np.isnan(value) for value in values)
    return values.count(None) >= n_numbers


def _is_sex_in_words(table: SampleTable) -> bool:
    cells = [*table.cells.get("sex", ()), *table.cells.get("subject_sex", ())]
    return any(cell.lower() in SEX for cell in cells)


def _one_rate(table: SampleTable, rates: NDArray[np.float64]) -> float:
    different = np.unique(rates)
    if len(different) > 1 or different[0] <= 0:
        said = ", ".join(f"{rate:g}" for rate in different[:3])
        raise DataError(
            f"{table.name}: sampling_hz is {said}, expected one positive rate for all windows",
            hint="resample the windows to one rate",
        )
    return float(different[0])


def _check_owners(table: SampleTable) -> None:
    owners: dict[str, str] = {}
    for row, (record, subject) in enumerate(
        zip(table.cells["record"], table.cells["subject"], strict=True)
    ):
        if owners.setdefault(record, subject) != subject:
            raise DataError(
                f"{table.name}: record {record} is of subject {owners[record]}, and in "
                f"{rows_said([row])} of {subject}",
                hint="give each record an id of its own",
            )


def _refuse_missing(table: SampleTable, name: str, missing: Any) -> None:
    rows = np.flatnonzero(missing)
    if len(rows):
        raise DataError(f"{table.name} has no {name} in {rows_said(rows)}")

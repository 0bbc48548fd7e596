"""What is known about windows and people: labels and attributes, joined from tables.

A label belongs to a record, to a subject or to a moment of a record. What a table does not say is
missing (NaN), never zero. Each label names the channels it was derived from, so that nobody takes
a model for clever that reads its label off its own input.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from biosig_cli.core.artifacts import sha256
from biosig_cli.core.bounds import inside
from biosig_cli.core.config import Config
from biosig_cli.core.errors import DataError
from biosig_cli.data.tables import Table, is_missing, read_table, read_tables, tables_like

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0}
Values = NDArray[np.float64]
Series = tuple[Values, Values]
"""Times in seconds on the record's clock, rising, and the value at each."""


class LabelConfig(Config):
    """Where one label stands, and how it becomes a number per window."""

    table: str = ""
    """File in the folder of the recordings. `{record}` stands for the record's id, and `{1}` for
    the first group of `match` in it, where each record has a table of its own; `*` stands for
    anything, and the tables that fit count as one. Without a table, the value is the first group of
    `match` in the record's id."""
    column: str = ""
    """Column of the values."""
    record: str | None = None
    """Column of the record's id, in a table for all records."""
    subject: str | None = None
    """Column of the subject's id, where the label belongs to a person."""
    match: str | None = None
    """Regular expression that fits a record's id; its groups name the record's own table."""
    time: str | None = None
    """Column of the time of each value from the start of the record; null: one value a record."""
    time_unit: Literal["s", "ms", "us", "min"] = "s"
    """Unit of the times."""
    rule: Literal["mean", "median", "most", "hold"] = "mean"
    """Which value a window gets of those in it: their mean, their median or the most frequent;
    with `hold` a value holds until the next, and a window in which it changes gets none."""
    min_known: float = Field(0.5, ge=0, le=1)
    """A window gets no label where a smaller part of its values is known."""
    values: dict[str, float] = Field(default_factory=dict)
    """Number of each word, where the column holds words."""
    pattern: str | None = None
    """Regular expression whose first group is the value in a cell such as 120/80."""
    unit: str = ""
    """Unit of the label."""
    derived_from: tuple[str, ...] = ()
    """Channels that the label was derived from; a model that reads one of them knows too much."""

    @field_validator("values", mode="before")
    @classmethod
    def _words_are_text(cls, values: Any) -> Any:
        return {str(k): v for k, v in values.items()} if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _has_one_key(self) -> "LabelConfig":
        keys = [self.record is not None, self.subject is not None, self.is_per_record]
        if not self.table and (self.match is None or any(keys) or self.column or self.time):
            raise ValueError("needs a `table`, or `match` alone to find it in the record's id")
        if self.table and not self.column:
            raise ValueError("needs the `column` of its values")
        if self.table and sum(keys) != 1:
            raise ValueError(
                "needs one of `record` (column of the record's id), `subject` (column of the "
                "subject's id), or a `table` with {record} or {1} in its name"
            )
        if self.subject is not None and self.time is not None:
            raise ValueError("`time` belongs to a record, not to a subject")
        for name, expression in (("match", self.match), ("pattern", self.pattern)):
            try:
                if expression is not None and re.compile(expression).groups < 1:
                    raise ValueError(f"`{name}` {expression!r} needs a group in parentheses")
            except re.error as error:
                raise ValueError(f"`{name}` is no regular expression: {error}") from None
        return self

    @property
    def is_per_record(self) -> bool:
        """Whether each record has a table of its own."""
        return "{" in self.table

    def number(self, cell: str) -> float:
        """Return the value in a cell, NaN where there is none.

        Raises:
            ValueError: If it is neither missing, nor a number or a known word.
        """
        if is_missing(cell):
            return np.nan
        if self.pattern is not None:
            match = re.search(self.pattern, cell)
            if match is None:
                raise ValueError(cell)
            cell = match.group(1)
        value = self.values[cell] if cell in self.values else float(cell)
        return value if np.isfinite(value) else np.nan

    def named(self, record: str) -> float:
        """Return the value in a record's id, NaN where `match` does not fit it.

        Raises:
            DataError: If what it finds is neither a number nor one of `values`.
        """
        found = re.search(self.match or "", record)
        try:
            return self.number(found.group(1) or "") if found else np.nan
        except ValueError:
            known = f" or one of {', '.join(self.values)}" if self.values else ""
            raise DataError(
                f"the label's match {self.match!r} finds {found and found.group(1)!r} in {record}, "
                f"expected a number{known}",
                hint="give `values: {WORD: NUMBER}` for words",
            ) from None

    def facts(self) -> dict[str, Any]:
        """Return what a manifest tells of the label."""
        kept = ("table", "column", "unit", "values", "rule", "derived_from")
        facts = self.dump()
        return {name: facts[name] for name in kept if name != "rule" or self.time is not None}


class LabelSet:
    """The labels and attributes of a source, ready to be joined to windows."""

    def __init__(
        self,
        folder: Path,
        labels: Mapping[str, LabelConfig],
        attributes: Mapping[str, LabelConfig],
    ) -> None:
        self.folder, self.labels, self.attributes = folder, dict(labels), dict(attributes)
        self._tables: dict[Path, Table] = {}
        self._lookups: dict[str, dict[str, float]] = {}
        self._series: dict[str, dict[str, Series]] = {}
        self._sums: dict[Path, str] = {}
        self._odd: dict[str, None] = {}

    @cached_property
    def by_column(self) -> dict[str, LabelConfig]:
        """Labels as `label_X` and attributes as `subject_X`, as the columns are called."""
        return {f"label_{name}": label for name, label in self.labels.items()} | {
            f"subject_{name}": label for name, label in self.attributes.items()
        }

    @property
    def words(self) -> dict[str, dict[str, float]]:
        """The number of each word, by the column of a label that stands for words."""
        return {column: label.values for column, label in self.by_column.items() if label.values}

    def columns(
        self, record: str, subject: str, starts_s: Values, duration_s: float
    ) -> dict[str, NDArray[Any]]:
        """Return every label of the windows of a record; NaN where it is not known.

        Args:
            record: Id of the record, as the source calls it.
            subject: Whose recording it is, as the source calls them.
            starts_s: (n,) start of each window on the record's clock, in seconds.
            duration_s: Length of a window, in seconds.

        Raises:
            DataError: If a table can't be read, lacks a column, or contradicts itself.
        """
        joined = {}
        for column, label in self.by_column.items():
            if not label.table:
                values = np.full(len(starts_s), label.named(record))
            elif label.time is None:
                key = subject if label.subject is not None else record
                value = self._lookup(column, label, record).get(key, np.nan)
                values = np.full(len(starts_s), value)
            else:
                series = self._timed(column, label, record).get(record)
                values = _per_window(series, label, np.asarray(starts_s), duration_s)
            joined[column] = values.astype(np.float32)
        return joined

    def check(self, subjects: Mapping[str, str]) -> list[str]:
        """Read what all records share, and return a sentence for each thing that is odd.

        Args:
            subjects: Subject of each record that the source has, by the record's id.

        Raises:
            DataError: If a table can't be read, lacks a column, or holds what is no number.
        """
        said: dict[str, None] = {}
        for column, label in self.by_column.items():
            if not label.table:
                [label.named(record) for record in subjects]
                continue
            if label.is_per_record:
                said |= dict.fromkeys(self._own_tables(label, subjects))
                continue
            known = set(subjects.values() if label.subject is not None else subjects)
            is_timed = label.time is not None
            read = self._timed if is_timed else self._lookup
            unknown = [key for key in read(column, label, "") if key not in known]
            if unknown:
                what = "subjects" if label.subject is not None else "records"
                said[
                    f"{label.table} names {len(unknown):,} {what} that the source does not have, "
                    f"such as {unknown[0]}"
                ] = None
        return list(said | self._odd)

    def fingerprint(self, record: str) -> list[str]:
        """Return what changes when a table changes that the labels of `record` come from."""
        paths = {self._path(label, record) for label in self.by_column.values()}
        return [self._content(path) for path in sorted(path for path in paths if path is not None)]

    def _content(self, path: Path) -> str:
        if path not in self._sums:
            files = tables_like(path)
            self._sums[path] = ",".join(map(sha256, files)) if files else "missing"
        return self._sums[path]

    def _own_tables(self, label: LabelConfig, records: Iterable[str]) -> list[str]:
        paths = {record: self._path(label, record) for record in records}
        without = [key for key, path in paths.items() if path is None or not path.is_file()]
        if paths and len(without) == len(paths):
            path = paths[without[0]]
            raise DataError(
                f"no record has a table {label.table}: looked for "
                f"{path.name if path else f'one that fits {label.match!r}'} of {without[0]}",
                hint="check `table` and `match` of the label",
            )
        return [f"{len(without)} records have no table {label.table}"] if without else []

    def _path(self, label: LabelConfig, record: str) -> Path | None:
        """Return the table that a record's label stands in; None where its id names none."""
        if not label.table:
            return None
        if not label.is_per_record:
            return self.folder / label.table
        inside(self.folder, record)
        name = label.table.replace("{record}", record)
        if label.match is not None:
            match = re.search(label.match, record)
            if match is None:
                return None
            for place, group in enumerate(match.groups(), start=1):
                name = name.replace(f"{{{place}}}", group or "")
        return inside(self.folder, name)

    def _table(self, path: Path, label: LabelConfig) -> Table:
        columns = [name for name in (label.record, label.subject, label.time, label.column) if name]
        if label.is_per_record:  # one record's alone: read once, not kept
            return read_table(path, columns)
        if path not in self._tables or not set(columns) <= self._tables[path].keys():
            self._tables[path] = read_tables(path, columns)
        return self._tables[path]

    def _lookup(self, column: str, label: LabelConfig, record: str) -> dict[str, float]:
        """Return the value of each record, or of each subject."""
        if column in self._lookups:
            return self._lookups[column]
        path = self._path(label, record)
        if path is None or (label.is_per_record and not path.is_file()):
            return {}
        table = self._table(path, label)
        cells = table[label.column]
        keys = table[label.record or label.subject or ""] if not label.is_per_record else None
        found: dict[str, float] = {}
        values = self._numbers(path, label, cells)
        for key, value in zip(keys or [record] * len(cells), values.tolist(), strict=True):
            before = found.get(key, np.nan)
            if np.isfinite([before, value]).all() and before != value:
                raise DataError(
                    f"{path.name} gives {key} two values of {label.column}: {before:g} and "
                    f"{value:g}",
                    hint="name the column of the `time` if values belong to moments",
                )
            found[key] = before if np.isnan(value) else value
        if not label.is_per_record:
            self._lookups[column] = found
        return found

    def _numbers(self, path: Path, label: LabelConfig, cells: list[str]) -> Values:
        """Return the number in each cell; what is none among numbers is missing, and is said."""
        values = np.full(len(cells), np.nan)
        odd: dict[str, int] = {}
        for place, cell in enumerate(cells):
            try:
                values[place] = label.number(cell)
            except ValueError:
                odd[cell] = odd.get(cell, 0) + 1
        if odd and np.isnan(values).all():
            known = f"numbers or one of {', '.join(label.values)}" if label.values else "numbers"
            raise DataError(
                f"{path.name}: {label.column} holds {next(iter(odd))!r}, expected {known}",
                hint="give `values: {WORD: NUMBER}` for words; empty and n/a are missing",
            )
        if odd:
            said = f"{path.name}: {sum(odd.values())} cells of {label.column} are no numbers and"
            self._odd[f"{said} count as missing, such as {next(iter(odd))!r}"] = None
        return values

    def _timed(self, column: str, label: LabelConfig, record: str) -> dict[str, Series]:
        """Return times and values of each record in the table of `record`."""
        if column in self._series:
            return self._series[column]
        path = self._path(label, record)
        if path is None or (label.is_per_record and not path.is_file()):
            return {}
        table = self._table(path, label)
        moment = label.model_copy(update={"column": label.time, "values": {}, "pattern": None})
        times_s = self._numbers(path, moment, table[moment.column]) * SECONDS[label.time_unit]
        values = self._numbers(path, label, table[label.column])
        keys = np.array(table[label.record] if label.record else [record] * len(values), str)
        found: dict[str, Series] = {}
        for key in dict.fromkeys(keys.tolist()):
            mine = (keys == key) & np.isfinite(times_s)
            order = np.argsort(times_s[mine], kind="stable")
            found[key] = times_s[mine][order], values[mine][order]
        if not label.is_per_record:
            self._series[column] = found
        return found


def _per_window(
    series: Series | None, label: LabelConfig, starts_s: Values, duration_s: float
) -> Values:
    labels = np.full(len(starts_s), np.nan)
    if series is None or not len(series[0]):
        return labels
    times_s, values = series
    step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else duration_s
    n_expected = max(1.0, duration_s / step_s if step_s > 0 else 1.0)
    # A microsecond, so that a window that starts at 0.9999999 s has the value of second 1.
    firsts = np.searchsorted(times_s, starts_s - 1e-6)
    lasts = np.searchsorted(times_s, starts_s + duration_s - 1e-6)
    for place, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        if label.rule == "hold":
            at_start = first if first < last and times_s[first] <= starts_s[place] else first - 1
            held = values[max(at_start, 0) : last]
            if at_start >= 0 and (held == held[0]).all():
                labels[place] = held[0]
            continue
        known = values[first:last][np.isfinite(values[first:last])]
        # Where the table ends within the window, values that it would have had are missing too.
        if len(known) and len(known) >= label.min_known * np.floor(n_expected):
            labels[place] = _summary(known, label.rule)
    return labels


def _summary(known: Values, rule: str) -> float:
    if rule == "most":
        values, counts = np.unique(known, return_counts=True)
        return float(values[np.argmax(counts)])
    return float(np.median(known) if rule == "median" else np.mean(known))

"""How a folder of recordings is described: by a recipe's `dataset:`, or by a `dataset.yaml` in it.

Whose recordings they are and what is known of them can be said of every kind of folder; how files
are read, of CSV, Parquet and npz files.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from biosig_cli.core.config import Config
from biosig_cli.core.errors import ConfigError, DataError
from biosig_cli.data.labels import LabelConfig
from biosig_cli.data.tables import is_missing, read_table

DATASET_FILE = "dataset.yaml"


Place = Annotated[int, Field(ge=0)]


class ColumnConfig(Config):
    """Where a channel stands in a file."""

    column: str | Place
    """Name in the header line, or place counted from 0 where there is none; in an npz file, the
    name of the array."""
    row: int | None = Field(None, ge=0)
    """Row of a two-dimensional array (rows, samples) of an npz file, counted from 0."""
    unit: str = ""
    """Unit of the values."""
    sampling_hz: float | None = Field(None, gt=0)
    """Sampling rate of this channel where it has its own, in Hz."""


class FileConfig(Config):
    """How one file is to be read."""

    columns: dict[str, ColumnConfig] = Field(default_factory=dict)
    """Column of each channel, by the channel's name."""
    header: bool = True
    """Whether the first line names the columns."""
    delimiter: str = Field(",", min_length=1, max_length=1)
    """What stands between values."""
    sampling_hz: float | None = Field(None, gt=0)
    """Sampling rate, in Hz; with a time column it may be left out, and is checked if given."""
    time: str | Place | None = None
    """Column of the time stamps, where there is one."""
    time_unit: Literal["s", "ms", "us", "datetime"] = "s"
    """Unit of the time stamps; `datetime` is a date and time as in ISO 8601."""
    max_step_s: float | None = Field(None, gt=0)
    """Stamps further apart than this are a gap; five samples, but at least 0.1 s, when left out."""

    @property
    def has_rates(self) -> bool:
        """Whether the rate of every channel is stated, or can be had from time stamps."""
        rates = [column.sampling_hz or self.sampling_hz for column in self.columns.values()]
        return self.time is not None or None not in (rates or [self.sampling_hz])


class SubjectTableConfig(Config):
    """A table that says whose recording each record is."""

    table: str
    """File in the folder of the recordings."""
    record: str = "record"
    """Column of the record's id."""
    subject: str = "subject"
    """Column of the subject's id."""


class DatasetConfig(FileConfig):
    """A folder of recordings: how its files are read, whose they are, and what is known of them."""

    name: str = ""
    """What the data set is called."""
    licence: str = ""
    """Under which terms it may be used."""
    files: str = "*.csv"
    """Pattern of the names of CSV, Parquet or npz files; without its ending, the record's id."""
    subject: str | None = None
    """Regular expression whose first group is the subject's id in the record's id."""
    subjects: SubjectTableConfig | None = None
    """Table of the subject of each record, where ids do not tell."""
    exclude: tuple[str, ...] = ()
    """Subjects whose recordings are in no split."""
    labels: dict[str, LabelConfig] = Field(default_factory=dict)
    """What is to be learned, by name; windows get a column `label_NAME`."""
    attributes: dict[str, LabelConfig] = Field(default_factory=dict)
    """What is known of people, such as age and sex; windows get a column `subject_NAME`."""
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
    def _is_complete(self) -> "DatasetConfig":
        if self.subject is not None and self.subjects is not None:
            raise ValueError("give `subject` (a pattern) or `subjects` (a table), not both")
        if not self.describes_files:
            return self
        for table in [self.table(record_id) for record_id in self.records] or [self.table("")]:
            if not table.columns:
                raise ValueError("`columns` must name at least one channel")
            if not table.has_rates:
                raise ValueError("a file needs `sampling_hz` or a `time` column")
        return self

    @property
    def tables(self) -> tuple[str, ...]:
        """Patterns of the files that say something of recordings, and are none."""
        stated = [known.table for known in (*self.labels.values(), *self.attributes.values())]
        stated += [self.subjects.table] if self.subjects else []
        return tuple(re.sub(r"\{[^}]*\}", "*", table) for table in stated if table)

    @property
    def describes_files(self) -> bool:
        """Whether it says how CSV, Parquet or npz files are read."""
        return bool(self.columns or self.records)

    def table(self, record_id: str) -> FileConfig:
        """Return how the file of a record is read."""
        common = {name: getattr(self, name) for name in FileConfig.model_fields}
        return FileConfig.parse(common | self.records.get(record_id, {}))


def read_dataset(data: Mapping[str, Any], where: object) -> DatasetConfig:
    """Return the description in a `dataset.yaml`.

    Raises:
        ConfigError: If it makes no sense, naming the file.
    """
    try:
        return DatasetConfig.parse(data)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}", hint=error.hint) from None


class SubjectFinder:
    """Whose recording each record is, by a pattern or a table, never by what a header says."""

    def __init__(
        self,
        folder: Path,
        dataset: DatasetConfig | None,
        *,
        pattern: str | None = None,
        each: str = "record",
    ) -> None:
        """Take the data set's own way, or else the `pattern` of the kind of folder.

        Raises:
            DataError: If there is a table, but it can't be used.
        """
        stated, self._each = dataset or DatasetConfig(), each
        self._columns = stated.subjects
        self._pattern = None if stated.subjects else stated.subject or pattern
        self._table = _read_subjects(folder, stated.subjects) if stated.subjects else {}

    @property
    def origin(self) -> str:
        """How subjects are known, in words that are printed."""
        if self._columns is not None:
            columns = self._columns
            return f"from {columns.table} ({columns.record}, {columns.subject})"
        if self._pattern is not None:
            return f"from the name of the {self._each}, by {self._pattern}"
        return (
            f"nothing names them, so each {self._each} counts as one subject: two of one person "
            "could fall into different splits"
        )

    def find(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the subject of each record, by the record's id.

        Raises:
            DataError: If a record has none.
        """
        missing = [each for each in ids if each not in self._table] if self._columns else []
        if missing and self._columns:
            raise DataError(
                f"{self._columns.table} names no subject for {len(missing)} of {len(ids)} "
                f"records: {', '.join(missing[:5])}",
                hint="add their rows, or take the files away",
            )
        return {record_id: self._of(record_id) for record_id in ids}

    def _of(self, record_id: str) -> str:
        if self._columns is not None:
            return self._table[record_id]
        if self._pattern is None:
            return record_id
        match = re.match(self._pattern, record_id)
        if match is None or not match.group(1):
            raise DataError(
                f"the subject pattern {self._pattern!r} does not fit {record_id!r}",
                hint="change `subject` of the dataset, or `files` if it is no recording",
            )
        return str(match.group(1))


def _read_subjects(folder: Path, columns: SubjectTableConfig) -> dict[str, str]:
    table = read_table(folder / columns.table, (columns.record, columns.subject))
    subjects: dict[str, str] = {}
    pairs = zip(table[columns.record], table[columns.subject], strict=True)
    for line, (record_id, subject) in enumerate(pairs, start=2):
        if not record_id or is_missing(subject):
            raise DataError(
                f"{columns.table} line {line}: {columns.record} {record_id!r}, {columns.subject} "
                f"{subject!r}",
                hint="each record needs a subject's id, or one person could be in two splits",
            )
        if subjects.setdefault(record_id, subject) != subject:
            raise DataError(f"{columns.table} gives record {record_id} two subjects")
    return subjects

"""Segments listed in a Parquet table, their samples in `.npy` files: one array, batches, or each.

A row of the table is a segment: `subject_id`, `fs`, and an id. Its samples are a row of one array
(N, T), a row of the file of its batch, or a file of its own. A JSON file may say where the denoised
twin of each segment lies.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from biosig_cli.core.bounds import inside
from biosig_cli.core.errors import DataError
from biosig_cli.data.channels import ChannelConfig
from biosig_cli.data.dataset import DatasetConfig, SubjectFinder
from biosig_cli.data.labels import LabelConfig
from biosig_cli.data.readers.base import (
    Local,
    as_channel,
    choose_track,
    file_fingerprint,
    natural_key,
    walk,
)
from biosig_cli.data.readers.segment_files import SegmentFiles, open_array
from biosig_cli.data.record import Record, Track
from biosig_cli.data.tables import Table, is_missing, read_table
from biosig_cli.data.unpack import open_parquet

NEEDED = ("subject_id", "fs")
IDS = ("global_segment_idx", "segment_id", "segment_idx")
"""Columns that may hold the id of a segment; the first whose values are all different does."""
TRAPS = ("source_signal_id",)
"""Other columns that some tables repeat under the name of subject_id."""
MEASURED = {"sqi_score": "", "snr_db": "dB", "perfusion_index": ""}
"""Columns that become labels, with their units."""
TWINS = "*denoised*.json"
DEFAULT_TRACK = "PLETH"
"""What a segment is called whose table does not say."""


class SegmentTable(Local):
    """A folder with a table of segments; each is one record of its subject."""

    kind = "segments in a Parquet table"
    looks_for = "a *.parquet table with subject_id and fs beside .npy files"

    def __init__(self, folder: Path, dataset: DatasetConfig | None = None) -> None:
        self.folder, stated = folder, dataset or DatasetConfig()
        self.licence = stated.licence
        tables = _tables(folder)
        self._path, key = tables[0], None
        self._table = read_table(self._path, NEEDED)
        if key := _id_column(self._table):
            self._table = _join(key, self._table, tables)
        n_rows = len(self._table["fs"])
        ids = self._table[key] if key else [str(row) for row in range(n_rows)]
        self._row_of = {each: row for row, each in enumerate(ids)}
        self._index_file, self._twins = _read_twins(folder)
        is_in_order = n_rows == _n_rows(self._path)
        twins = set(self._twins.values())
        self._files = SegmentFiles(folder, self._table, ids, twins, is_in_order=is_in_order)
        named = stated.subject is not None or stated.subjects is not None
        self._finder = SubjectFinder(folder, dataset) if named else None
        self.has_targets = self._index_file is not None
        stated_origin = self._finder and self._finder.origin
        self.subject_origin = stated_origin or f"from {self._path.name} (subject_id)"
        name = self._path.relative_to(folder).as_posix()
        self.labels = {
            column: LabelConfig(
                table=name, record=key, column=column, unit=unit, derived_from=("PPG",)
            )
            for column, unit in MEASURED.items()
            if key and column in self._table
        } | stated.labels
        self.attributes = stated.attributes

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Return whether a folder holds such a table, and arrays."""
        return bool(_tables(folder)) and next(walk(folder, "*.npy"), None) is not None

    def ids(self) -> list[str]:
        """Return the ids of the segments, as the table writes them, numbers in numeric order."""
        return sorted(self._row_of, key=natural_key)

    def record_at(self, path: Path) -> str | None:
        """Return None: which segment an array is, the table says by its folder."""
        return None

    def subjects(self) -> dict[str, str]:
        """Return the subject of each segment.

        Raises:
            DataError: If one has none, or the column repeats the segments' ids.
        """
        if self._finder is not None:
            return self._finder.find(self.ids())
        whose = {each: self._table["subject_id"][row] for each, row in self._row_of.items()}
        nobody = [each for each, subject in whose.items() if is_missing(subject)]
        if nobody:
            raise DataError(
                f"{self._path.name} names no subject for {len(nobody)} of {len(whose)} segments: "
                f"{', '.join(nobody[:5])}",
                hint="each needs one, or a person could be in two splits",
            )
        if any(_are_alike(whose.values(), self._table.get(name, ())) for name in (*IDS, *TRAPS)):
            raise DataError(
                f"subject_id of {self._path.name} is the id of the segment, so that each of "
                f"{len(whose)} segments would be a person of its own",
                hint="give the people's ids, or one person's segments fall into different splits",
            )
        return whose

    def fingerprint(self, record_id: str) -> str:
        """Return the sizes of the files of a segment and of its denoised twin."""
        paths = [self._path, self._files.path(record_id)]
        twin = self._twins.get(_number(record_id))
        return file_fingerprint(*(path for path in (*paths, twin) if path is not None))

    def read(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> Record:
        """Return a segment as the only channel that it has.

        Raises:
            DataError: If its samples can't be had, or it is not the channel asked for.
        """
        subject = self._cell(record_id, "subject_id")
        if self._finder is not None:
            subject = self._finder.find([record_id])[record_id]
        samples = self._files.read(record_id)
        return Record(record_id, subject, self._tracks(record_id, samples, channels))

    def targets(self, record_id: str, channels: Mapping[str, ChannelConfig]) -> dict[str, Track]:
        """Return the denoised twin of a segment; arguments as `read`.

        Raises:
            DataError: If the index does not name it, or it can't be read.
        """
        index = self._index_file
        twin = self._twins.get(_number(record_id))
        if index is None or twin is None:
            where = index.name if index else "no index"
            raise DataError(
                f"segment {record_id} has no denoised twin: {where} does not name it",
                hint='add it: {"SEGMENT ID": "FILE"}, or move the index away to compute all',
            )
        if not twin.is_file():
            raise DataError(
                f"segment {record_id} has no denoised twin: {index.name} names {twin}, which is "
                "not there",
                hint="paths count from the folder of the index",
            )
        samples = np.array(open_array(twin), np.float32).reshape(-1)
        return self._tracks(record_id, samples, channels)

    def _tracks(
        self, record_id: str, samples: NDArray[np.float32], channels: Mapping[str, ChannelConfig]
    ) -> dict[str, Track]:
        there = self._cell(record_id, "channel_name") or DEFAULT_TRACK
        rate = _number(self._cell(record_id, "fs"))
        if not isinstance(rate, float) or not rate > 0:
            raise DataError(
                f"segment {record_id}: fs is {self._cell(record_id, 'fs')!r}, expected a rate in Hz"
            )
        tracks = {}
        for name, channel in channels.items():
            found = choose_track(f"segment {record_id}", name, channel, [there])
            tracks[name] = as_channel(Track(samples, rate), found, name, channel)
        return tracks

    def _cell(self, record_id: str, column: str) -> str:
        if record_id not in self._row_of:
            raise DataError(f"{self._path.name} has no segment {record_id}")
        return self._table[column][self._row_of[record_id]] if column in self._table else ""


def _tables(folder: Path) -> list[Path]:
    """Return the tables of segments, the longest first."""
    found = []
    for path in walk(folder, "*.parquet"):
        try:
            file = open_parquet(path)
        except DataError:
            continue
        if set(NEEDED) <= set(file.schema_arrow.names):
            found.append((-file.metadata.num_rows, path.as_posix(), path))
    return [path for *_, path in sorted(found)]


def _n_rows(path: Path) -> int:
    return int(open_parquet(path).metadata.num_rows)


def _join(key: str, table: Table, paths: Sequence[Path]) -> Table:
    """Return the longest table with the rows of the others that it lacks, as of other splits."""
    joined = {name: list(cells) for name, cells in table.items()}
    whose = dict(zip(table[key], table["subject_id"], strict=True))
    for path in paths[1:]:
        other = read_table(path)
        for row, each in enumerate(other.get(key, ())):
            subject = other["subject_id"][row]
            if whose.setdefault(each, subject) != subject:
                raise DataError(
                    f"segment {each} is of subject {whose[each]} in {paths[0].name} and of "
                    f"{subject} in {path.name}",
                    hint="move the wrong table away",
                )
            if len(whose) > len(joined[key]):
                for name, cells in joined.items():
                    cells.append(other[name][row] if name in other else "")
    return joined


def _are_alike(subjects: Collection[str], cells: Sequence[str]) -> bool:
    """Return whether two columns say the same in every row, whatever zeros stand in front."""
    pairs = zip(subjects, cells, strict=False)
    return len(set(cells)) > 1 and all(_number(one) == _number(other) for one, other in pairs)


def _id_column(table: Table) -> str | None:
    """Return the column of ids: without one, a segment is the number of its row."""
    for name in IDS:
        cells = table.get(name, [])
        if cells and len(set(cells)) == len(cells) and not any(map(is_missing, cells)):
            return name
    return None


def _number(text: str) -> float | str:
    """Return the number that a text stands for, so that 000012 and 12 are one; else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def _read_twins(folder: Path) -> tuple[Path | None, dict[float | str, Path]]:
    """Return the index of denoised twins and where each lies, by the number of its segment."""
    index = next(walk(folder, TWINS), None)
    if index is None:
        return None, {}
    try:
        named = json.loads(index.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{index.name} can't be read as JSON: {error}") from None
    if not isinstance(named, dict) or not all(isinstance(each, str) for each in named.values()):
        raise DataError(f"{index.name} does not say a file for each segment's id")
    # A Windows path splits at either slash.
    return index, {
        _number(key): inside(index.parent, PureWindowsPath(value).as_posix())
        for key, value in named.items()
    }
